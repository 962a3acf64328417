//! Open-loop load: requests set out at a fixed rate, whatever their answers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::balancing::Visitors;
use super::clock::{Micros, now};
use super::lines::{Asked, Lines, Speaks};
use crate::support::client::Failure;

/// What is asked, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) per_second: u32,
    pub(super) asking: Asking,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asking {
    Get,
    /// With a body of so many bytes.
    Post(usize),
}

/// What became of one request.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Unique within the row's site.
    pub(super) target: String,
    pub(super) sent: Micros,
    /// From when it was due, so that a load that is late hides nothing.
    pub(super) took: Duration,
    /// How late it set out.
    pub(super) late: Duration,
    /// The host name of the replica that answered.
    pub(super) end: Result<String, Failure>,
    /// That of the one that should have.
    pub(super) expected: Option<String>,
}

/// A load that is under way.
#[derive(Debug)]
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Outcome>>,
}

impl Running {
    /// Sends no more, waits for what is under way, which is bounded by the
    /// clients' time-out, and tells what became of each.
    pub(super) fn finish(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Load {
    /// Starts asking for targets below `/row/`.
    pub(super) fn start(
        self,
        at: SocketAddr,
        speaks: Speaks,
        row: &str,
        visitors: Visitors,
    ) -> Running {
        // Of a balancer that hangs, every request of the time-out is under way.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let row = row.to_owned();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let clients = Clients { row, visitors, lines: Lines::new(at, speaks) };
            runtime.block_on(self.run(Arc::new(clients), &stopped))
        });
        Running { stop, thread }
    }

    async fn run(self, clients: Arc<Clients>, stop: &AtomicBool) -> Vec<Outcome> {
        let mut ticks = interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        let mut outcomes = Vec::new();
        for number in 0.. {
            let due = ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let clients = Arc::clone(&clients);
            under_way.spawn(async move { clients.ask(number, self.asking, due).await });
            while let Some(done) = under_way.try_join_next() {
                outcomes.push(done.unwrap());
            }
        }
        while let Some(done) = under_way.join_next().await {
            outcomes.push(done.unwrap());
        }
        outcomes.sort_by_key(|outcome: &Outcome| outcome.sent);
        outcomes
    }
}

/// Those who ask, and their connections.
struct Clients {
    row: String,
    visitors: Visitors,
    lines: Lines,
}

impl Clients {
    async fn ask(&self, number: usize, asking: Asking, due: Instant) -> Outcome {
        let (sent, late) = (now(), due.elapsed());
        let fresh = number.is_multiple_of(FRESH_EVERY);
        let target = format!("/{}/{number}", self.row);
        let (fields, expected) = self.visitors.greeting(number);
        let asked = Asked { fields, ..asking.asked(&target) };
        let answered = timeout(CLIENT_TIMEOUT, self.try_ask(asking, &asked, fresh)).await;
        let end = answered.unwrap_or(Err(Failure::Timeout)).map(|(replica, cookie)| {
            self.visitors.learn(number, &replica, cookie);
            replica
        });
        Outcome { target, sent, took: due.elapsed(), late, end, expected }
    }

    /// Who answers, and the cookie that it sets.
    async fn try_ask(
        &self,
        asking: Asking,
        asked: &Asked,
        fresh: bool,
    ) -> Result<(String, Option<String>), Failure> {
        let answer = self.lines.exchange(asked, fresh).await?;
        if answer.status != 200 {
            return Err(Failure::Status(answer.status));
        }
        let named = named(&answer.body, &asked.target, asking).ok_or(Failure::WrongBody)?;
        Ok((named, answer.cookie))
    }
}

impl Asking {
    fn asked(self, target: &str) -> Asked {
        let (method, body_bytes) = match self {
            Self::Get => ("GET", 0),
            Self::Post(bytes) => ("POST", bytes),
        };
        Asked { method, target: target.to_owned(), fields: String::new(), body_bytes }
    }
}

/// Who answers, if it is an answer to this request.
fn named(body: &[u8], target: &str, asking: Asking) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let (line, bytes) = match asking {
        Asking::Get => (format!("\nGET {target} "), 0),
        Asking::Post(bytes) => (format!("\nPOST {target} "), bytes),
    };
    let is_ours = body.contains(&line) && body.contains(&format!("\nBody: {bytes} bytes\n"));
    let host = body.lines().next()?.strip_prefix("Hostname: ")?;
    is_ours.then(|| host.to_owned())
}

/// What a patient client waits.
pub(super) const CLIENT_TIMEOUT: Duration = Duration::from_secs(15);
/// A fifth of the requests come over a connection of their own.
const FRESH_EVERY: usize = 5;
