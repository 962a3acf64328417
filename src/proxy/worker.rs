//! A thread of the data plane: its runtime, its listeners, its connections.

use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, error, warn};

use crate::domain::pressure::Level;
use crate::proxy::connection;
use crate::proxy::crowd::Member;
use crate::proxy::listener::{EntryPoint, Listening};
use crate::proxy::resources::{Parts, Resources};
use crate::proxy::shortage::is_shortage;
use crate::telemetry::metrics::{Listener, Refused};

/// The running threads.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

/// A thread's connections, and what they use.
#[derive(Debug)]
struct Worker {
    resources: Rc<Resources>,
    open: Cell<usize>,
    /// When it was last told that none can be accepted.
    told_at: Cell<Option<Instant>>,
    /// Told when one of them ends.
    closed: Notify,
}

impl Workers {
    /// Starts a thread for each set of listeners, before anything else of the
    /// process needs one.
    pub fn start(listeners: Vec<Vec<Listening>>, parts: &Parts) -> io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let (tell, ended) = mpsc::channel(listeners.len().max(1));
        for (number, listeners) in listeners.into_iter().enumerate() {
            let (parts, stopping, tell) = (parts.clone(), stopping.clone(), tell.clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _ended = Ended(tell);
                if let Err(failed) = run(listeners, parts, &stopping) {
                    error!("A worker cannot run: {failed}");
                }
            })?;
        }
        Ok(Self { stop, ended })
    }

    /// Takes no more connections and lets those that are open finish.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until a thread has ended.
    pub async fn one_ended(&mut self) {
        self.ended.recv().await;
    }

    /// Waits until every thread has ended.
    pub async fn all_ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }
}

impl Worker {
    /// Clients notice nothing but that they wait: whoever runs us must see more.
    fn cannot_accept(&self, reason: Refused, why: &dyn Display) {
        self.resources.parts.counters.connection_refused(reason);
        let now = Instant::now();
        if self.told_at.get().is_none_or(|at| now.duration_since(at) >= TELL_EVERY) {
            self.told_at.set(Some(now));
            warn!(
                reason = reason.as_str(),
                "Cannot accept connections: {why}. Those who connect wait. This is told once a \
                 minute at the most"
            );
        }
    }
}

fn run(
    listeners: Vec<Listening>,
    parts: Parts,
    stopping: &watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Sockets are looked at after this many tasks: enough to amortise the
        // system call, few enough to keep latency even.
        .event_interval(61)
        .build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker {
        resources: Rc::new(Resources::new(parts)),
        open: Cell::new(0),
        told_at: Cell::new(None),
        closed: Notify::new(),
    });
    let served = runtime.block_on(local.run_until(async {
        let mut accepting = Vec::new();
        for Listening { socket, entry } in listeners {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let serving = accept(Rc::clone(&worker), listener, entry, stopping.clone());
            accepting.push(tokio::task::spawn_local(serving));
        }
        let resources = Rc::clone(&worker.resources);
        let keeping = tokio::task::spawn_local(keep_house(resources, stopping.clone()));
        let serving = async {
            for serving in accepting {
                serving.await.map_err(io::Error::other)?;
            }
            while worker.open.get() > 0 {
                worker.closed.notified().await;
            }
            Ok(())
        };
        tokio::select! {
            served = serving => served,
            kept = keeping => kept.map_err(io::Error::other),
        }
    }));
    drop(local);
    // A look at a name that hangs must not keep us.
    runtime.shutdown_background();
    served
}

/// Tells that a thread has ended, also by a panic.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // There is room for one message of each thread.
        let _ = self.0.try_send(());
    }
}

/// Takes connections until the balancer stops.
async fn accept(
    worker: Rc<Worker>,
    listener: tokio::net::TcpListener,
    entry: Arc<EntryPoint>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = take(&worker, &listener) => accepted,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, stream, peer, &entry),
            Err(failed) => {
                if is_shortage(&failed) {
                    // It passes when connections end, and asking again at once
                    // would only burn the processor.
                    worker.cannot_accept(Refused::Shortage, &failed);
                    sleep(ACCEPT_PAUSE).await;
                } else {
                    debug!("A connection was gone before it was accepted: {failed}");
                }
            }
        }
    }
    if let Err(failed) = admit_waiting(&worker, listener, &entry) {
        debug!("A connection that waited was lost: {failed}");
    }
}

