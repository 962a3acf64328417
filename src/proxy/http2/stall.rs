//! How long a client may take next to nothing of what there is for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The patience with one stream. It is not renewed by every byte: a client that
/// takes one now and then would have a stream for as long as it likes.
#[derive(Debug)]
pub(super) struct Stall {
    limit: Duration,
    /// Armed while the client is behind.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What it has taken since then, in bytes.
    taken: usize,
}

impl Stall {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, deadline: None, taken: 0 }
    }

    /// To be asked while the client takes nothing. Ready once it has taken too
    /// little for too long.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(sleep(self.limit))
        });
        deadline.as_mut().poll(context)
    }

    /// The client has taken `bytes`, which may be `all` there was for it. Whether
    /// it is behind no more.
    pub(super) fn took(&mut self, bytes: usize, all: bool) -> bool {
        self.taken = self.taken.saturating_add(bytes);
        if all || self.taken >= TAKEN_BYTES_MIN {
            self.deadline = None;
        }
        self.deadline.is_none()
    }
}

/// Of what a client has to take of a stream in the time that it may stall: so
/// little that the slowest line carries it.
pub(super) const TAKEN_BYTES_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{Instant, timeout};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_takes_too_little_is_behind_from_the_first_wait() {
        let (mut stall, began) = (Stall::new(LIMIT), Instant::now());
        for _ in 0..29 {
            wait(&mut stall, 1).await.expect_err("there is time left");
            assert!(!stall.took(1, false));
        }
        assert!(!stall.took(TAKEN_BYTES_MIN - 30, false), "one byte is missing");
        wait(&mut stall, 2).await.unwrap();
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_enough_or_all_has_its_time_anew() {
        for (bytes, all) in [(TAKEN_BYTES_MIN, false), (1, true), (0, true)] {
            let mut stall = Stall::new(LIMIT);
            assert!(stall.took(1, false), "nobody has waited");
            wait(&mut stall, 29).await.expect_err("there is time left");
            assert!(stall.took(bytes, all));
            let began = Instant::now();
            wait(&mut stall, 31).await.unwrap();
            assert_eq!(began.elapsed(), LIMIT, "{bytes} {all}");
        }
    }

    /// Waits for the end of the patience, for so many seconds at the most.
    async fn wait(stall: &mut Stall, seconds: u64) -> Result<(), tokio::time::error::Elapsed> {
        let over = poll_fn(|context| stall.poll_over(context));
        timeout(Duration::from_secs(seconds), over).await
    }
}
