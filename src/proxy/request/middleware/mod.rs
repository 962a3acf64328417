//! A pool's middlewares, run over one request and its answer.

mod compress;
mod error_page;
mod forward_auth;
mod guards;
mod redirect;
mod rewrite;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use crate::domain::http::forwarded::Scheme;
use crate::domain::middleware::{self, HeaderEdits, Middleware};
use crate::domain::names::PoolName;
use crate::domain::pool::Pool;
use crate::proxy::error::ProxyError;
use crate::proxy::request::body::ResponseBody;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::timers::Stage;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::Upload;

/// How far a request has come with the middlewares of its pool.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Whose they are, and which. None while no pool with any has taken it.
    of: Option<(PoolName, Arc<[Middleware]>)>,
    /// Those of the same pool that it has passed, before they were changed.
    passed: Option<Arc<[Middleware]>>,
    /// Fields that a service gives to the request, in place of its client's.
    granted: HeaderEdits,
    /// The target that they give to it, and what is told of the old one.
    target: Option<PathAndQuery>,
    prefix: HeaderEdits,
}

/// What the middlewares make of a request.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass,
    Answer(Reply),
}

/// An answer of our own that is no failure: a redirect, a preflight.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The name in the access log.
    pub(super) reason: &'static str,
}

impl Reply {
    fn preflight(headers: HeaderMap) -> Self {
        let status = StatusCode::NO_CONTENT;
        Self { status, headers, body: Bytes::new(), reason: "preflight" }
    }
}

impl Admission {
    /// The request is about to be served by `pool`. Whether its middlewares have
    /// yet to see it: they have not if the request went to another pool before,
    /// or if they have changed while it was held. What was said of its body
    /// was said for the pool that it has left.
    pub(super) fn enter(&mut self, pool: &Pool, upload: &Upload) -> bool {
        let asked = &pool.settings.middlewares;
        if asked.is_empty() {
            if self.of.is_some() {
                upload.set_limit(None);
                upload.keep_trailers_back(false);
                *self = Self::default();
            }
            return false;
        }
        let same = |(name, known): &(PoolName, Arc<[Middleware]>)| {
            *name == pool.name && (Arc::ptr_eq(known, asked) || known == asked)
        };
        if self.of.as_ref().is_some_and(same) {
            return false;
        }
        upload.set_limit(None);
        upload.keep_trailers_back(false);
        let before = self.of.take().filter(|(name, _)| *name == pool.name);
        let passed = before.map(|(_, middlewares)| middlewares);
        let has_asked = |it: &Middleware| {
            matches!(it, Middleware::ForwardAuth(_)) && passed.iter().any(|them| them.contains(it))
        };
        let granted = asked.iter().any(has_asked).then(|| std::mem::take(&mut self.granted));
        *self = Self {
            of: Some((pool.name.clone(), Arc::clone(asked))),
            granted: granted.unwrap_or_default(),
            passed,
            ..Self::default()
        };
        true
    }

