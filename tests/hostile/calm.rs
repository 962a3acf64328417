//! A client that behaves well, and how long it waits.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;

use super::victim::Victim;
use crate::support::client::http1::{exchange, rests};
use crate::support::client::http2::{Http2, Lost};
use crate::support::client::tls::connector;
use crate::support::client::{Answer, Failure, connect};

/// It asks at a fixed rate, whatever its answers do.
#[derive(Debug)]
pub(super) struct Calm {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Vec<Asked>>,
}

/// What it has seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    asked: usize,
    pub(super) failed: usize,
    why: Option<Failure>,
    p50: Duration,
    pub(super) p99: Duration,
    /// How late it set out itself, in 99 of 100.
    pub(super) noise: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    took: Duration,
    late: Duration,
    failure: Option<Failure>,
}

impl Calm {
    pub(super) fn start(victim: &Victim) -> Self {
        let (stop, stopped) = oneshot::channel();
        let lines = Arc::new(Lines {
            clear: victim.http,
            secure: victim.https,
            tls: connector(b"h2"),
            rested: Mutex::default(),
            shared: Mutex::default(),
        });
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ask_on(lines, stopped))
        });
        Self { stop, thread }
    }

    pub(super) fn finish(self) -> Seen {
        drop(self.stop);
        let asked = self.thread.join().unwrap();
        let failures: Vec<_> = asked.iter().filter_map(|asked| asked.failure).collect();
        Seen {
            asked: asked.len(),
            failed: failures.len(),
            why: failures.first().copied(),
            p50: rank(asked.iter().map(|asked| asked.took), 50),
            p99: rank(asked.iter().map(|asked| asked.took), 99),
            noise: rank(asked.iter().map(|asked| asked.late), 99),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, failed, why, p50, p99, noise } = self;
        write!(to, "{asked} asked, p50 {p50:.1?}, p99 {p99:.1?} ({noise:.1?} of it late itself)")?;
        match why {
            Some(why) => write!(to, ", {failed} failed, the first: {why}"),
            None => Ok(()),
        }
    }
}

/// The nearest rank.
fn rank(times: impl Iterator<Item = Duration>, percent: usize) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100) - 1]
}

async fn ask_on(lines: Arc<Lines>, mut stopped: oneshot::Receiver<()>) -> Vec<Asked> {
    let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for number in 0.. {
        let due = tokio::select! {
            due = ticks.tick() => due,
            _ = &mut stopped => break,
        };
        let lines = Arc::clone(&lines);
        under_way.spawn(async move {
            let late = due.elapsed();
            let answer = timeout(PATIENCE, lines.ask(number)).await;
            let failure = match answer.unwrap_or(Err(Failure::Timeout)) {
                Ok(Answer { status: 200, .. }) => None,
                Ok(Answer { status, .. }) => Some(Failure::Status(status)),
                Err(failure) => Some(failure),
            };
            Asked { took: due.elapsed(), late, failure }
        });
    }
    under_way.join_all().await
}

/// By turns HTTP/1.1 in the clear and HTTP/2 over TLS, most of it over
/// connections that are kept.
struct Lines {
    clear: SocketAddr,
    secure: SocketAddr,
    tls: TlsConnector,
    rested: Mutex<Vec<TcpStream>>,
    shared: Mutex<Option<Http2>>,
}

impl Lines {
    async fn ask(&self, number: usize) -> Result<Answer, Failure> {
        let fresh = number % FRESH_EVERY < 2;
        if number.is_multiple_of(2) { self.http1(fresh).await } else { self.http2(fresh).await }
    }

    async fn http1(&self, fresh: bool) -> Result<Answer, Failure> {
        let rested = if fresh { None } else { self.rested.lock().await.pop() };
        let mut stream = match rested.filter(rests) {
            Some(stream) => stream,
            None => connect(self.clear).await?,
        };
        let answer = exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        if answer.keeps && !fresh {
            self.rested.lock().await.push(stream);
        }
        Ok(answer)
    }

    async fn http2(&self, fresh: bool) -> Result<Answer, Failure> {
        for _ in 0..TRIES {
            let line = if fresh { self.connect().await? } else { self.shared().await? };
            let request = Request::get("https://localhost/").body(()).unwrap();
            match line.exchange(request, Bytes::new()).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::Unprocessed) => {}
                Err(Lost::Failed(failure)) => return Err(failure),
            }
        }
        Err(Failure::Refused)
    }

    async fn shared(&self) -> Result<Http2, Failure> {
        let mut shared = self.shared.lock().await;
        if let Some(line) = shared.as_ref().filter(|line| !line.is_over()) {
            return Ok(line.clone());
        }
        let line = self.connect().await?;
        *shared = Some(line.clone());
        Ok(line)
    }

    async fn connect(&self) -> Result<Http2, Failure> {
        Http2::connect(self.secure, &self.tls).await
    }
}

const PER_SECOND: u32 = 200;
/// A tenth of each protocol's requests come over connections of their own.
const FRESH_EVERY: usize = 20;
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a request that was not processed.
const TRIES: usize = 3;
