//! Why a request takes the route that it takes, and none of the others.
//!
//! It walks the lists that serving walks and asks their entries the same
//! question; it only does not stop at the first that answers yes.

use std::sync::Arc;

use http::{HeaderName, Method};
use ipnet::IpNet;

use crate::domain::names::Host;
use crate::domain::pool::Pool;
use crate::domain::routing::host::Entry;
use crate::domain::routing::{Asked, PathMatch, RoutingTable, is_private};
use crate::domain::rule::{Conditions, Wanted};

/// One way to a pool, and what a request makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Considered<'a> {
    pub pool: &'a Arc<Pool>,
    pub hosts: For<'a>,
    pub path: &'a PathMatch,
    pub conditions: Option<&'a Arc<Conditions>>,
    pub priority: i32,
    /// A guard of the pool's rule cannot be read: answer 503.
    pub closed: bool,
    pub fate: Fate<'a>,
}

/// The hosts that a way is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum For<'a> {
    Host(&'a Host),
    /// Every host that ends with a dot and this one.
    Beneath(&'a Host),
    /// `<pool>.localhost`, for clients on private addresses.
    Local(&'a Host),
    Any,
}

/// What a request makes of a way to a pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate<'a> {
    /// It is the route.
    Taken,
    /// It would be the route, were it not for the one that is taken.
    Behind(Lead),
    Missed(Miss<'a>),
}

/// The first reason why a rule does not take a request, and what it wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Miss<'a> {
    Host,
    /// `<pool>.localhost` is for clients on private addresses.
    NotPrivate,
    Path,
    Method(&'a [Method]),
    EntryPoint(&'a [Arc<str>]),
    Client(&'a [IpNet]),
    Header(&'a HeaderName, &'a Wanted),
    Query(&'a str, &'a Wanted),
}

/// By what the route comes before another that would take the request too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lead {
    /// It names the host more closely.
    Host,
    Priority,
    /// Its path is exact, or longer.
    Path,
    /// It asks for more besides, or for less at a time.
    Conditions,
    /// The other's guards cannot be read.
    Readable,
    /// It has a ready replica.
    Ready,
    /// It was there first, or its name comes first.
    Earlier,
}

impl RoutingTable {
    /// Every way to a pool: those for the host, then those for other hosts by
    /// their pools, but for the `<pool>.localhost` of these.
    pub fn consider<'a>(&'a self, asked: &Asked<'a>) -> Vec<Considered<'a>> {
        let mut ways = self.ways(asked);
        ways.extend(self.other_ways(asked));
        ways
    }

    /// The ways for the host that is asked, in the order in which they are.
    pub fn ways<'a>(&'a self, asked: &Asked<'a>) -> Vec<Considered<'a>> {
        let mut ways = Vec::new();
        let mut taken: Option<(For<'_>, &Entry)> = None;
        for (hosts, entries) in self.hosts.lists(asked.host, is_private(asked.client)) {
            let any_host = hosts == For::Any;
            for entry in entries {
                let fate = match (entry.miss(asked), taken) {
                    (Some(miss), _) => Fate::Missed(miss),
                    (None, None) => {
                        taken = Some((hosts, entry));
                        Fate::Taken
                    }
                    (None, Some((of, _))) if of != hosts => Fate::Behind(Lead::Host),
                    (None, Some((_, first))) => {
                        Fate::Behind(first.rank(any_host).lead(&entry.rank(any_host)))
                    }
                };
                ways.push(way(entry, hosts, fate));
            }
        }
        ways
    }

    fn other_ways<'a>(&'a self, asked: &Asked<'a>) -> Vec<Considered<'a>> {
        let own: Vec<_> = self.hosts.lists(asked.host, is_private(asked.client)).collect();
        let others = self.hosts.all().filter(|(hosts, _)| !own.iter().any(|(it, _)| it == hosts));
        let others = others.filter_map(|(hosts, entries)| match hosts {
            For::Local(host) if host.as_str() != asked.host => None,
            For::Local(_) => Some((hosts, entries, Miss::NotPrivate)),
            For::Host(_) | For::Beneath(_) | For::Any => Some((hosts, entries, Miss::Host)),
        });
        let mut others: Vec<_> = others
            .flat_map(|(hosts, entries, miss)| {
                entries.iter().map(move |entry| way(entry, hosts, Fate::Missed(miss)))
            })
            .collect();
        others
            .sort_by_cached_key(|it| (it.pool.name.clone(), it.hosts.to_string(), it.path.clone()));
        others
    }
}

/// As a rule spells it: `*.shop.example`.
impl std::fmt::Display for For<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host) | Self::Local(host) => write!(f, "{host}"),
            Self::Beneath(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

fn way<'a>(entry: &'a Entry, hosts: For<'a>, fate: Fate<'a>) -> Considered<'a> {
    Considered {
        pool: &entry.pool,
        hosts,
        path: &entry.path,
        conditions: entry.conditions.as_ref(),
        priority: entry.priority,
        closed: entry.closed,
        fate,
    }
}
