//! Trying endpoints until one answers, or the rules forbid another try.

use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::domain::http::cache;
use crate::domain::http::forwarded::Scheme;
use crate::domain::pool::{Draw, Endpoint, InFlight, Mark, Pool, Retry, Tried, Vitals, Wanted};
use crate::domain::retry::Again;
use crate::domain::routing::{Route, RoutingTable};
use crate::proxy::error::ProxyError;
use crate::proxy::request::SIGN_OF_LEAVING;
use crate::proxy::request::attempt::{Answered, Attempt};
use crate::proxy::request::exchange::{Exchange, Told};
use crate::proxy::request::hold::Hold;
use crate::proxy::request::middleware::{Admission, Verdict};
use crate::proxy::request::misdirected;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::queue::Queued;
use crate::proxy::request::route::route;
use crate::proxy::request::timers::Stage;
use crate::proxy::resources::Resources;

/// Serves a request: chooses an endpoint, sends to it, and on a failure that
/// permits it goes on to the next. With no endpoint ready it is held.
pub(super) async fn serve(
    resources: &Rc<Resources>,
    prepared: &Prepared,
    exchange: &mut Box<Exchange>,
    admission: &mut Admission,
) -> Result<Answered, ProxyError> {
    let now = exchange.timers.began.into_std();
    let (random, client) = (fastrand::u64(..), prepared.client);
    let mut serving = Serving {
        resources,
        prepared,
        draw: Draw { random, client, now, wanted: Wanted::default() },
        tried: Tried::default(),
        retries: Retries::default(),
        hold: Hold::default(),
        queued: Queued::default(),
        spare: None,
        last_failure: None,
    };
    let Some(deadline) = prepared.deadline() else {
        return serving.run(exchange, admission).await;
    };
    // What is under way ends with it: a request that is being sent is broken off.
    let served = Box::pin(timeout_at(deadline, serving.run(exchange, admission))).await;
    served.unwrap_or_else(|_| {
        exchange.timers.enter(Stage::Ours);
        Err(ProxyError::DeadlineExceeded)
    })
}

/// A request between its attempts.
struct Serving<'a> {
    resources: &'a Rc<Resources>,
    prepared: &'a Prepared,
    /// What is wanted of a pool is added for each.
    draw: Draw<'static>,
    tried: Tried,
    retries: Retries,
    hold: Hold,
    queued: Queued,
    /// An answer that another replica may better.
    spare: Option<Spare>,
    last_failure: Option<ProxyError>,
}

/// An answer, or a look at what there is then.
type Step = Result<ControlFlow<Answered>, ProxyError>;

