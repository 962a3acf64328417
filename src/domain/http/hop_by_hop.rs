//! Header fields that end at the next hop (RFC 9110 §7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, UPGRADE};

use super::refusal::Refusal;
use super::token::list;
use super::upgrade::Upgrade;

/// Removes from a request what is not for the upstream, and returns the
/// upgrade that the client asked for; whoever forwards it restores it.
///
/// `Transfer-Encoding` goes too, since the body is framed anew. `Proxy` goes
/// because CGI would read it as a setting of the upstream itself (httpoxy).
/// `TE` is reduced to `trailers`. `Trailer` stays.
pub fn strip_request(headers: &mut HeaderMap) -> Result<Option<Upgrade>, Refusal> {
    if !headers.keys().any(ends_here) {
        return Ok(None);
    }
    let options = Options::of(headers);
    if options.names().any(is_guarded) {
        return Err(Refusal::ConnectionNames);
    }
    let upgrade = if options.has(b"upgrade") {
        Upgrade::asked(headers.get_all(UPGRADE).iter())
    } else {
        None
    };
    let trailers = headers.get_all(TE).iter().any(|value| has(value, b"trailers"));
    options.remove_from(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    Ok(upgrade)
}

/// Removes from a response what is not for the client, and returns its
/// `Upgrade` field, which a 101 or 426 needs. A field that `Connection` may not
/// name stays.
pub fn strip_response(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !headers.keys().any(ends_here) {
        return None;
    }
    let upgrade = headers.get(UPGRADE).cloned();
    Options::of(headers).remove_from(headers);
    upgrade
}

/// The values of `Connection`, apart from the map that they are about.
struct Options {
    first: Option<HeaderValue>,
    /// Of a second line and more, which nobody sends.
    others: Vec<HeaderValue>,
}

impl Options {
    fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(CONNECTION).iter().cloned();
        Self { first: values.next(), others: values.collect() }
    }

    fn has(&self, option: &[u8]) -> bool {
        self.names().any(|name| name.eq_ignore_ascii_case(option))
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.first.iter().chain(&self.others).flat_map(|value| list(value.as_bytes()))
    }

    fn remove_from(&self, headers: &mut HeaderMap) {
        let named = self.names().filter(|name| !is_usual(name) && !is_guarded(name));
        for name in named.filter_map(|name| HeaderName::from_bytes(name).ok()) {
            headers.remove(name);
        }
        // Most heads have one of them, and asking for a name costs a hash.
        while let Some(name) = headers.keys().find(|name| ends_here(name)).cloned() {
            headers.remove(name);
        }
    }
}

/// Whether a field is about one hop, and so never passed on.
pub fn ends_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "keep-alive"
            | "proxy"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Options that are no names of further fields.
fn is_usual(name: &[u8]) -> bool {
    [&b"close"[..], b"keep-alive", b"upgrade", b"te"]
        .iter()
        .any(|usual| name.eq_ignore_ascii_case(usual))
}

/// What `Connection` may not take away: it would change whom the request is
/// for, who sent it, or what we say about it.
pub(super) fn is_guarded(name: &[u8]) -> bool {
    let starts_with =
        |start: &[u8]| name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    GUARDED.iter().any(|guarded| name.eq_ignore_ascii_case(guarded))
        || starts_with(b"x-forwarded-")
        || starts_with(b"client-cert")
}

fn has(value: &HeaderValue, option: &[u8]) -> bool {
    list(value.as_bytes()).any(|listed| listed.eq_ignore_ascii_case(option))
}

const GUARDED: [&[u8]; 7] = [
    b"host",
    b"authorization",
    b"cookie",
    b"content-length",
    b"x-real-ip",
    b"x-request-id",
    b"forwarded",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_here_goes_and_the_rest_stays() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "keep-alive, X-Hop"),
            ("connection", "X-Other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("http2-settings", "AAM"),
            ("proxy", "http://evil"),
            ("trailer", "X-Sum"),
            ("authorization", "Basic eA=="),
        ]);
        assert_eq!(strip_request(&mut headers), Ok(None));
        assert_eq!(names(&headers), ["authorization", "host", "trailer"]);
    }

    #[test]
    fn a_head_without_them_is_left_as_it_is() {
        let mut headers = map(&[("host", "a"), ("accept", "*/*"), ("x-upgrade", "1")]);
        let before = headers.clone();
        assert_eq!(strip_request(&mut headers), Ok(None));
        assert_eq!(headers, before);
    }

    #[test]
    fn connection_may_not_name_what_others_rely_on() {
        for name in [
            "Host",
            "authorization",
            "Cookie",
            "content-length",
            "X-Forwarded-For",
            "x-forwarded-anything",
            "X-Real-IP",
            "X-Request-Id",
            "Forwarded",
            "Client-Cert",
            "client-cert-chain",
        ] {
            let mut headers = map(&[("host", "a"), ("connection", "close")]);
            headers.append(CONNECTION, HeaderValue::from_str(name).unwrap());
            assert_eq!(strip_request(&mut headers), Err(Refusal::ConnectionNames), "{name}");
        }
    }

    #[test]
    fn odd_options_are_dropped() {
        let mut headers = map(&[("host", "a")]);
        headers.insert(CONNECTION, HeaderValue::from_bytes(b"\xff, , a b, close").unwrap());
        assert_eq!(strip_request(&mut headers), Ok(None));
        assert_eq!(names(&headers), ["host"]);
    }

    #[test]
    fn te_is_reduced_to_trailers() {
        for (te, kept) in [("trailers", true), ("gzip, Trailers", true), ("gzip", false)] {
            let mut headers = map(&[("te", te), ("connection", "te, close")]);
            assert_eq!(strip_request(&mut headers), Ok(None));
            let left = headers.get(TE).map(|value| value.to_str().unwrap());
            assert_eq!(left, kept.then_some("trailers"), "{te}");
            assert_eq!(headers.get(CONNECTION).is_some(), kept, "{te}");
        }
    }

    #[test]
    fn an_upgrade_is_handed_back_and_h2c_is_forgotten() {
        let asked = [("connection", "Upgrade, HTTP2-Settings"), ("http2-settings", "AAM")];
        let mut headers = map(&asked);
        headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
        assert_eq!(strip_request(&mut headers), Ok(None));
        assert!(headers.is_empty());

        let mut headers = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        let upgrade = strip_request(&mut headers).unwrap().unwrap();
        assert!(headers.is_empty());
        upgrade.restore(&mut headers);
        assert_eq!(headers, map(&[("connection", "upgrade"), ("upgrade", "websocket")]));

        let mut headers = map(&[("upgrade", "websocket")]);
        assert_eq!(strip_request(&mut headers), Ok(None), "Connection does not name it");
        assert!(headers.is_empty());
    }

    #[test]
    fn a_response_loses_them_too_but_no_guarded_field() {
        let mut headers = map(&[
            ("connection", "upgrade, x-hop, content-length"),
            ("upgrade", "websocket"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("server", "x"),
        ]);
        assert_eq!(strip_response(&mut headers), Some(HeaderValue::from_static("websocket")));
        assert_eq!(names(&headers), ["content-length", "server"]);
        assert_eq!(strip_response(&mut headers), None);
    }

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }
}
