//! Finding the pool for a request.

mod conditions;
mod departed;
mod explain;
mod heed;
mod host;
mod path;
mod tallies;
mod tls;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

pub use departed::Departure;
use http::{HeaderMap, Method};

pub use explain::{Considered, Fate, For, Lead, Miss};
pub use path::PathMatch;

use crate::domain::balance;
use crate::domain::lifecycle::{self, HealthCheck, Probe, Signs, State};
use crate::domain::names::{Host, HostPattern, PoolName};
use crate::domain::plan::{Member, Plan, PoolPlan};
use crate::domain::pool::{
    Endpoint, EndpointId, Names, Pool, PoolState, ReplicaTally, Routes, Sessions, StickyKey, Tally,
    Tiers, Vitals,
};
use crate::domain::routing::departed::Departed;
use crate::domain::routing::host::{Entry, Hosts};
use crate::domain::routing::tallies::Tallies;
use crate::domain::routing::tls::Policies;
use crate::domain::rule::{Access, Rule};
use crate::domain::tls::{self as certificates, CertificateSource, ClientAuth};

/// Everything a request needs to be served, never changed once built.
#[derive(Debug, Default)]
pub struct RoutingTable {
    generation: u64,
    complete: bool,
    /// No pool answers at `<pool>.localhost`.
    no_localhost: bool,
    /// Without it no pool sets a cookie.
    sticky_key: Option<StickyKey>,
    next_serial: u64,
    compiled: BTreeMap<PoolName, Compiled>,
    departed: Departed,
    hosts: Hosts,
    policies: Policies,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// In its lookup form, see [`crate::domain::names::host_key`]; empty if the
    /// request names none.
    pub host: &'a str,
    /// In normal form, without the query.
    pub path: &'a str,
    /// As it was written, without its `?`.
    pub query: Option<&'a str>,
    pub method: &'a Method,
    /// As the client sent them, but for those that only a proxy is believed.
    pub headers: &'a HeaderMap,
    /// Never IPv4-mapped.
    pub client: IpAddr,
    /// The name of where the client came in.
    pub entry_point: &'a str,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    pub pool: &'a Arc<Pool>,
    /// Where its requests are counted beside the pool, if anywhere.
    pub tally: Option<&'a Arc<Tally>>,
    /// A guard of the pool's rule cannot be read: answer 503.
    pub closed: bool,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unrouted {
    /// No rule takes it.
    Unclaimed,
    /// A strict and a lenient reader of its path would not agree on the pool.
    Ambiguous,
}

/// A pool beside what it was made of, so that one is rebuilt only when the
/// other has changed.
#[derive(Clone, Debug)]
struct Compiled {
    plan: Arc<PoolPlan>,
    pool: Arc<Pool>,
    /// Of the pool's endpoints, when its tiers were laid out.
    signs: Vec<(State, Probe)>,
}

impl<'a> Asked<'a> {
    /// A GET without a query or headers, by plain http.
    pub fn get(host: &'a str, path: &'a str, client: IpAddr) -> Self {
        static HEAD: LazyLock<(Method, HeaderMap)> = LazyLock::new(Default::default);
        let (method, headers) = &*HEAD;
        Self { host, path, query: None, method, headers, client, entry_point: "http" }
    }
}

impl RoutingTable {
    /// The table before the first one. `localhost`: whether each pool answers at
    /// `<pool>.localhost` too, in this table and in those built on it. Their
    /// cookies are signed with `sticky_key`.
    pub fn new(localhost: bool, sticky_key: StickyKey) -> Self {
        Self { no_localhost: !localhost, sticky_key: Some(sticky_key), ..Self::default() }
    }

    /// Builds the table of `plan`. Pools that have not changed are taken from
    /// `previous` as they are; endpoints that stay keep their vitals, and those
    /// that left are marked as gone.
    pub fn build(plan: &Plan, previous: &Self) -> Self {
        let mut table = Self {
            generation: previous.generation + 1,
            complete: plan.complete,
            no_localhost: previous.no_localhost,
            sticky_key: previous.sticky_key.clone(),
            next_serial: previous.next_serial,
            compiled: BTreeMap::new(),
            departed: previous.departed.clone(),
            hosts: Hosts::default(),
            policies: Policies::default(),
        };
        let mut vitals = previous.vitals();
        let checks = checks(plan, &vitals);
        for (name, pool) in &plan.pools {
            let before = previous.compiled.get(name);
            let compiled = table.compile(name, pool, before, &mut vitals, &checks);
            table.compiled.insert(name.clone(), compiled);
        }
        table.bury(vitals);
        table.keep_tallies(previous);
        table.connect(&previous.hosts);
        table.settle_policies();
        table
    }

