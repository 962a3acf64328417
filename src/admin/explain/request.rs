//! What becomes of a request, by the table that is in use.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::admin::explain::Unanswerable;
use crate::admin::explain::middlewares::{self, End};
use crate::admin::view::explain as view;
use crate::admin::{Edge, status};
use crate::domain::balance::Policy;
use crate::domain::http::forwarded::{Downstream, Scheme};
use crate::domain::http::refusal::Refusal;
use crate::domain::http::{hop_by_hop, host, target};
use crate::domain::lifecycle::Share;
use crate::domain::names::{HOST_BYTES_MAX, host_key};
use crate::domain::plan::Plan;
use crate::domain::pool::{Candidate, Draw, Foreseen, Pool, Stage, Standing, Wait};
use crate::domain::routing::{Asked, Considered, Fate, For, Lead, Miss, RoutingTable, Unrouted};
use crate::domain::rule::Wanted;
use crate::domain::suggest::nearest;

/// What becomes of the request that is asked about.
pub(super) fn explained(
    question: &view::Question,
    table: &RoutingTable,
    plan: &Plan,
    edge: &Edge,
) -> Result<view::Request, Unanswerable> {
    let given = Given::read(question, edge)?;
    let mut explained = view::Request { asked: given.shown(), ..view::Request::default() };
    let read = match given.request() {
        Ok(read) => read,
        Err(refusal) => {
            explained.verdict = format!("refused with {}: {refusal}", refusal.status());
            explained.reason = Some(refusal.reason().to_owned());
            return Ok(explained);
        }
    };
    explained.asked.host.clone_from(&read.host);
    explained.asked.path.clone_from(&read.path);
    explained.asked.lenient_path.clone_from(&read.lenient);
    explained.asked.query = read.query.map(str::to_owned);
    let asked = Asked {
        host: &read.host,
        path: &read.path,
        query: read.query,
        method: &given.method,
        headers: &read.headers,
        client: given.client,
        entry_point: &given.entry_point,
    };
    let ways = table.consider(&asked);
    explained.routes_left_out = ways.len().saturating_sub(ROUTES_MAX);
    explained.routes = ways.iter().take(ROUTES_MAX).map(|way| route(way, &asked)).collect();
    match table.route_of_both(asked, read.lenient.as_deref()) {
        Err(Unrouted::Ambiguous) => {
            let lenient = read.lenient.as_deref().unwrap_or_default();
            let other = table.route(Asked { path: lenient, ..asked });
            let pool = |route: Option<&Arc<Pool>>| {
                route.map_or_else(|| "no pool".to_owned(), |it| format!("pool `{}`", it.name))
            };
            explained.verdict = format!(
                "refused with 400: `{}` leads to {}, and read leniently, as `{lenient}`, to {}",
                read.path,
                pool(table.route(asked).map(|it| it.pool)),
                pool(other.map(|it| it.pool)),
            );
            "write the path without escapes, double slashes and backslashes"
                .clone_into(&mut explained.hint);
            explained.reason = Some("ambiguous_path".to_owned());
        }
        Err(Unrouted::Unclaimed) if !table.is_complete() => {
            "held: no rule takes it yet, and not every source has been seen"
                .clone_into(&mut explained.verdict);
            "see `evenkeel status` for what is wrong with a source".clone_into(&mut explained.hint);
        }
        Err(Unrouted::Unclaimed) => {
            "refused with 404: no rule takes it".clone_into(&mut explained.verdict);
            explained.hint = unclaimed(&ways, &asked);
            explained.reason = Some("no_route".to_owned());
        }
        Ok(route) => {
            explained.pool = Some(route.pool.name.to_string());
            let standing = Way { pool: route.pool, closed: route.closed };
            standing.judge(&mut explained, &asked, given.scheme, &read.target, plan, edge);
        }
    }
    Ok(explained)
}

/// A question whose parts can be understood.
struct Given {
    scheme: Scheme,
    authority: String,
    target: String,
    method: Method,
    headers: HeaderMap,
    client: IpAddr,
    entry_point: String,
}

/// A request as [`crate::proxy`] would read it.
struct Read<'a> {
    host: String,
    path: String,
    lenient: Option<String>,
    query: Option<&'a str>,
    /// In normal form, with the query.
    target: String,
    headers: HeaderMap,
}

