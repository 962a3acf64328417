//! Stopping: take nothing new, finish what is there, within a deadline.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::proxy::WEBSOCKETS_END;

/// The signals that ask the balancer to stop.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one and names it.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How long requests and tunnels may finish. Docker kills 10 s after it asked.
pub(super) const DEADLINE: Duration = Duration::from_secs(9);

const _: () = assert!(
    WEBSOCKETS_END.as_secs() + 1 < DEADLINE.as_secs(),
    "WebSockets have time for a goodbye"
);
