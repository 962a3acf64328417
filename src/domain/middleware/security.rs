//! Fields by which browsers are told to be careful.

use http::header::{
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Adds the four fields of `security_headers` to an answer, each unless the
/// replica has sent its own, which may be stricter.
pub fn secure(headers: &mut HeaderMap) {
    for (name, value) in FOUR {
        headers.entry(name).or_insert(value);
    }
}

/// Adds `Strict-Transport-Security` to an answer by https, unless the replica
/// has sent its own. Over plain http browsers pass it over (RFC 6797, section
/// 7.2 forbids it there).
pub fn insist_on_https(headers: &mut HeaderMap, value: &HeaderValue) {
    headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| value.clone());
}

const FOUR: [(HeaderName, HeaderValue); 4] = [
    (X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
    (REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
];

/// One year.
pub const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_replica_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=0"));
        secure(&mut headers);
        insist_on_https(&mut headers, &HSTS);
        let shown = |name: &str| headers.get(name).map(|it| it.to_str().unwrap());
        assert_eq!(shown("x-frame-options"), Some("DENY"));
        assert_eq!(shown("x-content-type-options"), Some("nosniff"));
        assert_eq!(shown("x-xss-protection"), Some("1; mode=block"));
        assert_eq!(shown("referrer-policy"), Some("strict-origin-when-cross-origin"));
        assert_eq!(shown("strict-transport-security"), Some("max-age=0"));
        assert_eq!(headers.len(), 5);
    }
}
