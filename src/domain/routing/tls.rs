//! Which hosts want to see certificates of their clients.

use std::collections::HashMap;

use crate::domain::names::{Host, HostPattern};
use crate::domain::routing::host::suffixes;
use crate::domain::tls::ClientAuth;

/// The policy of every host that some rule names. Empty where no pool has any.
#[derive(Debug, Default)]
pub(super) struct Policies {
    exact: HashMap<Host, ClientAuth>,
    /// By what follows `*.`.
    wildcard: HashMap<Host, ClientAuth>,
    /// Of the hosts that no rule names.
    rest: ClientAuth,
    /// Some pool has a policy.
    any: bool,
}

impl Policies {
    /// Adds what a pool wants of clients of `hosts`; none are any.
    pub(super) fn add(&mut self, hosts: &[HostPattern], auth: ClientAuth) {
        self.any |= auth != ClientAuth::Off;
        if hosts.is_empty() {
            self.rest = self.rest.max(auth);
        }
        for host in hosts {
            let known = match host {
                HostPattern::Exact(host) => self.exact.entry(host.clone()),
                HostPattern::Wildcard(suffix) => self.wildcard.entry(suffix.clone()),
            };
            let known = known.or_default();
            *known = auth.max(*known);
        }
    }

    /// Makes each entry as strict as the wildcards that take its host too, so
    /// that one entry is all that a handshake looks at.
    pub(super) fn settle(&mut self) {
        let given = self.wildcard.clone();
        let above = |host: &Host| {
            let wider = suffixes(host.as_str()).filter_map(|suffix| given.get(suffix));
            wider.copied().max().unwrap_or_default()
        };
        for (host, auth) in self.exact.iter_mut().chain(&mut self.wildcard) {
            *auth = above(host).max(*auth);
        }
    }

    pub(super) fn of(&self, host: &str) -> ClientAuth {
        if let Some(&auth) = self.exact.get(host) {
            return auth;
        }
        let wider = suffixes(host).find_map(|suffix| self.wildcard.get(suffix));
        wider.copied().unwrap_or(self.rest)
    }

    pub(super) fn any(&self) -> bool {
        self.any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAuth::{Off, Optional, Required};

    #[test]
    fn a_host_is_as_strict_as_the_strictest_rule_that_names_it() {
        let mut policies = Policies::default();
        for (host, auth) in [
            ("shop.example", Off),
            ("shop.example", Required),
            ("shop.example", Optional),
            ("open.example", Off),
            ("a.team.example", Off),
            ("*.team.example", Optional),
            ("*.b.team.example", Off),
            ("c.b.team.example", Required),
        ] {
            policies.add(&[host.parse().unwrap()], auth);
        }
        policies.add(&[], Required);
        policies.settle();
        for (host, auth) in [
            ("shop.example", Required),
            ("open.example", Off),
            ("a.team.example", Optional),
            ("x.team.example", Optional),
            ("x.b.team.example", Optional),
            ("c.b.team.example", Required),
            ("team.example", Required),
            ("unknown.example", Required),
            ("", Required),
        ] {
            assert_eq!(policies.of(host), auth, "{host}");
        }
        assert!(policies.any());
    }

    #[test]
    fn without_any_policy_nothing_is_asked() {
        let mut policies = Policies::default();
        policies.add(&["shop.example".parse().unwrap()], Off);
        policies.settle();
        assert!(!policies.any());
        assert_eq!(policies.of("shop.example"), Off);
    }
}