    /// Runs the middlewares of the pool that was entered, on the way in. Those
    /// that ask or count do so once for each request, whatever else has changed.
    pub(super) async fn admit(
        &mut self,
        resources: &Rc<Resources>,
        prepared: &Prepared,
        exchange: &mut Exchange,
    ) -> Result<Verdict, ProxyError> {
        let Self { of, passed, granted, target, prefix } = self;
        let Some((pool, middlewares)) = of else { return Ok(Verdict::Pass) };
        let has_passed = |it: &Middleware| passed.as_ref().is_some_and(|them| them.contains(it));
        for middleware in &**middlewares {
            if let Middleware::ForwardAuth(auth) = middleware {
                prepared.upload().keep_trailers_back(!auth.headers.is_empty());
            }
            let reply = match middleware {
                Middleware::RedirectHttps => {
                    redirect::https(prepared, resources.parts.https_public_port)?
                }
                Middleware::Clients(clients) if !clients.admit(prepared.client) => {
                    return Err(ProxyError::Forbidden);
                }
                Middleware::Rate(_) | Middleware::BasicAuth(_) | Middleware::ForwardAuth(_)
                    if has_passed(middleware) =>
                {
                    None
                }
                Middleware::Rate(limit) => {
                    guards::rate(limit, pool, resources, prepared)?;
                    None
                }
                Middleware::Cors(cors) => {
                    cors.preflight(prepared.method(), prepared.headers()).map(Reply::preflight)
                }
                Middleware::BasicAuth(users) => {
                    guards::basic(users, pool, resources, prepared, exchange).await?;
                    None
                }
                Middleware::ForwardAuth(auth) => {
                    exchange.timers.enter(Stage::Elsewhere);
                    let reply = forward_auth::admit(auth, resources, prepared, granted).await;
                    exchange.timers.enter(Stage::Ours);
                    reply?
                }
                Middleware::BodyLimit(limit) => {
                    guards::body_limit(*limit, prepared, exchange)?;
                    None
                }
                Middleware::Redirect(to) => Some(redirect::elsewhere(prepared, to)?),
                Middleware::Rewrite(how) => {
                    *target = rewrite::rewrite(how, prepared, prefix);
                    None
                }
                Middleware::Compress(_)
                | Middleware::Clients(_)
                | Middleware::RequestHeaders(_)
                | Middleware::ResponseHeaders(_)
                | Middleware::Hsts(_)
                | Middleware::SecurityHeaders
                | Middleware::ErrorPage(_) => None,
            };
            if let Some(reply) = reply {
                return Ok(Verdict::Answer(reply));
            }
        }
        Ok(Verdict::Pass)
    }

    /// Gives the copy of a request that goes to a replica what the middlewares
    /// want it to have.
    pub(super) fn equip<B>(&self, request: &mut Request<B>) {
        if self.is_empty() {
            return;
        }
        if let Some(target) = &self.target {
            *request.uri_mut() = Uri::from(target.clone());
        }
        let headers = request.headers_mut();
        self.granted.apply(headers);
        self.prefix.apply(headers);
        for middleware in self.middlewares() {
            match middleware {
                Middleware::RequestHeaders(edits) => edits.apply(headers),
                Middleware::Compress(_)
                | Middleware::RedirectHttps
                | Middleware::Clients(_)
                | Middleware::Cors(_)
                | Middleware::Redirect(_)
                | Middleware::Rewrite(_)
                | Middleware::ResponseHeaders(_)
                | Middleware::Hsts(_)
                | Middleware::SecurityHeaders
                | Middleware::Rate(_)
                | Middleware::BasicAuth(_)
                | Middleware::ForwardAuth(_)
                | Middleware::BodyLimit(_)
                | Middleware::ErrorPage(_) => {}
            }
        }
    }

    /// Runs the middlewares on the way out: over a replica's answer, and over
    /// one of our own that stands for it.
    pub(super) async fn finish(
        &self,
        resources: &Rc<Resources>,
        prepared: &Prepared,
        mut response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let Some((pool, middlewares)) = &self.of else { return response };
        for middleware in middlewares.iter().rev() {
            match middleware {
                Middleware::SecurityHeaders => middleware::secure(response.headers_mut()),
                Middleware::Hsts(value) => {
                    if prepared.scheme() == Scheme::Https {
                        middleware::insist_on_https(response.headers_mut(), value);
                    }
                }
                Middleware::ResponseHeaders(edits) => edits.apply(response.headers_mut()),
                Middleware::Cors(cors) => {
                    let (method, headers) = (prepared.method(), prepared.headers());
                    cors.mark(method, headers, response.headers_mut());
                }
                Middleware::Compress(settings) => {
                    compress::over(settings, resources.encoders(), prepared, &mut response);
                }
                Middleware::ErrorPage(page) => {
                    response = error_page::replace(page, pool, resources, prepared, response).await;
                }
                Middleware::RedirectHttps
                | Middleware::Clients(_)
                | Middleware::Redirect(_)
                | Middleware::Rewrite(_)
                | Middleware::Rate(_)
                | Middleware::BasicAuth(_)
                | Middleware::ForwardAuth(_)
                | Middleware::BodyLimit(_)
                | Middleware::RequestHeaders(_) => {}
            }
        }
        response
    }

    /// Whether there is nothing to run.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_none()
    }

    fn middlewares(&self) -> &[Middleware] {
        self.of.as_ref().map_or(&[], |(_, middlewares)| middlewares)
    }
}
