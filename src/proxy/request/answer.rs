//! Answers of our own.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::domain::http::grpc;
use crate::proxy::error::ProxyError;
use crate::proxy::request::body::ResponseBody;
use crate::proxy::request::exchange::Exchange;

/// What a client understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Language {
    Html,
    Json,
    /// No bodies, but a status of its own.
    Grpc,
}

impl Language {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if is_call(headers) {
            Self::Grpc
        } else if wants_json(headers) {
            Self::Json
        } else {
            Self::Html
        }
    }
}

/// Whether the request is a gRPC call.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| grpc::is_call(kind.as_bytes()))
}

/// Whether the client would rather have JSON than a page.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.contains("json") && !accept.contains("text/html")
}

/// Marks an answer of our own, with what it tells the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    pub(super) message: &'static str,
}

/// The answer to an authority that comes to see that a name is ours.
pub(super) fn proof(proof: &str, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    exchange.replied(StatusCode::OK, "acme_challenge");
    let content = Bytes::copy_from_slice(proof.as_bytes());
    let mut response = Response::new(ResponseBody::whole(content, exchange));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a request that failed. It names the request, so that a person
/// can find it in the log, and nothing of what stands behind the balancer.
pub(super) fn of(
    error: &ProxyError,
    language: Language,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let status = error.status();
    exchange.replied(status, error.reason());
    let id = exchange.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("");
    let message = error.public_message();
    let (kind, content) = match language {
        Language::Json => ("application/json", json(status, message, id)),
        Language::Html => ("text/html; charset=utf-8", page(status, message, id)),
        Language::Grpc => {
            let message = format!("{message} [{}; request {id}]", error.reason());
            return to_call(error, &message, exchange);
        }
    };
    let mut response = Response::new(ResponseBody::whole(Bytes::from(content), exchange));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    error.describe(headers);
    response.extensions_mut().insert(Ours { message });
    response
}

/// The answer to a call that failed: all of it is in the head ("Trailers-Only"),
/// and to HTTP it is well.
fn to_call(
    error: &ProxyError,
    message: &str,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.sent_as(StatusCode::OK);
    let mut response = Response::new(ResponseBody::whole(Bytes::new(), exchange));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(error.grpc_code().number())));
    let message = HeaderValue::try_from(grpc::Message(message).to_string());
    headers.extend(message.ok().map(|message| (GRPC_MESSAGE, message)));
    error.describe_call(headers);
    response
}

fn json(status: StatusCode, message: &str, id: &str) -> String {
    let id = escape(id);
    format!(
        "{{\"status\":{},\"message\":\"{message}\",\"request_id\":\"{id}\"}}\n",
        status.as_u16()
    )
}

fn page(status: StatusCode, message: &str, id: &str) -> String {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or("Error");
    let id = escape(id);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{code} {reason}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;\
         margin:15vh auto;max-width:32rem;padding:0 1rem}}small{{opacity:.7}}</style>\n\
         <h1>{code} {reason}</h1>\n<p>{message}</p>\n<p><small>Request {id}</small></p>\n</html>\n"
    )
}

/// A request id may come from a trusted proxy; what is no token does not reach
/// the page.
fn escape(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).take(128).collect()
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_a_program_gets_json() {
        for (accept, json) in [
            ("application/json", true),
            ("application/problem+json, */*", true),
            ("text/html,application/json", false),
            ("*/*", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_json(&headers), json, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }

    #[test]
    fn a_hostile_request_id_does_not_reach_the_page() {
        let page = page(StatusCode::NOT_FOUND, "x", "<script>1</script>\"");
        assert!(page.contains("Request script1script<"), "{page}");
    }
}
