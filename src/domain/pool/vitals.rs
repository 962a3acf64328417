//! The signs of life of an endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::domain::lifecycle::{Probe, State};

/// The signs of life of an endpoint. They outlive the table that lists it.
#[derive(Debug)]
pub struct Vitals {
    serial: u64,
    state: AtomicU8,
    probe: AtomicU8,
    times_ready: AtomicU32,
    cut: AtomicBool,
    in_flight: AtomicU32,
    attempts: AtomicU64,
    failures: AtomicU64,
}

/// Counts one request against an endpoint until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Vitals>);

impl Vitals {
    /// `serial` is unique in the life of the process.
    pub fn new(serial: u64) -> Self {
        Self {
            serial,
            state: AtomicU8::new(State::Starting as u8),
            probe: AtomicU8::new(Probe::Untried as u8),
            times_ready: AtomicU32::new(0),
            cut: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    pub fn state(&self) -> State {
        State::from_u8(self.state.load(Ordering::Relaxed))
    }

    /// Only the control loop calls this: it alone knows every sign.
    pub fn set_state(&self, state: State) {
        if !matches!(state, State::Draining | State::Paused | State::Gone) {
            // It does not leave after all: what it gets from now on has its time.
            self.cut.store(false, Ordering::Relaxed);
        }
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if state == State::Ready && before != state as u8 {
            self.times_ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it has become ready.
    pub fn times_ready(&self) -> u32 {
        self.times_ready.load(Ordering::Relaxed)
    }

    /// Its time to finish is over: what it still has is broken off.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// A socket said that the endpoint may be gone: it is not chosen while
    /// another is ready, until a probe passes. Whether this is news.
    pub fn suspect(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.probe.swap(Probe::Failed as u8, Ordering::Relaxed);
        let (ready, suspect) = (State::Ready as u8, State::Suspect as u8);
        // Any other state takes no requests, or knows better.
        let _ = self.state.compare_exchange(ready, suspect, Ordering::Relaxed, Ordering::Relaxed);
        before != Probe::Failed as u8
    }

    pub fn probe(&self) -> Probe {
        match self.probe.load(Ordering::Relaxed) {
            value if value == Probe::Passed as u8 => Probe::Passed,
            value if value == Probe::Failed as u8 => Probe::Failed,
            _ => Probe::Untried,
        }
    }

    pub fn set_probe(&self, probe: Probe) {
        self.probe.store(probe as u8, Ordering::Relaxed);
    }

    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.attempts.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Attempts begun since the endpoint was first seen.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Attempts that ended without an answer, by a fault of the replica.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl InFlight {
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let vitals = Arc::new(Vitals::new(1));
        let request = vitals.begin();
        assert_eq!(vitals.in_flight(), 1);
        drop(request);
        assert_eq!((vitals.in_flight(), vitals.attempts()), (0, 1));
    }

    #[test]
    fn a_cut_lasts_until_the_endpoint_stays_after_all() {
        let vitals = Vitals::new(1);
        vitals.set_state(State::Draining);
        vitals.cut();
        for leaving in [State::Draining, State::Paused, State::Gone] {
            vitals.set_state(leaving);
            assert!(vitals.is_cut(), "{leaving:?}");
        }
        vitals.set_state(State::Suspect);
        assert!(!vitals.is_cut());
    }

    #[test]
    fn suspicion_is_news_once_and_changes_only_a_ready_endpoint() {
        let vitals = Vitals::new(1);
        assert!(vitals.suspect());
        assert_eq!(vitals.state(), State::Starting);
        vitals.set_probe(Probe::Passed);
        vitals.set_state(State::Ready);
        assert!(vitals.suspect());
        assert!(!vitals.suspect());
        assert_eq!((vitals.state(), vitals.probe()), (State::Suspect, Probe::Failed));
        assert_eq!(vitals.failures(), 3);
    }
}
