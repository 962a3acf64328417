//! Giving a pool's own page in place of an answer that failed.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED,
    TRAILER,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;
use tracing::debug;

use crate::domain::middleware::{self, ErrorPage};
use crate::domain::names::PoolName;
use crate::domain::pool::{Draw, Pool, Tried, Wanted};
use crate::domain::proxy_protocol::Header;
use crate::proxy::errand;
use crate::proxy::pages::Page;
use crate::proxy::request::answer::{self, Ours};
use crate::proxy::request::body::ResponseBody;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::timers::Stage;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::{Approach, Reuse, Terms, Upload};

/// The answer with the page in it, if it is one that the page stands for. Who
/// wants JSON gets what there was; so does everybody if there is no page to be
/// had.
pub(super) async fn replace(
    error_page: &ErrorPage,
    own: &PoolName,
    resources: &Resources,
    prepared: &Prepared,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let status = response.status();
    let ours = response.extensions().get::<Ours>().copied();
    if ours.is_none() && !error_page.replaces(status.as_u16())
        || answer::wants_json(prepared.headers())
    {
        return response;
    }
    let page = match &error_page.page {
        middleware::Page::File(template) => {
            let message = ours.map_or_else(|| reason(status), |ours| ours.message);
            let id = prepared.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
            let page = template.fill(status.as_u16(), message, id.unwrap_or_default());
            Some((Bytes::from(page), HTML))
        }
        middleware::Page::Pool { pool, path } => {
            let path = path.replace("{status}", status.as_str());
            response.body_mut().enter(Stage::Elsewhere);
            let page = of_pool(pool, own, path, resources, prepared).await;
            response.body_mut().enter(Stage::Ours);
            page
        }
    };
    let Some((content, kind)) = page else { return response };
    let (mut parts, body) = response.into_parts();
    for name in OF_THE_OLD_CONTENT {
        parts.headers.remove(name);
    }
    // It may have been made for this moment and this client.
    let stored = |value: &HeaderValue| !value.to_str().is_ok_and(|it| it.contains("no-store"));
    if parts.headers.get_all(CACHE_CONTROL).iter().any(stored) {
        parts.headers.insert(CACHE_CONTROL, NO_STORE);
    }
    parts.headers.insert(CONTENT_TYPE, kind);
    Response::from_parts(parts, body.replaced(content))
}

/// The page at `path` of the pool with this name, in our own project or shared.
/// Of one with guards there is none: whoever fails here would get past them.
async fn of_pool(
    pool: &str,
    own: &PoolName,
    path: String,
    resources: &Resources,
    prepared: &Prepared,
) -> Option<Page> {
    let table = resources.table();
    let named = |project: Option<&str>| table.pool(&PoolName::new(project, pool).ok()?);
    let pool = named(own.project.as_deref()).or_else(|| named(None))?;
    if !table.is_unguarded(&pool.name) {
        return None;
    }
    let unnamed = || HeaderValue::from_str(&pool.name.name).ok();
    let host = prepared.headers().get(HOST).cloned().or_else(unnamed)?;
    let key = (pool.name.clone(), path.clone(), host.clone());
    resources.pages().get(key, fetch(pool, &path, host, resources, prepared)).await
}

/// Asks a replica directly: a page that fails has no page of its own.
async fn fetch(
    pool: &Pool,
    path: &str,
    host: HeaderValue,
    resources: &Resources,
    prepared: &Prepared,
) -> Option<Page> {
    let now = Instant::now().into_std();
    let draw =
        Draw { random: fastrand::u64(..), client: prepared.client, now, wanted: Wanted::default() };
    let endpoint = pool.pick(draw, &Tried::default())?;
    // One that is full has no page for us either.
    let _in_flight = endpoint.begin(&pool.state)?;
    let (upload, watch) = (Upload::none(), resources.bell().watch(&endpoint.vitals));
    let mut request = Request::new(upload.body());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    request.headers_mut().insert(HOST, host);
    let settings = &pool.settings;
    let greeting = settings.proxy_protocol.map(|it| Header::Local.to_bytes(it));
    let approach = Approach {
        endpoint,
        tls: settings.tls_of(endpoint),
        reuse: Reuse::Never,
        greeting: greeting.as_deref(),
        upgrade: None,
        timeouts: &settings.timeouts,
    };
    let fetched = async {
        let connected = resources.carriers().connect(approach).await;
        let mut connection = connected.map_err(|why| format!("{why:?}"))?;
        let terms = Terms {
            endpoint: endpoint.id.address,
            began: Instant::now(),
            timeouts: &settings.timeouts,
            watch: &watch,
            upload: &upload,
            idempotent: true,
        };
        let sent = connection.send(request, terms).await;
        let response = sent.map_err(|failure| failure.error.to_string())?;
        errand::whole(response, BYTES_MAX).await.map_err(|failed| failed.to_string())
    };
    match fetched.await {
        Ok(page) if page.status() == StatusCode::OK => {
            let kind = page.headers().get(CONTENT_TYPE).cloned().unwrap_or(HTML);
            // What is compressed we cannot give to everybody.
            let plain = !page.headers().contains_key(CONTENT_ENCODING);
            plain.then(|| (page.into_body(), kind))
        }
        Ok(page) => {
            debug!(pool = %pool.label, path, "An error page is answered with {}", page.status());
            None
        }
        Err(failed) => {
            debug!(pool = %pool.label, path, "An error page cannot be fetched: {failed}");
            None
        }
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// Fields that speak of content that is there no more.
const OF_THE_OLD_CONTENT: [HeaderName; 12] = [
    ACCEPT_RANGES,
    HeaderName::from_static("content-digest"),
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("repr-digest"),
    TRAILER,
];

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of a page of another pool.
const BYTES_MAX: usize = 256 * 1024;
