//! Reading the event stream: lines in, events out, nothing twice.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::{discriminant, take};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tracing::debug;

use super::wire::{self, Event};

/// Something on the stream.
#[derive(Debug)]
pub(super) enum Heard {
    Event(Event),
    /// What stood there and could not be read.
    Unreadable(String),
}

/// Reads events until the stream ends, which is normal: proxies cut it, and
/// daemons restart.
pub(super) async fn read(mut stream: Incoming, mut hear: impl FnMut(Heard)) {
    let mut lines = Lines::default();
    loop {
        let frame = match stream.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                debug!(%error, "The event stream broke off");
                return;
            }
            None => return,
        };
        for line in frame.data_ref().map(|data| lines.push(data)).unwrap_or_default() {
            match wire::event(&line) {
                Ok(Some(event)) => hear(Heard::Event(event)),
                Ok(None) => {
                    debug!(event = %String::from_utf8_lossy(&line), "An event of no interest")
                }
                Err(error) => hear(Heard::Unreadable(format!("event: {error}"))),
            }
        }
    }
}

/// Cuts what arrives into lines. A line longer than [`LINE_BYTES_MAX`] is
/// passed on in part, which nobody can read.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
            self.begun.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                whole.push(take(&mut self.begun));
            }
        }
        // RFC 7464 puts a record separator before each event, where asked for.
        whole.iter_mut().for_each(|line| line.retain(|&byte| byte != RECORD_SEPARATOR));
        whole.retain(|line| !line.trim_ascii().is_empty());
        whole
    }
}

/// The events heard last, so that one that a new stream repeats is known again.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
    latest: Option<i64>,
}

impl Recent {
    /// Whether `event` is heard for the first time.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        self.latest = self.latest.max(Some(event.at));
        let mut hasher = DefaultHasher::new();
        (&event.container, discriminant(&event.happening), event.at).hash(&mut hasher);
        let key = hasher.finish();
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// From when on a new stream must repeat events, in nanoseconds since the
    /// epoch; `now` counts where none has been heard yet.
    ///
    /// The head of a stream comes before its subscription exists, so each one
    /// begins a little in the past. The first one reaches back a stop time-out,
    /// which also shows the stops that are under way.
    pub(super) fn since(&self, now: i64) -> i64 {
        match self.latest {
            Some(latest) => latest.saturating_sub(OVERLAP_NANOS),
            None => now.saturating_sub(STOP_TIMEOUT_NANOS),
        }
    }
}

/// Far above any event, which carries all labels of a container.
const LINE_BYTES_MAX: usize = 1 << 20;

const RECORD_SEPARATOR: u8 = 0x1e;

/// Twice what a daemon remembers.
const RECENT_MAX: usize = 512;

const OVERLAP_NANOS: i64 = 1_000_000_000;

/// Docker's default.
const STOP_TIMEOUT_NANOS: i64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::docker::wire::Happening;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(cuts in proptest::collection::vec(0_usize..30, 0..6)) {
            let text = b"{\"a\":1}\n\n\x1e{\"b\":2}\r\n{\"c\":3}\n{\"cut";
            let mut lines = Lines::default();
            let mut found = Vec::new();
            let mut rest: &[u8] = text;
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                found.extend(lines.push(now));
                rest = later;
            }
            found.extend(lines.push(rest));
            prop_assert_eq!(found, [&b"{\"a\":1}\n"[..], b"{\"b\":2}\r\n", b"{\"c\":3}\n"]);
        }
    }

    #[test]
    fn an_endless_line_is_bounded_and_the_next_one_is_whole() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; 3 << 20]).is_empty());
        let found = lines.push(b"\n{}\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], b"{}\n");
        assert!(found[0].len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn a_repeated_event_is_known_and_a_like_one_later_is_not() {
        let mut recent = Recent::default();
        assert!(recent.is_new(&died(5)));
        assert!(!recent.is_new(&died(5)));
        assert!(recent.is_new(&died(6)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for at in 0..10_000 {
            assert!(recent.is_new(&died(at)));
        }
        assert_eq!((recent.known.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
    }

    #[test]
    fn a_new_stream_begins_before_the_last_event() {
        let mut recent = Recent::default();
        assert_eq!(recent.since(60_000_000_000), 50_000_000_000);
        recent.is_new(&died(70_000_000_000));
        recent.is_new(&died(65_000_000_000));
        assert_eq!(recent.since(99_000_000_000), 69_000_000_000);
    }

    fn died(at: i64) -> Event {
        Event { container: "c".into(), happening: Happening::Died, at, attributes: [].into() }
    }
}
