//! One request, served by the rules of the data plane on the model network.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::domain::lifecycle::State;
use evenkeel::domain::pool::{Draw, Endpoint, Pool, Tried, Vitals, Wanted};
use evenkeel::domain::retry::{Again, Cause, Failed, is_hopeless};
use evenkeel::domain::routing::Asked;
use evenkeel::live::{Alarm, Reader};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::checks::Checks;
use super::container::last_byte;
use super::engine::Engine;
use super::network::Connection;

/// What the requests of a history share.
pub(super) struct Balancer {
    pub(super) engine: Rc<Engine>,
    pub(super) checks: Rc<Checks>,
    pub(super) reader: Reader,
    pub(super) alarm: Alarm,
    /// Rings for every change of routing, for all in the order of their arrival.
    pub(super) bell: Notify,
    /// Idle connections, by the serial of their endpoint.
    pub(super) idle: RefCell<BTreeMap<u64, Vec<Connection>>>,
    pub(super) began: Instant,
}

/// One request.
pub(super) struct Request {
    pub(super) name: String,
    pub(super) pool: &'static str,
    pub(super) idempotent: bool,
    pub(super) work: Duration,
    /// How often a replica may have acted on it.
    acted: u32,
    waited: Option<Instant>,
    reader: Reader,
}

/// Why a request got no answer.
pub(super) enum Lost {
    NoRoute,
    /// None was ready for the whole hold.
    Held,
    Failed(&'static str),
}

impl Balancer {
    /// Rings the bell whenever there is reason to.
    pub(super) async fn ring(self: Rc<Self>) {
        let mut reader = self.reader.clone();
        while reader.changed().await.is_some() {
            self.bell.notify_waiters();
        }
    }

    pub(super) fn request(&self, number: u32) -> Request {
        let chance = &self.engine.chance;
        let idempotent = !chance.percent(20);
        let pool = if chance.percent(60) { "web" } else { "api" };
        let method = if idempotent { "GET" } else { "POST" };
        let name = format!("{method} {pool} {number}");
        let work = chance.mostly(1..=30, 5, 100..=800);
        let reader = self.reader.clone();
        Request { name, pool, idempotent, work, acted: 0, waited: None, reader }
    }

    /// Serves it as the data plane does, and judges what became of it.
    pub(super) async fn serve(self: Rc<Self>, mut request: Request) {
        let arrived = Instant::now();
        let ready = self.ready(&mut request);
        let outcome = self.answer(&mut request).await;
        if request.acted > 1 && !request.idempotent {
            self.engine.fault(format!("{} was acted on {} times", request.name, request.acted));
        }
        let took = arrived.elapsed();
        if took > DURATION_MAX {
            self.engine.fault(format!("{} took {took:?}", request.name));
        }
        let Err(lost) = outcome else { return };
        let why = match lost {
            Lost::NoRoute => "no route",
            Lost::Held => "hold",
            Lost::Failed(why) => why,
        };
        self.engine.tell(|| format!("{} is lost after {took:?}: {why}", request.name));
        let name = &request.name;
        if matches!(lost, Lost::NoRoute) {
            return self.engine.fault(format!("{name} found no route"));
        }
        if matches!(lost, Lost::Held) && (took < HOLD || took > HOLD + Duration::from_millis(5)) {
            let cause = request.waited.map(|at| at.elapsed());
            if cause.is_none_or(|held| held < HOLD) {
                self.engine.fault(format!("{name} was held for {took:?}"));
            }
        }
        // Up from before it came until now, and known to be: it could have gone there.
        let good = ready.iter().find(|(index, life)| {
            self.engine.see(*index, |it| {
                it.life == *life && it.up_since.is_some_and(|since| since <= arrived)
            })
        });
        if let Some(good) = good
            && (request.idempotent || matches!(lost, Lost::Held))
        {
            self.engine.fault(format!("{name} is lost ({why}) although {good:?} was ready"));
        }
    }

    /// The containers, and which of their lives, that are ready for this
    /// request by what the balancer knows.
    fn ready(&self, request: &mut Request) -> Vec<(usize, u32)> {
        let table = Arc::clone(request.reader.current());
        let containers = self.engine.containers.borrow();
        let pools = table.pools().filter(|pool| &*pool.name.name == request.pool);
        let endpoints = pools.flat_map(|pool| &pool.endpoints);
        let ready = endpoints.filter(|it| it.vitals.state() == State::Ready);
        ready
            .filter_map(|endpoint| {
                let index = containers.iter().position(|it| *it.id == *endpoint.id.workload.id)?;
                let container = &containers[index];
                let is_there = container.address == Some(last_byte(endpoint.id.address));
                is_there.then_some((index, container.life))
            })
            .collect()
    }

