//! The watch over one endpoint, for as long as it may take requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::domain::lifecycle::{Fault, HealthCheck, Probe, Streak, jittered, probe_pause};
use crate::domain::pool::{Ticket, Vitals};
use crate::domain::upstream::Scheme;
use crate::live::Alarm;
use crate::probe::ask::{self, Asked, Limits};
use crate::tls::Clients;

pub(super) struct Watch {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) check: Option<Arc<HealthCheck>>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) alarm: Alarm,
    pub(super) limits: Arc<Limits>,
    pub(super) clients: Arc<Clients>,
    /// It may have been doubted.
    pub(super) wake: Arc<Notify>,
}

impl Watch {
    pub(super) async fn run(self) {
        let mut streak = Streak::default();
        // Since when it is asked often; none while it is known to serve.
        let mut hurried = Some(Instant::now());
        let mut relapses = Relapses::default();
        loop {
            let Some(ticket) = self.vitals.begin_probe() else {
                let _ = timeout(LOOK, self.wake.notified()).await;
                continue;
            };
            let pause = if self.check.is_none() && ticket.probe() == Probe::Passed {
                None
            } else {
                let heard = self.ask().await;
                let verdict = self.judge(heard, ticket.probe(), &mut streak);
                if !self.conclude(ticket, verdict, relapses.void()) {
                    // What was found is older than the doubt.
                    (streak, hurried) = (Streak::default(), Some(Instant::now()));
                    relapses.again().await;
                    continue;
                }
                if verdict != ticket.probe() {
                    self.alarm.raise();
                }
                if verdict == Probe::Passed {
                    hurried = None;
                    relapses.passed();
                }
                self.pause(heard, hurried)
            };
            if self.is_doubted_within(pause, ticket).await {
                hurried = Some(Instant::now());
                relapses.again().await;
            }
        }
    }

    /// Takes the verdict in, unless the endpoint was doubted since `ticket`. Where
    /// that happens all the time, as one that spoils some requests is doubted with
    /// each, it is taken in all the same: it is true as often as not.
    fn conclude(&self, ticket: Ticket, verdict: Probe, void: u32) -> bool {
        let anyway = || {
            let ticket = self.vitals.begin_probe().filter(|_| void >= VOID_MAX);
            ticket.is_some_and(|ticket| self.vitals.conclude(ticket, verdict))
        };
        self.vitals.conclude(ticket, verdict) || anyway()
    }

    async fn ask(&self) -> Result<(), Fault> {
        match &self.check {
            Some(check) => {
                // Most endpoints have no check: their watch stays small.
                let (address, scheme) = (self.address, self.scheme);
                let asked = Asked { address, scheme, clients: &self.clients };
                let heard = Box::pin(ask::check(asked, check, &self.limits)).await;
                self.vitals.set_fault(heard.err());
                heard
            }
            None => ask::connect(self.address, &self.limits).await,
        }
    }

    fn judge(&self, heard: Result<(), Fault>, before: Probe, streak: &mut Streak) -> Probe {
        let serves = self.vitals.state().serves();
        match (&self.check, heard, before) {
            (Some(check), _, _) => streak.record(heard.is_ok(), before, serves, check),
            (None, Ok(()), _) => Probe::Passed,
            // It serves on the word of something else, which is wrong.
            (None, Err(_), Probe::Untried) if serves => Probe::Failed,
            (None, Err(_), _) => before,
        }
    }

    /// Until it is asked again; none if it need not be unless it is doubted.
    fn pause(&self, heard: Result<(), Fault>, hurried: Option<Instant>) -> Option<Duration> {
        let usual = || Some(jittered(self.check.as_ref()?.interval, fastrand::u32(..)));
        let Some(since) = hurried else { return usual() };
        let pause = probe_pause(since.elapsed());
        Some(match heard {
            // Nobody answers there: asking often would only keep others waiting.
            Err(Fault::TimedOut | Fault::Unreachable) => pause.max(UNANSWERED_PAUSE),
            Err(
                Fault::Status(_)
                | Fault::Refused
                | Fault::Closed
                | Fault::NotHttp
                | Fault::Tls
                | Fault::NotHttp2
                | Fault::Grpc(_)
                | Fault::NotServing,
            )
            | Ok(()) => pause,
        })
    }

    /// Waits for `pause`, or until the endpoint is doubted for something that
    /// was not known at `ticket`; whether it is.
    async fn is_doubted_within(&self, pause: Option<Duration>, ticket: Ticket) -> bool {
        let until = pause.map(|pause| Instant::now() + pause);
        while !self.vitals.is_doubted_since(ticket) {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return false;
            }
            let look = now + LOOK;
            tokio::select! {
                () = sleep_until(until.map_or(look, |until| until.min(look))) => {}
                () = self.wake.notified() => {}
            }
        }
        true
    }
}

/// How often an endpoint is doubted soon after it had passed. The first time it
/// is asked at once; one that goes on so would have every request, probe and
/// table chase the other.
#[derive(Debug, Default)]
struct Relapses {
    passed_at: Option<Instant>,
    count: u32,
    /// Doubts since it passed.
    void: u32,
}

impl Relapses {
    fn passed(&mut self) {
        self.passed_at = Some(Instant::now());
        self.void = 0;
    }

    fn void(&self) -> u32 {
        self.void
    }

    /// It is doubted again: waits the longer the more often that was.
    async fn again(&mut self) {
        self.void += 1;
        let soon = self.passed_at.is_some_and(|at| at.elapsed() < RELAPSE);
        self.count = if soon || self.void > 1 { self.count + 1 } else { 0 };
        if let Some(times) = self.count.checked_sub(1) {
            sleep((RELAPSE_PAUSE * (1 << times.min(7))).min(RELAPSE)).await;
        }
    }
}

/// Doubts within this time after a pass are of the same trouble.
const RELAPSE: Duration = Duration::from_secs(1);

const RELAPSE_PAUSE: Duration = Duration::from_millis(10);

/// Verdicts in a row that are void for doubts that came meanwhile.
const VOID_MAX: u32 = 3;

const UNANSWERED_PAUSE: Duration = Duration::from_millis(500);

/// How often the vitals are looked at, so that a wake-up that was lost costs
/// time only.
const LOOK: Duration = Duration::from_secs(1);
