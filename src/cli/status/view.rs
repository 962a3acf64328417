//! The part of the API's status that is shown. What is missing is empty, so
//! that a balancer of another version can be asked too.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) generation: u64,
    pub(super) stopping: bool,
    pub(super) sources: Vec<Source>,
    pub(super) pools: Vec<Pool>,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) connected: bool,
    /// What answers, or what is wrong.
    pub(super) detail: String,
    pub(super) hint: String,
    /// Null before anything was seen.
    pub(super) age_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pool {
    /// `project/name`.
    pub(super) label: String,
    pub(super) state: String,
    pub(super) rule: Rule,
    pub(super) policy: String,
    pub(super) waiting: usize,
    pub(super) replicas: Vec<Replica>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    /// For a person.
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) address: Option<String>,
    pub(super) weight: u64,
    pub(super) backup: bool,
    pub(super) in_flight: u64,
    pub(super) requests: u64,
    pub(super) failures: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) hint: String,
}
