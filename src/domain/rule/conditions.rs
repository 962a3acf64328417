//! What a rule asks for besides host and path.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, Method};
use ipnet::IpNet;

/// Conditions of a rule. All that are set must hold; none that is empty is set.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Conditions {
    /// Any of these, sorted.
    pub methods: Vec<Method>,
    /// Each of these, sorted by name.
    pub headers: Vec<(HeaderName, Wanted)>,
    /// Each of these, sorted by name; names are compared as they are decoded.
    pub queries: Vec<(Arc<str>, Wanted)>,
    /// The client is in any of these. They do not overlap, and none is
    /// IPv4-mapped.
    pub clients: Vec<IpNet>,
    /// The client came in by any of these, sorted.
    pub entry_points: Vec<Arc<str>>,
}

/// The value that a header or a query parameter must have.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Wanted {
    Exactly(Arc<str>),
    Any,
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many there are; the entries of one list are one.
    pub fn count(&self) -> usize {
        let lists =
            [self.methods.is_empty(), self.clients.is_empty(), self.entry_points.is_empty()];
        let lists = lists.iter().filter(|is_empty| !**is_empty).count();
        self.headers.len() + self.queries.len() + lists
    }
}

impl Wanted {
    pub fn takes(&self, mut given: impl Iterator<Item = u8>) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(value) => value.bytes().eq(given.by_ref()),
        }
    }
}

/// As part of a rule: "method `GET` or `POST`, header `x-canary: yes`".
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(super::listed("method", &self.methods));
        for (name, wanted) in &self.headers {
            parts.push(match wanted {
                Wanted::Exactly(value) => format!("header `{name}: {value}`"),
                Wanted::Any => format!("any header `{name}`"),
            });
        }
        for (name, wanted) in &self.queries {
            parts.push(match wanted {
                Wanted::Exactly(value) => format!("query `{name}={value}`"),
                Wanted::Any => format!("any query `{name}`"),
            });
        }
        parts.extend(super::listed("client", &self.clients));
        parts.extend(super::listed("entry point", &self.entry_points));
        f.write_str(&parts.join(", "))
    }
}
