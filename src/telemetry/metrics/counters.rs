//! Counts of the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::domain::http::http2::ledger::Abuse;
use crate::domain::pressure::Gauge;
use crate::telemetry::metrics::Pace;

/// Counts that the data plane keeps for the whole process; what belongs to a
/// pool or an endpoint is counted there.
#[derive(Debug)]
pub struct Counters {
    answers: Vec<(&'static str, AtomicU64)>,
    opened: [AtomicU64; Listener::ALL.len()],
    closed: [AtomicU64; Listener::ALL.len()],
    introductions_refused: AtomicU64,
    http2_refused: [AtomicU64; Abuse::ALL.len()],
    connections_refused: [AtomicU64; Refused::ALL.len()],
    /// How short of memory we are.
    pub pressure: Arc<Gauge>,
    /// How fast changes come into force.
    pub pace: Arc<Pace>,
    /// In full, and resumed.
    handshakes: [AtomicU64; 2],
    handshakes_failed: Vec<(&'static str, AtomicU64)>,
    idle_upstream: AtomicI64,
}

/// Where a client came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    Http,
    Https,
    Admin,
}

/// Why a connection was closed as soon as it was accepted, or has to wait for
/// that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Its client had as many as it may.
    Client,
    /// Memory ran short.
    Memory,
    /// A worker had as many as it takes at once: it waits.
    Full,
    /// We were out of descriptors or buffers: it waits.
    Shortage,
}

/// Counts one connection as open until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    counters: Arc<Counters>,
    listener: Listener,
}

impl Counters {
    /// `reasons` are those that [`Counters::answered`] may be given, `failures`
    /// those that [`Counters::handshake_failed`] may be; any other is counted as
    /// `other`.
    pub fn new(reasons: &'static [&'static str], failures: &'static [&'static str]) -> Self {
        Self {
            answers: by_reason(reasons),
            handshakes_failed: by_reason(failures),
            opened: Default::default(),
            closed: Default::default(),
            introductions_refused: AtomicU64::new(0),
            http2_refused: Default::default(),
            connections_refused: Default::default(),
            pressure: Arc::default(),
            pace: Arc::default(),
            handshakes: Default::default(),
            idle_upstream: AtomicI64::new(0),
        }
    }

    /// Counts one answer that we made ourselves.
    pub fn answered(&self, reason: &str) {
        count(&self.answers, reason);
    }

    /// Counts one TLS handshake that was completed. One that is `resumed` goes on
    /// with the keys of an earlier connection, at a fraction of the cost.
    pub fn handshake(&self, resumed: bool) {
        if let Some(count) = self.handshakes.get(usize::from(resumed)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn handshakes(&self, resumed: bool) -> u64 {
        let count = self.handshakes.get(usize::from(resumed));
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A worker that had so many idle connections to replicas has so many now.
    pub fn idle_upstream_changed(&self, before: usize, now: usize) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.idle_upstream.fetch_add(signed(now) - signed(before), Ordering::Relaxed);
    }

    pub fn idle_upstream(&self) -> u64 {
        u64::try_from(self.idle_upstream.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Counts one TLS handshake that failed.
    pub fn handshake_failed(&self, reason: &str) {
        count(&self.handshakes_failed, reason);
    }

    /// TLS handshakes that failed by reason, in a constant order.
    pub fn handshakes_failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.handshakes_failed
            .iter()
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
    }

    pub fn connection_opened(self: &Arc<Self>, listener: Listener) -> OpenConnection {
        if let Some(opened) = self.opened.get(listener as usize) {
            opened.fetch_add(1, Ordering::Relaxed);
        }
        OpenConnection { counters: Arc::clone(self), listener }
    }

    /// Counts one connection that was closed, since it did not begin with the
    /// PROXY header that it must have.
    pub fn introduction_refused(&self) {
        self.introductions_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn introductions_refused(&self) -> u64 {
        self.introductions_refused.load(Ordering::Relaxed)
    }

    /// Counts one HTTP/2 connection that was ended for what its client did.
    pub fn http2_refused(&self, abuse: Abuse) {
        if let Some(count) = self.http2_refused.get(abuse as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn http2_refusals(&self, abuse: Abuse) -> u64 {
        self.http2_refused.get(abuse as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub fn connection_refused(&self, why: Refused) {
        if let Some(count) = self.connections_refused.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn connections_refused(&self, why: Refused) -> u64 {
        let count = self.connections_refused.get(why as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Answers of our own by reason, in a constant order.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.answers.iter().map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
    }

    /// Connections accepted so far.
    pub fn connections(&self, listener: Listener) -> u64 {
        load(&self.opened, listener)
    }

    pub fn connections_open(&self, listener: Listener) -> u64 {
        // Read in this order, a connection that ends meanwhile cannot make the
        // difference negative.
        let closed = load(&self.closed, listener);
        load(&self.opened, listener).saturating_sub(closed)
    }
}

impl Listener {
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
        }
    }
}

impl Refused {
    pub const ALL: [Self; 4] = [Self::Client, Self::Memory, Self::Full, Self::Shortage];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Memory => "memory",
            Self::Full => "full",
            Self::Shortage => "shortage",
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(closed) = self.counters.closed.get(self.listener as usize) {
            closed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A count for each reason, and one for all others.
fn by_reason(reasons: &'static [&'static str]) -> Vec<(&'static str, AtomicU64)> {
    let known = reasons.iter().copied().filter(|&reason| reason != OTHER);
    known.chain([OTHER]).map(|reason| (reason, AtomicU64::new(0))).collect()
}

fn count(counts: &[(&'static str, AtomicU64)], reason: &str) {
    let known = counts.iter().find(|(name, _)| *name == reason);
    if let Some((_, count)) = known.or(counts.last()) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counts: &[AtomicU64], listener: Listener) -> u64 {
    counts.get(listener as usize).map_or(0, |count| count.load(Ordering::Relaxed))
}

/// Counts what has no name of its own.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_reason_and_the_unknown_as_other() {
        let counters = Counters::new(&["no_route", "hold_timeout"], &[]);
        for reason in ["no_route", "hold_timeout", "no_route", "nonsense"] {
            counters.answered(reason);
        }
        let counted: Vec<_> = counters.answers().collect();
        assert_eq!(counted, [("no_route", 2), ("hold_timeout", 1), ("other", 1)]);
    }

    #[test]
    fn a_connection_is_open_until_its_guard_is_dropped() {
        let counters = Arc::new(Counters::new(&[], &[]));
        let first = counters.connection_opened(Listener::Http);
        let second = counters.connection_opened(Listener::Http);
        drop(first);
        assert_eq!(counters.connections_open(Listener::Http), 1);
        assert_eq!(counters.connections(Listener::Http), 2);
        assert_eq!(counters.connections_open(Listener::Admin), 0);
        drop(second);
        assert_eq!(counters.connections_open(Listener::Http), 0);
    }
}
