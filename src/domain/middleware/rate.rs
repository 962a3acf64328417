//! How many requests of one client, or of whom a header or cookie names, pass.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

use crate::domain::limit::{Rate, client_network};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    pub rate: Rate,
    pub by: RateBy,
}

/// Who shares a bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RateBy {
    #[default]
    Client,
    Header(HeaderName),
    Cookie(Arc<str>),
}

/// What names a bucket. Without the header or cookie it is the client, apart
/// from those who have it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RateKey<'a> {
    Client(IpAddr),
    Value(&'a [u8]),
}

impl RateLimit {
    pub fn key<'a>(&self, client: IpAddr, headers: &'a HeaderMap) -> RateKey<'a> {
        let value = match &self.by {
            RateBy::Client => None,
            RateBy::Header(name) => headers.get(name).map(|value| value.as_bytes()),
            RateBy::Cookie(name) => cookie(headers, name),
        };
        match value.filter(|value| !value.is_empty()) {
            Some(value) => RateKey::Value(value),
            None => RateKey::Client(client_network(client)),
        }
    }
}

/// The first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|it| it.as_bytes().split(|b| *b == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::num::NonZeroU32;

    fn limit(by: RateBy) -> RateLimit {
        RateLimit { rate: Rate { pace: 1, burst: NonZeroU32::MIN }, by }
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let none = HeaderMap::new();
        let key = |client: &str| limit(RateBy::Client).key(client.parse().unwrap(), &none);
        assert_eq!(key("2001:db8:1:2:ffff::9"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:3::1"), key("2001:db8:1:2::1"));
        assert_eq!(key("::ffff:10.0.0.1"), RateKey::Client("10.0.0.1".parse().unwrap()));
        assert_ne!(key("10.0.0.2"), key("10.0.0.1"));
    }

    #[test]
    fn a_header_or_cookie_names_the_bucket_and_without_it_the_client_does() {
        let client: IpAddr = "10.0.0.1".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-key", HeaderValue::from_static("k"));
        headers.append(COOKIE, HeaderValue::from_static("aid=1; id=2"));
        headers.append(COOKIE, HeaderValue::from_static("id=3"));
        let header = |name| limit(RateBy::Header(HeaderName::from_static(name)));
        assert_eq!(header("x-key").key(client, &headers), RateKey::Value(b"k"));
        assert_eq!(header("x-none").key(client, &headers), RateKey::Client(client));
        let cookie = |name: &str| limit(RateBy::Cookie(name.into()));
        assert_eq!(cookie("id").key(client, &headers), RateKey::Value(b"2"));
        assert_eq!(cookie("d").key(client, &headers), RateKey::Client(client));
    }
}
