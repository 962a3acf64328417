//! What the control loop and the log are told, each thing once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::api::ApiError;
use super::trouble;
use crate::config::DockerAddress;
use crate::domain::names::SourceName;
use crate::domain::world::{Hint, Observation, Report, SourceHealth};

/// The voice of this source.
pub(super) struct Herald {
    reports: mpsc::Sender<Report>,
    told: Option<(Observation, Instant)>,
    /// The peer whose connection was logged last, unless it was lost since.
    logged: Option<String>,
    faults: BTreeSet<String>,
}

/// Nobody listens any more.
pub(super) struct Unheard;

impl Herald {
    pub(super) fn new(reports: mpsc::Sender<Report>) -> Self {
        Self { reports, told: None, logged: None, faults: BTreeSet::new() }
    }

    /// Tells what an event took away, ahead of the observation that shows it.
    pub(super) async fn hint(&mut self, hint: Hint) -> Result<(), Unheard> {
        debug!(container = %hint.id, loss = ?hint.loss, "An event took something away");
        // What was told last does not hold any more, so that it is news again.
        self.told = None;
        self.report(Report::Hint { source: SourceName::docker(), hint }).await
    }

    /// Tells an observation if it is news, or `anyway`. Whether it was told.
    pub(super) async fn seen(
        &mut self,
        observation: Observation,
        event_at: Option<i64>,
        anyway: bool,
    ) -> Result<bool, Unheard> {
        let is_news = self.told.as_ref().is_none_or(|(told, _)| *told != observation);
        if !is_news && !anyway {
            return Ok(false);
        }
        debug!(workloads = observation.workloads.len(), "Docker was observed");
        self.told = Some((observation.clone(), Instant::now()));
        let source = SourceName::docker();
        self.report(Report::Seen { source, observation, event_at }).await?;
        Ok(true)
    }

    /// Whether the last observation was told so long ago that a list which shows
    /// nothing new is worth telling: the control loop knows then that it holds.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.told.as_ref().is_none_or(|(_, at)| *at + STALE_AFTER <= now)
    }

    pub(super) async fn connected(&mut self, peer: &str) -> Result<(), Unheard> {
        if self.logged.as_deref() != Some(peer) {
            info!(peer, "Connected to Docker");
            self.logged = Some(peer.to_owned());
        }
        self.health(SourceHealth::Connected { peer: peer.to_owned() }).await
    }

    pub(super) async fn away(
        &mut self,
        error: &ApiError,
        address: &DockerAddress,
        retry_in: Duration,
    ) -> Result<(), Unheard> {
        let (message, hint) = (trouble::message(error, address), trouble::hint(error, address));
        // The control loop tells people, once.
        debug!(message, ?retry_in, "Docker is away");
        self.logged = None;
        self.health(SourceHealth::Away { message, hint, retry_in }).await
    }

    pub(super) fn unreadable(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX && !self.faults.contains(&fault) {
            warn!(fault, "Docker said something that cannot be read; it was passed over");
            self.faults.insert(fault);
        } else {
            debug!(fault, "Docker said something that cannot be read");
        }
    }

    pub(super) fn events_lost(&self) {
        debug!("Events came too fast; everything is listed anew");
    }

    pub(super) fn not_inspected(&mut self, id: &str, error: &ApiError) {
        debug!(id, %error, "A container could not be inspected; it is tried again later");
    }

    async fn health(&self, health: SourceHealth) -> Result<(), Unheard> {
        self.report(Report::Health { source: SourceName::docker(), health }).await
    }

    async fn report(&self, report: Report) -> Result<(), Unheard> {
        self.reports.send(report).await.map_err(|_| Unheard)
    }
}

/// Just under the time between two regular lists.
const STALE_AFTER: Duration = Duration::from_secs(25);

/// Different faults that are warned of before all go to DEBUG.
const FAULTS_MAX: usize = 64;
