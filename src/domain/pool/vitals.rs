//! The signs of life of an endpoint.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::domain::lifecycle::{Fault, Probe, State, Trouble};
use crate::domain::pool::Latency;
use crate::domain::pool::ejection::Ejection;

/// The signs of life of an endpoint. They outlive the table that lists it.
#[derive(Debug)]
pub struct Vitals {
    serial: u64,
    state: AtomicU8,
    /// The probe in the lowest bits, above them how often it was doubted.
    heard: AtomicU64,
    /// Of the last check that did not pass; 0 for none.
    fault: AtomicU16,
    times_ready: AtomicU32,
    recoveries: AtomicU32,
    /// When its share began to grow: milliseconds from `epoch`, plus one; 0
    /// while that has not been noted.
    grows_from: AtomicU64,
    epoch: OnceLock<Instant>,
    cut: AtomicBool,
    /// Milliseconds that its process has from its stop signal on; 0 while that is
    /// not known, or there was none.
    stops_within_ms: AtomicU32,
    goodbye: AtomicBool,
    pub(super) ejection: Ejection,
    pub(super) in_flight: AtomicU32,
    /// Kept only while a pool balances by it.
    pub latency: Latency,
}

/// What was held of an endpoint when a probe of it began. Where it has been
/// doubted since, the probe's outcome counts no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket(u64);

