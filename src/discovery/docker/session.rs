//! One connection to the daemon, from negotiation to its end.
//!
//! The stream is opened before the first list, so that nothing falls between
//! the two. What waits for the daemon runs in tasks of its own: an event is
//! told at once whatever else is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::api::{Api, ApiError};
use super::events::{self, Heard};
use super::herald::{Herald, Unheard};
use super::inspect::{Inspected, Ticket};
use super::observer::Observer;
use super::wire::List;
use crate::config::DockerAddress;

/// What outlives the connections to a daemon.
pub(super) struct Memory {
    pub(super) observer: Observer,
    pub(super) herald: Herald,
    /// When the connection in use brought its first list.
    pub(super) connected_at: Option<Instant>,
}

/// Why a connection ended.
pub(super) enum End {
    /// The event stream ended, as it may at any time.
    StreamEnded,
    Failed(ApiError),
    /// Nobody listens to our reports any more.
    Unheard,
}

/// Follows the daemon until the connection ends. `now` is the wall clock in
/// nanoseconds since the epoch.
pub(super) async fn follow(address: &DockerAddress, memory: &mut Memory, now: i64) -> End {
    let api = match Api::negotiate(address).await {
        Ok(api) => Arc::new(api),
        Err(error) => return End::Failed(error),
    };
    let mut session = Session::open(api, memory, now).await;
    loop {
        if let Err(end) = session.step().await {
            return end;
        }
    }
}

struct Session<'a> {
    memory: &'a mut Memory,
    api: Arc<Api>,
    heard: mpsc::Receiver<Heard>,
    /// The reader had to drop events.
    lost: Arc<AtomicBool>,
    calls: JoinSet<Done>,
    inspecting: usize,
    /// When what the inspects told must be told on.
    tell_by: Option<Instant>,
    pinging: bool,
    /// When the daemon last gave a sign of life.
    alive_at: Instant,
}

/// A call that came to its end.
enum Done {
    Stream(Result<(), ApiError>),
    List { began: Instant, answer: Result<List, ApiError> },
    Inspect { ticket: Ticket, answer: Result<Option<Inspected>, ApiError> },
    Ping(Result<(), ApiError>),
}

impl<'a> Session<'a> {
    /// Opens the stream. It is waited for a little only: where a proxy holds
    /// its head back, `since` brings what happened meanwhile.
    async fn open(api: Arc<Api>, memory: &'a mut Memory, now: i64) -> Self {
        memory.observer.connect();
        let lost = Arc::new(AtomicBool::new(false));
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        let (opened, is_open) = oneshot::channel();
        let mut calls = JoinSet::new();
        let since = memory.observer.since(now);
        calls.spawn(read(Arc::clone(&api), since, opened, sender, Arc::clone(&lost)));
        // An error ends the first step.
        let _ = timeout(OPENING, is_open).await;
        Self {
            memory,
            api,
            heard,
            lost,
            calls,
            inspecting: 0,
            tell_by: None,
            pinging: false,
            alive_at: Instant::now(),
        }
    }

    /// Does what is due, then waits for the next thing to happen.
    async fn step(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.tell_by.is_some_and(|at| at <= now) {
            self.tell(false).await?;
        }
        self.call_what_is_due(now);
        let mut batch = Vec::new();
        let wake = self.next_wake(now);
        tokio::select! {
            count = self.heard.recv_many(&mut batch, BATCH_MAX), if !self.heard.is_closed() => {
                if count > 0 {
                    self.hear(batch).await?;
                }
            }
            Some(done) = self.calls.join_next() => match done {
                Ok(done) => return self.finish(done).await,
                // Only a panic of our own ends a task like this.
                Err(_) => return Err(End::StreamEnded),
            },
            () = sleep_until(wake) => return Ok(()),
        }
        self.tell(false).await
    }

    fn call_what_is_due(&mut self, now: Instant) {
        if self.memory.observer.list_due(now).is_some_and(|due| due <= now) {
            self.memory.observer.list_began(now);
            let api = Arc::clone(&self.api);
            self.calls.spawn(async move { Done::List { began: now, answer: api.list().await } });
        }
        while self.inspecting < INSPECTS_MAX
            && let Some(ticket) = self.memory.observer.next_to_inspect()
        {
            self.inspecting += 1;
            let api = Arc::clone(&self.api);
            self.calls.spawn(async move {
                let answer = api.inspect(&ticket.id).await;
                Done::Inspect { ticket, answer }
            });
        }
        if !self.pinging && self.alive_at + IDLE_MAX <= now {
            self.pinging = true;
            let api = Arc::clone(&self.api);
            self.calls.spawn(async move { Done::Ping(api.ping().await) });
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let ping = (!self.pinging).then_some(self.alive_at + IDLE_MAX);
        [self.memory.observer.list_due(now), ping, self.tell_by]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE_MAX)
    }

