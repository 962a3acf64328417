//! An endpoint's ejection, as all workers see it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::lifecycle::{Outliers, Record, Trouble};
use crate::domain::pool::Vitals;

/// Whether an endpoint is out of service for its failures, and until when.
///
/// Who succeeds in service looks at nothing here. Who fails takes the lock, as
/// does the one request that is on trial.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// 0 in service; else when a request may be tried, in milliseconds from
    /// `epoch`, plus one. While one is, [`TAKEN`] and when its claim lapses.
    due: AtomicU64,
    epoch: OnceLock<Instant>,
    record: Mutex<Record>,
    /// Of the last ejection.
    trouble: AtomicU8,
}

/// An endpoint has been ejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ejected {
    /// How long until a request is tried there.
    pub lasts: Duration,
}

/// The right to send an ejected endpoint the one request that decides whether it
/// is back. It passes to another request when it is dropped undecided, or when
/// nothing has been decided for too long.
#[derive(Debug)]
pub struct Trial {
    vitals: Arc<Vitals>,
    claim: Claim,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    before: u64,
    taken: u64,
}

impl Ejection {
    pub(super) fn is_out(&self) -> bool {
        self.due.load(Ordering::Relaxed) != 0
    }

    /// Why it was ejected last; none if it never was.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let number = self.trouble.load(Ordering::Relaxed).checked_sub(1)?;
        Trouble::ALL.get(usize::from(number)).copied()
    }

    /// A request failed, perhaps one on trial. `spared`: others can do without
    /// the endpoint.
    pub(super) fn fail(
        &self,
        trouble: Trouble,
        now: Instant,
        limits: Outliers,
        trial: Option<&Trial>,
        spared: impl FnOnce() -> bool,
    ) -> Option<Ejected> {
        let now = self.millis(now);
        let mut record = self.lock();
        // All that changes it without the lock is the claim of a trial, and that
        // claim's end.
        let due = self.due.load(Ordering::Relaxed);
        let decides = trial.is_some_and(|trial| due == trial.claim.taken);
        if decides && limits.max_fails == 0 {
            record.readmit(now);
            self.due.store(0, Ordering::Relaxed);
            return None;
        }
        if !decides && (due != 0 || !record.fail(now, limits) || !spared()) {
            return None;
        }
        self.due.store(record.eject(now, limits) + 1, Ordering::Relaxed);
        self.trouble.store(trouble as u8 + 1, Ordering::Relaxed);
        Some(Ejected { lasts: record.was_out() })
    }

    /// A request that was sent after the ejection has been answered. Whether
    /// that brings the endpoint back.
    pub(super) fn pass(&self, now: Instant) -> bool {
        let now = self.millis(now);
        let mut record = self.lock();
        let was_out = self.is_out();
        if was_out {
            record.readmit(now);
            self.due.store(0, Ordering::Relaxed);
        }
        was_out
    }

    /// Claims the trial that is due at `now`, if one is and nobody has it.
    fn claim(&self, now: Instant, repeatable: bool, lapse: Duration) -> Option<Claim> {
        let before = self.due.load(Ordering::Relaxed);
        let due = self.passed(before, now, repeatable)?;
        // It must lapse after the claim in whose place it is.
        let lapses = (self.millis(now + lapse) + 1).max(due + 1);
        let claim = Claim { before: due, taken: lapses | TAKEN };
        let taken =
            self.due.compare_exchange(before, claim.taken, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok().then_some(claim)
    }

    /// When the trial was due that `due` tells of, if it was by `now`.
    fn passed(&self, due: u64, now: Instant, repeatable: bool) -> Option<u64> {
        let due = due & !TAKEN;
        let grace = if repeatable { 0 } else { TRIAL_BY_ANY_MS };
        (due != 0 && due + grace <= self.millis(now) + 1).then_some(due)
    }

    /// Ends a claim that has decided nothing.
    fn abandon(&self, claim: Claim) {
        let Claim { before, taken } = claim;
        let _ = self.due.compare_exchange(taken, before, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.epoch.get_or_init(|| now));
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX) & !TAKEN
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial {
    /// The trial of an endpoint whose time-out is over; none if it is in
    /// service, or another request has had it for less than its `lapse`. What
    /// could not be sent again is spared for a second.
    pub fn begin(
        vitals: &Arc<Vitals>,
        now: Instant,
        repeatable: bool,
        lapse: Duration,
    ) -> Option<Self> {
        let claim = vitals.ejection.claim(now, repeatable, lapse)?;
        Some(Self { vitals: Arc::clone(vitals), claim })
    }

    /// Whether [`Trial::begin`] would give one.
    pub(super) fn is_due(vitals: &Vitals, now: Instant, repeatable: bool) -> bool {
        let ejection = &vitals.ejection;
        ejection.passed(ejection.due.load(Ordering::Relaxed), now, repeatable).is_some()
    }

    #[cfg(test)]
    pub(super) fn decides(&self) -> bool {
        self.vitals.ejection.due.load(Ordering::Relaxed) == self.claim.taken
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.vitals.ejection.abandon(self.claim);
    }
}

/// A trial is under way.
const TAKEN: u64 = 1 << 63;

/// For so long after its time-out an endpoint is tried only by requests that
/// could be sent elsewhere if it fails them.
const TRIAL_BY_ANY_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::State;
    use crate::domain::pool::InFlight;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LAPSE: Duration = Duration::from_secs(30);
    const LIMITS: Outliers = Outliers { max_fails: 2, fail_timeout: Duration::from_secs(10) };

    #[test]
    fn after_the_time_out_one_request_at_a_time_is_tried() {
        let (vitals, start) = (ready(), start());
        let after = |seconds| start + Duration::from_secs(seconds);
        eject(&vitals, start);
        assert_eq!(vitals.state(), State::Ejected);
        assert!(claim(&vitals, after(9)).is_none(), "it is out");
        let trial = claim(&vitals, after(10)).unwrap();
        assert!(claim(&vitals, after(39)).is_none(), "another has it");
        drop(trial);
        let trial = claim(&vitals, after(11)).unwrap();
        let request = vitals.begin().on_trial(trial);
        assert!(request.succeeded(|| after(12)));
        assert!(!vitals.is_ejected());
        drop(request);
        assert!(claim(&vitals, after(99)).is_none(), "it is in service");
    }

    #[test]
    fn a_trial_that_fails_ejects_for_longer() {
        let (vitals, start) = (ready(), start());
        eject(&vitals, start);
        let at = start + Duration::from_secs(10);
        let request = vitals.begin().on_trial(claim(&vitals, at).unwrap());
        // Nobody else need be ready: it was out before.
        let ejected = request.failed(Trouble::Timeout, at, LIMITS, || false).unwrap();
        assert_eq!(ejected.lasts, Duration::from_secs(20));
        drop(request);
        assert!(claim(&vitals, at + Duration::from_secs(19)).is_none());
        assert!(claim(&vitals, at + Duration::from_secs(20)).is_some());
        assert_eq!(vitals.ejected_for(), Some(Trouble::Timeout));
    }

    #[test]
    fn a_trial_that_decides_nothing_for_too_long_passes_to_another_request() {
        let (vitals, start) = (ready(), start());
        let after = |seconds| start + Duration::from_secs(seconds);
        eject(&vitals, start);
        let slow = vitals.begin().on_trial(claim(&vitals, after(10)).unwrap());
        assert!(claim(&vitals, after(10) + LAPSE - Duration::from_millis(1)).is_none());
        let next = claim(&vitals, after(10) + LAPSE).unwrap();
        // The first one decides nothing by its failure, nor by its end.
        assert_eq!(slow.failed(Trouble::Reset, after(50), LIMITS, || true), None);
        drop(slow);
        assert!(claim(&vitals, after(50)).is_none());
        drop(next);
        assert!(claim(&vitals, after(50)).is_some());
    }

    #[test]
    fn what_cannot_be_sent_again_is_not_tried_at_first() {
        let (vitals, start) = (ready(), start());
        eject(&vitals, start);
        assert!(
            Trial::begin(&vitals, start + Duration::from_millis(10_999), false, LAPSE).is_none()
        );
        assert!(Trial::begin(&vitals, start + Duration::from_secs(11), false, LAPSE).is_some());
    }

    #[test]
    fn what_began_before_an_ejection_changes_nothing_by_how_it_ends() {
        let (vitals, start) = (ready(), start());
        let [well, ill] = [vitals.begin(), vitals.begin()];
        eject(&vitals, start);
        assert!(!well.succeeded(|| start));
        assert_eq!(ill.failed(Trouble::Reset, start, LIMITS, || true), None);
        assert!(vitals.is_ejected());
    }

    #[test]
    fn who_is_asked_as_the_last_one_and_answers_is_back() {
        let (vitals, start) = (ready(), start());
        eject(&vitals, start);
        assert!(vitals.begin().succeeded(|| start));
        assert!(!vitals.is_ejected());
    }

    #[test]
    fn who_cannot_be_spared_is_ejected_as_soon_as_it_can_be() {
        let (vitals, start) = (ready(), start());
        let fail = |spared| vitals.begin().failed(Trouble::Connect, start, LIMITS, || spared);
        for _ in 0..5 {
            assert_eq!(fail(false), None);
        }
        assert_eq!(vitals.state(), State::Ready);
        assert!(fail(true).is_some());
    }

    #[test]
    fn an_ejection_is_lifted_by_the_next_trial_once_max_fails_is_0() {
        let (vitals, start) = (ready(), start());
        eject(&vitals, start);
        let at = start + Duration::from_secs(10);
        let request = vitals.begin().on_trial(claim(&vitals, at).unwrap());
        assert_eq!(request.failed(Trouble::Reset, at, Outliers::OFF, || true), None);
        assert!(!vitals.is_ejected());
    }

    proptest! {
        /// Of any interleaving of requests of several workers.
        #[test]
        fn at_most_one_request_is_on_trial(
            steps in vec((0_u8..7, 0_usize..6, 0_u64..6_000, any::<bool>()), 1..120),
        ) {
            let (vitals, mut now) = (ready(), start());
            // Each with whether it is on trial.
            let mut under_way: Vec<(InFlight, bool)> = Vec::new();
            for (step, which, wait, flag) in steps {
                now += Duration::from_millis(wait);
                let was_out = vitals.is_ejected();
                match step {
                    0 => under_way.push((vitals.begin(), false)),
                    1 | 2 => {
                        let trial = Trial::begin(&vitals, now, flag, LAPSE);
                        prop_assert!(was_out || trial.is_none());
                        let trial = trial.map(|trial| (vitals.begin().on_trial(trial), true));
                        under_way.extend(trial);
                    }
                    _ if under_way.is_empty() => {}
                    3 => drop(under_way.swap_remove(which % under_way.len())),
                    4 => {
                        let (request, trial) = under_way.swap_remove(which % under_way.len());
                        let back = request.succeeded(|| now);
                        prop_assert!(!back || was_out);
                        prop_assert!(!trial || !vitals.is_ejected(), "it passed its trial");
                    }
                    _ => {
                        let (request, trial) = under_way.swap_remove(which % under_way.len());
                        let out = request.failed(Trouble::Reset, now, LIMITS, || flag);
                        prop_assert!(out.is_none() || !was_out || trial);
                        prop_assert_eq!(vitals.is_ejected(), was_out || out.is_some());
                    }
                }
                // One that was decided by another's answer is on trial no more.
                let claimed = vitals.ejection.due.load(Ordering::Relaxed) & TAKEN != 0;
                let valid = |(request, trial): &&(InFlight, bool)| {
                    *trial && request.decides()
                };
                prop_assert_eq!(under_way.iter().filter(valid).count(), usize::from(claimed));
            }
        }
    }

    fn eject(vitals: &Arc<Vitals>, now: Instant) {
        let fail = || vitals.begin().failed(Trouble::Connect, now, LIMITS, || true);
        assert_eq!(fail(), None);
        assert_eq!(fail(), Some(Ejected { lasts: Duration::from_secs(10) }));
    }

    fn claim(vitals: &Arc<Vitals>, now: Instant) -> Option<Trial> {
        Trial::begin(vitals, now, true, LAPSE)
    }

    fn ready() -> Arc<Vitals> {
        let vitals = Arc::new(Vitals::new(1));
        vitals.set_state(State::Ready);
        vitals
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }
}