impl Given {
    fn read(question: &view::Question, edge: &Edge) -> Result<Self, Unanswerable> {
        let url = question.url.trim();
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?', '.']) => {
                let message = format!("`{scheme}` is no scheme that we serve");
                return Err(fault(message, "write `http://…` or `https://…`"));
            }
            Some(_) | None => (Scheme::Http, url),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.is_empty() {
            let message = format!("`{url}` names no host");
            return Err(fault(message, "write a URL such as `http://shop.example/api`"));
        }
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let method = if question.method.is_empty() { "GET" } else { &question.method };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| fault(format!("`{method}` is no method"), "write one such as `POST`"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &question.headers {
            let unfit = || {
                let message = format!("`{name}: {value}` is no header");
                fault(message, "write it as `-H 'Name: value'`")
            };
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| unfit())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| unfit())?;
            headers.try_append(name, value).map_err(|_| unfit())?;
        }
        let client = match question.client.trim() {
            "" => Ipv4Addr::LOCALHOST.into(),
            written => {
                let read = written.parse::<IpAddr>();
                let unfit = |_| {
                    fault(format!("`{written}` is no IP address"), "write `--client 192.0.2.7`")
                };
                read.map_err(unfit)?.to_canonical()
            }
        };
        let entry_point = match question.entry_point.to_ascii_lowercase() {
            name if name.is_empty() => scheme.name().to_owned(),
            name if edge.entry_points.iter().any(|it| **it == *name) => name,
            name => {
                let known = || edge.entry_points.iter().map(|it| &**it);
                let meant = nearest(&name, known()).map(|it| format!("did you mean `{it}`? "));
                let known: Vec<_> = known().map(|it| format!("`{it}`")).collect();
                let hint = format!("{}There are: {}", meant.unwrap_or_default(), known.join(", "));
                return Err(fault(format!("no entry point is called `{name}`"), hint));
            }
        };
        let authority = authority.to_owned();
        Ok(Self { scheme, authority, target, method, headers, client, entry_point })
    }

    fn shown(&self) -> view::Asked {
        view::Asked {
            method: self.method.to_string(),
            scheme: self.scheme.name().to_owned(),
            host: self.authority.clone(),
            path: self.target.clone(),
            client: self.client.to_string(),
            entry_point: self.entry_point.clone(),
            ..view::Asked::default()
        }
    }

    /// Brings it into the form in which requests are routed, as they are: what a
    /// client says of its address is not believed, for it is no proxy.
    fn request(&self) -> Result<Read<'_>, Refusal> {
        let mut headers = self.headers.clone();
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&self.authority);
            headers.insert(HOST, host.map_err(|_| Refusal::HostMalformed)?);
        }
        if headers.get_all(HOST).iter().count() > 1 {
            return Err(Refusal::HostRepeated);
        }
        Downstream::new(self.client, false, self.scheme).apply(&mut headers, self.client);
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("explain"));
        let upgrade = hop_by_hop::strip_request(&mut headers)?;
        if let Some(upgrade) = &upgrade {
            upgrade.restore(&mut headers);
        }
        let written = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let host = host_key(host::split(written)?.host).into_owned();
        let target::Target { path, lenient, query } = target::read(&self.target)?;
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_string(),
        };
        Ok(Read { host, path: path.into_owned(), lenient, query, target, headers })
    }
}

/// The pool that a request goes to.
struct Way<'a> {
    pool: &'a Arc<Pool>,
    closed: bool,
}

impl Way<'_> {
    fn judge(
        &self,
        explained: &mut view::Request,
        asked: &Asked<'_>,
        scheme: Scheme,
        target: &str,
        plan: &Plan,
        edge: &Edge,
    ) {
        let (pool, settings) = (self.pool, &self.pool.settings);
        let (prefix, port) = (&*edge.label_prefix, edge.https_public_port);
        let (steps, end) = middlewares::met(pool, asked, scheme, prefix, port);
        explained.middlewares = steps;
        explained.policy = Some(settings.policy.to_string());
        explained.by_lot =
            matches!(settings.policy, Policy::Random | Policy::P2c | Policy::PeakEwma);
        let (random, client) = (fastrand::u64(..), asked.client);
        let wanted = pool.wanted(asked.headers, target);
        let draw = Draw { random, client, now: now(), wanted };
        let foreseen = pool.foresee(draw, asked.method.is_idempotent());
        explained.replicas =
            foreseen.candidates.iter().map(|it| candidate(it, pool, plan, &foreseen)).collect();
        let label = &pool.name;
        (explained.served, explained.verdict, explained.hint) = match end {
            _ if self.closed => {
                explained.reason = Some("guard_unreadable".to_owned());
                let verdict = format!("refused with 503: a guard of pool `{label}` cannot be read");
                (
                    false,
                    verdict,
                    "`evenkeel status` tells which label, and what to write".to_owned(),
                )
            }
            End::Refused { reason, verdict, hint } => {
                explained.reason = Some(reason.to_owned());
                (false, verdict, hint)
            }
            End::Answered(answer) => {
                (true, format!("pool `{label}` answers it itself: {answer}"), String::new())
            }
            End::Passed => match foreseen.outcome {
                Ok((endpoint, _)) => {
                    let verdict = format!(
                        "served by `{}` ({}) of pool `{label}`",
                        endpoint.name, endpoint.id.address
                    );
                    (true, verdict, String::new())
                }
                Err(wait) => {
                    let (reason, verdict, hint) = waiting(pool, plan, wait);
                    explained.reason = Some(reason.to_owned());
                    (false, verdict, hint)
                }
            },
        };
    }
}

