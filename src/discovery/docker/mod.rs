//! Docker: what runs, what stops, and who we are among it.
//!
//! Lists are the truth, and events tell at once what the next list will show.
//! Nothing here writes to the daemon, and none of its types leave this module.

mod api;
mod events;
mod herald;
mod hints;
mod identity;
mod inspect;
mod observer;
mod session;
mod settle;
mod tls;
mod transport;
mod trouble;
mod view;
mod wire;
mod workload;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

pub use self::inspect::Ticket;
pub use self::observer::{Observer, Unreadable};

use self::herald::Herald;
use self::identity::Candidates;
use self::session::{End, Memory};
use crate::config::DockerAddress;
use crate::domain::world::Report;

/// Watches a daemon and reports what it runs, for ever, or until nobody takes
/// the reports any more.
///
/// Reported are the containers that carry a label beginning with `label_prefix`
/// and a dot, and those whose network such a container uses.
pub async fn watch(address: DockerAddress, label_prefix: Arc<str>, reports: mpsc::Sender<Report>) {
    let mut memory = Memory {
        observer: Observer::within(&label_prefix, Candidates::read().await),
        herald: Herald::new(reports),
        connected_at: None,
    };
    let mut backoff = Backoff::default();
    loop {
        memory.connected_at = None;
        let end = Box::pin(session::follow(&address, &mut memory, wall_clock())).await;
        let steady = memory.connected_at.is_some_and(|at| at.elapsed() >= STEADY_AFTER);
        if steady {
            backoff = Backoff::default();
        }
        match end {
            End::StreamEnded if steady => {
                debug!("The event stream ended; it is opened again");
            }
            End::StreamEnded => {
                let pause = backoff.next();
                debug!(?pause, "The event stream ended at once; it is opened again");
                sleep(pause).await;
            }
            End::Failed(error) => {
                let pause = backoff.next();
                if memory.herald.away(&error, &address, pause).await.is_err() {
                    return;
                }
                sleep(pause).await;
            }
            End::Unheard => return,
        }
    }
}

/// How long to wait before the next attempt.
struct Backoff(Duration);

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF_MAX);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_MIN)
    }
}

/// Nanoseconds since the epoch, for the daemon's `since`.
#[expect(clippy::disallowed_methods, reason = "events are asked for by the wall clock")]
fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A connection that lasted this long begins the back-off anew.
const STEADY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_get_rarer_up_to_one_every_five_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
