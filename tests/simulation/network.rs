//! The model network: who is at an address at this moment, and what becomes of
//! connections when programs die, are paused or lose their network.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::engine::Engine;

/// A connection to one life of one container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Connection {
    pub(super) container: usize,
    pub(super) life: u32,
}

/// The connection ended, as a reset or an end.
#[derive(Debug)]
pub(super) struct Ended;

impl Engine {
    /// Connects to whoever has this address now; none if that is refused. Where
    /// nobody answers it takes for ever.
    pub(super) async fn connect(&self, address: u8) -> Option<Connection> {
        sleep(self.chance.millis(0..=1)).await;
        loop {
            let changed = self.changed.notified();
            let found = {
                let containers = self.containers.borrow();
                containers.iter().position(|it| it.address == Some(address)).map(|index| {
                    let it = &containers[index];
                    let accepts = it.alive && it.listens && it.connected;
                    let refuses = it.connected && (it.alive || it.died_at.is_some_and(is_fresh));
                    (Connection { container: index, life: it.life }, accepts, refuses)
                })
            };
            match found {
                // One that is paused accepts too: its kernel does.
                Some((connection, true, _)) => return Some(connection),
                Some((_, false, true)) => return None,
                Some(_) | None => changed.await,
            }
        }
    }

    /// Whether the other side has not ended it.
    pub(super) fn is_open(&self, connection: Connection) -> bool {
        self.see(connection.container, |it| it.alive && it.life == connection.life && it.listens)
    }

    /// Sends a request, which takes the program `work` to answer.
    pub(super) async fn exchange(
        self: &Rc<Self>,
        connection: Connection,
        work: Duration,
    ) -> Result<(), Ended> {
        if !self.is_open(connection) {
            return Err(Ended);
        }
        let _counted = Counted::new(self, connection);
        self.answer(connection, work).await
    }

    async fn answer(&self, connection: Connection, work: Duration) -> Result<(), Ended> {
        let mut done = Instant::now() + work;
        let mut ran = true;
        loop {
            let changed = self.changed.notified();
            let (lives, is_in, runs) = self.see(connection.container, |it| {
                let lives = it.alive && it.life == connection.life;
                (lives, it.connected, !it.paused)
            });
            if !lives && is_in {
                return Err(Ended);
            }
            if !(lives && is_in && runs) {
                // Neither an answer nor an end gets through.
                ran = false;
                changed.await;
                continue;
            }
            if !ran {
                (done, ran) = (Instant::now() + work, true);
            }
            tokio::select! {
                biased;
                () = sleep_until(done) => return Ok(()),
                () = changed => {}
            }
        }
    }
}

/// A request that its container has, until it is answered or broken off.
struct Counted<'a>(&'a Engine, Connection);

impl<'a> Counted<'a> {
    fn new(engine: &'a Engine, connection: Connection) -> Self {
        engine.containers.borrow_mut()[connection.container].requests += 1;
        Self(engine, connection)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self(engine, connection) = self;
        let container = &mut engine.containers.borrow_mut()[connection.container];
        if container.life == connection.life {
            container.requests -= 1;
            // Who drains waits for the last one.
            if container.requests == 0 && !container.listens {
                engine.changed.notify_waiters();
            }
        }
    }
}

/// For a moment after its death the kernel still refuses for it.
fn is_fresh(died_at: Instant) -> bool {
    died_at.elapsed() < Duration::from_millis(30)
}
