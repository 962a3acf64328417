//! What a client may do to a connection that costs it less than it costs us
//! (RFC 9113 §10.5).

use std::time::{Duration, Instant};

use crate::domain::http::http2::frames::{Frame, flag, kind};
use crate::domain::http::trailers;

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Abuse {
    #[error("it resets more streams than it lets us answer")]
    Resets,
    #[error("it makes us reset streams")]
    MadeResets,
    #[error("it changes its settings all the time")]
    Settings,
    #[error("it pings all the time")]
    Pings,
    #[error("it sends frames that mean nothing to us")]
    Unknown,
    #[error("it sends DATA frames without data")]
    EmptyData,
    #[error("it updates windows without need")]
    WindowUpdates,
    #[error("nearly all that it sends is overhead")]
    Overhead,
    #[error("it breaks the rules of HTTP/2")]
    Protocol,
    #[error("it did not begin in time")]
    Preface,
    #[error("it did not finish a head in time")]
    HeadTimeout,
    #[error("it takes nothing of what it asked for")]
    Stalled,
    /// The parser behind would leave out what it cannot keep, and say nothing.
    #[error("it sends trailers that are too long")]
    Trailers,
}

/// How often, within [`WINDOW`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowances {
    /// Of streams that we have not answered, beside one for each that we have.
    pub resets: u32,
    /// Streams that we reset for faults of the client.
    pub made_resets: u32,
    pub settings: u32,
    /// Beside one for each DATA frame: clients measure the line by them.
    pub pings: u32,
    /// PRIORITY and unknown frames, beside one for each stream.
    pub unknown: u32,
    /// Fewer than the 100 at which the parser behind gives up without a reason.
    pub empty_data: u32,
    /// Beside [`UPDATES_PER_DATA`] for each DATA frame that we send.
    pub window_updates: u32,
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            resets: 100,
            made_resets: 100,
            settings: 50,
            pings: 100,
            unknown: 100,
            empty_data: 50,
            window_updates: 1000,
        }
    }
}

/// What one connection has done so far.
#[derive(Debug, Default)]
pub struct Ledger {
    allowances: Allowances,
    resets: Spent,
    made_resets: Spent,
    settings: Spent,
    pings: Spent,
    unknown: Spent,
    empty_data: Spent,
    window_updates: Spent,
    last_stream: u32,
    /// Streams that neither side has done with, oldest first.
    unanswered: Vec<u32>,
    /// Answers that excuse a reset.
    answers: Recent,
    /// Frames that need no allowance.
    /// Resets of streams that are answered.
    free_resets: u64,
    free_pings: u64,
    free_unknown: u64,
    free_updates: u64,
    bytes: u64,
    payload: u64,
    began: bool,
    /// A head of which more is to come: since when, and whether its last frame
    /// has begun.
    head: Option<(Instant, bool)>,
    /// The bytes of the last block of fields, if it is one of trailers.
    trailers: Option<u32>,
}

/// How much of an allowance is used: it comes back evenly over the window.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// When all of it will be back.
    until: Option<Instant>,
}

/// What has happened within the last two windows and was not taken yet.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// When the window under way began.
    since: Option<Instant>,
    now: u64,
    before: u64,
}

