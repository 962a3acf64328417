//! What the demo backend answers.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::time;

use crate::cli::whoami::door::Remote;
use crate::cli::whoami::grpc::{self, GrpcHealth};
use crate::cli::whoami::options::Options;
use crate::cli::whoami::request_log::{RequestLog, Stage, unix_ms};
use crate::cli::whoami::websocket;
use crate::cli::whoami::wish::Wish;

/// The backend: what it was told, and how much it has answered.
#[derive(Debug)]
pub(super) struct Whoami {
    options: Options,
    /// Requests but those for the health path.
    answered: AtomicU64,
    listening_since: SystemTime,
    request_log: Option<RequestLog>,
}

impl Whoami {
    /// A backend that listens from now on.
    ///
    /// # Errors
    /// When its request log cannot be opened.
    pub(super) fn new(options: Options) -> io::Result<Self> {
        let path = options.request_log.as_deref();
        let request_log = path.map(|path| RequestLog::open(path, &options.name)).transpose()?;
        let listening_since = wall_clock();
        Ok(Self { options, answered: AtomicU64::new(0), listening_since, request_log })
    }

    fn is_well(&self) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        self.options.unhealthy_after.is_none_or(|most| answered < most) && !self.is_down()
    }

    /// Whether the turn of being unhealthy has come.
    fn is_down(&self) -> bool {
        let Some(turn) = self.options.flap else { return false };
        let age = wall_clock().duration_since(self.listening_since).unwrap_or_default();
        age.as_nanos().checked_div(turn.as_nanos()).is_some_and(|turns| turns % 2 == 1)
    }

    /// As the health protocol of gRPC is told.
    fn grpc_health(&self) -> GrpcHealth {
        if self.is_well() { self.options.grpc_health } else { GrpcHealth::NotServing }
    }

    fn note(&self, at: SystemTime, stage: Stage, head: &Parts) {
        if let Some(log) = &self.request_log {
            log.write(at, stage, head);
        }
    }
}

/// Answers any request.
pub(super) async fn answer(
    State(whoami): State<Arc<Whoami>>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    request: Request,
) -> Response {
    if whoami.options.health_path.as_deref() == Some(request.uri().path()) {
        return if whoami.is_well() {
            "ok\n".into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy\n").into_response()
        };
    }
    if whoami.options.crash_path.as_deref() == Some(request.uri().path()) {
        process::exit(KILLED);
    }
    let is_call = grpc::is_call(&request);
    if is_call && let Some(told) = grpc::health(request.uri().path(), whoami.grpc_health()) {
        return told;
    }
    let received = wall_clock();
    let requests = whoami.answered.fetch_add(1, Ordering::Relaxed) + 1;
    let Options { delay, status, body_size: size, .. } = whoami.options;
    let wish = match (Wish { delay, status, size, location: None })
        .asked(request.uri().query().unwrap_or(""))
    {
        Ok(wish) => wish,
        Err(told) => return (StatusCode::BAD_REQUEST, format!("{told}\n")).into_response(),
    };
    if request.uri().path() == WEBSOCKET_PATH && websocket::is_asked(&request) {
        return websocket::accept(request);
    }
    let (mut head, body) = request.into_parts();
    like_http1(&mut head);
    if is_call {
        whoami.note(received, Stage::Arrived, &head);
        pause(wish.delay).await;
        return grpc::echo(&whoami.options.name, body);
    }
    let body_bytes = if body.is_end_stream() {
        whoami.note(received, Stage::Executed, &head);
        0
    } else {
        whoami.note(received, Stage::Arrived, &head);
        let counted = count(body).await;
        whoami.note(wall_clock(), counted.map_or(Stage::Cut, |_| Stage::Executed), &head);
        match counted {
            Ok(bytes) => bytes,
            // The rest of the body may still come, so the connection is of no more use.
            Err(status) => return (status, [(CONNECTION, "close")]).into_response(),
        }
    };
    pause(wish.delay).await;
    let seen = Seen {
        name: &whoami.options.name,
        listening_since: whoami.listening_since,
        received,
        requests,
        remote,
        head: &head,
        body_bytes,
    };
    let location = wish.location.clone();
    let mut response = seen.told(&wish);
    response.headers_mut().extend(location.map(|location| (LOCATION, location)));
    response
}

