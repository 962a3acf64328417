//! Which requests a pool takes.

mod conditions;

use std::fmt;
use std::sync::Arc;

pub use conditions::{Conditions, Wanted};

use crate::domain::names::HostPattern;

/// Which requests reach a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    Open(Rule),
    /// A guard could not be read and no good value is known: the requests that
    /// the readable rest of the rule matches are answered 503.
    Closed(Rule),
}

impl Access {
    /// The rule, or what is readable of it.
    pub fn rule(&self) -> &Rule {
        let (Self::Open(rule) | Self::Closed(rule)) = self;
        rule
    }
}

/// Which requests a pool asks for. Everything that is set must match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// Any host, if empty.
    pub hosts: Vec<HostPattern>,
    /// Whole-segment prefixes in normal form, without a trailing slash; `/` is
    /// kept as it is. Any path, if this and `exact` are empty.
    pub prefixes: Vec<Arc<str>>,
    /// Whole paths in normal form.
    pub exact: Vec<Arc<str>>,
    /// None if there are none, which costs a request nothing.
    pub conditions: Option<Arc<Conditions>>,
    /// The larger wins; 0 unless asked otherwise.
    pub priority: i32,
}

/// What the rule takes, to follow "for": "host `shop.example`, path `/api`".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(listed("host", &self.hosts));
        parts.extend(listed("path", &self.prefixes));
        parts.extend(listed("exact path", &self.exact));
        if parts.is_empty() {
            parts.push("any host and path".to_owned());
        }
        parts.extend(self.conditions.as_ref().map(ToString::to_string));
        if self.priority != 0 {
            parts.push(format!("priority {}", self.priority));
        }
        f.write_str(&parts.join(", "))
    }
}

fn listed(noun: &str, entries: &[impl fmt::Display]) -> Option<String> {
    let shown: Vec<_> = entries.iter().take(SHOWN_MAX).map(|it| format!("`{it}`")).collect();
    let more = if entries.len() > SHOWN_MAX { " or more" } else { "" };
    (!shown.is_empty()).then(|| format!("{noun} {}{more}", shown.join(" or ")))
}

/// Hosts or paths of a rule that a message names.
const SHOWN_MAX: usize = 4;
