//! The head of a request, as HTTP/2 has it.

use std::net::SocketAddr;

use h2::ext::Protocol;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::domain::http::http2::websocket;
use crate::domain::http::own::own;
use crate::domain::upstream::Scheme;

/// The request that HTTP/1.1 would send, with the fields that are of a
/// connection left out and `Host` as its `:authority` (RFC 9113, sections 8.2.2
/// and 8.3.1). Where that is none, it asks for `address`. None if it has no path.
pub(super) fn of<B>(
    request: Request<B>,
    scheme: Scheme,
    address: SocketAddr,
) -> Option<(Request<()>, B)> {
    let (mut head, body) = request.into_parts();
    for name in OF_A_CONNECTION {
        head.headers.remove(name);
    }
    // `TE` may say nothing else.
    if head.headers.get(TE).is_some_and(|value| value != TRAILERS) {
        head.headers.remove(TE);
    }
    // Nor may the authority name a user.
    let host = head.headers.remove(HOST).filter(|host| !host.as_bytes().contains(&b'@'));
    let named = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    own(&mut head.headers);
    let mut parts = Parts::default();
    parts.scheme = Some(match scheme {
        Scheme::Https => http::uri::Scheme::HTTPS,
        Scheme::Http | Scheme::H2c => http::uri::Scheme::HTTP,
    });
    parts.authority = named.or_else(|| address.to_string().parse().ok());
    parts.path_and_query = head.uri.into_parts().path_and_query;
    head.uri = Uri::from_parts(parts).ok()?;
    head.version = Version::HTTP_2;
    Some((Request::from_parts(head, ()), body))
}

/// The extended CONNECT for the WebSocket that the request asks for as HTTP/1.1
/// does (RFC 8441, section 5), and the proof that its client is owed.
pub(super) fn websocket<B>(
    request: Request<B>,
    scheme: Scheme,
    address: SocketAddr,
) -> Option<(Request<()>, HeaderValue)> {
    let (mut head, _) = of(request, scheme, address)?;
    let proof = websocket::connect(head.headers_mut())?;
    *head.method_mut() = Method::CONNECT;
    head.extensions_mut().insert(Protocol::from_static("websocket"));
    Some((head, proof))
}

const OF_A_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);

    #[test]
    fn fields_of_a_connection_stay_here_and_host_becomes_the_authority() {
        let request = Request::post("/a?b=1")
            .header("Host", "shop.example:8080")
            .header("Connection", "upgrade")
            .header("Upgrade", "foo")
            .header("Transfer-Encoding", "chunked")
            .header("TE", "trailers")
            .header("Cookie", "a=1; b=2")
            .body(())
            .unwrap();
        let (head, ()) = of(request, Scheme::H2c, ADDRESS).unwrap();
        assert_eq!(head.uri(), "http://shop.example:8080/a?b=1");
        let names: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["te", "cookie"]);
    }

    #[test]
    fn nothing_of_a_head_keeps_what_it_was_read_from() {
        let read = bytes::Bytes::from(b"a=1".to_vec());
        let value = HeaderValue::from_maybe_shared(read.clone()).unwrap();
        let request = Request::get("/").header("Cookie", value).body(()).unwrap();
        let (head, ()) = of(request, Scheme::H2c, ADDRESS).unwrap();
        assert_eq!(head.headers()["cookie"], "a=1");
        assert!(read.is_unique());
    }

    #[test]
    fn te_says_trailers_or_nothing() {
        let request =
            Request::get("/").header("Host", "x").header("TE", "trailers, gzip").body(()).unwrap();
        let (head, ()) = of(request, Scheme::Https, ADDRESS).unwrap();
        assert_eq!((head.headers().len(), head.uri().scheme_str()), (0, Some("https")));
    }

    #[test]
    fn where_the_host_is_no_authority_the_address_is() {
        for host in ["a b", "", "a@b@c"] {
            let request = Request::get("/").header("Host", host).body(()).unwrap();
            let (head, ()) = of(request, Scheme::H2c, ADDRESS).unwrap();
            assert_eq!(head.uri(), "http://10.0.0.1:80/", "{host:?}");
        }
        let (head, ()) = of(Request::get("/").body(()).unwrap(), Scheme::H2c, ADDRESS).unwrap();
        assert_eq!(head.uri(), "http://10.0.0.1:80/");
    }
}
