//! Where the time of one request goes.

use std::time::Duration;

use tokio::time::Instant;

/// Every moment of a request belongs to one stage, so that no time is counted
/// twice.
#[derive(Debug)]
pub(super) struct Timers {
    /// When its head had been read.
    pub(super) began: Instant,
    stage: Stage,
    since: Instant,
    ours: Duration,
    waited: Duration,
    /// None before the first attempt.
    connecting: Option<Duration>,
    /// From when there was a connection to the head of the answer that is given.
    pub(super) first_byte: Option<Duration>,
}

/// Whom a request waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Us.
    Ours,
    /// A replica to become ready, or a place at one.
    Waiting,
    Connecting,
    /// The head of an answer.
    Asking,
    /// The bodies, or whoever is asked beside the replicas.
    Elsewhere,
}

/// What became of the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    pub(super) waited: Duration,
    pub(super) connecting: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) ours: Duration,
    pub(super) total: Duration,
}

impl Timers {
    pub(super) fn start() -> Self {
        let began = Instant::now();
        Self {
            began,
            stage: Stage::Ours,
            since: began,
            ours: Duration::ZERO,
            waited: Duration::ZERO,
            connecting: None,
            first_byte: None,
        }
    }

    /// From now on its time is of this stage. When that is.
    pub(super) fn enter(&mut self, stage: Stage) -> Instant {
        let now = Instant::now();
        self.turn(stage, now);
        now
    }

    /// The head of the answer is there. When that is.
    pub(super) fn answered(&mut self) -> Instant {
        let now = Instant::now();
        self.first_byte = Some(self.turn(Stage::Ours, now));
        now
    }

    /// It is over.
    pub(super) fn stop(&mut self) -> Times {
        let now = self.enter(Stage::Elsewhere);
        let Self { waited, connecting, first_byte, ours, .. } = *self;
        Times { waited, connecting, first_byte, ours, total: now.duration_since(self.began) }
    }

    /// How long the stage lasted that ends now.
    fn turn(&mut self, stage: Stage, now: Instant) -> Duration {
        let passed = now.duration_since(self.since);
        match self.stage {
            Stage::Ours => self.ours += passed,
            Stage::Waiting => self.waited += passed,
            Stage::Connecting => *self.connecting.get_or_insert_default() += passed,
            Stage::Asking | Stage::Elsewhere => {}
        }
        (self.stage, self.since) = (stage, now);
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_request_is_parted_among_its_stages() {
        let mut timers = Timers::start();
        for (lasts, next) in
            [(1, Stage::Waiting), (20, Stage::Ours), (2, Stage::Connecting), (300, Stage::Asking)]
        {
            pass(lasts).await;
            timers.enter(next);
        }
        pass(4000).await;
        timers.answered();
        pass(4).await;
        timers.enter(Stage::Elsewhere);
        pass(50_000).await;
        let times = timers.stop();
        assert_eq!(times.ours, ms(1 + 2 + 4));
        assert_eq!((times.waited, times.connecting), (ms(20), Some(ms(300))));
        assert_eq!((times.first_byte, times.total), (Some(ms(4000)), ms(54_327)));
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_is_that_of_all_tries_and_the_first_byte_that_of_the_last() {
        let mut timers = Timers::start();
        for (connecting, asking) in [(1, 100), (2, 200)] {
            timers.enter(Stage::Connecting);
            pass(connecting).await;
            timers.enter(Stage::Asking);
            pass(asking).await;
            if asking == 100 {
                timers.enter(Stage::Ours);
            }
        }
        timers.answered();
        let times = timers.stop();
        assert_eq!((times.connecting, times.first_byte), (Some(ms(3)), Some(ms(200))));
        // What a failed try took is in the total alone.
        assert_eq!((times.ours, times.total), (Duration::ZERO, ms(303)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_in_a_wait_has_waited() {
        let mut timers = Timers::start();
        timers.enter(Stage::Waiting);
        pass(70).await;
        let times = timers.stop();
        assert_eq!((times.waited, times.total), (ms(70), ms(70)));
        assert_eq!((times.connecting, times.first_byte), (None, None));
    }

    async fn pass(lasts: u64) {
        advance(ms(lasts)).await;
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }
}
