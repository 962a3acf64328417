//! The only JSON shapes of the API. They are read back by our commands,
//! which may be of another version: what is missing has its default.

pub mod explain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/api/v1/status`: all that there is to know.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub uptime_seconds: f64,
    /// How many routing tables there were before the one in use.
    pub generation: u64,
    /// All that every source sees has been applied at least once.
    pub ready: bool,
    pub stopping: bool,
    /// In the order of project and name.
    pub pools: Vec<Pool>,
    /// The default ones first; none where nothing is served by TLS.
    pub certificates: Vec<Certificate>,
    pub problems: Vec<Problem>,
    pub sources: Vec<Source>,
    /// Lines of the access log that were lost.
    pub access_log_dropped: u64,
}

/// A pool and every replica that it has.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Pool {
    pub name: String,
    pub project: Option<String>,
    /// The name as logs and metrics show it: `project/name`.
    pub label: String,
    pub rule: Rule,
    /// As the label `lb.balance` spells it.
    pub policy: String,
    /// How long a request waits for a ready replica.
    pub hold_seconds: f64,
    /// How many requests may wait at once.
    pub hold_max: u32,
    /// `ready`, `not_ready`, or `closed`: all of its requests are refused,
    /// since a guard cannot be read.
    pub state: String,
    /// Requests that wait now.
    pub waiting: u32,
    /// Requests that wait for a place at a replica that is ready and full.
    pub queued: u32,
    /// Requests that have ended, by class: `2xx`.
    pub requests: BTreeMap<String, u64>,
    pub retries: u64,
    /// Running or not, oldest first, then those that are leaving.
    pub replicas: Vec<Replica>,
}

/// Which requests reach a pool.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Rule {
    /// The whole rule for a person.
    pub text: String,
    /// Any, if empty.
    pub hosts: Vec<String>,
    pub prefixes: Vec<String>,
    pub exact: Vec<String>,
    /// On method, headers, query and client: "method `GET`, header `x-canary: yes`".
    pub conditions: Option<String>,
    pub priority: i32,
}

/// One container or written server of a pool.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Replica {
    pub name: String,
    /// Of the container.
    pub id: String,
    pub service: Option<String>,
    /// `starting`, `ready`, `unhealthy`, `suspect`, `ejected`, `paused`,
    /// `draining`, `gone`, or `unreachable`: it runs and has no address that we can reach.
    pub state: String,
    /// Why it is in that state: a sentence without its full stop.
    pub reason: String,
    /// `ADDRESS:PORT`.
    pub address: Option<String>,
    /// How it is spoken to: `http`, `https` or `h2c`.
    pub scheme: String,
    pub weight: u16,
    pub backup: bool,
    /// Requests that it may have at once; null: any number.
    pub max_conns: Option<u32>,
    pub in_flight: u32,
    /// Attempts sent to it, and those of them that brought no whole answer.
    pub requests: u64,
    pub failures: u64,
    /// `created`, `running`, `paused`, `stopping`, `restarting`, `stopped` or
    /// `removed`.
    pub run: String,
    /// The verdict of its HEALTHCHECK: `none` without one, `starting`,
    /// `healthy` or `unhealthy`.
    pub health: String,
}

/// `POST /api/v1/drain` and `/api/v1/undrain`: which replicas are meant.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Names of containers, `HOST:PORT` of written servers, or ids of containers,
    /// of which 12 digits are enough.
    pub replicas: Vec<String>,
}

/// What an order was carried out on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Ordered {
    pub replicas: Vec<OrderedReplica>,
}

/// A replica in one of the pools that it is in, right after an order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct OrderedReplica {
    /// `project/name`.
    pub pool: String,
    pub name: String,
    pub id: String,
    pub address: Option<String>,
    pub state: String,
    pub in_flight: u32,
}

/// Why an order was refused; nothing of it has been done.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Refused {
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// Something that a person can mend.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Problem {
    /// What it is about: ``container `shop-web-1` ``.
    pub subject: String,
    /// The label or setting as it was written.
    pub key: Option<String>,
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// A certificate that is shown to clients, or should be.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Certificate {
    /// Hosts and wildcards.
    pub names: Vec<String>,
    /// `file`, `acme` or `self-signed`.
    pub origin: String,
    pub file: Option<String>,
    /// Clients get it that ask for no name, or for one that we do not know.
    pub default: bool,
    /// As in `2026-12-01T10:00:00Z`; null while there is no certificate.
    pub not_before: Option<String>,
    pub not_after: Option<String>,
    /// Whole days until its end; negative after it.
    pub days_left: Option<i64>,
    /// When the next one is asked for, where we do that.
    pub renews_at: Option<String>,
    /// Why there is none, or no newer one.
    pub problem: Option<String>,
}

/// Where workloads are found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Source {
    pub name: String,
    pub connected: bool,
    /// What answers, or what is wrong.
    pub detail: String,
    /// How to mend it; may be empty.
    pub hint: String,
    /// Since all that it sees was last applied; null before the first time.
    pub age_seconds: Option<f64>,
}

/// `/readyz`: whether traffic may be sent here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Readiness {
    pub ready: bool,
    pub stopping: bool,
    /// Told only to those who may read everything.
    pub sources: Vec<Source>,
}
