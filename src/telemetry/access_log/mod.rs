//! The access log: one line a request, written when it has ended.
//!
//! A thread of the data plane formats a line straight into a buffer of its own,
//! which only the writer's thread visits, to carry away what has gathered. So
//! lines of one thread keep their order, those of two threads nearly so.

mod choice;
mod entry;
mod format;
mod redact;
mod writer;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

pub use entry::{Entry, Tls};

use crate::config::{AccessLogFormat, AccessLogSettings};
use crate::telemetry::access_log::choice::Choice;
use crate::telemetry::access_log::format::{Format, Second};
use crate::telemetry::access_log::redact::Redaction;

/// A handle on the access log; clones write to the same log. The log is closed
/// when the last one is dropped.
#[derive(Clone, Debug)]
pub struct AccessLog {
    open: Option<Arc<Open>>,
}

/// Held by the handles alone, so that the last one can tell the writer.
#[derive(Debug)]
struct Open {
    queue: Arc<Queue>,
}

/// What handles and the writer share.
#[derive(Debug)]
struct Queue {
    /// Tells this log from others that a thread wrote to.
    serial: u64,
    format: Format,
    choice: Choice,
    redaction: Redaction,
    lanes: Mutex<Vec<Arc<Lane>>>,
    writer: OnceLock<Thread>,
    /// The writer waits to be woken.
    asleep: AtomicBool,
    closing: AtomicBool,
    dropped: AtomicU64,
    /// How many times a flush was asked for.
    asked: AtomicU64,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

/// The lines of one thread that wait for the writer.
#[derive(Debug, Default)]
struct Lane(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    second: Second,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many of the flushes asked for are done.
    flushed: u64,
    ended: bool,
}

impl AccessLog {
    /// Starts a thread that writes lines to `to`. A log that is off starts none.
    /// Fails if the system grants no thread.
    pub fn start(
        settings: &AccessLogSettings,
        to: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let format = match settings.format {
            AccessLogFormat::Combined => Format::Combined,
            AccessLogFormat::Json => Format::Json,
            AccessLogFormat::Logfmt => Format::Logfmt,
            AccessLogFormat::Off => return Ok(Self::off()),
        };
        let queue = Arc::new(Queue::new(format, settings));
        let reader = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer::run(&reader, to))?;
        // Nobody else sets it; lines that come before only wait for `start`.
        let _ = queue.writer.set(thread.thread().clone());
        Ok(Self { open: Some(Arc::new(Open { queue })) })
    }

    /// A log that writes nothing.
    pub fn off() -> Self {
        Self { open: None }
    }

    /// Whether lines are written: whoever asks first need not gather an entry.
    pub fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a request is logged that ended with `status` after this time:
    /// whoever asks first need not make an entry of one that is not.
    pub fn wants(&self, status: u16, took: Duration) -> bool {
        let draw = || fastrand::u32(..);
        self.open.as_ref().is_some_and(|open| open.queue.choice.takes(status, took, draw))
    }

    /// Writes one line, soon. Where the reader of the log is so slow that
    /// 2 MiB of this thread wait, the line is dropped and counted.
    pub fn log(&self, entry: &Entry<'_>) {
        if let Some(open) = &self.open {
            open.queue.log(entry);
        }
    }

    /// Lines that were lost: no room, or not accepted where they go.
    pub fn dropped(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.queue.dropped.load(Ordering::Relaxed))
    }

    /// Waits until what was logged before is written, for `within` at the most.
    /// Whether it is. Blocks the thread.
    pub fn flush(&self, within: Duration) -> bool {
        self.open.as_ref().is_none_or(|open| open.queue.flush(within))
    }

    /// Writes what waits and ends; later lines are dropped and counted. Whether
    /// all was written `within` the time. Blocks the thread.
    pub fn close(&self, within: Duration) -> bool {
        self.open.as_ref().is_none_or(|open| {
            open.queue.close();
            open.queue.wait(within, |progress| progress.ended)
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    fn new(format: Format, settings: &AccessLogSettings) -> Self {
        static SERIALS: AtomicU64 = AtomicU64::new(0);
        Self {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            format,
            choice: Choice::new(settings),
            redaction: Redaction::new(settings.query, &settings.redact),
            lanes: Mutex::default(),
            writer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            progress: Mutex::default(),
            progressed: Condvar::new(),
        }
    }

    fn log(&self, entry: &Entry<'_>) {
        let target = self.redaction.shown(entry.target);
        let referer = entry.referer.map(|it| self.redaction.shown(it));
        let entry = &Entry { target: &target, referer: referer.as_deref(), ..*entry };
        let taken = !self.closing.load(Ordering::Relaxed)
            && LANES.try_with(|lanes| self.append(&mut lanes.borrow_mut(), entry)) == Ok(true);
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The lane's lock orders this after the writer's own look at the lane:
        // it either found the line or is seen asleep here.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Whether there was room in this thread's lane.
    fn append(&self, lanes: &mut Vec<(u64, Arc<Lane>)>, entry: &Entry<'_>) -> bool {
        let known = lanes.iter().position(|(serial, _)| *serial == self.serial);
        let place = known.unwrap_or_else(|| {
            // A lane that only we hold belongs to a log that has ended.
            lanes.retain(|(_, lane)| Arc::strong_count(lane) > 1);
            let lane = Arc::new(Lane::default());
            lock(&self.lanes).push(Arc::clone(&lane));
            lanes.push((self.serial, lane));
            lanes.len() - 1
        });
        lanes.get(place).is_some_and(|(_, lane)| {
            let mut lines = lock(&lane.0);
            let Lines { text, second } = &mut *lines;
            let before = text.len();
            self.format.write(entry, second, text);
            let fits = text.len() <= LANE_BYTES_MAX;
            if !fits {
                text.truncate(before);
            }
            fits
        })
    }

    fn flush(&self, within: Duration) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Release) + 1;
        self.wake();
        self.wait(within, |progress| progress.flushed >= asked || progress.ended)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    fn wait(&self, within: Duration, done: impl Fn(&Progress) -> bool) -> bool {
        let waiting =
            self.progressed
                .wait_timeout_while(lock(&self.progress), within, |progress| !done(progress));
        let (progress, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        done(&progress)
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Tells those who wait how far the writer is.
    fn report(&self, flushed: u64, ended: bool) {
        let mut progress = lock(&self.progress);
        if progress.flushed != flushed || progress.ended != ended {
            *progress = Progress { flushed, ended };
            self.progressed.notify_all();
        }
    }

    /// The lane at `place`, in the order in which threads first logged.
    fn lane(&self, place: usize) -> Option<Arc<Lane>> {
        lock(&self.lanes).get(place).map(Arc::clone)
    }

    /// Forgets the lanes of threads that have ended and left nothing.
    fn forget_ended(&self) {
        lock(&self.lanes).retain(|lane| Arc::strong_count(lane) > 1 || !lane.is_empty());
    }
}

impl Lane {
    /// Takes all lines, leaving `empty` in their place.
    fn take(&self, empty: Vec<u8>) -> Vec<u8> {
        mem::replace(&mut lock(&self.0).text, empty)
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).text.is_empty()
    }
}

thread_local! {
    /// The lanes of this thread, by the serial of their log.
    static LANES: RefCell<Vec<(u64, Arc<Lane>)>> = const { RefCell::new(Vec::new()) };
}

fn lock<T: fmt::Debug>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much may wait of one thread, in bytes: some 4,000 lines.
const LANE_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
mod tests;
