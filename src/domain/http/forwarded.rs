//! Who the client is, and what upstreams are told about it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue};

use super::{host, token};

/// The downstream end of a connection, its header values made once and shared
/// by all its requests.
#[derive(Clone, Debug)]
pub struct Downstream {
    peer: IpAddr,
    scheme: Scheme,
    trusted: bool,
    peer_value: HeaderValue,
}

/// How the client reached us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    Http,
    Https,
}

impl Downstream {
    /// `trusted`: the peer is a proxy whose word about the client is believed.
    pub fn new(peer: IpAddr, trusted: bool, scheme: Scheme) -> Self {
        let peer = peer.to_canonical();
        Self { peer, scheme, trusted, peer_value: address(peer) }
    }

    /// The other end of the connection; never an IPv4-mapped address.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the peer is a proxy whose word about the client is believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The client of a request with these fields: the peer, or whom it speaks for
    /// if it is believed.
    pub fn client(&self, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
        if self.trusted { client(self.peer, headers, trusted) } else { self.peer }
    }

    /// Tells the upstream about the client.
    ///
    /// From an untrusted peer all that was said before is dropped, also where
    /// it is spelled with `_`, which CGI reads as `-`. From a trusted one
    /// `X-Forwarded-For` is appended to, and `-Proto`, `-Host`, `-Port` stay.
    /// An untrusted `X-Request-Id` is removed; the caller sets its own.
    pub fn apply(&self, headers: &mut HeaderMap, client: IpAddr) {
        self.drop_unbelieved(headers);
        let host = headers.get(HOST).cloned();
        self.append_peer(headers);
        let real_ip = if client == self.peer { self.peer_value.clone() } else { address(client) };
        headers.insert(X_REAL_IP, real_ip);
        self.fill(headers, X_FORWARDED_PROTO, || HeaderValue::from_static(self.scheme.name()));
        self.fill(headers, X_FORWARDED_PORT, || self.port(host.as_ref()));
        if let Some(host) = host {
            self.fill(headers, X_FORWARDED_HOST, || host);
        }
    }

    fn drop_unbelieved(&self, headers: &mut HeaderMap) {
        let unbelieved = |name: &&HeaderName| match family(name.as_str()) {
            Some(Spelling::Usual) => !self.trusted,
            Some(Spelling::Underscored) => true,
            None => false,
        };
        // Stays empty, and so unallocated, for the usual client.
        let names: Vec<HeaderName> = headers.keys().filter(unbelieved).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }

    fn append_peer(&self, headers: &mut HeaderMap) {
        let mut before = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let joined = before.next().map(|first| {
            let mut joined = first.to_vec();
            for part in before.chain([self.peer_value.as_bytes()]) {
                joined.extend_from_slice(b", ");
                joined.extend_from_slice(part);
            }
            joined
        });
        // What was a valid value before is one with `, ` and an address after it.
        let value = joined.and_then(|joined| HeaderValue::from_bytes(&joined).ok());
        headers.insert(X_FORWARDED_FOR, value.unwrap_or_else(|| self.peer_value.clone()));
    }

    fn fill(&self, headers: &mut HeaderMap, name: HeaderName, ours: impl FnOnce() -> HeaderValue) {
        // Whatever an untrusted peer sent is gone by now, and need not be looked for.
        if !self.trusted || !headers.contains_key(&name) {
            headers.insert(name, ours());
        }
    }

    fn port(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let written = host.and_then(|host| host::split(host.as_bytes()).ok()?.port);
        match written.unwrap_or(self.scheme.default_port()) {
            80 => HeaderValue::from_static("80"),
            443 => HeaderValue::from_static("443"),
            port => port.into(),
        }
    }
}

impl Scheme {
    /// As in a URI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The client: the rightmost entry of `X-Forwarded-For` that is not itself a
/// trusted proxy, if `peer` is one, else `peer`. An entry that is no address
/// ends the walk at the proxy that wrote it down.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    while trusted(client) {
        let Some(address) = entries.next().and_then(entry) else { break };
        client = address;
    }
    client
}

/// How the client came, by the fields as [`Downstream::apply`] leaves them. Of
/// several proxies the first one met the client.
pub fn scheme(headers: &HeaderMap) -> Scheme {
    let first = headers.get(X_FORWARDED_PROTO).and_then(|it| token::list(it.as_bytes()).next());
    // A WebSocket's, as some proxies have it.
    let secure =
        |scheme: &[u8]| [&b"https"[..], b"wss"].iter().any(|it| it.eq_ignore_ascii_case(scheme));
    if first.is_some_and(secure) { Scheme::Https } else { Scheme::Http }
}

