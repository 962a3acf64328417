//! Trying endpoints until one answers, or the rules forbid another try.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::http::cache;
use crate::domain::lifecycle::State;
use crate::domain::pool::{Draw, Endpoint, InFlight, Pool, Tried, Vitals, Wanted};
use crate::domain::retry::Again;
use crate::proxy::error::ProxyError;
use crate::proxy::request::attempt::{Answered, Attempt};
use crate::proxy::request::exchange::{Exchange, Told};
use crate::proxy::request::hold::Hold;
use crate::proxy::request::middleware::{Admission, Verdict};
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::queue::Queued;
use crate::proxy::request::route::route;
use crate::proxy::resources::Resources;

/// Serves a request: chooses an endpoint, sends to it, and on a failure that
/// permits it goes on to the next. With no endpoint ready it is held.
pub(super) async fn serve(
    resources: &Rc<Resources>,
    prepared: &Prepared,
    exchange: &mut Box<Exchange>,
    admission: &mut Admission,
) -> Result<Answered, ProxyError> {
    let now = exchange.began.into_std();
    let (random, client) = (fastrand::u64(..), prepared.client);
    let draw = Draw { random, client, now, wanted: Wanted::default() };
    let mut tried = Tried::default();
    let mut retries = Retries::default();
    let mut last_failure = None;
    let mut hold = Hold::default();
    let mut queued = Queued::default();
    // An answer that another replica may better.
    let mut spare: Option<Spare> = None;
    loop {
        let table = resources.table();
        let route = match route(&table, prepared) {
            Err(ProxyError::NoRoute) if !table.is_complete() => {
                // It may only not have one yet: we have just started.
                let (settings, state) = resources.unrouted();
                if hold.wait(resources, settings, state, &table, prepared.upload()).await? {
                    continue;
                }
                return Err(ProxyError::HoldTimeout { hold: settings.hold, after: None });
            }
            route => route?,
        };
        let (pool, settings) = (route.pool, &route.pool.settings);
        if exchange.routed_to(pool) {
            pool.state.budget.request(second(resources, exchange.began + hold.waited()));
        }
        let unseen = admission.enter(pool);
        if route.closed {
            return Err(ProxyError::Closed);
        }
        if unseen
            && let Verdict::Answer(reply) =
                Box::pin(admission.admit(resources, prepared, exchange)).await?
        {
            return Ok(Answered::Ours(reply));
        }
        let draw = Draw { wanted: prepared.wanted(pool), ..draw };
        let picked = pick(pool, draw, &tried, prepared, &hold, &queued);
        let (endpoint, in_flight) = match (picked, spare.take()) {
            (Picked::One(endpoint, in_flight), kept) => {
                spare = kept;
                (endpoint, in_flight)
            }
            (Picked::Full | Picked::None, Some(kept)) => return Ok(kept.give(prepared, exchange)),
            (Picked::Full, None) => {
                let upload = prepared.upload();
                let wait = queued.wait(resources, pool, &tried, &mut hold, &table, upload).await;
                exchange.waited = hold.waited();
                if wait? {
                    continue;
                }
                return Err(ProxyError::QueueTimeout { hold: settings.hold });
            }
            (Picked::None, None) => {
                queued.leave();
                let again = hold.wait(resources, settings, &pool.state, &table, prepared.upload());
                let again = again.await?;
                exchange.waited = hold.waited();
                if again {
                    continue;
                }
                let after = last_failure.map(Box::new);
                return Err(ProxyError::HoldTimeout { hold: settings.hold, after });
            }
        };
        queued.leave();
        let mark = Tried::mark(endpoint);
        let attempt = Attempt { resources, pool, endpoint, admission };
        let (error, again) = match attempt.make(prepared, exchange, in_flight).await {
            Ok(mut answered) => {
                let is_secure = || prepared.is_secure();
                if let Some(cookie) = pool.cookie_for(endpoint, &draw.wanted, is_secure)
                    // Else a cache would send all of its clients to one replica.
                    && !cache::is_shared(answered.headers_mut())
                {
                    answered.headers_mut().append(SET_COOKIE, cookie);
                }
                if !settings.tolerance.retries(answered.status().as_u16()) {
                    return Ok(answered);
                }
                tried.add(mark);
                let kept = Spare { answered, told: exchange.told() };
                let again = prepared.is_idempotent()
                    && prepared.upload().is_whole()
                    && exchange.attempts < ATTEMPTS_MAX
                    && pool.has_other(&tried)
                    && retries.take(resources, pool, endpoint);
                if !again {
                    return Ok(kept.give(prepared, exchange));
                }
                spare = Some(kept);
                continue;
            }
            Err(failed) => failed,
        };
        tried.add(mark);
        hold.begin();
        let may_go_on = exchange.attempts < ATTEMPTS_MAX
            && match again {
                Again::Never | Again::Fresh => false,
                Again::Another => {
                    if let Some(pause) = pause(exchange.attempts) {
                        sleep(pause).await;
                    }
                    true
                }
                Again::Charged => retries.afford(resources, pool, endpoint).await,
            };
        if !may_go_on {
            return match spare {
                Some(kept) => Ok(kept.give(prepared, exchange)),
                None => Err(error),
            };
        }
        // Replicas that come and go could be tried for ever.
        if exchange.attempts >= FREE_ATTEMPTS && hold.is_over(settings) {
            let after = Some(Box::new(error));
            return Err(ProxyError::HoldTimeout { hold: settings.hold, after });
        }
        last_failure = Some(error);
    }
}

