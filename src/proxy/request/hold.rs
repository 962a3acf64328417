//! Waiting for a replica to become ready.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::pool::{PoolSettings, PoolState, Waiting};
use crate::domain::routing::RoutingTable;
use crate::proxy::bell::Place;
use crate::proxy::error::ProxyError;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::resources::Resources;

/// The wait of one request, which may be interrupted by tries.
#[derive(Debug, Default)]
pub(super) struct Hold {
    began: Option<Instant>,
    /// Its place among those who wait for the same, and what wakes it.
    place: Option<(Waiting, Place)>,
}

impl Hold {
    /// Waits until there is a newer table than `table`, or until the wait is
    /// long. Whether it makes sense to look again; if not, the hold is over.
    pub(super) async fn wait(
        &mut self,
        resources: &Rc<Resources>,
        settings: &PoolSettings,
        state: &Arc<PoolState>,
        table: &RoutingTable,
        exchange: &mut Exchange,
    ) -> Result<bool, ProxyError> {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let deadline = began + settings.hold;
        if now >= deadline {
            return Ok(false);
        }
        let (_, place) = match &mut self.place {
            Some(place) => place,
            None => {
                let waiting = state.wait(settings.hold_max).ok_or(ProxyError::QueueFull)?;
                self.place.insert((waiting, resources.bell().hold()))
            }
        };
        if resources.table().generation() == table.generation() {
            let long = began + LONG;
            let until = if now < long { long.min(deadline) } else { deadline };
            // A time-out is a reason to look again as well: the wait may have
            // become long.
            let _ = timeout_at(until, place.rung()).await;
        }
        exchange.waited = began.elapsed();
        Ok(true)
    }

    /// Whether it has waited long enough for replicas that are better than none.
    pub(super) fn is_long(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= LONG)
    }
}

/// After this a replica that is starting, or leaving, is better than none.
const LONG: Duration = Duration::from_secs(1);
