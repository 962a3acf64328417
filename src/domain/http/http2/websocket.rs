//! An extended CONNECT for a WebSocket (RFC 8441 §5), as HTTP/1 asks for one, and
//! the other way round.

use base64ct::{Base64, Encoding};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    UPGRADE,
};

use crate::domain::http::websocket::proof;

/// Adds to `headers` what only HTTP/1 needs. `nonce` is to be random.
pub fn ask(headers: &mut HeaderMap, nonce: [u8; 16]) {
    let mut key = [0; 24];
    if let Ok(key) = Base64::encode(&nonce, &mut key)
        && let Ok(key) = HeaderValue::from_str(key)
    {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // Nothing that follows is a body.
    headers.remove(CONTENT_LENGTH);
}

/// Removes from the answer what proves to an HTTP/1 client that it was read.
pub fn settle(headers: &mut HeaderMap) {
    headers.remove(SEC_WEBSOCKET_ACCEPT);
}

/// Removes from `headers` what only HTTP/1 needs. Gives the proof that its client
/// is owed, if it has asked as it must.
pub fn connect(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let key = headers.remove(SEC_WEBSOCKET_KEY)?;
    // A length of 0 would forbid what the tunnel carries (RFC 9113, section 8.1.1).
    headers.remove(CONTENT_LENGTH);
    HeaderValue::try_from(proof(key.as_bytes())).ok()
}

/// Adds to the answer what an HTTP/1 client expects.
pub fn accept(headers: &mut HeaderMap, proof: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    headers.remove(CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http1_replica_is_asked_with_a_key_of_16_bytes() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        ask(&mut headers, *b"the sample nonce");
        let field = |name| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field(SEC_WEBSOCKET_KEY), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(field(CONNECTION), Some("upgrade"));
        assert_eq!(field(UPGRADE), Some("websocket"));
        assert_eq!(field(CONTENT_LENGTH), None);
        settle(&mut headers);
        assert!(!headers.contains_key(SEC_WEBSOCKET_ACCEPT));
    }

    #[test]
    fn an_http1_client_is_shown_that_its_key_was_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(connect(&mut headers), None);
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let proof = connect(&mut headers).unwrap();
        assert!(headers.is_empty());
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        accept(&mut headers, proof);
        let field = |name| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field(SEC_WEBSOCKET_ACCEPT), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!((field(UPGRADE), field(CONTENT_LENGTH)), (Some("websocket"), None));
    }
}
