//! The cookie by which a client comes back to its replica.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use http::HeaderValue;

use crate::domain::balance;
use crate::domain::names::PoolName;
use crate::domain::pool::{Affinity, Endpoint, Pool, Sticky, Wanted};

/// What cookies are signed with. No log and no message ever shows it.
#[derive(Clone)]
pub struct StickyKey(Arc<hmac::Key>);

/// The cookies of a pool's endpoints.
#[derive(Debug)]
pub struct Sessions {
    cookie: Arc<str>,
    /// One for each endpoint, in their order.
    pub(super) tokens: Vec<Token>,
    slots: HashMap<Token, u16>,
}

/// The value of a cookie: 16 bytes in base64url.
type Token = [u8; 22];

impl StickyKey {
    /// `secret` should be random and at least [`KEY_BYTES_MIN`] long.
    pub fn new(secret: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Says which container is meant, to us alone: it is the same for each of
    /// its lives, so that a restart keeps its sessions.
    fn token(&self, pool: &PoolName, endpoint: &Endpoint) -> Token {
        let mut signing = hmac::Context::with_key(&self.0);
        let port = endpoint.id.address.port().to_be_bytes();
        let container = endpoint.id.workload.id.as_bytes();
        // No name holds a 0, so that no two endpoints are spelled alike.
        for part in [pool.to_string().as_bytes(), container, &port] {
            signing.update(part);
            signing.update(&[0]);
        }
        let mut token = [0; 22];
        let digest = signing.sign();
        let bytes = digest.as_ref().iter().take(TOKEN_BYTES);
        encode(bytes.copied(), &mut token);
        token
    }
}

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey(…)")
    }
}

impl Sessions {
    /// None for a pool that sets no cookies, and without a key.
    pub fn build(
        pool: &PoolName,
        affinity: &Affinity,
        endpoints: &[Endpoint],
        key: Option<&StickyKey>,
    ) -> Option<Box<Self>> {
        let cookie = match &affinity.sticky {
            Some(Sticky::Cookie(Some(name))) => Arc::clone(name),
            Some(Sticky::Cookie(None)) => usual_name(pool),
            Some(Sticky::Ip) | None => return None,
        };
        let key = key?;
        let tokens: Vec<_> = endpoints.iter().map(|it| key.token(pool, it)).collect();
        let slots = tokens.iter().copied().zip(0..u16::MAX).collect();
        Some(Box::new(Self { cookie, tokens, slots }))
    }

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The slot that a cookie belongs to; none if it is none of ours.
    pub(super) fn find(&self, value: &[u8]) -> Option<u16> {
        // The hash is keyed anew for each table, so that the time that it takes
        // tells nothing of the tokens in it.
        self.slots.get(<&Token>::try_from(value).ok()?).copied()
    }
}

impl Pool {
    /// The `Set-Cookie` field of an answer that came from `endpoint`, one of the
    /// pool's own; none if the client has that cookie already.
    ///
    /// The cookie names who answered last: a client whose replica has left, or
    /// failed, moves to another one for good, with what that one knows of it by
    /// then. Not so where its replica may be back in a moment: then another one
    /// only stands in.
    pub fn cookie_for(
        &self,
        endpoint: &Endpoint,
        wanted: &Wanted<'_>,
        is_secure: impl FnOnce() -> bool,
    ) -> Option<HeaderValue> {
        let sessions = self.sessions.as_ref()?;
        let is_it = |it: &Endpoint| std::ptr::eq(it, endpoint);
        let session = wanted.session.map(usize::from);
        let has_it = session.and_then(|slot| self.endpoints.get(slot)).is_some_and(is_it);
        if has_it || wanted.is_away {
            return None;
        }
        let token = sessions.tokens.get(self.endpoints.iter().position(is_it)?)?;
        let token = str::from_utf8(token).ok()?;
        let secure = if is_secure() { "; Secure" } else { "" };
        let name = &sessions.cookie;
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}").try_into().ok()
    }
}

/// Of the pool's own, so that two pools of one host do not fight for it.
fn usual_name(pool: &PoolName) -> Arc<str> {
    let hash = balance::seed(&pool.to_string());
    format!("evenkeel-{:08x}", hash >> 32).into()
}

/// Base64url without padding (RFC 4648, section 5).
fn encode(bytes: impl Iterator<Item = u8>, digits: &mut [u8]) {
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = bytes.fuse();
    for digit in digits {
        if held < 6 {
            // Past the end the missing bits are 0.
            bits = bits << 8 | u32::from(bytes.next().unwrap_or(0));
            held += 8;
        }
        held -= 6;
        let place = (bits >> held) & 63;
        *digit = DIGITS.get(place as usize).copied().unwrap_or(b'A');
    }
}

/// Fewer can be guessed.
pub const KEY_BYTES_MIN: usize = 16;

/// Of the signature: so many bits cannot be guessed.
const TOKEN_BYTES: usize = 16;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