/// An address as proxies write it: alone, in brackets, with a port.
fn entry(written: &[u8]) -> Option<IpAddr> {
    let written = str::from_utf8(written).ok()?.trim_matches([' ', '\t']);
    let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match (bare, written.parse::<IpAddr>()) {
        (Some(bare), _) => IpAddr::V6(bare.parse().ok()?),
        (None, Ok(address)) => address,
        (None, Err(_)) => written.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

enum Spelling {
    Usual,
    Underscored,
}

/// Whether a field is one of those that only a trusted proxy may set.
pub(super) fn speaks_of_client(name: &HeaderName) -> bool {
    family(name.as_str()).is_some()
}

/// How a field that speaks of the client is spelled; none for other fields.
/// `name` is lower case, as in any header map.
fn family(name: &str) -> Option<Spelling> {
    // Most names end at their first letter.
    if !name.starts_with(['x', 'f', 'c']) {
        return None;
    }
    let starts = |start: &str| {
        let mut bytes = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        start.bytes().all(|expected| bytes.next() == Some(expected))
    };
    let is = |whole: &str| name.len() == whole.len() && starts(whole);
    let told = starts("x-forwarded-")
        || starts("client-cert")
        || is("x-real-ip")
        || is("x-request-id")
        || is("forwarded");
    told.then(|| if name.contains('_') { Spelling::Underscored } else { Spelling::Usual })
}

fn address(address: IpAddr) -> HeaderValue {
    // An address is made of digits, letters, `.` and `:`.
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_rightmost_entry_that_is_no_trusted_proxy() {
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.6, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            (&["192.0.2.6", "192.0.2.7,\t10.0.0.2 "], "192.0.2.7"),
            (&["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["192.0.2.7, "], "10.0.0.1"),
            (&["[192.0.2.7]"], "10.0.0.1"),
        ] {
            let headers =
                map(&lines.iter().map(|line| ("x-forwarded-for", *line)).collect::<Vec<_>>());
            assert_eq!(super::client(ip("10.0.0.1"), &headers, ours), ip(client), "{lines:?}");
        }
    }

    #[test]
    fn a_client_came_by_https_if_the_first_proxy_says_so() {
        for (told, https) in [
            (Some("https"), true),
            (Some("HTTPS, http"), true),
            (Some("http"), false),
            (Some("http, https"), false),
            (Some(""), false),
            (None, false),
        ] {
            let fields = told.iter().map(|told| ("x-forwarded-proto", *told)).collect::<Vec<_>>();
            assert_eq!(scheme(&map(&fields)) == Scheme::Https, https, "{told:?}");
        }
    }

    #[test]
    fn nobody_believes_an_untrusted_peer() {
        let headers = map(&[("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(client(ip("198.51.100.1"), &headers, ours), ip("198.51.100.1"));
        assert_eq!(client(ip("::ffff:10.0.0.1"), &headers, ours), ip("192.0.2.7"));
    }

    #[test]
    fn an_upstream_learns_who_the_client_is_and_what_it_asked_for() {
        let mut headers = map(&[("host", "shop.example:8080"), ("accept", "*/*")]);
        untrusted().apply(&mut headers, ip("198.51.100.1"));
        let expected = map(&[
            ("host", "shop.example:8080"),
            ("accept", "*/*"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "shop.example:8080"),
            ("x-forwarded-port", "8080"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "198.51.100.1"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_port_is_that_of_the_host_header_or_of_the_scheme() {
        for (scheme, host, port) in [
            (Scheme::Http, Some("a"), "80"),
            (Scheme::Https, Some("a"), "443"),
            (Scheme::Https, Some("a:80"), "80"),
            (Scheme::Http, Some("[::1]:81"), "81"),
            (Scheme::Http, None, "80"),
        ] {
            let mut headers = map(&host.iter().map(|host| ("host", *host)).collect::<Vec<_>>());
            Downstream::new(ip("198.51.100.1"), false, scheme).apply(&mut headers, ip("::1"));
            assert_eq!(headers[X_FORWARDED_PORT], port, "{host:?}");
            assert_eq!(headers.get(X_FORWARDED_HOST).map(|value| value.to_str().unwrap()), host);
            assert_eq!(headers[X_REAL_IP], "::1");
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_first_hop_that_is_believed() {
        for (told, trusted, scheme) in [
            ("https", true, Scheme::Https),
            ("HTTPS, http", true, Scheme::Https),
            ("wss", true, Scheme::Https),
            ("http, https", true, Scheme::Http),
            ("", true, Scheme::Http),
            ("https", false, Scheme::Http),
        ] {
            let mut headers = map(&[("x-forwarded-proto", told)]);
            let peer = ip("198.51.100.1");
            Downstream::new(peer, trusted, Scheme::Http).apply(&mut headers, peer);
            assert_eq!(super::scheme(&headers), scheme, "{told} {trusted}");
        }
        let mut headers = HeaderMap::new();
        Downstream::new(ip("::1"), false, Scheme::Https).apply(&mut headers, ip("::1"));
        assert_eq!(scheme(&headers), Scheme::Https);
    }

    #[test]
    fn what_an_untrusted_peer_says_of_the_client_is_dropped_however_it_is_spelled() {
        let told = [
            "x-forwarded-for",
            "x-forwarded-user",
            "x_forwarded_for",
            "X_Forwarded-Proto",
            "x-real-ip",
            "x_real_ip",
            "forwarded",
            "client-cert",
            "client_cert_chain",
            "x-request-id",
            "X_Request_Id",
        ];
        let mut headers = map(&told.map(|name| (name, "liar")));
        let kept = [("x-forward", "1"), ("client", "1"), ("forwarded-by", "1"), ("x_y", "1")];
        headers.extend(map(&kept));
        untrusted().apply(&mut headers, ip("198.51.100.1"));
        assert!(!headers.values().any(|value| value == "liar"), "{headers:?}");
        assert!(kept.iter().all(|(name, _)| headers.contains_key(*name)), "{headers:?}");
    }

    #[test]
    fn what_a_trusted_peer_says_stays_and_grows() {
        let mut headers = map(&[
            ("host", "inner"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-request-id", "r1"),
            ("forwarded", "for=192.0.2.7"),
            ("x_forwarded_for", "liar"),
        ]);
        Downstream::new(ip("10.0.0.1"), true, Scheme::Http).apply(&mut headers, ip("192.0.2.7"));
        let expected = map(&[
            ("host", "inner"),
            ("x-forwarded-for", "192.0.2.7, 10.0.0.2, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "80"),
            ("x-real-ip", "192.0.2.7"),
            ("x-request-id", "r1"),
            ("forwarded", "for=192.0.2.7"),
        ]);
        assert_eq!(headers, expected);
    }

    fn untrusted() -> Downstream {
        Downstream::new(ip("::ffff:198.51.100.1"), false, Scheme::Http)
    }

    fn ours(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }
}