    /// Takes events in. What each took away is told before the next is looked
    /// at, and before the whole that [`tell`](Self::tell) tells.
    async fn hear(&mut self, batch: Vec<Heard>) -> Result<(), End> {
        let now = Instant::now();
        self.alive_at = now;
        let Memory { observer, herald, .. } = &mut *self.memory;
        for heard in batch {
            match heard {
                Heard::Event(event) => {
                    if let Some(hint) = observer.hear(&event, now) {
                        herald.hint(hint).await?;
                    }
                }
                Heard::Unreadable(fault) => herald.unreadable(fault),
            }
        }
        if self.lost.swap(false, Ordering::Relaxed) {
            herald.events_lost();
            observer.lose_events(now);
        }
        Ok(())
    }

    async fn finish(&mut self, done: Done) -> Result<(), End> {
        let now = Instant::now();
        match done {
            Done::Stream(Ok(())) => {
                // What it said last must not be lost with it.
                let mut rest = Vec::new();
                while let Ok(heard) = self.heard.try_recv() {
                    rest.push(heard);
                }
                self.hear(rest).await?;
                self.tell(false).await?;
                return Err(End::StreamEnded);
            }
            Done::Stream(Err(error)) => return Err(End::Failed(error)),
            Done::Ping(answer) => {
                self.pinging = false;
                answer.map_err(End::Failed)?;
                self.alive_at = now;
            }
            Done::List { began, answer } => {
                self.memory.observer.list_ended(now);
                let list = answer.map_err(End::Failed)?;
                self.alive_at = now;
                self.memory.observer.list(&list, began, now);
                let is_first = self.memory.connected_at.is_none();
                if is_first {
                    self.memory.connected_at = Some(now);
                    self.memory.herald.connected(self.api.peer()).await?;
                }
                let anyway = is_first || self.memory.herald.is_stale(now);
                self.tell(anyway).await?;
                // What this list did not show was nothing to be shown.
                self.memory.observer.forget_events(began);
                return Ok(());
            }
            Done::Inspect { ticket, answer } => {
                self.inspected(&ticket, answer);
                // A thousand of them are not a thousand pieces of news.
                self.tell_by.get_or_insert(now + INSPECTS_GATHERED);
                return Ok(());
            }
        }
        self.tell(false).await
    }

    fn inspected(&mut self, ticket: &Ticket, answer: Result<Option<Inspected>, ApiError>) {
        self.inspecting = self.inspecting.saturating_sub(1);
        let inspected = answer.unwrap_or_else(|error| {
            self.memory.herald.not_inspected(&ticket.id, &error);
            None
        });
        self.memory.observer.inspected(ticket, inspected);
    }

    /// Tells what is known if it is news, or `anyway`.
    async fn tell(&mut self, anyway: bool) -> Result<(), End> {
        if let Some(observation) = self.memory.observer.observation(Instant::now()) {
            self.tell_by = None;
            let Memory { observer, herald, .. } = &mut *self.memory;
            if herald.seen(observation, observer.event_at(), anyway).await? {
                observer.told();
            }
        }
        Ok(())
    }
}

impl From<Unheard> for End {
    fn from(Unheard: Unheard) -> Self {
        Self::Unheard
    }
}

/// Reads the stream and never waits for anything but the daemon, which slows
/// down for all its clients where one reads slowly.
async fn read(
    api: Arc<Api>,
    since: i64,
    opened: oneshot::Sender<()>,
    sender: mpsc::Sender<Heard>,
    lost: Arc<AtomicBool>,
) -> Done {
    let stream = match api.events(since).await {
        Ok(stream) => stream,
        Err(error) => return Done::Stream(Err(error)),
    };
    // Nobody may wait for it any longer.
    let _ = opened.send(());
    events::read(stream, |heard| {
        if sender.try_send(heard).is_err() {
            lost.store(true, Ordering::Relaxed);
        }
    })
    .await;
    Done::Stream(Ok(()))
}

/// Events that may wait to be taken in.
const HEARD_MAX: usize = 4096;

/// Events that are taken in before they are told as one.
const BATCH_MAX: usize = 256;

const INSPECTS_MAX: usize = 8;

const INSPECTS_GATHERED: Duration = Duration::from_millis(50);

/// Without a sign of life for this long the daemon is asked for one.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How long the first list waits for the stream.
const OPENING: Duration = Duration::from_millis(500);