impl Vitals {
    /// `serial` is unique in the life of the process.
    pub fn new(serial: u64) -> Self {
        Self {
            serial,
            state: AtomicU8::new(State::Starting as u8),
            heard: AtomicU64::new(Probe::Untried as u64),
            fault: AtomicU16::new(0),
            times_ready: AtomicU32::new(0),
            recoveries: AtomicU32::new(0),
            grows_from: AtomicU64::new(0),
            epoch: OnceLock::new(),
            cut: AtomicBool::new(false),
            stops_within_ms: AtomicU32::new(0),
            goodbye: AtomicBool::new(false),
            ejection: Ejection::default(),
            in_flight: AtomicU32::new(0),
            latency: Latency::default(),
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
        if !state.leaves() {
            // It does not leave after all: what it gets from now on has its time.
            self.cut.store(false, Ordering::Relaxed);
            self.goodbye.store(false, Ordering::Relaxed);
            self.stops_within_ms.store(0, Ordering::Relaxed);
        }
        let before = State::from_u8(self.state.swap(state as u8, Ordering::AcqRel));
        if state == State::Ready && before != State::Ready {
            self.times_ready.fetch_add(1, Ordering::Relaxed);
            // Neither a pause nor a suspicion makes a replica cold. One that has
            // failed may have had too much to do.
            if matches!(before, State::Unhealthy | State::Ejected) {
                self.grows_from.store(0, Ordering::Relaxed);
            }
        }
        if before.is_asked() && !state.is_asked() {
            self.doubt(|probe| probe);
        }
    }

    /// How often it has become ready.
    pub fn times_ready(&self) -> u32 {
        self.times_ready.load(Ordering::Relaxed)
    }

    /// How often a probe of it passed after it had failed, whatever else keeps
    /// it from service.
    pub fn recoveries(&self) -> u32 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Its time to finish is over: what it still has is broken off.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// It got its stop signal, and is killed if it has not ended by then.
    pub fn stops_within(&self, time: Duration) {
        let time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.stops_within_ms.store(time_ms, Ordering::Relaxed);
    }

    /// How long it has from its stop signal on; none if nobody kills it.
    pub fn time_to_stop(&self) -> Option<Duration> {
        let time_ms = self.stops_within_ms.load(Ordering::Relaxed);
        (time_ms > 0).then(|| Duration::from_millis(time_ms.into()))
    }

    /// It is about to be killed: WebSockets had better go elsewhere.
    pub fn say_goodbye(&self) {
        self.goodbye.store(true, Ordering::Relaxed);
    }

    pub fn says_goodbye(&self) -> bool {
        self.goodbye.load(Ordering::Relaxed)
    }

    /// A socket said that the endpoint may be gone: it is not chosen while
    /// another is ready, until a probe passes. Whether this is news.
    pub fn suspect(&self) -> bool {
        let before = self.doubt(|probe| match probe {
            Probe::Untried | Probe::Passed | Probe::Failed => Probe::Failed,
            // That is known already.
            Probe::Unfit => Probe::Unfit,
        });
        let (ready, suspect) = (State::Ready as u8, State::Suspect as u8);
        // Any other state takes no requests, or knows better.
        let changed =
            self.state.compare_exchange(ready, suspect, Ordering::Relaxed, Ordering::Relaxed);
        // Another thread may have doubted it before, and a probe passed since.
        changed.is_ok() || matches!(before, Probe::Untried | Probe::Passed)
    }

    /// It takes no more requests for its failures, until one that is on trial is
    /// answered.
    pub(super) fn mark_ejected(&self) {
        let ejected = State::Ejected as u8;
        for before in [State::Ready, State::Suspect] {
            // Any other state takes no requests, or counts before this one.
            let _ = self.state.compare_exchange(
                before as u8,
                ejected,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    pub fn is_ejected(&self) -> bool {
        self.ejection.is_out()
    }

    /// The last failure before its last ejection.
    pub fn ejected_for(&self) -> Option<Trouble> {
        self.ejection.trouble()
    }

    pub fn probe(&self) -> Probe {
        Ticket(self.heard.load(Ordering::Relaxed)).probe()
    }

    /// Says what is held of the endpoint, whatever probes of it find that have
    /// already begun.
    pub fn set_probe(&self, probe: Probe) {
        self.doubt(|_| probe);
    }

    /// To be taken before a probe begins; none if the endpoint is in a state in
    /// which a probe proves nothing.
    pub fn begin_probe(&self) -> Option<Ticket> {
        // In this order: who sees the count from after a change of state sees
        // the state too (`set_state` has them the other way round).
        let ticket = Ticket(self.heard.load(Ordering::Acquire));
        State::from_u8(self.state.load(Ordering::Acquire)).is_asked().then_some(ticket)
    }

    /// Takes in what a probe found, unless the endpoint was doubted after it
    /// had begun. Whether it was taken in.
    pub fn conclude(&self, ticket: Ticket, probe: Probe) -> bool {
        let heard = (ticket.0 & !PROBE_BITS) | probe as u64;
        let taken =
            self.heard.compare_exchange(ticket.0, heard, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok()
            && probe == Probe::Passed
            && matches!(ticket.probe(), Probe::Failed | Probe::Unfit)
        {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Whether it must be asked again, for something that was not known at
    /// `ticket`.
    pub fn is_doubted_since(&self, ticket: Ticket) -> bool {
        let now = Ticket(self.heard.load(Ordering::Relaxed));
        now.0 & !PROBE_BITS != ticket.0 & !PROBE_BITS
            && matches!(now.probe(), Probe::Untried | Probe::Failed)
    }

    /// Changes what is held, so that probes that have begun count no more. What
    /// was held before.
    fn doubt(&self, next: impl Fn(Probe) -> Probe) -> Probe {
        let doubted = |heard: u64| {
            let times = (heard & !PROBE_BITS).wrapping_add(PROBE_BITS + 1);
            Some(times | next(Ticket(heard).probe()) as u64)
        };
        let before = self.heard.fetch_update(Ordering::AcqRel, Ordering::Relaxed, doubted);
        Ticket(before.unwrap_or_else(|heard| heard)).probe()
    }

    /// Why the last check of the endpoint did not pass; none if it did.
    pub fn fault(&self) -> Option<Fault> {
        Fault::from_code(self.fault.load(Ordering::Relaxed))
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        self.fault.store(Fault::to_code(fault), Ordering::Relaxed);
    }

    /// Notes from when on its share grows, if it is ready and that has not been
    /// noted yet.
    pub fn note_ready(&self, now: Instant) {
        if self.state() == State::Ready && self.grows_from.load(Ordering::Relaxed) == 0 {
            let since = now.saturating_duration_since(*self.epoch.get_or_init(|| now));
            let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1);
            self.grows_from.store(since + 1, Ordering::Relaxed);
        }
    }

    /// For how long its share has been growing.
    pub fn ready_for(&self, now: Instant) -> Duration {
        let from = self.grows_from.load(Ordering::Relaxed).checked_sub(1);
        let (Some(from), Some(epoch)) = (from, self.epoch.get()) else { return Duration::ZERO };
        now.saturating_duration_since(*epoch).saturating_sub(Duration::from_millis(from))
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Ticket {
    /// What was held.
    pub fn probe(self) -> Probe {
        const PASSED: u64 = Probe::Passed as u64;
        const FAILED: u64 = Probe::Failed as u64;
        const UNFIT: u64 = Probe::Unfit as u64;
        match self.0 & PROBE_BITS {
            PASSED => Probe::Passed,
            FAILED => Probe::Failed,
            UNFIT => Probe::Unfit,
            _ => Probe::Untried,
        }
    }
}

/// They hold a [`Probe`].
const PROBE_BITS: u64 = 0b11;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let vitals = Arc::new(Vitals::new(1));
        let request = vitals.begin();
        assert_eq!(vitals.in_flight(), 1);
        drop(request);
        assert_eq!(vitals.in_flight(), 0);
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
    }

    #[test]
    fn what_a_probe_found_counts_unless_the_endpoint_was_doubted_meanwhile() {
        let vitals = Vitals::new(1);
        let ticket = vitals.begin_probe().unwrap();
        assert!(vitals.conclude(ticket, Probe::Passed));
        assert_eq!(vitals.probe(), Probe::Passed);

        let ticket = vitals.begin_probe().unwrap();
        vitals.suspect();
        assert!(vitals.is_doubted_since(ticket));
        assert!(!vitals.conclude(ticket, Probe::Passed), "it began before the suspicion");
        assert_eq!(vitals.probe(), Probe::Failed);

        let ticket = vitals.begin_probe().unwrap();
        vitals.suspect();
        assert!(!vitals.conclude(ticket, Probe::Passed), "nor does a second suspicion get lost");
        let ticket = vitals.begin_probe().unwrap();
        assert!(vitals.conclude(ticket, Probe::Passed));

        let ticket = vitals.begin_probe().unwrap();
        vitals.set_probe(Probe::Untried);
        assert!(!vitals.conclude(ticket, Probe::Passed), "it was to be asked anew");
    }

    #[test]
    fn a_probe_that_meets_a_pause_or_the_end_finds_nothing() {
        for state in [State::Paused, State::Draining, State::Gone] {
            let vitals = Vitals::new(1);
            let ticket = vitals.begin_probe().unwrap();
            vitals.set_state(state);
            assert_eq!(vitals.begin_probe(), None, "{state:?}");
            assert!(!vitals.conclude(ticket, Probe::Passed), "{state:?}");
            assert_eq!(vitals.probe(), Probe::Untried);
        }
    }

    #[test]
    fn what_fails_its_checks_is_not_better_for_failing_requests() {
        let vitals = Vitals::new(1);
        vitals.set_probe(Probe::Unfit);
        assert!(!vitals.suspect());
        assert_eq!(vitals.probe(), Probe::Unfit);
    }

    proptest! {
        /// Two probes at once, and all that may happen meanwhile.
        #[test]
        fn a_pass_counts_only_if_nothing_spoke_against_it_after_its_probe_began(
            steps in proptest::collection::vec((0_usize..2, 0_u8..7), 0..60),
        ) {
            let vitals = Vitals::new(1);
            // For each probe its ticket, and whether all is as it was then.
            let mut probes = [(None, false); 2];
            for (at, step) in steps {
                let before = vitals.probe();
                let spoken_against = match step {
                    0 => {
                        let ticket = vitals.begin_probe();
                        prop_assert_eq!(ticket.is_some(), vitals.state().is_asked());
                        probes[at] = (ticket, true);
                        false
                    }
                    1 | 2 => {
                        if let (Some(ticket), holds) = probes[at] {
                            let taken = vitals.conclude(ticket, Probe::Passed);
                            prop_assert!(holds || !taken);
                            prop_assert!(taken || !holds || ticket.probe() != before);
                            prop_assert_eq!(vitals.probe() == before, !taken || before == Probe::Passed);
                        }
                        probes[at].0 = None;
                        false
                    }
                    3 => {
                        vitals.suspect();
                        true
                    }
                    4 => {
                        vitals.set_probe(Probe::Untried);
                        true
                    }
                    5 => {
                        let was_asked = vitals.state().is_asked();
                        vitals.set_state(State::Paused);
                        was_asked
                    }
                    _ => {
                        vitals.set_state(State::Ready);
                        false
                    }
                };
                if spoken_against {
                    probes.iter_mut().for_each(|probe| probe.1 = false);
                }
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn a_share_grows_from_the_first_time_ready_and_from_the_return_of_an_unhealthy_one() {
        let second = Duration::from_secs(1);
        let (vitals, start) = (Vitals::new(1), Instant::now());
        vitals.note_ready(start);
        assert_eq!(vitals.ready_for(start + second), Duration::ZERO, "it is not ready");
        vitals.set_state(State::Ready);
        vitals.note_ready(start);
        vitals.note_ready(start + second);
        assert_eq!(vitals.ready_for(start + second), second);
        for (away, ready_for) in [
            (State::Suspect, 3 * second),
            (State::Paused, 3 * second),
            (State::Unhealthy, Duration::ZERO),
        ] {
            vitals.set_state(away);
            vitals.set_state(State::Ready);
            vitals.note_ready(start + 3 * second);
            assert_eq!(vitals.ready_for(start + 3 * second), ready_for, "{away:?}");
        }
    }
}
