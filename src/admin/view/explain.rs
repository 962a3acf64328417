//! What `/api/v1/explain` is asked, and what it answers.

use serde::{Deserialize, Serialize};

/// `POST /api/v1/explain`: the request that is meant. Nothing is sent anywhere.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `http://shop.example/api?q=1`; without a scheme it is http.
    pub url: String,
    /// `GET`, if empty.
    #[serde(default)]
    pub method: String,
    /// Names and values; a `Host` among them counts before that of the URL.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The client's address; loopback, if empty.
    #[serde(default)]
    pub client: String,
    /// Where it comes in; the one called like the scheme, if empty.
    #[serde(default)]
    pub entry_point: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Request {
    /// A replica would get it now, or its pool answers it as it is meant to.
    pub served: bool,
    /// What becomes of it, in a sentence without its full stop.
    pub verdict: String,
    /// What to do; may be empty.
    pub hint: String,
    /// What the access log would call it, where it is refused or waits.
    pub reason: Option<String>,
    pub asked: Asked,
    /// The rule that takes it is that of this pool: `project/name`.
    pub pool: Option<String>,
    /// Those for its host in the order in which they are tried, then others.
    pub routes: Vec<Route>,
    /// Routes that are not listed.
    pub routes_left_out: usize,
    /// Of the pool, in the order in which a request meets them.
    pub middlewares: Vec<Step>,
    /// `round_robin`, as the label `lb.balance` spells it.
    pub policy: Option<String>,
    /// The choice is drawn by lot, so that the next one may differ.
    pub by_lot: bool,
    /// Of the pool.
    pub replicas: Vec<Candidate>,
}

/// A request as the balancer reads it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Asked {
    pub method: String,
    pub scheme: String,
    /// Empty if the request names none.
    pub host: String,
    /// In normal form.
    pub path: String,
    /// As a lenient server would read it, if that differs.
    pub lenient_path: Option<String>,
    pub query: Option<String>,
    pub client: String,
    pub entry_point: String,
}

/// One way to a pool.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Route {
    /// `project/name`.
    pub pool: String,
    /// For a person: "host `shop.example`, path `/api`".
    pub rule: String,
    /// `taken`, `behind` (it would take the request too) or `missed`.
    pub fate: String,
    /// Of those that are not taken: a sentence without its full stop.
    pub reason: String,
}

/// Something that is looked at, one after the other.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Step {
    /// `passed`, `stopped`, or `noted`: it stops nothing.
    pub outcome: String,
    /// The label or the thing: `lb.allow`, `network`.
    pub what: String,
    /// A sentence without its full stop.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// A replica as the request would find it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Candidate {
    pub name: String,
    pub address: String,
    pub picked: bool,
    /// `primary`, `backup`, `last`, `leaving` or `starting`; null where only a
    /// name or a cookie leads to it.
    pub tier: Option<String>,
    pub state: String,
    /// Why it is picked or not: a sentence without its full stop.
    pub reason: String,
    pub weight: u16,
    pub in_flight: u32,
    /// Requests that it may have at once; null: any number.
    pub max_conns: Option<u32>,
    /// Of its part of the requests, while `lb.slow_start` holds it back.
    pub share_percent: u32,
    /// How long it takes to answer of late, in milliseconds; null before that is
    /// known. What `peak_ewma` goes by.
    pub latency_ms: Option<f64>,
}

/// `POST /api/v1/explain/container`: which one is meant.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Meant {
    /// Its name, the beginning of its id, its service, or `project/service`.
    pub name: String,
}

/// The containers that answer to a name, oldest first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Containers {
    pub containers: Vec<Container>,
    /// Those that are not listed, of many.
    pub left_out: usize,
}

/// A container from its labels to its traffic.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Container {
    pub name: String,
    pub id: String,
    /// Null for a written server, and while nobody said it.
    pub image: Option<String>,
    /// It gets requests in every pool that it is in.
    pub served: bool,
    /// What becomes of it, in a sentence without its full stop.
    pub verdict: String,
    /// What to do; may be empty.
    pub hint: String,
    /// From the first to the last thing that requests depend on.
    pub steps: Vec<Step>,
}
