//! Routes by host name: exact, then the longest wildcard, then any.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::names::{Host, HostPattern};
use crate::domain::pool::{Pool, Tally};
use crate::domain::routing::Asked;
use crate::domain::routing::path::PathMatch;
use crate::domain::rule::Conditions;

/// One way to a pool.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathMatch,
    pub(super) conditions: Option<Arc<Conditions>>,
    pub(super) priority: i32,
    /// Matching requests are answered 503.
    pub(super) closed: bool,
    pub(super) pool: Arc<Pool>,
    /// Where its requests are counted beside the pool, if anywhere.
    pub(super) tally: Option<Arc<Tally>>,
}

/// Every entry of a table, found by host name.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Host, Vec<Entry>>,
    /// By what follows `*.`.
    wildcard: HashMap<Host, Vec<Entry>>,
    /// `<pool>.localhost`, for clients on private addresses.
    local: HashMap<Host, Vec<Entry>>,
    any: Vec<Entry>,
}

impl Hosts {
    pub(super) fn insert(&mut self, pattern: Option<&HostPattern>, entry: Entry) {
        let entries = match pattern {
            Some(HostPattern::Exact(host)) => self.exact.entry(host.clone()).or_default(),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard.entry(suffix.clone()).or_default(),
            None => &mut self.any,
        };
        entries.push(entry);
    }

    pub(super) fn insert_local(&mut self, host: Host, entry: Entry) {
        self.local.entry(host).or_default().push(entry);
    }

    /// Brings each host's entries into the order in which they are asked. Of
    /// entries with the same rank the one with a ready endpoint comes first,
    /// then the one that came first in `previous`.
    pub(super) fn sort(&mut self, previous: &Self) {
        for (host, entries) in &mut self.exact {
            sort(entries, previous.exact.get(host), false);
        }
        for (suffix, entries) in &mut self.wildcard {
            sort(entries, previous.wildcard.get(suffix), false);
        }
        for (host, entries) in &mut self.local {
            sort(entries, previous.local.get(host), false);
        }
        sort(&mut self.any, Some(&previous.any), true);
    }

    /// The first entry that takes what is asked, in the order of hosts.
    pub(super) fn find(&self, asked: &Asked<'_>, private: bool) -> Option<&Entry> {
        let exact = self.exact.get(asked.host);
        let local = self.local.get(asked.host).filter(|_| private);
        let wildcards = suffixes(asked.host).filter_map(|suffix| self.wildcard.get(suffix));
        exact
            .into_iter()
            .chain(local)
            .chain(wildcards)
            .chain([&self.any])
            .find_map(|entries| entries.iter().find(|entry| entry.takes(asked)))
    }
}

impl Entry {
    fn takes(&self, asked: &Asked<'_>) -> bool {
        self.path.matches(asked.path)
            && self.conditions.as_ref().is_none_or(|conditions| conditions.hold(asked))
    }
}

/// What follows each dot of a host name, the longest first.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..))
}

fn sort(entries: &mut [Entry], previous: Option<&Vec<Entry>>, any_host: bool) {
    let rank_before = |entry: &Entry| {
        let same = |it: &Entry| it.pool.name == entry.pool.name && it.path == entry.path;
        previous.and_then(|entries| entries.iter().position(same)).unwrap_or(usize::MAX)
    };
    entries.sort_by_cached_key(|entry| {
        (
            // A closed rule for any host may be one whose hosts cannot be read:
            // it must not shadow the pools of others.
            any_host && entry.closed,
            -i64::from(entry.priority),
            usize::MAX - entry.path.specificity(),
            entry.path.clone(),
            // None is broader than any.
            entry.conditions.is_none(),
            entry.conditions.as_ref().map(|conditions| conditions.breadth()),
            // What cannot be read must not shadow what can.
            entry.closed,
            !entry.pool.is_ready(),
            rank_before(entry),
            entry.pool.name.clone(),
        )
    });
}
