//! Waiting for a place at a replica that is ready and full.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::pool::{Pool, Spot, Tried};
use crate::domain::routing::RoutingTable;
use crate::proxy::error::ProxyError;
use crate::proxy::request::hold::Hold;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::Upload;

/// A request's turn in the queue of its pool, once it has one.
#[derive(Debug, Default)]
pub(super) struct Queued(Option<Spot>);

impl Queued {
    /// Whether the request may choose a replica: it must not overtake those who
    /// came before it.
    pub(super) fn may_choose(&self, pool: &Pool) -> bool {
        if !pool.tiers.limited {
            return true;
        }
        let own = self.0.as_ref().filter(|turn| turn.is_in(&pool.state));
        own.is_some_and(Spot::take_call) || pool.state.queue.waiting() == 0
    }

    /// Whether it has ever been in line.
    pub(super) fn has_waited(&self) -> bool {
        self.0.is_some()
    }

    /// It waits no more in this queue: it has a place, or no place would help.
    pub(super) fn leave(&self) {
        if let Some(turn) = &self.0 {
            turn.leave();
        }
    }

    /// Waits until it may choose again, or until there is a newer table than
    /// `table`. Whether it makes sense to look; if not, its time is over.
    pub(super) async fn wait(
        &mut self,
        resources: &Rc<Resources>,
        pool: &Pool,
        tried: &Tried,
        hold: &mut Hold,
        table: &RoutingTable,
        upload: &Upload,
    ) -> Result<bool, ProxyError> {
        let settings = &pool.settings;
        hold.begin();
        let Some(deadline) = hold.deadline(settings) else { return Ok(false) };
        self.0.take_if(|turn| !turn.is_in(&pool.state));
        let turn = match &self.0 {
            Some(turn) => {
                if !tried.is_empty() {
                    // A place that it must not take may do for others.
                    turn.pass_on();
                }
                turn.come_back();
                turn
            }
            None => {
                let turn = pool.state.queue_up(settings.tolerance.queue);
                self.0.insert(turn.ok_or(ProxyError::QueueFull)?)
            }
        };
        let place = resources.bell().hold(resources.bell().arrive());
        if resources.table().generation() != table.generation() {
            turn.wake_first();
            return Ok(true);
        }
        let called = std::future::poll_fn(|context| turn.poll_called(context));
        // Who is first later is called then.
        let look = if turn.is_first() { deadline.min(Instant::now() + LOOK) } else { deadline };
        tokio::select! {
            () = called => {}
            // What has changed may be a place for whoever is first.
            _ = timeout_at(look, place.rung()) => turn.wake_first(),
            () = upload.read_ahead() => return Err(upload.fault()),
        }
        Ok(true)
    }
}

/// How often the first in line looks for itself: a place at a replica that is in
/// two pools is called out in one of them only.
const LOOK: Duration = Duration::from_millis(250);