    /// The route of a request, if any rule takes it.
    pub fn route(&self, asked: Asked<'_>) -> Option<Route<'_>> {
        let private = is_private(asked.client);
        let entry = self.hosts.find(&asked, private)?;
        Some(Route { pool: &entry.pool, tally: entry.tally.as_ref(), closed: entry.closed })
    }

    /// The route of a request whose path a lenient server would read as `lenient`.
    /// Where the two readings do not lead to one pool, it has none.
    pub fn route_of_both(
        &self,
        asked: Asked<'_>,
        lenient: Option<&str>,
    ) -> Result<Route<'_>, Unrouted> {
        let route = self.route(asked);
        if let Some(path) = lenient {
            let other = self.route(Asked { path, ..asked });
            let name = |route: Option<Route<'_>>| route.map(|route| route.pool.name.clone());
            if name(route) != name(other) {
                return Err(Unrouted::Ambiguous);
            }
        }
        route.ok_or(Unrouted::Unclaimed)
    }

    /// How clients of `host`, in its lookup form, show who they are in a
    /// handshake: they must only where every pool requires it that a request for
    /// it may reach. It is empty for a client that says no name.
    pub fn client_auth(&self, host: &str) -> ClientAuth {
        self.policies.of(host)
    }

    /// The names for which an authority is to be asked.
    pub fn wanted_certificates(&self) -> BTreeSet<Arc<str>> {
        let auto = |it: &&Compiled| it.pool.settings.tls == Some(CertificateSource::Auto);
        let pools = self.compiled.values().filter(auto);
        let hosts = pools.flat_map(|it| &it.plan.access.rule().hosts);
        hosts
            .filter(|host| certificates::unfit(host).is_none())
            .filter_map(|host| match host {
                HostPattern::Exact(host) => Some(host.as_str().into()),
                HostPattern::Wildcard(_) => None,
            })
            .collect()
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.compiled.values().map(|compiled| &compiled.pool)
    }

    /// Every endpoint of every pool, so that one that is in two pools comes twice.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.pools().flat_map(|pool| &pool.endpoints)
    }

    /// Replicas that have left of late, with what they did.
    pub fn departed(&self) -> impl Iterator<Item = &Departure> {
        self.departed.iter()
    }

    pub fn pool(&self, name: &PoolName) -> Option<&Arc<Pool>> {
        self.compiled.get(name).map(|compiled| &compiled.pool)
    }

    /// Whether anybody may ask the pool of this name.
    pub fn is_unguarded(&self, name: &PoolName) -> bool {
        self.compiled.get(name).is_some_and(|compiled| compiled.plan.is_unguarded())
    }

    /// How many tables there were before this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is made of what every source sees, so that what has no route
    /// has none.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the live signs of some endpoint have changed since its pool was
    /// compiled, so that a new table of the same plan would differ.
    pub fn is_stale(&self) -> bool {
        self.compiled.values().any(|it| {
            // Endpoints were made of the members with an address, in their order.
            let members = it.plan.members.iter().filter(|member| member.address.is_some());
            let endpoints = members.zip(&it.pool.endpoints);
            endpoints.zip(&it.signs).any(|((member, endpoint), &(state, probe))| {
                let vitals = &endpoint.vitals;
                // The data plane may have made it suspect since it was judged.
                let judged = lifecycle::state(signs(member, endpoint.check.is_some(), vitals));
                (judged, vitals.probe()) != (state, probe) || vitals.state() != state
            })
        })
    }