impl Serving<'_> {
    /// Goes on until there is an answer.
    async fn run(
        &mut self,
        exchange: &mut Box<Exchange>,
        admission: &mut Admission,
    ) -> Result<Answered, ProxyError> {
        loop {
            let table = self.resources.table();
            if let Break(answered) = self.step(&table, exchange, admission).await? {
                return Ok(answered);
            }
        }
    }

    /// One attempt, or one wait.
    async fn step(
        &mut self,
        table: &RoutingTable,
        exchange: &mut Box<Exchange>,
        admission: &mut Admission,
    ) -> Step {
        let (resources, prepared) = (self.resources, self.prepared);
        let Some(route) = self.route(table, exchange).await? else { return Ok(Continue(())) };
        let pool = route.pool;
        if exchange.routed_to(pool, route.tally) {
            let from = exchange.timers.began + self.hold.waited();
            pool.state.budget.request(second(resources, from));
        }
        let unseen = admission.enter(pool, prepared.upload());
        if route.closed {
            return Err(ProxyError::Closed);
        }
        misdirected::check(resources, table, prepared)?;
        let lacks_certificate = misdirected::lacks_certificate(pool, prepared);
        if lacks_certificate && !(unseen && misdirected::is_sent_to_https(pool, prepared)) {
            return Err(ProxyError::NoClientCertificate);
        }
        if unseen {
            // It chooses nothing until it is admitted, and holds nobody up.
            self.queued.leave();
            match Box::pin(admission.admit(resources, prepared, exchange)).await? {
                Verdict::Answer(reply) => return Ok(Break(Answered::Ours(reply))),
                // It may have taken seconds, in which the door was shut.
                Verdict::Pass if resources.table().generation() != table.generation() => {
                    return Ok(Continue(()));
                }
                Verdict::Pass if lacks_certificate => return Err(ProxyError::NoClientCertificate),
                Verdict::Pass => {}
            }
        }
        let draw = Draw { wanted: prepared.wanted(pool), ..self.draw };
        let (endpoint, in_flight) = match self.pick(pool, draw) {
            Picked::One(endpoint, in_flight) => (endpoint, in_flight),
            picked @ (Picked::Full | Picked::None) => {
                if let Some(kept) = self.spare.take() {
                    return Ok(Break(kept.give(prepared, exchange)));
                }
                exchange.timers.enter(Stage::Waiting);
                let waited = if matches!(picked, Picked::Full) {
                    self.wait_for_a_place(pool, table).await
                } else {
                    self.wait_for_a_replica(pool, table).await
                };
                exchange.timers.enter(Stage::Ours);
                return waited.map(Continue);
            }
        };
        self.queued.leave();
        if self.queued.has_waited() {
            self.hold.pause();
        }
        let mark = Tried::mark(endpoint);
        let attempt = Attempt { resources, pool, endpoint, admission };
        let made = attempt.make(prepared, exchange, in_flight).await;
        match made {
            Ok(mut answered) => {
                let is_secure = || prepared.scheme() == Scheme::Https;
                if let Some(cookie) = pool.cookie_for(endpoint, &draw.wanted, is_secure)
                    // Else a cache would send all of its clients to one replica.
                    && !cache::is_shared(answered.headers_mut())
                {
                    answered.headers_mut().append(SET_COOKIE, cookie);
                }
                Ok(self.answered(pool, endpoint, mark, answered, exchange))
            }
            Err((error, again)) => {
                self.tried.add(mark);
                if again == Again::Any && !pool.has_other(&self.tried) {
                    self.tried.forget(mark);
                }
                self.hold.begin();
                exchange.again = Some(reason(&error, again));
                self.failed(pool, endpoint, error, again, exchange).await
            }
        }
    }

    /// Where the request goes; none if there is more to see after a wait.
    async fn route<'t>(
        &mut self,
        table: &'t RoutingTable,
        exchange: &mut Exchange,
    ) -> Result<Option<Route<'t>>, ProxyError> {
        match route(table, self.prepared) {
            Err(ProxyError::NoRoute) if !table.is_complete() => {
                // It may only not have one yet: we have just started.
                self.queued.leave();
                let (settings, state) = self.resources.unrouted();
                let upload = self.prepared.upload();
                exchange.timers.enter(Stage::Waiting);
                let again = self.hold.wait(self.resources, settings, state, table, upload).await;
                exchange.timers.enter(Stage::Ours);
                if again? {
                    return Ok(None);
                }
                Err(ProxyError::HoldTimeout { hold: settings.hold, after: None })
            }
            route => route.map(Some),
        }
    }

    async fn wait_for_a_place(
        &mut self,
        pool: &Pool,
        table: &RoutingTable,
    ) -> Result<(), ProxyError> {
        let Self { resources, prepared, tried, hold, .. } = self;
        let upload = prepared.upload();
        let again = self.queued.wait(resources, pool, tried, hold, table, upload).await?;
        let hold = pool.settings.hold;
        if again { Ok(()) } else { Err(ProxyError::QueueTimeout { hold }) }
    }

    async fn wait_for_a_replica(
        &mut self,
        pool: &Pool,
        table: &RoutingTable,
    ) -> Result<(), ProxyError> {
        self.queued.leave();
        let (settings, upload) = (&pool.settings, self.prepared.upload());
        if self.hold.wait(self.resources, settings, &pool.state, table, upload).await? {
            return Ok(());
        }
        let after = self.last_failure.take().map(Box::new);
        Err(ProxyError::HoldTimeout { hold: settings.hold, after })
    }

    /// The answer is given, unless another replica may have a better one.
    fn answered(
        &mut self,
        pool: &Pool,
        endpoint: &Endpoint,
        mark: Mark,
        answered: Answered,
        exchange: &mut Exchange,
    ) -> ControlFlow<Answered> {
        let prepared = self.prepared;
        if let Some(kept) = self.spare.take() {
            kept.answered.discard();
        }
        if !pool.settings.tolerance.retries(answered.status().as_u16()) {
            return Break(answered);
        }
        self.tried.add(mark);
        let kept = Spare { answered, told: exchange.told() };
        exchange.again = Some(Retry::Status);
        let again = prepared.is_idempotent()
            && prepared.upload().is_whole()
            // Its connection would break with the request.
            && prepared.upload().has_ended()
            && exchange.attempts < ATTEMPTS_MAX
            && pool.has_other(&self.tried)
            && self.retries.take(self.resources, pool, endpoint);
        if !again {
            return Break(kept.give(prepared, exchange));
        }
        self.spare = Some(kept);
        Continue(())
    }

    /// Whether another attempt may follow; else what the client is told.
    async fn failed(
        &mut self,
        pool: &Pool,
        endpoint: &Endpoint,
        error: ProxyError,
        again: Again,
        exchange: &mut Exchange,
    ) -> Step {
        exchange.timers.enter(Stage::Waiting);
        let may_go_on = exchange.attempts < ATTEMPTS_MAX
            && match again {
                Again::Never | Again::Fresh => false,
                Again::Elsewhere => pool.has_other(&self.tried),
                Again::Another | Again::Any => {
                    if let Some(pause) = pause(exchange.attempts) {
                        sleep(pause).await;
                    }
                    true
                }
                Again::Charged => self.retries.afford(self.resources, pool, endpoint).await,
            };
        exchange.timers.enter(Stage::Ours);
        let hold = pool.settings.hold;
        // Replicas that come and go could be tried for ever.
        let is_over = exchange.attempts >= FREE_ATTEMPTS && self.hold.is_over(&pool.settings);
        if may_go_on && !is_over {
            self.last_failure = Some(error);
            return Ok(Continue(()));
        }
        match self.spare.take() {
            Some(kept) => Ok(Break(kept.give(self.prepared, exchange))),
            None if may_go_on => {
                Err(ProxyError::HoldTimeout { hold, after: Some(Box::new(error)) })
            }
            None => Err(error),
        }
    }

    /// The endpoint for the next attempt. One that leaves may still take what can
    /// be sent again, and is there for all who have waited, as is one that starts.
    fn pick<'p>(&self, pool: &'p Pool, draw: Draw<'_>) -> Picked<'p> {
        let Self { tried, prepared, hold, queued, .. } = self;
        if !queued.may_choose(pool) {
            return Picked::Full;
        }
        let repeatable = || prepared.is_idempotent() && prepared.upload().is_whole();
        // A body takes its time, in which nothing is decided.
        let at_once = || prepared.is_idempotent() && prepared.upload().has_ended();
        // Who has failed once is not sent where that may happen again.
        if !pool.tiers.ejected.is_empty()
            && tried.is_empty()
            // The request may have waited, and a trial is timed from now on.
            && let draw = (Draw { now: Instant::now().into_std(), ..draw })
            && let Some((endpoint, trial)) = pool.pick_trial(draw, at_once())
            && let Some(in_flight) = endpoint.begin(&pool.state)
        {
            return Picked::One(endpoint, in_flight.on_trial(trial));
        }
        for _ in 0..RACES_MAX {
            let may_meet_leaving = || repeatable() || hold.is_long();
            let endpoint = pool.choose(draw, tried, may_meet_leaving, || hold.is_long());
            match endpoint.map(|endpoint| (endpoint, endpoint.begin(&pool.state))) {
                Some((endpoint, Some(in_flight))) => return Picked::One(endpoint, in_flight),
                // Another worker took its last place.
                Some((_, None)) => {}
                None if pool.is_full_at_last(draw.wanted, tried) => return Picked::Full,
                None => return Picked::None,
            }
        }
        Picked::Full
    }
}

