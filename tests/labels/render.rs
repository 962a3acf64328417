//! A plan as text: only what differs from the defaults.

use std::fmt::Write as _;

use evenkeel::domain::lifecycle::{HealthCheck, Outliers, Question};
use evenkeel::domain::plan::{Member, Plan};
use evenkeel::domain::pool::{Affinity, PoolSettings, Timeouts, Tolerance};
use evenkeel::domain::rule::Access;
use evenkeel::domain::upstream::Scheme;
use evenkeel::domain::world::Health;

pub(super) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    for (name, pool) in &plan.pools {
        let access = match &pool.access {
            Access::Open(rule) => format!("open to {rule}"),
            Access::Closed(rule) => format!("CLOSED to {rule}"),
        };
        writeln!(text, "pool {name}: {access}").unwrap();
        for line in settings(&pool.settings) {
            writeln!(text, "  {line}").unwrap();
        }
        for line in pool.members.iter().map(|it| member(it, &pool.settings)) {
            writeln!(text, "  {line}").unwrap();
        }
    }
    for problem in &plan.problems {
        let key = problem.key.as_ref().map(|key| format!(" [{key}]")).unwrap_or_default();
        writeln!(text, "problem{key} {problem}").unwrap();
        if !problem.hint.is_empty() {
            writeln!(text, "  hint: {}", problem.hint).unwrap();
        }
    }
    if text.is_empty() {
        text.push_str("nothing\n");
    }
    text
}

fn settings(settings: &PoolSettings) -> Vec<String> {
    let usual = PoolSettings::default();
    let PoolSettings {
        policy,
        affinity,
        timeouts,
        hold,
        hold_max,
        retries,
        drain,
        ready_strict,
        health,
        slow_start,
        tolerance,
        middlewares,
        proxy_protocol,
        tls,
        upstream_tls,
        client_auth,
    } = settings;
    let Tolerance { outliers, retry_on, queue } = tolerance;
    let Outliers { max_fails, fail_timeout } = outliers;
    let Timeouts { connect, response, idle, tunnel } = timeouts;
    let mut lines = Vec::new();
    let mut line = |name: &str, differs: bool, value: String| {
        if differs {
            lines.push(format!("{name} {value}"));
        }
    };
    line("balance", *policy != usual.policy, policy.to_string());
    let Affinity { pin_header, pin_cookie, sticky } = affinity;
    line("pin.header", pin_header.is_some(), pin_header.iter().map(ToString::to_string).collect());
    line("pin.cookie", pin_cookie.is_some(), pin_cookie.iter().map(ToString::to_string).collect());
    line("sticky", sticky.is_some(), sticky.iter().map(|it| format!("{it:?}")).collect());
    line("connect", *connect != usual.timeouts.connect, format!("{connect:?}"));
    line("response", *response != usual.timeouts.response, format!("{response:?}"));
    line("idle", *idle != usual.timeouts.idle, format!("{idle:?}"));
    line("tunnel", *tunnel != usual.timeouts.tunnel, format!("{tunnel:?}"));
    line("hold", *hold != usual.hold, format!("{hold:?}"));
    line("hold.max", *hold_max != usual.hold_max, hold_max.to_string());
    line("retries", *retries != usual.retries, retries.to_string());
    line("drain", *drain != usual.drain, format!("{drain:?}"));
    line("ready", *ready_strict, "strict".to_owned());
    line("slow_start", *slow_start != usual.slow_start, format!("{slow_start:?}"));
    line("max_fails", *max_fails != usual.tolerance.outliers.max_fails, max_fails.to_string());
    let usual_timeout = usual.tolerance.outliers.fail_timeout;
    line("fail_timeout", *fail_timeout != usual_timeout, format!("{fail_timeout:?}"));
    line("retry.on", !retry_on.is_empty(), format!("{retry_on:?}"));
    line("queue", *queue != usual.tolerance.queue, queue.to_string());
    line("proxy_protocol", proxy_protocol.is_some(), format!("{proxy_protocol:?}"));
    line("tls", tls.is_some(), format!("{tls:?}"));
    line("tls.client", *client_auth != usual.client_auth, format!("{client_auth:?}"));
    lines.extend(upstream_tls.as_ref().map(|tls| format!("{tls:?}")));
    lines.extend(health.as_ref().map(|check| self::check(check)));
    lines.extend(middlewares.iter().map(|middleware| format!("{middleware:?}")));
    lines
}

fn check(check: &HealthCheck) -> String {
    let usual = HealthCheck::default();
    let HealthCheck {
        asks,
        interval,
        timeout,
        rise,
        fall,
        statuses,
        port,
        host,
        proxy_protocol,
        // It is shown with the member where it is not the pool's.
        tls: _,
    } = check;
    let mut text = match asks {
        Question::Path(path) => format!("health {path}"),
        Question::Grpc(service) => format!("health grpc of `{service}`"),
    };
    let mut add = |name: &str, differs: bool, value: String| {
        if differs {
            write!(text, ", {name} {value}").unwrap();
        }
    };
    add("interval", *interval != usual.interval, format!("{interval:?}"));
    add("timeout", *timeout != usual.timeout, format!("{timeout:?}"));
    add("rise", *rise != usual.rise, rise.to_string());
    add("fall", *fall != usual.fall, fall.to_string());
    add("status", *statuses != usual.statuses, format!("{statuses:?}"));
    add("port", *port != usual.port, format!("{port:?}"));
    add("host", *host != usual.host, host.as_deref().unwrap_or("none").to_owned());
    add("proxy_protocol", proxy_protocol.is_some(), format!("{proxy_protocol:?}"));
    text
}

fn member(member: &Member, settings: &PoolSettings) -> String {
    let Member {
        workload,
        name,
        service: _,
        host_name: _,
        run,
        drained,
        health,
        address,
        scheme,
        weight,
        backup,
        max_conns,
        check,
    } = member;
    let mut text = format!("- {name}");
    if workload.life > 0 {
        write!(text, " (life {})", workload.life).unwrap();
    }
    match address {
        Some(address) => write!(text, " at {address}").unwrap(),
        None => text.push_str(" at no address"),
    }
    if *scheme != Scheme::Http {
        write!(text, " by {scheme}").unwrap();
    }
    write!(text, ", {run:?}").unwrap();
    if *health != Health::None {
        write!(text, ", {health:?}").unwrap();
    }
    if *drained {
        text.push_str(", drained");
    }
    if *weight != 1 {
        write!(text, ", weight {weight}").unwrap();
    }
    if *backup {
        text.push_str(", backup");
    }
    if let Some(most) = max_conns {
        write!(text, ", max_conns {most}").unwrap();
    }
    if let Some(tls) = check.as_ref().and_then(|check| check.tls.as_ref())
        && Some(tls) != settings.upstream_tls.as_ref()
    {
        write!(text, ", asked by {tls:?}").unwrap();
    }
    text
}