impl Ledger {
    /// Notes a frame that the client begins.
    pub fn received(&mut self, frame: &Frame, now: Instant) -> Result<(), Abuse> {
        self.bytes += u64::from(frame.length) + FRAME_HEAD_BYTES;
        if self.head.is_some_and(|(_, last)| last) {
            self.head = None;
        }
        let allowed = self.allowances;
        let (within, abuse) = match frame.kind {
            kind::DATA => {
                let data = frame.length.saturating_sub(frame.detail);
                self.payload += u64::from(data);
                self.free_pings += 1;
                let useful = data > 0 || frame.flags & flag::END_STREAM != 0;
                (useful || self.empty_data.spend(allowed.empty_data, now), Abuse::EmptyData)
            }
            kind::HEADERS => {
                self.payload += u64::from(frame.length);
                self.head = Some((now, frame.flags & flag::END_HEADERS != 0));
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.free_unknown += 1;
                    self.trailers = None;
                    return self.open(frame.stream, now);
                }
                self.trailers = Some(frame.length);
                return Ok(());
            }
            kind::CONTINUATION => {
                self.payload += u64::from(frame.length);
                let since = self.head.map_or(now, |(since, _)| since);
                self.head = Some((since, frame.flags & flag::END_HEADERS != 0));
                self.trailers = self.trailers.map(|bytes| bytes.saturating_add(frame.length));
                let within = self.trailers.is_none_or(|bytes| bytes <= TRAILERS_MAX);
                return if within { Ok(()) } else { Err(Abuse::Trailers) };
            }
            kind::RST_STREAM => {
                // Whoever leaves during an answer has let us give it.
                let within = if self.settle(frame.stream) {
                    self.may_reset(now)
                } else {
                    take(&mut self.free_resets) || self.may_reset(now)
                };
                (within, Abuse::Resets)
            }
            kind::SETTINGS => {
                self.began = true;
                (self.settings.spend(allowed.settings, now), Abuse::Settings)
            }
            kind::PING => {
                let within = take(&mut self.free_pings) || self.pings.spend(allowed.pings, now);
                (within, Abuse::Pings)
            }
            kind::WINDOW_UPDATE => {
                let within = take(&mut self.free_updates)
                    || self.window_updates.spend(allowed.window_updates, now);
                (within, Abuse::WindowUpdates)
            }
            kind::GOAWAY => return Ok(()),
            _ => {
                let within =
                    take(&mut self.free_unknown) || self.unknown.spend(allowed.unknown, now);
                (within, Abuse::Unknown)
            }
        };
        if !within {
            return Err(abuse);
        }
        let bearable = (self.payload + OVERHEAD_FREE) * OVERHEAD_MAX;
        if self.bytes > bearable { Err(Abuse::Overhead) } else { Ok(()) }
    }

    /// The client's last frame has come to its end.
    pub fn frame_ended(&mut self) {
        if self.head.is_some_and(|(_, last)| last) {
            self.head = None;
        }
    }

    /// Notes a frame that we send.
    pub fn sent(&mut self, frame: &Frame, now: Instant) -> Result<(), Abuse> {
        match frame.kind {
            kind::DATA => {
                self.payload += u64::from(frame.length);
                self.free_pings += 1;
                self.free_updates += UPDATES_PER_DATA;
            }
            kind::HEADERS if self.settle(frame.stream) => {
                self.free_resets += 1;
                self.answers.add(now);
            }
            kind::RST_STREAM => {
                if self.settle(frame.stream) {
                    self.free_resets += 1;
                }
                if !OUR_REASONS.contains(&frame.detail)
                    && !self.made_resets.spend(self.allowances.made_resets, now)
                {
                    return Err(Abuse::MadeResets);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes a stream that waits for its answer.
    fn open(&mut self, stream: u32, now: Instant) -> Result<(), Abuse> {
        self.unanswered.push(stream);
        if self.unanswered.len() <= UNANSWERED_MAX {
            return Ok(());
        }
        // No client has so many that heeds what we allow.
        self.unanswered.remove(0);
        if self.may_reset(now) { Ok(()) } else { Err(Abuse::Resets) }
    }

    /// Whether a stream was unanswered, which it is no more.
    fn settle(&mut self, stream: u32) -> bool {
        let place = self.unanswered.iter().position(|&it| it == stream);
        place.map(|place| self.unanswered.remove(place)).is_some()
    }

    /// Whether one more stream may be reset that we have not answered.
    fn may_reset(&mut self, now: Instant) -> bool {
        self.answers.take(now) || self.resets.spend(self.allowances.resets, now)
    }

    /// Whether the client has sent its first frame, which is SETTINGS.
    pub fn has_begun(&self) -> bool {
        self.began
    }

    /// Since when a head is incomplete.
    pub fn head_since(&self) -> Option<Instant> {
        self.head.map(|(since, _)| since)
    }
}

impl Spent {
    /// Whether one more of `allowed` is within the allowance.
    fn spend(&mut self, allowed: u32, now: Instant) -> bool {
        let until =
            self.until.filter(|&until| until > now).unwrap_or(now) + WINDOW / allowed.max(1);
        let within = until.duration_since(now) <= WINDOW;
        if within {
            self.until = Some(until);
        }
        within
    }
}

impl Recent {
    fn add(&mut self, now: Instant) {
        self.turn(now);
        self.now += 1;
    }

    /// Whether there was one more.
    fn take(&mut self, now: Instant) -> bool {
        self.turn(now);
        take(&mut self.before) || take(&mut self.now)
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= WINDOW {
            self.before = if passed < 2 * WINDOW { self.now } else { 0 };
            self.now = 0;
            self.since = Some(now);
        }
    }
}

impl Abuse {
    pub const ALL: [Self; 13] = [
        Self::Resets,
        Self::MadeResets,
        Self::Settings,
        Self::Pings,
        Self::Unknown,
        Self::EmptyData,
        Self::WindowUpdates,
        Self::Overhead,
        Self::Protocol,
        Self::Preface,
        Self::HeadTimeout,
        Self::Stalled,
        Self::Trailers,
    ];

    /// The word for it in metrics and in the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Resets => "rapid_reset",
            Self::MadeResets => "made_reset",
            Self::Settings => "settings_flood",
            Self::Pings => "ping_flood",
            Self::Unknown => "unknown_flood",
            Self::EmptyData => "empty_data_flood",
            Self::WindowUpdates => "window_update_flood",
            Self::Overhead => "overhead",
            Self::Protocol => "protocol_error",
            Self::Preface => "preface_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::Stalled => "stalled",
            Self::Trailers => "long_trailers",
        }
    }
}

fn take(free: &mut u64) -> bool {
    let is_free = *free > 0;
    *free = free.saturating_sub(1);
    is_free
}

/// What allowances are counted over.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Envoy's bound; clients send two.
pub const UPDATES_PER_DATA: u64 = 10;

/// A client may send so many bytes for one that means something, as with nginx.
const OVERHEAD_MAX: u64 = 8;
/// And so many of those, in bytes, before that is looked at.
const OVERHEAD_FREE: u64 = 1024 * 1024;

/// Streams whose answer is waited for: many times what may be open at once, since
/// a client may send them before it has heard how many that are.
const UNANSWERED_MAX: usize = 1000;

/// A block of trailers as it is sent. Whatever may be taken decoded is no longer;
/// of what the parser behind leaves out for its size one field alone is longer,
/// since none so large fits into a table, and Huffman's code saves 3/8 of it.
const TRAILERS_MAX: u32 = trailers::BYTES_MAX as u32;

const FRAME_HEAD_BYTES: u64 = 9;

/// NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM and CANCEL: our own affairs.
const OUR_REASONS: [u32; 4] = [0, 2, 7, 8];

#[cfg(test)]
mod tests;