/// How long a request that has failed so often at no charge gives replicas that
/// come and go. Most find another one at the first try.
fn pause(attempts: u32) -> Option<Duration> {
    let more = attempts.checked_sub(FREE_ATTEMPTS)?;
    Some(PAUSE_MAX.min(Duration::from_millis(10 << more.min(10))))
}

/// What an attempt failed by, for who counts those that follow.
fn reason(error: &ProxyError, again: Again) -> Retry {
    let is_late = |source: &io::Error| source.kind() == io::ErrorKind::TimedOut;
    if again == Again::Any {
        Retry::Refused
    } else if matches!(error, ProxyError::Connect { source, .. } if is_late(source)) {
        Retry::Timeout
    } else if matches!(error, ProxyError::Connect { .. }) {
        Retry::Connect
    } else if matches!(error, ProxyError::Untrusted { .. }) {
        Retry::Untrusted
    } else if matches!(error, ProxyError::Left { .. }) {
        Retry::Left
    } else {
        // Of all that another attempt may follow, what is left is a connection or a
        // stream that has ended.
        Retry::Reset
    }
}

/// What there is for the next attempt.
enum Picked<'a> {
    One(&'a Endpoint, InFlight),
    /// Others are served first, or every endpoint that could has enough to do.
    Full,
    None,
}