    async fn answer(&self, request: &mut Request) -> Result<(), Lost> {
        let client = Ipv4Addr::new(10, 0, 0, 1).into();
        let draw = Draw {
            random: self.engine.chance.bits(),
            client,
            now: Instant::now().into_std(),
            wanted: Wanted::default(),
        };
        let mut tried = Tried::default();
        let mut charged = Vec::new();
        let mut waiting = None;
        let mut attempts = 0;
        let host = format!("{}.example", request.pool);
        loop {
            let changed = self.bell.notified();
            let table = Arc::clone(request.reader.current());
            let route = table.route(Asked::get(&host, "/", client));
            let Some(route) = route else { return Err(Lost::NoRoute) };
            let pool = route.pool;
            if attempts == 0 && request.waited.is_none() {
                pool.state.budget.request(self.second());
            }
            let is_long = request.waited.is_some_and(|began| began.elapsed() >= LONG);
            let Some(endpoint) = pick(pool, draw, &tried, request.idempotent, is_long) else {
                let began = *request.waited.get_or_insert_with(Instant::now);
                let deadline = began + pool.settings.hold;
                if Instant::now() >= deadline {
                    return Err(Lost::Held);
                }
                if waiting.is_none() {
                    waiting = Some(pool.state.wait(pool.settings.hold_max).expect("there is room"));
                }
                let long = began + LONG;
                let until = if Instant::now() < long { long.min(deadline) } else { deadline };
                let _ = timeout_at(until, changed).await;
                continue;
            };
            tried.add(Tried::mark(endpoint));
            attempts += 1;
            self.checks.attempt(&request.name, endpoint, is_long);
            let Err((why, again)) = self.attempt(request, endpoint, pool).await else {
                return Ok(());
            };
            let may_go_on = attempts < 32
                && match again {
                    Again::Never | Again::Fresh => false,
                    Again::Another => true,
                    // Plain http knows neither.
                    Again::Any | Again::Elsewhere => false,
                    Again::Charged => self.afford(&mut charged, pool, endpoint).await,
                };
            if !may_go_on {
                return Err(Lost::Failed(why));
            }
        }
    }

    async fn attempt(
        &self,
        request: &mut Request,
        endpoint: &Endpoint,
        pool: &Pool,
    ) -> Result<(), (&'static str, Again)> {
        let vitals = &endpoint.vitals;
        let _in_flight = vitals.begin();
        let mut may_reuse = request.idempotent;
        loop {
            let idle = may_reuse.then(|| self.idle_connection(vitals)).flatten();
            let reused = idle.is_some();
            let failed = |cause| {
                Failed { cause, reused, idempotent: request.idempotent, whole: true }.again()
            };
            let connection = match idle {
                Some(connection) => connection,
                None => {
                    let connect = self.engine.connect(last_byte(endpoint.id.address));
                    tokio::select! {
                        biased;
                        connected = timeout(pool.settings.timeouts.connect, connect) => {
                            let Ok(Some(connection)) = connected else {
                                self.suspect(vitals);
                                return Err(("connect", failed(Cause::NoConnection)));
                            };
                            connection
                        }
                        () = self.until(|| is_hopeless(vitals.state(), true)) => {
                            return Err(("left", failed(Cause::NoConnection)));
                        }
                    }
                }
            };
            request.acted += u32::from(self.engine.is_open(connection));
            let cause = tokio::select! {
                biased;
                answered = self.engine.exchange(connection, request.work) => match answered {
                    Ok(()) => {
                        if vitals.state().keeps_connections() {
                            let mut idle = self.idle.borrow_mut();
                            idle.entry(vitals.serial()).or_default().push(connection);
                        }
                        return Ok(());
                    }
                    Err(_) => Cause::Unanswered,
                },
                () = self.until(|| is_hopeless(vitals.state(), request.idempotent)) => {
                    Cause::Left
                }
                () = tokio::time::sleep(pool.settings.timeouts.response) => Cause::Other,
            };
            if cause == Cause::Unanswered && !reused {
                self.suspect(vitals);
            }
            let again = failed(cause);
            if again != Again::Fresh {
                return Err(("unanswered", again));
            }
            may_reuse = false;
        }
    }

    async fn afford(
        &self,
        charged: &mut Vec<Arc<Vitals>>,
        pool: &Pool,
        endpoint: &Endpoint,
    ) -> bool {
        let leaves = |vitals: &Vitals| vitals.state().leaves();
        if leaves(&endpoint.vitals) {
            return true;
        }
        charged.retain(|vitals| !leaves(vitals));
        let left = charged.len() < pool.settings.retries as usize;
        if left && pool.state.budget.take(self.second()) {
            charged.push(Arc::clone(&endpoint.vitals));
            return true;
        }
        let sign = self.until(|| leaves(&endpoint.vitals));
        timeout(Duration::from_millis(500), sign).await.is_ok()
    }

    /// One that has ended is mostly found to have, but not always in time.
    fn idle_connection(&self, vitals: &Vitals) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&vitals.serial())?;
        loop {
            let connection = connections.pop()?;
            if self.engine.is_open(connection) || self.engine.chance.percent(30) {
                return Some(connection);
            }
        }
    }

    /// Waits until vitals are as wanted.
    async fn until(&self, wanted: impl Fn() -> bool) {
        loop {
            let changed = self.bell.notified();
            if wanted() {
                return;
            }
            changed.await;
        }
    }

    fn suspect(&self, vitals: &Vitals) {
        if vitals.suspect() {
            self.alarm.raise();
        }
    }

    fn second(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_secs()).unwrap()
    }
}

fn pick<'a>(
    pool: &'a Pool,
    draw: Draw,
    tried: &Tried,
    repeatable: bool,
    is_long: bool,
) -> Option<&'a Endpoint> {
    pool.choose(draw, tried, || repeatable || is_long, || is_long)
}

/// After this a replica that is starting, or leaving, is better than none.
const LONG: Duration = Duration::from_secs(1);

const HOLD: Duration = Duration::from_secs(10);

/// The hold, and one attempt that is silent until its time is over.
const DURATION_MAX: Duration = Duration::from_secs(75);