fn waiting(pool: &Pool, plan: &Plan, wait: Wait) -> (&'static str, String, String) {
    let (settings, label) = (&pool.settings, &pool.name);
    let hold = humantime::format_duration(settings.hold);
    let queue = settings.tolerance.queue;
    match wait {
        Wait::Place if queue == 0 => (
            "queue_full",
            format!(
                "refused with 503: every replica of pool `{label}` has as many requests as it may"
            ),
            "raise `max_conns`, or let requests wait with `queue`".to_owned(),
        ),
        Wait::Place | Wait::InLine => (
            "queue_timeout",
            format!(
                "waits for a place in pool `{label}`, behind {} of at most {queue}, for up to {hold}",
                pool.state.queue.waiting()
            ),
            "raise `max_conns`, or scale the service".to_owned(),
        ),
        Wait::Replica => {
            let verdict = match settings.hold.is_zero() {
                true => format!("refused with 503: no replica of pool `{label}` is ready"),
                false => format!(
                    "held for up to {hold} until a replica of pool `{label}` is ready, then 503"
                ),
            };
            let members = plan.pools.get(label).map(|it| it.members.as_slice()).unwrap_or_default();
            // The newest is the one that somebody waits for.
            let runs = members.iter().rev().find(|it| it.run.is_alive());
            let hint = match runs.or(members.last()) {
                Some(it) => {
                    format!("`evenkeel explain --container {}` tells what it lacks", it.name)
                }
                None => "its last container was removed: start one".to_owned(),
            };
            ("hold_timeout", verdict, hint)
        }
    }
}

fn route(way: &Considered<'_>, asked: &Asked<'_>) -> view::Route {
    let (fate, reason) = match way.fate {
        Fate::Taken => ("taken", String::new()),
        Fate::Behind(lead) => ("behind", behind(lead).to_owned()),
        Fate::Missed(miss) => ("missed", missed(miss, asked)),
    };
    view::Route { pool: way.pool.name.to_string(), rule: rule(way), fate: fate.to_owned(), reason }
}

fn rule(way: &Considered<'_>) -> String {
    let mut rule = match way.hosts {
        For::Any => "any host".to_owned(),
        For::Host(_) | For::Beneath(_) | For::Local(_) => format!("host `{}`", way.hosts),
    };
    rule.push_str(&format!(", {}", way.path));
    if let Some(conditions) = way.conditions {
        rule.push_str(&format!(", {conditions}"));
    }
    if way.priority != 0 {
        rule.push_str(&format!(", priority {}", way.priority));
    }
    if way.closed {
        rule.push_str(", closed since a guard cannot be read");
    }
    rule
}

fn behind(lead: Lead) -> &'static str {
    match lead {
        Lead::Host => "it would take it, but the taken rule names the host more closely",
        Lead::Priority => "it would take it, but has a lower priority",
        Lead::Path => "it would take it, but its path is shorter or not exact",
        Lead::Conditions => "it would take it, but its conditions are broader",
        Lead::Readable => "it would take it, but a guard of its pool cannot be read",
        Lead::Ready => "it has the same rule, and no replica that is ready",
        Lead::Earlier => "it has an equal rule, and the taken one was there first",
    }
}

fn missed(miss: Miss<'_>, asked: &Asked<'_>) -> String {
    match miss {
        Miss::Host => format!("the host is `{}`", asked.host),
        Miss::NotPrivate => {
            format!("it is for clients on private addresses, and {} is none", asked.client)
        }
        Miss::Path => format!("the path is `{}`", asked.path),
        Miss::Method(_) => format!("the method is `{}`", asked.method),
        Miss::EntryPoint(_) => format!("it comes in by `{}`", asked.entry_point),
        Miss::Client(_) => format!("the client is {}", asked.client),
        Miss::Header(name, Wanted::Any) => format!("it has no header `{name}`"),
        Miss::Header(name, Wanted::Exactly(value)) => format!("it has no header `{name}: {value}`"),
        Miss::Query(name, Wanted::Any) => format!("its query has no `{name}`"),
        Miss::Query(name, Wanted::Exactly(value)) => format!("its query has no `{name}={value}`"),
    }
}