/// An answer that is given if nobody has a better one.
struct Spare {
    answered: Answered,
    told: Told,
}

impl Spare {
    fn give(self, prepared: &Prepared, exchange: &mut Exchange) -> Answered {
        prepared.upload().forget();
        exchange.tell(self.told);
        self.answered
    }
}

/// The retries of one request that count.
#[derive(Default)]
struct Retries(Vec<Arc<Vitals>>);

impl Retries {
    /// Whether another attempt may follow one that `endpoint` has failed. One
    /// that may yet turn out to be leaving is given a moment for it.
    async fn afford(&mut self, resources: &Resources, pool: &Pool, endpoint: &Endpoint) -> bool {
        if self.take(resources, pool, endpoint) {
            return true;
        }
        let watch = resources.bell().watch(&endpoint.vitals);
        timeout(SIGN_OF_LEAVING, watch.until(|vitals| vitals.state().leaves())).await.is_ok()
    }

    /// Takes one, unless the endpoint is leaving, where it is free.
    fn take(&mut self, resources: &Resources, pool: &Pool, endpoint: &Endpoint) -> bool {
        let leaves = |vitals: &Vitals| vitals.state().leaves();
        if leaves(&endpoint.vitals) {
            return true;
        }
        // Of those that were charged some may have turned out to be leaving.
        self.0.retain(|vitals| !leaves(vitals));
        let left = self.0.len() < pool.settings.retries as usize;
        if left && pool.state.budget.take(second(resources, Instant::now())) {
            self.0.push(Arc::clone(&endpoint.vitals));
            return true;
        }
        false
    }
}

/// The second of `at`, as retry budgets count.
fn second(resources: &Resources, at: Instant) -> u32 {
    let since = at.duration_since(resources.parts.epoch);
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Attempts of one request in all. Those that are not charged end with the
/// replicas that can be tried, but these may come and go for as long as a hold.
const ATTEMPTS_MAX: u32 = 32;

/// Attempts before a request pauses between further ones, and ends with its hold.
const FREE_ATTEMPTS: u32 = 6;

/// Times that the last place at a replica may go to somebody else while one
/// request chooses; then it waits.
const RACES_MAX: u32 = 8;

const PAUSE_MAX: Duration = Duration::from_millis(500);