/// HTTP/2 has the host in the target; it is told of as HTTP/1 writes it.
fn like_http1(head: &mut Parts) {
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.entry(HOST).or_insert(host);
    }
    if let Some(target) = head.uri.path_and_query() {
        head.uri = Uri::from(target.clone());
    }
}

async fn pause(delay: Duration) {
    // Even a sleep of nothing takes until the next tick of the clock.
    if !delay.is_zero() {
        time::sleep(delay).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how soon a request came is to be compared outside")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// How many bytes a body has; read to its end, kept nowhere.
async fn count(mut body: Body) -> Result<u64, StatusCode> {
    let mut bytes = 0;
    loop {
        let frame = time::timeout(BODY_IDLE_MAX, body.frame()).await;
        match frame.map_err(|_| StatusCode::REQUEST_TIMEOUT)? {
            None => return Ok(bytes),
            Some(Err(_)) => return Err(StatusCode::BAD_REQUEST),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                bytes += u64::try_from(length).unwrap_or(u64::MAX);
            }
        }
    }
}

/// A request as it arrived.
struct Seen<'a> {
    name: &'a str,
    listening_since: SystemTime,
    received: SystemTime,
    /// How many there were, this one included.
    requests: u64,
    remote: SocketAddr,
    head: &'a Parts,
    body_bytes: u64,
}

impl Seen<'_> {
    fn told(&self, wish: &Wish) -> Response {
        let accepts = self.head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let json = accepts.is_some_and(|accept| accept.contains("application/json"));
        if let Some(size) = wish.size {
            return sized(wish.status, self.text(), size);
        }
        let (media, text) =
            if json { ("application/json", self.json()) } else { (TEXT, self.text()) };
        (wish.status, [(CONTENT_TYPE, media)], text).into_response()
    }

    fn text(&self) -> String {
        let mut text = format!(
            "Hostname: {}\nRemote: {}\nBody: {} bytes\n\n{} {} {:?}\n",
            self.name,
            self.remote(),
            self.body_bytes,
            self.head.method,
            self.head.uri,
            self.head.version,
        );
        for (name, value) in &self.head.headers {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}: {}", shown(value));
        }
        text
    }

    fn json(&self) -> String {
        let mut headers = Map::new();
        for name in self.head.headers.keys() {
            let values = self.head.headers.get_all(name).iter().map(|value| shown(value).into());
            headers.insert(name.to_string(), Value::Array(values.collect()));
        }
        let seen = serde_json::json!({
            "hostname": self.name,
            "listening_since_ms": unix_ms(self.listening_since),
            "received_at_ms": unix_ms(self.received),
            "requests": self.requests,
            "remote": self.remote().to_string(),
            "method": self.head.method.as_str(),
            "target": self.head.uri.to_string(),
            "version": format!("{:?}", self.head.version),
            "headers": headers,
            "body_bytes": self.body_bytes,
        });
        format!("{seen:#}\n")
    }

    /// The peer as people write it: IPv4 not wrapped in IPv6.
    fn remote(&self) -> SocketAddr {
        let ip: IpAddr = self.remote.ip().to_canonical();
        SocketAddr::new(ip, self.remote.port())
    }
}

/// An answer of exactly `size` bytes: `text`, cut or filled up.
fn sized(status: StatusCode, text: String, size: u64) -> Response {
    let mut text = Bytes::from(text);
    text.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let mut left = size.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
    let filling = std::iter::from_fn(move || {
        let next = left.min(u64::try_from(FILLING.len()).unwrap_or(u64::MAX));
        left -= next;
        let piece = FILLING.get(..usize::try_from(next).unwrap_or(0)).unwrap_or_default();
        (!piece.is_empty()).then(|| Bytes::from_static(piece))
    });
    let pieces = std::iter::once(text).chain(filling).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(stream::iter(pieces)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response.headers_mut().insert(CONTENT_LENGTH, size.into());
    response
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

const WEBSOCKET_PATH: &str = "/ws";

const TEXT: &str = "text/plain; charset=utf-8";

/// What a body is filled up with, a piece of it.
static FILLING: &[u8] = &[b'x'; 16 << 10];

/// What the shell tells of a process that got SIGKILL, as those that use too
/// much memory do.
const KILLED: i32 = 137;

/// Between two pieces of a request's body.
const BODY_IDLE_MAX: Duration = Duration::from_secs(60);
