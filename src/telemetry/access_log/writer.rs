//! The thread that carries lines from the lanes to where they are read.

use std::io::Write;
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::telemetry::access_log::Queue;

/// Writes until the log is closed and nothing waits.
pub(super) fn run(queue: &Queue, to: impl Write) {
    let mut output = Output { to, buffer: Vec::new(), failing: false };
    loop {
        // Read before the lanes are emptied: what is asked for later is
        // answered by the next round.
        let closing = queue.closing.load(Ordering::Acquire);
        let asked = queue.asked.load(Ordering::Acquire);
        let wrote = empty_lanes(queue, &mut output);
        queue.report(asked, false);
        if wrote && !closing {
            // Under load this gathers lines into large writes, and spares
            // every request the cost of waking us.
            thread::park_timeout(GATHERING);
        } else if closing && !wrote {
            break;
        } else if !closing {
            queue.forget_ended();
            sleep(queue);
        }
    }
    queue.report(queue.asked.load(Ordering::Acquire), true);
}

/// Whether there was anything to write.
fn empty_lanes<W: Write>(queue: &Queue, output: &mut Output<W>) -> bool {
    let mut wrote = false;
    let mut place = 0;
    while let Some(lane) = queue.lane(place) {
        place += 1;
        let lines = lane.take(mem::take(&mut output.buffer));
        if !lines.is_empty() {
            wrote = true;
            let lost = output.write(&lines);
            queue.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        output.keep(lines);
    }
    wrote
}

/// Waits until there is a line, or until a flush or the end is asked for.
fn sleep(queue: &Queue) {
    queue.asleep.store(true, Ordering::Relaxed);
    // A line that came before this flag could be seen has woken nobody.
    let idle = (0..).map_while(|place| queue.lane(place)).all(|lane| lane.is_empty());
    if idle {
        thread::park();
    }
    queue.asleep.store(false, Ordering::Relaxed);
}

struct Output<W> {
    to: W,
    /// An empty buffer to leave in the next lane.
    buffer: Vec<u8>,
    failing: bool,
}

impl<W: Write> Output<W> {
    /// How many of the lines were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        match self.to.write_all(lines).and_then(|()| self.to.flush()) {
            Ok(()) => {
                self.failing = false;
                0
            }
            Err(error) => {
                if !mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "The access log cannot be written; lines are dropped");
                }
                memchr::memchr_iter(b'\n', lines).count() as u64
            }
        }
    }

    /// Keeps a buffer of the usual size for the next lane, not one that a
    /// burst has left behind.
    fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

/// How long lines gather once there is a flow of them. A line that comes after
/// a pause is written at once.
const GATHERING: Duration = Duration::from_millis(10);

const BUFFER_BYTES_KEPT: usize = 512 << 10;