/// What may help who asks for what no rule takes: what comes nearest.
fn unclaimed(ways: &[Considered<'_>], asked: &Asked<'_>) -> String {
    let own = |it: &&Considered<'_>| !matches!(it.fate, Fate::Missed(Miss::Host));
    if let Some(way) = ways.iter().find(own)
        && let Fate::Missed(miss) = way.fate
    {
        let (pool, rule) = (&way.pool.name, rule(way));
        return format!("pool `{pool}` wants {rule}, but {}", missed(miss, asked));
    }
    // None of ours is near to what is longer than any.
    if asked.host.len() > HOST_BYTES_MAX {
        return "no host has so long a name".to_owned();
    }
    let hosts: Vec<_> = ways.iter().map(|way| way.hosts.to_string()).collect();
    match nearest(asked.host, hosts.iter().map(String::as_str)) {
        Some(host) => format!("did you mean `{host}`?"),
        None if ways.is_empty() => "there is no pool: label a container `lb.pool=NAME`".to_owned(),
        None => format!("label a container with the host `{}`", asked.host),
    }
}

fn candidate(
    it: &Candidate<'_>,
    pool: &Pool,
    plan: &Plan,
    foreseen: &Foreseen<'_>,
) -> view::Candidate {
    let endpoint = it.endpoint;
    let reason = || status::endpoint_reason(plan.pools.get(&pool.name), endpoint);
    let reason = match it.standing {
        Standing::Chosen => {
            let why = foreseen.outcome.ok().map_or("", |(_, stage)| chosen(stage));
            if it.share == Share::FULL {
                why.to_owned()
            } else {
                format!("{why}; while it is new it gets {} % of its part", it.share.percent())
            }
        }
        Standing::Passed => {
            format!("it could serve too; `{}` prefers another now", pool.settings.policy)
        }
        Standing::NotServing => reason(),
        Standing::Full => {
            format!("it has as many requests as it may: {}", endpoint.vitals.in_flight())
        }
        Standing::NoWeight => "with weight 0 it gets no requests".to_owned(),
        Standing::Elsewhere => "the request names, or belongs to, another one".to_owned(),
        Standing::Later => match it.stage {
            Some(Stage::Backup) => "it is a backup, and others serve".to_owned(),
            Some(_) | None => reason(),
        },
    };
    view::Candidate {
        name: endpoint.name.to_string(),
        address: endpoint.id.address.to_string(),
        picked: it.standing == Standing::Chosen,
        tier: it.stage.map(|stage| tier(stage).to_owned()),
        state: endpoint.vitals.state().as_str().to_owned(),
        reason,
        weight: endpoint.weight,
        in_flight: endpoint.vitals.in_flight(),
        max_conns: endpoint.max_conns.map(NonZeroU32::get),
        share_percent: it.share.percent(),
        latency_ms: it.latency_us.map(|micros| f64::from(micros) / 1000.0),
    }
}

fn chosen(stage: Stage) -> &'static str {
    match stage {
        Stage::Trial => "it is ejected, and this request would try whether it is back",
        Stage::Pinned => "the request names it",
        Stage::Session => "the cookie of the request belongs to it",
        Stage::Primary => "it is its turn",
        Stage::Backup => "it is a backup, and no other is ready",
        Stage::Last => "it is not well, but no other is ready",
        Stage::Leaving => "it is leaving, but no other is ready",
        Stage::Starting => "it is starting, but no other is ready",
    }
}

fn tier(stage: Stage) -> &'static str {
    match stage {
        Stage::Primary | Stage::Pinned | Stage::Session => "primary",
        Stage::Backup => "backup",
        Stage::Last | Stage::Trial => "last",
        Stage::Leaving => "leaving",
        Stage::Starting => "starting",
    }
}

fn fault(message: String, hint: impl Into<String>) -> Unanswerable {
    Unanswerable { message, hint: hint.into() }
}

#[expect(clippy::disallowed_methods, reason = "slow starts and time-outs are judged as of now")]
fn now() -> Instant {
    Instant::now()
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Routes that are listed: those for the host come first.
const ROUTES_MAX: usize = 200;