    fn compile(
        &mut self,
        name: &PoolName,
        plan: &PoolPlan,
        before: Option<&Compiled>,
        vitals: &mut HashMap<EndpointId, Arc<Vitals>>,
        checks: &HashMap<EndpointId, Arc<HealthCheck>>,
    ) -> Compiled {
        let mut endpoints = Vec::new();
        let mut states = Vec::new();
        let mut judged = Vec::new();
        let label: Arc<str> = name.to_string().into();
        let mut tallies = Tallies::of(Arc::clone(&label), before.map(|it| &*it.pool));
        for member in plan.members.iter().take(usize::from(u16::MAX)) {
            let Some(id) = endpoint_id(member) else { continue };
            let vitals = vitals.entry(id.clone()).or_insert_with(|| {
                self.next_serial += 1;
                Arc::new(Vitals::new(self.next_serial))
            });
            let check = checks.get(&id).cloned();
            let (state, probe) = judge(member, check.is_some(), vitals);
            states.push(state);
            judged.push((state, probe));
            let tally = tallies.find(endpoints.len(), &member.name, &mut self.departed);
            let vitals = Arc::clone(vitals);
            endpoints.push(endpoint(member, id, check, vitals, tally));
        }
        if let Some(before) = before
            && *before.plan == *plan
            && before.signs == judged
            && has_checks_of(&before.pool.endpoints, &endpoints)
        {
            return before.clone();
        }
        let state = before.map_or_else(Arc::<PoolState>::default, |it| Arc::clone(&it.pool.state));
        // Endpoints were made of the members with an address, in their order.
        let reachable = plan.members.iter().filter(|member| member.address.is_some());
        let host_names = reachable.map(|member| member.host_name.as_ref());
        let pool = Pool {
            name: name.clone(),
            label,
            settings: plan.settings.clone(),
            tiers: Tiers::build(&endpoints, &states),
            names: Names::build(&plan.settings.affinity, &endpoints, host_names),
            sessions: Sessions::build(
                name,
                &plan.settings.affinity,
                &endpoints,
                self.sticky_key.as_ref(),
            ),
            endpoints,
            routes: Routes::build(
                route_names(plan.access.rule()),
                before.map(|it| &it.pool.routes),
            ),
            state,
        };
        Compiled { plan: Arc::new(plan.clone()), pool: Arc::new(pool), signs: judged }
    }

    /// Marks the endpoints that this table no longer has. One whose container
    /// has ended, or begun another life, is gone. Any other may merely be reached
    /// elsewhere now, or no longer be asked for: it finishes what it has.
    fn bury(&self, known: HashMap<EndpointId, Arc<Vitals>>) {
        let living = self.vitals();
        let left = known.into_iter().filter(|(id, _)| !living.contains_key(id));
        let left: Vec<_> = left.filter(|(_, vitals)| vitals.state() != State::Gone).collect();
        if left.is_empty() {
            return;
        }
        let members = self.compiled.values().flat_map(|it| &it.plan.members);
        let lives: HashMap<_, _> =
            members.map(|it| (&it.workload.id, (it.workload.life, it.run))).collect();
        for (id, vitals) in left {
            let ended = lives
                .get(&id.workload.id)
                .is_some_and(|&(life, run)| life != id.workload.life || !run.is_alive());
            vitals.set_state(if ended { State::Gone } else { State::Draining });
        }
    }

    /// Keeps the tallies of replicas that `previous` had.
    fn keep_tallies(&mut self, previous: &Self) {
        for (name, before) in &previous.compiled {
            let now = self.compiled.get(name).map(|it| &it.pool);
            if now.is_some_and(|now| Arc::ptr_eq(now, &before.pool)) {
                continue;
            }
            let endpoints = now.into_iter().flat_map(|pool| &pool.endpoints);
            let mut stay: BTreeSet<_> = endpoints.map(|it| &it.name).collect();
            for endpoint in &before.pool.endpoints {
                if stay.insert(&endpoint.name) {
                    self.departed.add(&before.pool.label, &endpoint.name, &endpoint.tally);
                }
            }
        }
    }

    fn connect(&mut self, previous: &Hosts) {
        for compiled in self.compiled.values() {
            let (rule, closed) = match &compiled.plan.access {
                Access::Open(rule) => (rule, false),
                Access::Closed(rule) => (rule, true),
            };
            for path in paths(rule) {
                let routes = &compiled.pool.routes;
                let tally = |host: Option<&HostPattern>| {
                    let name = (!routes.is_empty()).then(|| route_name(host, &path))?;
                    routes.tally(&name).cloned()
                };
                let entry = Entry {
                    path: path.clone(),
                    conditions: rule.conditions.clone(),
                    // What cannot be read takes no precedence over what can.
                    priority: if closed { rule.priority.min(0) } else { rule.priority },
                    closed,
                    pool: Arc::clone(&compiled.pool),
                    tally: None,
                };
                if let Some(host) = self.local_host(&compiled.pool) {
                    self.hosts.insert_local(host, entry.clone());
                }
                if rule.hosts.is_empty() {
                    self.hosts.insert(None, Entry { tally: tally(None), ..entry });
                } else {
                    for pattern in &rule.hosts {
                        let tally = tally(Some(pattern));
                        self.hosts.insert(Some(pattern), Entry { tally, ..entry.clone() });
                    }
                }
            }
        }
        self.hosts.sort(previous);
    }

