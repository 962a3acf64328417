//! What the gate and the request service tell each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::time::Instant;

use crate::domain::http::framing::HeadFacts;
use crate::domain::http::refusal::Refusal;

/// The service's end of a [`Gate`](super::gate::Gate).
#[derive(Clone, Debug)]
pub struct GateHandle {
    shared: Rc<Shared>,
}

/// One request's turn on its connection, from its head to the end of its answer.
///
/// The service keeps it with the body of the response, so that it is dropped
/// when the server has taken the last of it: the gate lets the next head
/// through, and the connection begins to idle.
#[derive(Debug)]
pub struct Turn {
    /// What the gate made of the head. Where it refused it, the request that
    /// the server sees is not the client's.
    pub verdict: Result<HeadFacts, Refusal>,
    /// When the first byte of the head was seen.
    pub received_at: Instant,
    shared: Rc<Shared>,
}

/// Why the gate cut a connection in the middle of an exchange. It is also the
/// source of the error that the server meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("the request body is malformed")]
    Body(#[source] Refusal),
    #[error("the client stopped sending the request body")]
    BodyTimeout,
    #[error("the client stopped reading")]
    WriteStall,
}

impl GateHandle {
    /// The turn of the request that the server hands over now. There is one for
    /// each, so `None` means that it was taken already.
    pub fn next(&self) -> Option<Turn> {
        let (verdict, received_at) = self.shared.verdict.take()?;
        Some(Turn { verdict, received_at, shared: Rc::clone(&self.shared) })
    }

    /// Whether the connection has begun to rest; told once a rest.
    pub(super) fn rests(&self) -> bool {
        self.shared.resting.take()
    }

    /// Why the gate cut the connection, if it did.
    pub fn fault(&self) -> Option<Fault> {
        self.shared.fault.get()
    }
}

impl Turn {
    /// The answer is a 101: from here on all bytes pass, those that the client
    /// sent early first, and only stalled writes are timed.
    pub fn tunnel(self) {
        self.shared.state.set(State::Tunnel);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.shared.state.get() == State::Serving {
            self.shared.state.set(State::Idle);
            self.shared.idle_since.set(Instant::now());
        }
        if let Some(reader) = self.shared.reader.take() {
            reader.wake();
        }
    }
}

impl Fault {
    /// The word for it in the access log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Body(refusal) => refusal.reason(),
            Self::BodyTimeout => "body_timeout",
            Self::WriteStall => "write_stall",
        }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// The client's.
    Idle,
    /// A head has passed whose answer is not finished.
    Serving,
    /// Nobody's any more: another protocol is spoken.
    Tunnel,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Cell<State>,
    verdict: Cell<Option<(Result<HeadFacts, Refusal>, Instant)>>,
    idle_since: Cell<Instant>,
    /// Nothing has come for a while, and nobody has been told.
    resting: Cell<bool>,
    /// The reader, where nothing but the end of a turn wakes it.
    reader: RefCell<Option<Waker>>,
    fault: Cell<Option<Fault>>,
}

impl Shared {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            state: Cell::new(State::Idle),
            verdict: Cell::new(None),
            idle_since: Cell::new(Instant::now()),
            resting: Cell::new(false),
            reader: RefCell::new(None),
            fault: Cell::new(None),
        })
    }

    pub(super) fn handle(self: &Rc<Self>) -> GateHandle {
        GateHandle { shared: Rc::clone(self) }
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn begin(&self, verdict: Result<HeadFacts, Refusal>, received_at: Instant) {
        self.state.set(State::Serving);
        self.verdict.set(Some((verdict, received_at)));
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    pub(super) fn rest(&self) {
        self.resting.set(true);
    }

    /// The client took the last bytes only now.
    pub(super) fn was_busy(&self) {
        self.idle_since.set(Instant::now());
    }

    pub(super) fn wake_at_end_of_turn(&self, cx: &Context<'_>) {
        self.reader.replace(Some(cx.waker().clone()));
    }

    pub(super) fn cut(&self, fault: Fault) {
        self.fault.set(Some(fault));
    }
}
