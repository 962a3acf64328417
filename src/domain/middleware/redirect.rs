//! Where a client is sent instead, and that it cannot be led elsewhere.

use http::{HeaderValue, StatusCode};

use crate::domain::http::forwarded::Scheme;
use crate::domain::http::host;

/// `redirect` and `redirect.status`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    pub target: Target,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// A target with places for parts of the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    parts: Vec<Part>,
    /// It is a path on the host that was asked.
    is_path: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Scheme,
    Host,
    Path,
    Query,
}

/// What a request asks for, as a target may repeat it.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    pub scheme: Scheme,
    /// Without its port; empty if the request names none.
    pub host: &'a str,
    /// In normal form.
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// Why a target cannot be used. `Display` continues "…, which".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("is empty")]
    Empty,
    #[error("is longer than 2048 bytes")]
    TooLong,
    #[error("holds what may not stand in a URL")]
    Letter,
    #[error("has a `{{…}}` that is none of `{{scheme}}`, `{{host}}`, `{{path}}` and `{{query}}`")]
    Placeholder,
    #[error("has a `{{query}}` without a `?` before it")]
    Query,
    #[error("is neither a path nor an `http` or `https` URL")]
    Form,
}

impl Target {
    pub fn parse(written: &str) -> Result<Self, InvalidTarget> {
        if written.is_empty() {
            return Err(InvalidTarget::Empty);
        }
        if written.len() > TARGET_BYTES_MAX {
            return Err(InvalidTarget::TooLong);
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(InvalidTarget::Placeholder)?;
            push_text(&mut parts, text)?;
            parts.push(match name {
                "scheme" => Part::Scheme,
                "host" => Part::Host,
                "path" => Part::Path,
                "query" if has_mark(&parts) => Part::Query,
                "query" => return Err(InvalidTarget::Query),
                _ => return Err(InvalidTarget::Placeholder),
            });
            rest = after;
        }
        push_text(&mut parts, rest)?;
        let is_path = matches!(parts.first(), Some(Part::Path))
            || written.starts_with('/') && !written.starts_with("//");
        let target = Self { parts, is_path };
        if target.has_form() { Ok(target) } else { Err(InvalidTarget::Form) }
    }

    /// The target for one request; none if it needs a host and the request names
    /// none.
    ///
    /// A `?` or `&` goes with the query that would follow it. What the client
    /// wrote is escaped where a URL could not hold it, and cannot become a host:
    /// of a path's leading slashes one stays.
    pub fn location(&self, url: Url<'_>) -> Option<HeaderValue> {
        if url.host.is_empty() && self.parts.contains(&Part::Host) {
            return None;
        }
        let mut location = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => location.push_str(text),
                Part::Scheme => location.push_str(url.scheme.name()),
                Part::Host => location.push_str(url.host),
                Part::Path => push_path(&mut location, url.path),
                Part::Query => push_query(&mut location, url.query),
            }
        }
        let doubled = location.bytes().take_while(|&byte| byte == b'/').count();
        if self.is_path && doubled > 1 {
            location.drain(1..doubled);
        }
        HeaderValue::try_from(location).ok()
    }

    /// Whether it leads to a path, or to a host that only its writer and the
    /// `Host` of the request decide on.
    fn has_form(&self) -> bool {
        let sample = Url { scheme: Scheme::Http, host: "h", path: "/", query: None };
        let Some(location) = self.location(sample) else { return false };
        let Ok(location) = location.to_str() else { return false };
        if self.is_path {
            return true;
        }
        let lower = location.to_ascii_lowercase();
        let schemes = ["http://", "https://", "//"];
        let Some(rest) = schemes.iter().find_map(|scheme| lower.strip_prefix(scheme)) else {
            return false;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host::split(authority.as_bytes()).is_ok()
    }
}

/// The same address by https, for clients that came by plain http; none if the
/// request names no host.
pub fn to_https(url: Url<'_>, port: u16) -> Option<HeaderValue> {
    if url.host.is_empty() {
        return None;
    }
    let mut location = format!("https://{}", url.host);
    if port != Scheme::Https.default_port() {
        location.push_str(&format!(":{port}"));
    }
    push_path(&mut location, url.path);
    location.push('?');
    push_query(&mut location, url.query);
    HeaderValue::try_from(location).ok()
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), InvalidTarget> {
    if text.contains('}') {
        return Err(InvalidTarget::Placeholder);
    }
    if !text.bytes().all(|byte| is_plain(byte) || byte == b'#' || byte == b'[' || byte == b']') {
        return Err(InvalidTarget::Letter);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

fn has_mark(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('?')))
}

fn push_path(location: &mut String, path: &str) {
    // `OPTIONS *` asks for no path.
    location.push('/');
    push_escaped(location, path.trim_start_matches(['/', '*']));
}

fn push_query(location: &mut String, query: Option<&str>) {
    match query {
        Some(query) if !query.is_empty() => push_escaped(location, query),
        Some(_) | None => {
            if location.ends_with(['?', '&']) {
                location.pop();
            }
        }
    }
}