    fn settle_policies(&mut self) {
        // A closed pool, as one without an authority for clients is, serves nobody,
        // whatever is shown.
        let open = self.compiled.values().filter(|it| matches!(it.plan.access, Access::Open(_)));
        let pools = open.map(|it| (it, it.pool.settings.client_auth));
        if pools.clone().all(|(_, auth)| auth == ClientAuth::Off) {
            return;
        }
        let mut policies = Policies::default();
        for (compiled, auth) in pools {
            let hosts = &compiled.plan.access.rule().hosts;
            policies.add(hosts, auth);
            if let Some(host) = self.local_host(&compiled.pool) {
                policies.add(&[HostPattern::Exact(host)], auth);
            }
        }
        policies.settle();
        self.policies = policies;
    }

    /// `<pool>.localhost`, if pools answer there.
    fn local_host(&self, pool: &Pool) -> Option<Host> {
        if self.no_localhost {
            return None;
        }
        format!("{}.localhost", pool.name.name).parse().ok()
    }

    fn vitals(&self) -> HashMap<EndpointId, Arc<Vitals>> {
        self.endpoints().map(|it| (it.id.clone(), Arc::clone(&it.vitals))).collect()
    }
}

fn paths(rule: &Rule) -> Vec<PathMatch> {
    let exact = rule.exact.iter().map(|path| PathMatch::Exact(Arc::clone(path)));
    let prefixes = rule.prefixes.iter().map(PathMatch::prefix);
    let paths: Vec<_> = exact.chain(prefixes).collect();
    if paths.is_empty() { vec![PathMatch::Any] } else { paths }
}

/// Every way to the pool of this rule.
fn route_names(rule: &Rule) -> BTreeSet<String> {
    let paths = paths(rule);
    let any = rule.hosts.is_empty().then_some(None);
    let hosts = rule.hosts.iter().map(Some).chain(any);
    hosts.flat_map(|host| paths.iter().map(move |path| route_name(host, path))).collect()
}

/// A way to a pool as metrics show it: `shop.example/api/*`.
fn route_name(host: Option<&HostPattern>, path: &PathMatch) -> String {
    let path = path.pattern();
    host.map_or_else(|| format!("*{path}"), |host| format!("{host}{path}"))
}

fn endpoint_id(member: &Member) -> Option<EndpointId> {
    let address = member.address?;
    Some(EndpointId { workload: member.workload.clone(), address, scheme: member.scheme })
}

/// The health check of each endpoint that has one: that of its pool, or until it
/// has been ready its own, since another version may answer elsewhere. Pools that
/// share an endpoint share what is known of it, and so its check: that of the
/// first such pool.
fn checks(
    plan: &Plan,
    known: &HashMap<EndpointId, Arc<Vitals>>,
) -> HashMap<EndpointId, Arc<HealthCheck>> {
    let mut checks = HashMap::new();
    for pool in plan.pools.values() {
        let shared = pool.settings.health.as_ref();
        let checked = pool.members.iter().filter(|it| shared.is_some() || it.check.is_some());
        for (member, id) in checked.filter_map(|it| Some((it, endpoint_id(it)?))) {
            let been_ready = known.get(&id).is_some_and(|vitals| vitals.times_ready() > 0);
            let own = member.check.as_ref().filter(|_| !been_ready);
            let check = own.or(shared);
            if let Some(check) = check {
                checks.entry(id).or_insert_with(|| Arc::clone(check));
            }
        }
    }
    checks
}

/// Brings the vitals of a member in line with what is known of it now.
fn judge(member: &Member, checked: bool, vitals: &Vitals) -> (State, Probe) {
    let mut signs = signs(member, checked, vitals);
    let probe = lifecycle::probe_after(vitals.state(), signs);
    if probe != signs.probe {
        vitals.set_probe(probe);
        signs.probe = probe;
    }
    let state = lifecycle::state(signs);
    vitals.set_state(state);
    (state, probe)
}

fn signs(member: &Member, checked: bool, vitals: &Vitals) -> Signs {
    Signs {
        run: member.run,
        drained: member.drained,
        health: member.health,
        checked,
        probe: vitals.probe(),
        been_ready: vitals.times_ready() > 0,
        ejected: vitals.is_ejected(),
    }
}

fn has_checks_of(before: &[Endpoint], now: &[Endpoint]) -> bool {
    before.iter().map(|it| &it.check).eq(now.iter().map(|it| &it.check))
}

fn endpoint(
    member: &Member,
    id: EndpointId,
    check: Option<Arc<HealthCheck>>,
    vitals: Arc<Vitals>,
    tally: Arc<ReplicaTally>,
) -> Endpoint {
    Endpoint {
        id,
        name: Arc::clone(&member.name),
        service: member.service.clone(),
        weight: member.weight,
        backup: member.backup,
        max_conns: member.max_conns,
        seed: balance::seed(&member.name),
        check,
        vitals,
        tally,
    }
}

/// Loopback, private (RFC 1918, RFC 4193) and link-local addresses.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
