//! Who may read what.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HOST;
use http::uri::Authority;

use crate::admin::Admin;

/// Why a request may read only what everybody may.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Refusal {
    #[error(
        "{peer} may read /healthz, /readyz and /metrics only: the rest is for loopback and the \
         Docker host; run `evenkeel status` in the balancer's container, or ask from the host \
         through a published port"
    )]
    Peer { peer: IpAddr },
    #[error("the address of this connection is not known")]
    NoPeer,
    #[error(
        "the Host {given:?} is not one of ours: use an IP address or `localhost` in the URL, \
         since any other name may have been made to point here by a web page"
    )]
    Host { given: String },
}

/// Lets everybody read what is public, and those whom we trust the rest.
pub(super) async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer);
    let judged = {
        let overview = admin.overview.borrow();
        judge(peer.map(|peer| peer.ip()), &overview.gateways, &hosts(&request))
    };
    match judged {
        Err(refusal) if !PUBLIC.contains(&request.uri().path()) => {
            (StatusCode::FORBIDDEN, format!("forbidden: {refusal}\n")).into_response()
        }
        Ok(()) | Err(_) => next.run(request).await,
    }
}

/// Whether a peer that named these hosts may read everything. Through a
/// published port the Docker host comes from a gateway of our networks.
fn judge(peer: Option<IpAddr>, gateways: &[IpAddr], hosts: &[String]) -> Result<(), Refusal> {
    let peer = peer.ok_or(Refusal::NoPeer)?.to_canonical();
    let gateway = gateways.iter().any(|gateway| gateway.to_canonical() == peer);
    if !peer.is_loopback() && !gateway {
        return Err(Refusal::Peer { peer });
    }
    match hosts.iter().find(|host| !is_ours(host)) {
        Some(foreign) => Err(Refusal::Host { given: foreign.chars().take(HOST_SHOWN).collect() }),
        None => Ok(()),
    }
}

/// Every name under which the request addresses us. Clients that are no
/// browsers may leave it out, and only browsers can be led here by a page.
fn hosts(request: &Request) -> Vec<String> {
    let headers = request.headers().get_all(HOST).iter();
    let named = headers.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    named.chain(request.uri().authority().map(ToString::to_string)).collect()
}

/// Whether no foreign name server can have a say in this name.
fn is_ours(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    let name = name.strip_suffix('.').unwrap_or(&name);
    !host.contains('@')
        && (bare.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost"))
}

/// What everybody may read. Readiness says what is wrong with a source to all,
/// since the Docker host cannot be told from others while Docker is away.
const PUBLIC: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How much of a foreign host the refusal repeats, in characters.
const HOST_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_gateways_read_everything_and_nobody_else() {
        let gateways: [IpAddr; 2] =
            ["172.18.0.1".parse().unwrap(), "::ffff:172.19.0.1".parse().unwrap()];
        let table = [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("172.18.0.1", true),
            ("::ffff:172.18.0.1", true),
            ("172.19.0.1", true),
            ("172.18.0.2", false),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", false),
            ("0.0.0.0", false),
            ("::", false),
        ];
        for (peer, expected) in table {
            let judged = judge(Some(peer.parse().unwrap()), &gateways, &[]);
            assert_eq!(judged.is_ok(), expected, "{peer}: {judged:?}");
        }
        assert_eq!(judge(None, &gateways, &[]), Err(Refusal::NoPeer));
    }

    #[test]
    fn only_names_that_no_page_can_point_here_are_ours() {
        let table = [
            ("127.0.0.1:9090", true),
            ("192.168.1.5", true),
            ("[::1]:9090", true),
            ("localhost:9090", true),
            ("LOCALHOST.", true),
            ("lb.localhost", true),
            ("evil.example", false),
            ("evil.example:9090", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("user@localhost", false),
            ("", false),
            ("a b", false),
        ];
        for (host, expected) in table {
            assert_eq!(is_ours(host), expected, "`{host}`");
        }
    }

    #[test]
    fn one_foreign_name_among_several_is_enough_to_refuse() {
        let hosts = ["localhost".to_owned(), "evil.example".to_owned()];
        let refused = judge(Some([127, 0, 0, 1].into()), &[], &hosts).unwrap_err();
        assert!(refused.to_string().starts_with("the Host \"evil.example\" is not"), "{refused}");
    }

    #[test]
    fn a_refusal_repeats_a_bounded_part_of_the_host_and_no_control_characters() {
        let hosts = [format!("\n{}", "x".repeat(5000))];
        let refused = judge(Some([127, 0, 0, 1].into()), &[], &hosts).unwrap_err().to_string();
        assert!(refused.len() < 400 && !refused.contains('\n'), "{refused}");
    }
}
