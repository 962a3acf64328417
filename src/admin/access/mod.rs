//! Who may read what, and who may change anything.
//!
//! What changes anything comes over loopback or with the token, and never by way
//! of a web page or a proxy, which would lend a stranger our own address.

mod bearer;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;

use crate::admin::Admin;
use crate::admin::access::bearer::{Shown, shown};
use crate::config::Token;

/// Who is let in beside loopback and the Docker host.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who shows it may read and change everything.
    pub token: Option<Token>,
    /// Who may read everything.
    pub allow: Vec<IpNet>,
}

/// What a request shows of who sends it.
#[derive(Clone, Debug)]
struct Asker {
    peer: Option<IpAddr>,
    /// It wants more than to read.
    changes: bool,
    token: Shown,
    /// Every name under which it addresses us.
    hosts: Vec<String>,
    origins: Vec<String>,
    /// A header that proxies add.
    forwarded: Option<HeaderName>,
}

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Refusal {
    #[error(
        "{peer} may read /healthz, /readyz and /metrics only: the rest is for loopback and the \
         Docker host; run `evenkeel status` in the balancer's container, ask from the host \
         through a published port, or send the token of `--admin-token-file`"
    )]
    Peer { peer: IpAddr },
    #[error(
        "{peer} may not change anything: that takes loopback, such as `docker exec lb evenkeel \
         drain NAME`, or the token of `--admin-token-file`"
    )]
    Change { peer: IpAddr },
    #[error("the address of this connection is not known")]
    NoPeer,
    #[error("the token is not that of the balancer's `--admin-token-file`")]
    Token,
    #[error(
        "the Host {given:?} is not one of ours: use an IP address or `localhost` in the URL, \
         since any other name may have been made to point here by a web page"
    )]
    Host { given: String },
    #[error("a page of {given:?} may not change anything here")]
    Origin { given: String },
    #[error(
        "the header `{header}` says that this was forwarded, so that anybody may be the one who asks: \
         ask the admin port itself"
    )]
    Forwarded { header: HeaderName },
}

/// Lets everybody read what is public, and those whom we trust the rest.
pub(super) async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if PUBLIC.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let asker = Asker::of(&request, admin.access.token.as_ref());
    let judged = {
        let overview = admin.overview.borrow();
        judge(&asker, &overview.gateways, &admin.access.allow)
    };
    match judged {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether this asker may do what it wants. Through a published port the Docker
/// host comes from a gateway of our networks, and so may strangers that it lets
/// pass: they read, and change nothing.
fn judge(asker: &Asker, gateways: &[IpAddr], allow: &[IpNet]) -> Result<(), Refusal> {
    let peer = asker.peer.ok_or(Refusal::NoPeer)?.to_canonical();
    let has_token = match asker.token {
        Shown::Right => true,
        Shown::Nothing => false,
        Shown::Wrong => return Err(Refusal::Token),
    };
    if asker.changes {
        if !peer.is_loopback() && !has_token {
            return Err(Refusal::Change { peer });
        }
        if let Some(header) = asker.forwarded.clone() {
            return Err(Refusal::Forwarded { header });
        }
        asker.host_is_ours()?;
        return asker.origin_is_ours();
    }
    if has_token {
        // No page knows it, so that no name can lead anyone here unwittingly.
        return Ok(());
    }
    // Behind a proxy anybody may be the one who asks.
    if let Some(header) = asker.forwarded.clone() {
        return Err(Refusal::Forwarded { header });
    }
    let gateway = gateways.iter().any(|gateway| gateway.to_canonical() == peer);
    let allowed = allow.iter().any(|network| network.contains(&peer));
    if !peer.is_loopback() && !gateway && !allowed {
        return Err(Refusal::Peer { peer });
    }
    asker.host_is_ours()
}

impl Asker {
    fn of(request: &Request, token: Option<&Token>) -> Self {
        let peer = request.extensions().get();
        let headers = request.headers();
        let texts = |name: HeaderName| {
            let values = headers.get_all(name).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let authority = request.uri().authority().map(ToString::to_string);
        Self {
            peer: peer.map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip()),
            changes: !matches!(*request.method(), Method::GET | Method::HEAD)
                && !QUESTIONS.contains(&request.uri().path()),
            token: shown(headers, token),
            // Clients that are no browsers may leave it out, and only browsers
            // can be led here by a page.
            hosts: texts(HOST).chain(authority).collect(),
            origins: texts(ORIGIN).collect(),
            forwarded: headers.keys().find(|name| is_of_proxy(name)).cloned(),
        }
    }

    fn host_is_ours(&self) -> Result<(), Refusal> {
        match self.hosts.iter().find(|host| !is_ours(host)) {
            Some(foreign) => Err(Refusal::Host { given: part(foreign) }),
            None => Ok(()),
        }
    }

    /// A page of our own has the origin that it was asked by.
    fn origin_is_ours(&self) -> Result<(), Refusal> {
        let is_ours = |origin: &str| {
            let from = origin.strip_prefix("http://");
            from.is_some_and(|from| self.hosts.iter().any(|host| host.eq_ignore_ascii_case(from)))
        };
        match self.origins.iter().find(|origin| !is_ours(origin)) {
            Some(foreign) => Err(Refusal::Origin { given: part(foreign) }),
            None => Ok(()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = format!("forbidden: {self}\n");
        match self {
            Self::Token => {
                let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"evenkeel\"")];
                (StatusCode::UNAUTHORIZED, challenge, text).into_response()
            }
            Self::Peer { .. }
            | Self::Change { .. }
            | Self::NoPeer
            | Self::Host { .. }
            | Self::Origin { .. }
            | Self::Forwarded { .. } => (StatusCode::FORBIDDEN, text).into_response(),
        }
    }
}

/// Whether proxies add it to what they forward; spelled with `_` too.
fn is_of_proxy(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    ["forwarded", "via", "x-real-ip"].contains(&&*name) || name.starts_with("x-forwarded")
}

/// As much of what a client sent as a message repeats.
fn part(given: &str) -> String {
    given.chars().take(SHOWN_MAX).collect()
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

/// They are posted, since addresses are logged on their way and headers hold
/// secrets, and change nothing.
const QUESTIONS: [&str; 2] = ["/api/v1/explain", "/api/v1/explain/container"];

/// In characters.
const SHOWN_MAX: usize = 100;

#[cfg(test)]
mod tests;
