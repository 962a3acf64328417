//! Open-loop load: requests set out at a fixed rate, whatever their answers do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::balancing::Visitors;
use super::client::{Failure, connect, exchange, rests};
use super::clock::{Micros, now};

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
    pub(super) fn start(self, at: SocketAddr, row: &str, visitors: Visitors) -> Running {
        // Of a balancer that hangs, every request of the time-out is under way.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let row = row.to_owned();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.run(Arc::new(Clients::new(at, row, visitors)), &stopped))
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

/// Those who ask, and their connections that rest.
#[derive(Debug)]
struct Clients {
    at: SocketAddr,
    row: String,
    visitors: Visitors,
    resting: Mutex<VecDeque<TcpStream>>,
}

impl Clients {
    fn new(at: SocketAddr, row: String, visitors: Visitors) -> Self {
        Self { at, row, visitors, resting: Mutex::default() }
    }

    async fn ask(&self, number: usize, asking: Asking, due: Instant) -> Outcome {
        let (sent, late) = (now(), due.elapsed());
        let fresh = number.is_multiple_of(FRESH_EVERY);
        let target = format!("/{}/{number}", self.row);
        let (fields, expected) = self.visitors.greeting(number);
        let request = request(&target, asking, fresh, &fields);
        let asked = timeout(CLIENT_TIMEOUT, self.try_ask(&target, asking, &request, fresh)).await;
        let end = asked.unwrap_or(Err(Failure::Timeout)).map(|(replica, cookie)| {
            self.visitors.learn(number, &replica, cookie);
            replica
        });
        Outcome { target, sent, took: due.elapsed(), late, end, expected }
    }

    /// Who answers, and the cookie that it sets.
    async fn try_ask(
        &self,
        target: &str,
        asking: Asking,
        request: &[u8],
        fresh: bool,
    ) -> Result<(String, Option<String>), Failure> {
        let mut stream = match (!fresh).then(|| self.rested()).flatten() {
            Some(stream) => stream,
            None => connect(self.at).await?,
        };
        let answer = exchange(&mut stream, request).await?;
        if answer.keeps && !fresh {
            self.rest(stream);
        }
        if answer.status != 200 {
            return Err(Failure::Status(answer.status));
        }
        let named = named(&answer.body, target, asking).ok_or(Failure::WrongBody)?;
        Ok((named, answer.cookie))
    }

    /// The connection that rested longest, so that all of them live.
    fn rested(&self) -> Option<TcpStream> {
        let mut resting = self.resting.lock().unwrap();
        while let Some(stream) = resting.pop_front() {
            if rests(&stream) {
                return Some(stream);
            }
        }
        None
    }

    fn rest(&self, stream: TcpStream) {
        let mut resting = self.resting.lock().unwrap();
        if resting.len() < RESTING_MAX {
            resting.push_back(stream);
        }
    }
}

fn request(target: &str, asking: Asking, fresh: bool, fields: &str) -> Vec<u8> {
    let connection = if fresh { "close" } else { "keep-alive" };
    let tail = format!("{target} HTTP/1.1\r\nHost: churn\r\nConnection: {connection}\r\n{fields}");
    match asking {
        Asking::Get => format!("GET {tail}\r\n").into_bytes(),
        Asking::Post(bytes) => {
            let mut whole = format!("POST {tail}Content-Length: {bytes}\r\n\r\n").into_bytes();
            whole.resize(whole.len() + bytes, b'x');
            whole
        }
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
/// As many connections as a busy front of browsers keeps.
const RESTING_MAX: usize = 32;
/// A fifth of the requests come over a connection of their own.
const FRESH_EVERY: usize = 5;
