//! Waiting for a replica to become ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::domain::pool::{Pool, PoolSettings, PoolState, Waiting};
use crate::domain::routing::RoutingTable;
use crate::live::Reader;
use crate::proxy::error::ProxyError;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::resources::Resources;

/// The wait of one request, which may be interrupted by tries.
#[derive(Debug, Default)]
pub(super) struct Hold {
    began: Option<Instant>,
    /// Its place among those who wait for the same, and what wakes it.
    place: Option<(Waiting, Reader)>,
    /// The pool as it was when all of it had been tried.
    exhausted: Option<Arc<Pool>>,
}

impl Hold {
    /// Waits until there is a newer table than `table`, or until the wait is
    /// long. Whether it makes sense to look again; if not, the hold is over.
    pub(super) async fn wait(
        &mut self,
        resources: &Resources,
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
        let (_, reader) = match &mut self.place {
            Some(place) => place,
            None => {
                let waiting = state.wait(settings.hold_max);
                let waiting = waiting.ok_or(ProxyError::QueueFull)?;
                let mut reader = resources.parts.reader.clone();
                reader.mark_seen();
                self.place.insert((waiting, reader))
            }
        };
        if reader.current().generation() == table.generation() {
            let long = began + LONG;
            let until = if now < long { long.min(deadline) } else { deadline };
            // A time-out is a reason to look again as well: the wait may have
            // become long.
            if let Ok(None) = timeout_at(until, reader.changed()).await {
                // No table will come any more: we are stopping.
                sleep_until(until).await;
            }
        }
        exchange.waited = began.elapsed();
        Ok(true)
    }

    /// Every endpoint of `pool` that may serve has been tried.
    pub(super) fn watch(&mut self, pool: &Arc<Pool>) {
        self.exhausted = Some(Arc::clone(pool));
    }

    /// Whether `pool` is another than the one whose endpoints had been tried;
    /// told once.
    pub(super) fn is_news(&mut self, pool: &Arc<Pool>) -> bool {
        self.exhausted.take_if(|exhausted| !Arc::ptr_eq(exhausted, pool)).is_some()
    }

    /// Whether it has waited long enough to be sent to a replica that is only
    /// starting.
    pub(super) fn is_long(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= LONG)
    }
}

/// After this a starting replica that accepts connections is better than none.
const LONG: Duration = Duration::from_secs(1);
