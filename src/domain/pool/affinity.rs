//! Which requests go where they belong instead of being balanced.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::domain::balance::{self, HashKey, Policy};
use crate::domain::http::cookie;
use crate::domain::pool::Pool;
use crate::domain::pool::pin::Named;

/// What a request may say of where it belongs. Where several apply, the first
/// of these that leads to a ready replica decides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Affinity {
    /// A header that names a replica by service, container or host name.
    pub pin_header: Option<HeaderName>,
    /// A cookie that does the same.
    pub pin_cookie: Option<Arc<str>>,
    pub sticky: Option<Sticky>,
}

/// How a client comes back to the replica that it met before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sticky {
    /// By a signed cookie with this name, or one made of the pool's.
    Cookie(Option<Arc<str>>),
    /// By its address: every choice is a hash of it.
    Ip,
}

/// What one request says of where it belongs, read for one pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Of what the pool's policy hashes; none if the request does not say it.
    pub(super) key: Option<u64>,
    /// The replicas that are named, first those by the header.
    pub(super) pins: [Option<&'a Named>; 2],
    /// The endpoint that its cookie belongs to.
    pub(super) session: Option<u16>,
    /// That endpoint takes no requests just now, and may do so in a moment.
    pub(super) is_away: bool,
}

impl Pool {
    /// What a request says, as far as the pool asks for it. `target` is the path
    /// in normal form, with the query.
    pub fn wanted(&self, headers: &HeaderMap, target: &str) -> Wanted<'_> {
        let mut wanted = Wanted::default();
        if let Policy::Hash(hashed) = &self.settings.policy {
            let said = match hashed {
                HashKey::Header(name) => headers.get(name).map(|value| value.as_bytes()),
                HashKey::Cookie(name) => cookie::find(headers, name),
                HashKey::Uri => Some(target.as_bytes()),
            };
            wanted.key = said.filter(|said| !said.is_empty()).map(balance::key);
        }
        if let Some(names) = &self.names {
            let Affinity { pin_header, pin_cookie, .. } = &self.settings.affinity;
            let by_header = pin_header.as_ref().and_then(|name| headers.get(name));
            let by_cookie = pin_cookie.as_ref().and_then(|name| cookie::find(headers, name));
            let said = [by_header.map(|value| value.as_bytes()), by_cookie];
            wanted.pins = said.map(|said| said.and_then(|name| names.find(name)));
        }
        if let Some(sessions) = &self.sessions {
            wanted.session =
                cookie::find(headers, sessions.cookie()).and_then(|it| sessions.find(it));
            let home = wanted.session.and_then(|slot| self.endpoints.get(usize::from(slot)));
            wanted.is_away = home.is_some_and(|it| it.vitals.state().may_return());
        }
        wanted
    }
}
