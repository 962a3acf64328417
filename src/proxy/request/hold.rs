//! Waiting for a replica to become ready.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::pool::{PoolSettings, PoolState};
use crate::domain::routing::RoutingTable;
use crate::proxy::error::ProxyError;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::Upload;

/// The wait of one request, which may be interrupted by tries.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Since when it finds no replica that can serve it.
    began: Option<Instant>,
    /// Before that.
    spent: Duration,
    /// Its turn among those who wait.
    arrival: Option<u64>,
}

impl Hold {
    /// It has found none now, if it had found one before.
    pub(super) fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// It has found one that was merely busy until now: however long that takes
    /// is no wait.
    pub(super) fn pause(&mut self) {
        self.spent = self.waited();
        self.began = None;
    }

    /// Whether it has waited as long as `settings` allow.
    pub(super) fn is_over(&self, settings: &PoolSettings) -> bool {
        self.began.is_some() && self.waited() >= settings.hold
    }

    /// Until when it may wait; none if that is over.
    pub(super) fn deadline(&self, settings: &PoolSettings) -> Option<Instant> {
        self.at(settings.hold).filter(|_| !self.is_over(settings))
    }

    /// Waits until there is a newer table than `table`, or until the wait is
    /// long. Whether it makes sense to look again; if not, the hold is over.
    pub(super) async fn wait(
        &mut self,
        resources: &Rc<Resources>,
        settings: &PoolSettings,
        state: &Arc<PoolState>,
        table: &RoutingTable,
        upload: &Upload,
    ) -> Result<bool, ProxyError> {
        self.begin();
        let Some(deadline) = self.deadline(settings) else { return Ok(false) };
        // Who had a place and tried comes back to it.
        let most = if self.arrival.is_some() { u32::MAX } else { settings.hold_max };
        let _waiting = state.wait(most).ok_or(ProxyError::QueueFull)?;
        let place = resources.bell().hold(*self.arrival.get_or_insert(resources.bell().arrive()));
        if resources.table().generation() != table.generation() {
            return Ok(true);
        }
        let long = self.at(LONG).filter(|_| !self.is_long());
        let until = long.map_or(deadline, |long| long.min(deadline));
        tokio::select! {
            // A time-out is a reason to look again as well: the wait may have
            // become long.
            _ = timeout_at(until, place.rung()) => Ok(true),
            () = upload.read_ahead() => Err(upload.fault()),
        }
    }

    /// How long it has waited, with the tries that failed meanwhile.
    pub(super) fn waited(&self) -> Duration {
        self.spent + self.began.map(|began| began.elapsed()).unwrap_or_default()
    }

    /// When it will have waited for so long.
    fn at(&self, waited: Duration) -> Option<Instant> {
        self.began.map(|began| began + waited.saturating_sub(self.spent))
    }

    /// Whether it has waited long enough for replicas that are better than none.
    pub(super) fn is_long(&self) -> bool {
        self.waited() >= LONG
    }
}

/// After this a replica that is starting, or leaving, is better than none.
const LONG: Duration = Duration::from_secs(1);