/// Serves those who had connected before we stopped listening: the kernel would
/// reset what waits at a listener that is closed.
fn admit_waiting(
    worker: &Rc<Worker>,
    listener: tokio::net::TcpListener,
    entry: &Arc<EntryPoint>,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    while worker.open.get() < worker.resources.parts.connections_max {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                admit(worker, TcpStream::from_std(stream)?, peer, entry);
            }
            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => break,
            Err(failed) if is_shortage(&failed) => return Err(failed),
            // It left before we came to it.
            Err(_) => {}
        }
    }
    Ok(())
}

async fn take(
    worker: &Worker,
    listener: &tokio::net::TcpListener,
) -> io::Result<(TcpStream, SocketAddr)> {
    let most = worker.resources.parts.connections_max;
    if worker.open.get() >= most {
        let why = format_args!("this worker has {most}, as many as our limit of open files allows");
        worker.cannot_accept(Refused::Full, &why);
    }
    while worker.open.get() >= most {
        worker.closed.notified().await;
    }
    listener.accept().await
}

fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, entry: &Arc<EntryPoint>) {
    let Some(member) = enter(&worker.resources, peer) else {
        // A reset leaves nothing behind, neither here nor in the kernel.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    };
    let open = Open::begin(Rc::clone(worker));
    let counted = worker.resources.parts.counters.connection_opened(if entry.tls {
        Listener::Https
    } else {
        Listener::Http
    });
    // Boxed, since a task has room for its future twice.
    let serving =
        Box::pin(connection::serve(Rc::clone(&worker.resources), stream, peer, Arc::clone(entry)));
    tokio::task::spawn_local(async move {
        let _counted = (open, counted, member);
        serving.await;
    });
}

/// Whether a connection may be served, and if its client's are counted by now,
/// that of this one.
fn enter(resources: &Resources, peer: SocketAddr) -> Option<Option<Member>> {
    let parts = &resources.parts;
    if parts.pressure.level() >= Level::High {
        parts.counters.connection_refused(Refused::Memory);
        return None;
    }
    // A proxy speaks for many, of whom it may tell in a header.
    if resources.trusts(peer.ip()) || resources.is_introduced(peer.ip()) {
        return Some(None);
    }
    connection::join(resources, peer.ip()).ok()
}

/// Counts a connection while it is open, also if its task panics.
struct Open(Rc<Worker>);

impl Open {
    fn begin(worker: Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self(worker)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.closed.notify_waiters();
        self.0.closed.notify_one();
    }
}

/// When routing changes or we stop, tells those whom it concerns. Closes idle
/// connections: at once when their endpoint leaves, and in time when they grow
/// old.
async fn keep_house(resources: Rc<Resources>, mut stopping: watch::Receiver<bool>) {
    let mut reader = resources.parts.reader.clone();
    let mut generation = resources.table().generation();
    let mut tick = interval(SWEEP_EVERY);
    let mut idle = 0;
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(()) = reader.changed() => {}
            Ok(_) = stopping.wait_for(|&stopping| stopping), if !resources.bell().is_stopping() => {
                resources.bell().stop();
            }
            _ = tick.tick() => {}
        }
        resources.bell().press(resources.parts.pressure.level() >= Level::High);
        resources.bell().ring_watches();
        // A worker without requests would keep an old table alive.
        let newest = resources.table().generation();
        if newest != generation {
            generation = newest;
            resources.bell().ring_holds();
        }
        let before = idle;
        idle = resources.carriers().sweep(Instant::now());
        resources.parts.counters.idle_upstream_changed(before, idle);
        resources.errands().sweep(Instant::now());
        resources.pages().sweep(Instant::now());
        resources.complaints().sweep(Instant::now());
    }
}

/// A line for each failure would fill the log.
const TELL_EVERY: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
