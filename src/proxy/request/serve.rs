//! Trying endpoints until one answers, or the rules forbid another try.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::balance::Policy;
use crate::domain::pool::{Draw, Endpoint, Pool, Tried, Vitals, Wanted};
use crate::domain::retry::Again;
use crate::proxy::error::ProxyError;
use crate::proxy::request::attempt::{Answered, Attempt};
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::hold::Hold;
use crate::proxy::request::middleware::{Admission, Verdict};
use crate::proxy::request::prepare::Prepared;
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
        let Some(endpoint) = pick(pool, draw, &tried, prepared, &hold) else {
            let again = hold.wait(resources, settings, &pool.state, &table, prepared.upload());
            let again = again.await?;
            exchange.waited = hold.waited();
            if again {
                continue;
            }
            let after = last_failure.map(Box::new);
            return Err(ProxyError::HoldTimeout { hold: settings.hold, after });
        };
        let mark = Tried::mark(endpoint);
        let attempt = Attempt {
            resources,
            endpoint,
            timeouts: &settings.timeouts,
            proxy_protocol: settings.proxy_protocol,
            admission,
            timed: settings.policy == Policy::PeakEwma,
        };
        let (error, again) = match attempt.make(prepared, exchange).await {
            Ok(mut answered) => {
                let is_secure = || prepared.is_secure();
                if let Some(cookie) = pool.cookie_for(endpoint, &draw.wanted, is_secure) {
                    answered.headers_mut().append(SET_COOKIE, cookie);
                }
                return Ok(answered);
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
            return Err(error);
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

/// The endpoint for the next attempt. One that leaves may still take what can
/// be sent again, and is there for all who have waited, as is one that starts.
fn pick<'a>(
    pool: &'a Pool,
    draw: Draw<'_>,
    tried: &Tried,
    prepared: &Prepared,
    hold: &Hold,
) -> Option<&'a Endpoint> {
    pool.pick(draw, tried).or_else(|| {
        let repeatable = prepared.is_idempotent() && prepared.upload().is_whole();
        let leaving = || (repeatable || hold.is_long()).then(|| pool.pick_leaving(draw, tried));
        let starting = || hold.is_long().then(|| pool.pick_starting(draw, tried));
        leaving().flatten().or_else(|| starting().flatten())
    })
}

/// The retries of one request that count.
#[derive(Default)]
struct Retries(Vec<Arc<Vitals>>);

impl Retries {
    /// Whether another attempt may follow one that `endpoint` has failed.
    async fn afford(&mut self, resources: &Resources, pool: &Pool, endpoint: &Endpoint) -> bool {
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
        let watch = resources.bell().watch(&endpoint.vitals);
        timeout(SIGN_OF_LEAVING, watch.until(leaves)).await.is_ok()
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

const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A socket may tell that a replica ends this long before the engine does.
const SIGN_OF_LEAVING: Duration = Duration::from_millis(500);
