//! The one timer of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is armed only while something waits, and moved only to an
/// earlier time: one that fires too early is armed anew. So a busy connection
/// hardly ever touches it.
///
/// It wakes the task that polled it last; one task drives a connection.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Whether `deadline` has passed; if not, the task is woken by then.
    pub(in crate::proxy) fn has_passed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }

    /// Has the task woken at some time within `within` from now.
    pub(super) fn wake_within(&mut self, cx: &mut Context<'_>, within: Duration) {
        let armed = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_pending());
        if !armed {
            self.has_passed(cx, Instant::now() + within);
        }
    }
}
