//! Routes by host name: exact, then the longest wildcard, then any.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::names::{Host, HostPattern};
use crate::domain::pool::{Pool, Tally};
use crate::domain::routing::conditions::Breadth;
use crate::domain::routing::path::PathMatch;
use crate::domain::routing::{Asked, For, Lead, Miss};
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
        self.lists(asked.host, private)
            .find_map(|(_, entries)| entries.iter().find(|entry| entry.miss(asked).is_none()))
    }

    /// The entries that requests for a host may meet, list by list, in the order
    /// in which they are asked, with the hosts that each list is for.
    pub(super) fn lists<'a, 'h>(
        &'a self,
        host: &'h str,
        private: bool,
    ) -> impl Iterator<Item = (For<'a>, &'a Vec<Entry>)> + use<'a, 'h> {
        let exact = self.exact.get_key_value(host).map(|(host, it)| (For::Host(host), it));
        let local = self.local.get_key_value(host).filter(|_| private);
        let local = local.map(|(host, it)| (For::Local(host), it));
        let wildcards = suffixes(host).filter_map(|suffix| {
            self.wildcard.get_key_value(suffix).map(|(host, it)| (For::Beneath(host), it))
        });
        exact.into_iter().chain(local).chain(wildcards).chain([(For::Any, &self.any)])
    }

    /// Every list of entries and the hosts that it is for.
    #[expect(clippy::disallowed_methods, reason = "whoever shows them sorts them")]
    pub(super) fn all(&self) -> impl Iterator<Item = (For<'_>, &Vec<Entry>)> {
        let exact = self.exact.iter().map(|(host, it)| (For::Host(host), it));
        let wildcard = self.wildcard.iter().map(|(host, it)| (For::Beneath(host), it));
        let local = self.local.iter().map(|(host, it)| (For::Local(host), it));
        exact.chain(wildcard).chain(local).chain([(For::Any, &self.any)])
    }
}

impl Entry {
    /// Why it does not take what is asked, its host being right.
    pub(super) fn miss(&self, asked: &Asked<'_>) -> Option<Miss<'_>> {
        if !self.path.matches(asked.path) {
            return Some(Miss::Path);
        }
        self.conditions.as_ref()?.miss(asked)
    }

    /// Its place among those of its hosts.
    pub(super) fn rank(&self, any_host: bool) -> Rank {
        Rank {
            unread_for_any: any_host && self.closed,
            priority: Reverse(self.priority),
            length: Reverse(self.path.specificity()),
            path: self.path.clone(),
            is_unconditional: self.conditions.is_none(),
            breadth: self.conditions.as_ref().map(|conditions| conditions.breadth()),
            closed: self.closed,
            not_ready: !self.pool.is_ready(),
        }
    }
}

/// What decides which of several entries for a host is asked first: the least.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    /// A closed rule for any host may be one whose hosts cannot be read: it must
    /// not shadow the pools of others.
    unread_for_any: bool,
    priority: Reverse<i32>,
    length: Reverse<usize>,
    path: PathMatch,
    /// None is broader than any.
    is_unconditional: bool,
    breadth: Option<Breadth>,
    /// What cannot be read must not shadow what can.
    closed: bool,
    not_ready: bool,
}

impl Rank {
    /// By what it comes before `later`.
    pub(super) fn lead(&self, later: &Self) -> Lead {
        if self.unread_for_any != later.unread_for_any {
            Lead::Readable
        } else if self.priority != later.priority {
            Lead::Priority
        } else if self.length != later.length || self.path != later.path {
            Lead::Path
        } else if self.is_unconditional != later.is_unconditional || self.breadth != later.breadth {
            Lead::Conditions
        } else if self.closed != later.closed {
            Lead::Readable
        } else if self.not_ready != later.not_ready {
            Lead::Ready
        } else {
            Lead::Earlier
        }
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
        (entry.rank(any_host), rank_before(entry), entry.pool.name.clone())
    });
}
