//! Which pages of other origins may use an answer (Fetch Standard, section 3.2).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::domain::http::forwarded::Scheme;
use crate::domain::http::{cache, host};
use crate::domain::names::host_key;

/// `cors` and the labels below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cors {
    pub origins: Origins,
    /// What a preflight is told.
    pub methods: HeaderValue,
    /// None: whatever it asks for.
    pub headers: Option<HeaderValue>,
    pub credentials: bool,
    /// In seconds. None: as long as the browser sees fit.
    pub max_age: Option<HeaderValue>,
}

/// Whose pages may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origins {
    Any,
    Listed(Vec<Origin>),
}

/// Where a page comes from.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    https: bool,
    /// In its lookup form.
    host: String,
    port: u16,
}

impl Cors {
    /// The answer to a preflight, if the request is one: a browser asks so what
    /// it may send before it does. To an origin that is not allowed it says
    /// nothing, and the browser stops there.
    pub fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
        if !is_preflight(method, request) {
            return None;
        }
        let mut fields = HeaderMap::new();
        if self.allow(request, &mut fields) {
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            let asked = || request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            if let Some(allowed) = self.headers.clone().or_else(asked) {
                fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            }
            if let Some(max_age) = &self.max_age {
                fields.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
            }
        }
        Some(fields)
    }

    /// Says who may use an answer, in place of what its replica says of that.
    pub fn mark(&self, method: &Method, request: &HeaderMap, answer: &mut HeaderMap) {
        if !is_preflight(method, request) {
            REPLACED.iter().for_each(|name| drop(answer.remove(name)));
            self.allow(request, answer);
        }
    }

    /// Whether the origin of the request is allowed, which is then said.
    fn allow(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        if self.origins != Origins::Any {
            cache::vary_by(answer, "Origin");
        }
        let Some(allowed) = self.allowed(request) else { return false };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }

    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origins = match &self.origins {
            Origins::Any => return Some(HeaderValue::from_static("*")),
            Origins::Listed(origins) => origins,
        };
        let mut lines = request.get_all(ORIGIN).iter();
        let given = lines.next().filter(|_| lines.next().is_none())?;
        let origin = Origin::parse(given.to_str().ok()?)?;
        origins.contains(&origin).then(|| given.clone())
    }
}

fn is_preflight(method: &Method, request: &HeaderMap) -> bool {
    let asks = |name: HeaderName| request.contains_key(name);
    method == Method::OPTIONS && asks(ORIGIN) && asks(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Origin {
    /// `https://app.example` or `http://localhost:3000`, and nothing after it.
    pub fn parse(written: &str) -> Option<Self> {
        let (scheme, authority) = written.split_once("://")?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(scheme))?;
        let authority = host::split(authority.as_bytes()).ok()?;
        Some(Self {
            https: scheme == Scheme::Https,
            host: host_key(authority.host).into_owned(),
            port: authority.port.unwrap_or(scheme.default_port()),
        })
    }
}

const REPLACED: [HeaderName; 5] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The methods of a preflight's answer unless a label names others.
pub const METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let listed = ["https://App.example", "http://localhost:3000", "https://[::1]"];
        let cors = listing(&listed);
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://APP.example:443", true),
            ("HTTPS://app.example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("https://evil.example/https://app.example", false),
            ("https://app.example/", false),
            ("https://x@app.example", false),
            ("https://evil.example#https://app.example", false),
            ("http://localhost:3000", true),
            ("http://localhost", false),
            ("https://[::1]:443", true),
            ("null", false),
            ("", false),
        ] {
            let given = cors.allowed(&map(&[("origin", origin)]));
            assert_eq!(given.is_some(), allowed, "{origin}");
            if allowed {
                assert_eq!(given.unwrap(), origin, "it is repeated as it came");
            }
        }
        let twice = [("origin", "https://app.example"), ("origin", "https://evil.example")];
        assert_eq!(cors.allowed(&map(&twice)), None);
    }

    #[test]
    fn an_answer_says_who_may_use_it_whatever_the_replica_said() {
        let cors = Cors { credentials: true, ..listing(&["https://app.example"]) };
        let theirs = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "x"),
            ("access-control-expose-headers", "etag"),
            ("vary", "accept, ORIGIN"),
        ];
        for (origin, expected) in [
            (
                "https://app.example",
                map(&[
                    ("access-control-expose-headers", "etag"),
                    ("vary", "accept, ORIGIN"),
                    ("access-control-allow-origin", "https://app.example"),
                    ("access-control-allow-credentials", "true"),
                ]),
            ),
            (
                "https://evil.example",
                map(&[("access-control-expose-headers", "etag"), ("vary", "accept, ORIGIN")]),
            ),
        ] {
            let mut answer = map(&theirs);
            cors.mark(&Method::GET, &map(&[("origin", origin)]), &mut answer);
            assert_eq!(answer, expected);
        }
        let mut answer = map(&[("vary", "accept")]);
        cors.mark(&Method::GET, &HeaderMap::new(), &mut answer);
        assert_eq!(answer, map(&[("vary", "accept"), ("vary", "Origin")]));
    }

    #[test]
    fn for_any_origin_the_answer_is_the_same() {
        let cors = Cors { origins: Origins::Any, ..listing(&[]) };
        for headers in [map(&[]), map(&[("origin", "null")])] {
            let mut answer = HeaderMap::new();
            cors.mark(&Method::GET, &headers, &mut answer);
            assert_eq!(answer, map(&[("access-control-allow-origin", "*")]));
        }
    }

    #[test]
    fn a_preflight_is_an_options_request_that_names_the_method_to_come() {
        let cors =
            Cors { max_age: Some("600".parse().unwrap()), ..listing(&["https://a.example"]) };
        let asking = map(&[
            ("origin", "https://a.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-one"),
        ]);
        assert_eq!(
            cors.preflight(&Method::OPTIONS, &asking),
            Some(map(&[
                ("vary", "Origin"),
                ("access-control-allow-origin", "https://a.example"),
                ("access-control-allow-methods", METHODS),
                ("access-control-allow-headers", "x-one"),
                ("access-control-max-age", "600"),
            ]))
        );
        let fixed = Cors { headers: Some("x-two".parse().unwrap()), ..cors.clone() };
        let answer = fixed.preflight(&Method::OPTIONS, &asking).unwrap();
        assert_eq!(answer["access-control-allow-headers"], "x-two");
        let mut foreign = asking.clone();
        foreign.insert(ORIGIN, "https://b.example".parse().unwrap());
        let silent = Some(map(&[("vary", "Origin")]));
        assert_eq!(cors.preflight(&Method::OPTIONS, &foreign), silent);
        assert_eq!(cors.preflight(&Method::GET, &asking), None);
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD] {
            let mut plain = asking.clone();
            plain.remove(name);
            assert_eq!(cors.preflight(&Method::OPTIONS, &plain), None);
        }
    }

    fn listing(origins: &[&str]) -> Cors {
        Cors {
            origins: Origins::Listed(origins.iter().map(|it| Origin::parse(it).unwrap()).collect()),
            methods: HeaderValue::from_static(METHODS),
            headers: None,
            credentials: false,
            max_age: None,
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }
}
