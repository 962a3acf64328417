//! Which hosts want to see certificates of their clients.

use std::collections::HashMap;

use crate::domain::names::{Host, HostPattern};
use crate::domain::routing::host::suffixes;
use crate::domain::tls::ClientAuth;

/// What the pools want that clients of a host may reach. Empty where no pool
/// wants anything.
#[derive(Debug, Default)]
pub(super) struct Policies {
    exact: HashMap<Host, Wishes>,
    /// By what follows `*.`.
    wildcard: HashMap<Host, Wishes>,
    /// Of pools for any host.
    any: Wishes,
}

/// What some pools want together.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    /// One of them asks for certificates, or requires them.
    asks: bool,
    /// One of them serves clients that show none.
    is_open: bool,
}

impl Policies {
    /// Adds what a pool wants of clients of `hosts`; none are any.
    pub(super) fn add(&mut self, hosts: &[HostPattern], auth: ClientAuth) {
        let wishes = Wishes::of(auth);
        if hosts.is_empty() {
            self.any = self.any.and(wishes);
        }
        for host in hosts {
            let known = match host {
                HostPattern::Exact(host) => self.exact.entry(host.clone()),
                HostPattern::Wildcard(suffix) => self.wildcard.entry(suffix.clone()),
            };
            let known = known.or_default();
            *known = known.and(wishes);
        }
    }

    /// Joins to each entry those that a request for its host may fall through to,
    /// so that one entry is all that a handshake looks at.
    pub(super) fn settle(&mut self) {
        let given = self.wildcard.clone();
        for (host, wishes) in self.exact.iter_mut().chain(&mut self.wildcard) {
            let wider = suffixes(host.as_str()).filter_map(|suffix| given.get(suffix));
            *wishes = wider.fold(wishes.and(self.any), |all, &wider| all.and(wider));
        }
    }

    /// A handshake must not shut anybody out of a pool that would serve him: each
    /// pool refuses for itself who has shown no certificate.
    pub(super) fn of(&self, host: &str) -> ClientAuth {
        let wider = || suffixes(host).find_map(|suffix| self.wildcard.get(suffix));
        self.exact.get(host).or_else(wider).unwrap_or(&self.any).policy()
    }
}

impl Wishes {
    fn of(auth: ClientAuth) -> Self {
        Self { asks: auth != ClientAuth::Off, is_open: auth != ClientAuth::Required }
    }

    fn and(self, other: Self) -> Self {
        Self { asks: self.asks || other.asks, is_open: self.is_open || other.is_open }
    }

    fn policy(self) -> ClientAuth {
        match self {
            Self { asks: false, .. } => ClientAuth::Off,
            Self { is_open: true, .. } => ClientAuth::Optional,
            Self { .. } => ClientAuth::Required,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAuth::{Off, Optional, Required};

    #[test]
    fn one_is_required_only_where_every_pool_in_reach_requires_it() {
        let rules = [
            ("shop.example", Required),
            ("both.example", Required),
            ("both.example", Off),
            ("asks.example", Off),
            ("asks.example", Optional),
            ("open.example", Off),
            ("*.team.example", Required),
            ("a.team.example", Required),
            ("b.team.example", Off),
            ("*.deep.team.example", Optional),
            ("*.free.example", Off),
            ("x.free.example", Required),
        ];
        // By what pools for any host want: none, off, required.
        for (host, without, off, required) in [
            ("shop.example", Required, Optional, Required),
            ("both.example", Optional, Optional, Optional),
            ("asks.example", Optional, Optional, Optional),
            ("open.example", Off, Off, Optional),
            ("a.team.example", Required, Optional, Required),
            ("b.team.example", Optional, Optional, Optional),
            ("c.team.example", Required, Optional, Required),
            ("c.deep.team.example", Optional, Optional, Optional),
            ("x.free.example", Optional, Optional, Optional),
            ("y.free.example", Off, Off, Optional),
            ("team.example", Off, Off, Required),
            ("unknown.example", Off, Off, Required),
            ("", Off, Off, Required),
        ] {
            for (any, expected) in [(None, without), (Some(Off), off), (Some(Required), required)] {
                let mut policies = Policies::default();
                for (host, auth) in rules {
                    policies.add(&[host.parse().unwrap()], auth);
                }
                if let Some(auth) = any {
                    policies.add(&[], auth);
                }
                policies.settle();
                assert_eq!(policies.of(host), expected, "{host} beside {any:?}");
            }
        }
    }

    #[test]
    fn without_any_policy_nothing_is_asked() {
        let mut policies = Policies::default();
        policies.add(&["shop.example".parse().unwrap()], Off);
        policies.settle();
        assert_eq!(policies.of("shop.example"), Off);
        assert_eq!(Policies::default().of(""), Off);
    }
}