fn push_escaped(location: &mut String, written: &str) {
    for byte in written.bytes() {
        if is_plain(byte) {
            location.push(char::from(byte));
        } else {
            location.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What may stand in a path or a query (RFC 3986, appendix A), the `%` of an
/// escape among it. Not `\`, which browsers read as `/`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

/// No browser follows a much longer one.
const TARGET_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_target_repeats_what_it_asks_for() {
        for (target, path, query, expected) in [
            ("https://new.example{path}?{query}", "/a", Some("b=c"), "https://new.example/a?b=c"),
            ("https://new.example{path}?{query}", "/a", None, "https://new.example/a"),
            ("https://new.example{path}?{query}", "/a", Some(""), "https://new.example/a"),
            ("https://new.example{path}?x=1&{query}", "/", Some("b"), "https://new.example/?x=1&b"),
            ("https://new.example{path}?x=1&{query}", "/", None, "https://new.example/?x=1"),
            ("{scheme}://{host}:8443{path}", "/a", Some("b"), "http://old.example:8443/a"),
            ("//new.example{path}", "/a", None, "//new.example/a"),
            ("/new{path}#top", "/a", None, "/new/a#top"),
            ("{path}/", "/a", None, "/a/"),
            ("http://[::1]:80/", "/a", None, "http://[::1]:80/"),
            ("/new", "*", None, "/new"),
            ("/new{path}", "*", None, "/new/"),
        ] {
            assert_eq!(location(target, path, query), expected, "{target}");
        }
    }

    #[test]
    fn nobody_is_led_to_a_host_that_the_client_wrote() {
        for (target, path, expected) in [
            ("{path}", "//evil.example/x", "/evil.example/x"),
            ("{path}", "/\\evil.example", "/%5Cevil.example"),
            ("{path}", "///\\/evil.example", "/%5C/evil.example"),
            ("/{path}", "/evil.example", "/evil.example"),
            ("/{path}", "//evil.example", "/evil.example"),
            ("https://new.example{path}", "//evil.example", "https://new.example/evil.example"),
            ("https://new.example{path}", "/.evil.example", "https://new.example/.evil.example"),
            ("/go?to={path}", "/a?b#c", "/go?to=/a?b%23c"),
        ] {
            assert_eq!(location(target, path, None), expected, "{target} {path}");
        }
    }

    #[test]
    fn a_target_that_could_lead_anywhere_is_refused() {
        for (written, fault) in [
            ("", InvalidTarget::Empty),
            ("new.example/x", InvalidTarget::Form),
            ("ftp://new.example/", InvalidTarget::Form),
            ("javascript:alert(1)", InvalidTarget::Form),
            ("https://{path}", InvalidTarget::Form),
            ("//{path}", InvalidTarget::Form),
            ("https://user@new.example/", InvalidTarget::Form),
            ("https://", InvalidTarget::Form),
            ("https://new.example{query}", InvalidTarget::Query),
            ("/new?{queries}", InvalidTarget::Placeholder),
            ("/new{path", InvalidTarget::Placeholder),
            ("/new}", InvalidTarget::Placeholder),
            ("/a b", InvalidTarget::Letter),
            ("/a\r\nX: y", InvalidTarget::Letter),
            ("/\\evil.example", InvalidTarget::Letter),
            ("/käse", InvalidTarget::Letter),
        ] {
            assert_eq!(Target::parse(written), Err(fault), "{written}");
        }
        let long = format!("/{}", "x".repeat(TARGET_BYTES_MAX));
        assert!(Target::parse(&long[1..]).is_err(), "it is no path");
        assert!(Target::parse(&long[..TARGET_BYTES_MAX]).is_ok());
        assert_eq!(Target::parse(&long), Err(InvalidTarget::TooLong));
    }

    #[test]
    fn the_same_address_by_https_keeps_host_path_and_query() {
        let asked = |host, query| Url { scheme: Scheme::Http, host, path: "/a", query };
        for (host, query, port, expected) in [
            ("shop.example", Some("b=c"), 443, Some("https://shop.example/a?b=c")),
            ("shop.example", None, 8443, Some("https://shop.example:8443/a")),
            ("[::1]", None, 443, Some("https://[::1]/a")),
            ("", None, 443, None),
        ] {
            let location = to_https(asked(host, query), port);
            assert_eq!(location.as_ref().map(|it| it.to_str().unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_answer_names_no_other_host(
            target in "[{](path)[}]|/[{]path[}]|/x[{]path[}][?][{]query[}]",
            path in "/[!-~]{0,20}",
            query in proptest::option::of("[!-~]{0,20}"),
        ) {
            let location = location(&target, &path, query.as_deref());
            prop_assert!(location.starts_with('/') && !location.starts_with("//"), "{}", location);
            prop_assert!(!location.contains(['\\', '\r', '\n', ' ', '#']), "{}", location);
        }
    }

    fn location(target: &str, path: &str, query: Option<&str>) -> String {
        let asked = Url { scheme: Scheme::Http, host: "old.example", path, query };
        let location = Target::parse(target).unwrap().location(asked).unwrap();
        location.to_str().unwrap().to_owned()
    }
}
