//! An extended CONNECT for a WebSocket (RFC 8441 §5), as HTTP/1 asks for one.

use base64ct::{Base64, Encoding};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    UPGRADE,
};

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
}