/// How long a request that has failed so often at no charge gives replicas that
/// come and go. Most find another one at the first try.
fn pause(attempts: u32) -> Option<Duration> {
    let more = attempts.checked_sub(FREE_ATTEMPTS)?;
    Some(PAUSE_MAX.min(Duration::from_millis(10 << more.min(10))))
}

/// What there is for the next attempt.
enum Picked<'a> {
    One(&'a Endpoint, InFlight),
    /// Others are served first, or every endpoint that could has enough to do.
    Full,
    None,
}

/// The endpoint for the next attempt. One that leaves may still take what can
/// be sent again, and is there for all who have waited, as is one that starts.
fn pick<'a>(
    pool: &'a Pool,
    draw: Draw<'_>,
    tried: &Tried,
    prepared: &Prepared,
    hold: &Hold,
    queued: &Queued,
) -> Picked<'a> {
    if !queued.may_choose(pool) {
        return Picked::Full;
    }
    let repeatable = || prepared.is_idempotent() && prepared.upload().is_whole();
    // Who has failed once is not sent where that may happen again, and who
    // belongs to a replica stays with it.
    if !pool.tiers.ejected.is_empty()
        && tried.is_empty()
        && pool.pick_wanted(draw, tried).is_none()
        && let Some((endpoint, trial)) = pool.pick_trial(draw, repeatable())
        && let Some(in_flight) = endpoint.begin(&pool.state)
    {
        return Picked::One(endpoint, in_flight.on_trial(trial));
    }
    for _ in 0..RACES_MAX {
        let endpoint = pool.pick(draw, tried).or_else(|| {
            if pool.is_full(tried, State::serves_at_last) {
                return None;
            }
            let leaving =
                || (repeatable() || hold.is_long()).then(|| pool.pick_leaving(draw, tried));
            let starting = || hold.is_long().then(|| pool.pick_starting(draw, tried));
            leaving().flatten().or_else(|| starting().flatten())
        });
        match endpoint.map(|endpoint| (endpoint, endpoint.begin(&pool.state))) {
            Some((endpoint, Some(in_flight))) => return Picked::One(endpoint, in_flight),
            // Another worker took its last place.
            Some((_, None)) => {}
            None if pool.is_full(tried, State::serves_at_last) => return Picked::Full,
            None => return Picked::None,
        }
    }
    Picked::Full
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

/// A socket may tell that a replica ends this long before the engine does.
const SIGN_OF_LEAVING: Duration = Duration::from_millis(500);
