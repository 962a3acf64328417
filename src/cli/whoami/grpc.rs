//! gRPC as the demo backend speaks it: its health, and an echo of all else.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::time::timeout;

/// What the health protocol is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::cli) enum GrpcHealth {
    #[default]
    Serving,
    NotServing,
}

/// Whether a request is a gRPC call; gRPC-Web is none.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let rest = kind.and_then(|kind| kind.strip_prefix("application/grpc"));
    request.method() == Method::POST
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// The answer to `grpc.health.v1.Health/Check`, of whichever service it asks; none
/// to other calls.
pub(super) fn health(path: &str, health: GrpcHealth) -> Option<Response> {
    match path {
        "/grpc.health.v1.Health/Check" => {
            let message = match health {
                GrpcHealth::Serving => SERVING,
                GrpcHealth::NotServing => NOT_SERVING,
            };
            let frames = [Frame::data(Bytes::from_static(message)), Frame::trailers(fine())];
            let frames = stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
            Some(answer(Body::new(StreamBody::new(frames))))
        }
        // Changes of health are not told (`Watch`).
        path if path.starts_with("/grpc.health.v1.Health/") => {
            let mut response = answer(Body::empty());
            response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static(UNIMPLEMENTED));
            Some(response)
        }
        _ => None,
    }
}

/// Sends every message back as it comes, from the backend called `name`.
pub(super) fn echo(name: &str, body: Body) -> Response {
    let frames = stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        loop {
            match timeout(SILENCE_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) if frame.is_data() => return Some((Ok(frame), Some(body))),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Some((Err(error), None)),
                Ok(None) => return Some((Ok(Frame::trailers(fine())), None)),
                Err(silent) => return Some((Err(axum::Error::new(silent)), None)),
            }
        }
    });
    let mut response = answer(Body::new(StreamBody::new(frames)));
    response.headers_mut().extend(HeaderValue::from_str(name).ok().map(|name| (HOSTNAME, name)));
    response
}

fn answer(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn fine() -> HeaderMap {
    HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))])
}

impl ValueEnum for GrpcHealth {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Serving, Self::NotServing]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
        }))
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const HOSTNAME: HeaderName = HeaderName::from_static("hostname");
const UNIMPLEMENTED: &str = "12";

/// Not compressed, two bytes long: a `HealthCheckResponse` whose field 1 is 1.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

/// Between two messages of a call.
const SILENCE_MAX: Duration = Duration::from_secs(3600);
