//! What a scrape shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::domain::lifecycle::State;
use crate::domain::names::PoolName;
use crate::domain::plan::{Member, Plan, PoolPlan};
use crate::domain::pool::{
    Endpoint, EndpointId, PoolSettings, PoolState, ReplicaTally, Retry, Routes, Tiers, Vitals,
};
use crate::domain::routing::RoutingTable;
use crate::domain::rule::{Access, Rule};
use crate::domain::upstream::Scheme;
use crate::domain::world::{Health, RunState, WorkloadId};
use crate::telemetry::metrics::list::Kind;
use crate::telemetry::metrics::scene::ROWS_MAX;

#[test]
fn a_pool_is_seen_by_class_duration_and_state() {
    let pool = pool(Some("shop"), "web", &["web-1", "web-2"]);
    pool.state.tally.record(200, Duration::from_micros(300));
    pool.state.tally.record(503, Duration::from_secs(20));
    pool.state.efforts.retry(Retry::Left);
    let [first, ..] = &pool.endpoints[..] else { panic!("two replicas") };
    first.vitals.set_state(State::Ready);
    first.tally.attempt();
    first.tally.answers.record(200, Duration::from_millis(2));
    let request = first.vitals.begin();
    let text = prometheus(vec![pool]);
    for line in [
        "# TYPE evenkeel_requests_total counter",
        "# HELP evenkeel_requests_total Requests that have ended, by the class of their answer.",
        r#"evenkeel_requests_total{pool="shop/web",code="2xx"} 1"#,
        r#"evenkeel_requests_total{pool="shop/web",code="4xx"} 0"#,
        r#"evenkeel_request_duration_seconds_bucket{le="0.0005",pool="shop/web"} 1"#,
        r#"evenkeel_request_duration_seconds_bucket{le="10.0",pool="shop/web"} 1"#,
        r#"evenkeel_request_duration_seconds_bucket{le="+Inf",pool="shop/web"} 2"#,
        r#"evenkeel_request_duration_seconds_sum{pool="shop/web"} 20.0003"#,
        r#"evenkeel_request_duration_seconds_count{pool="shop/web"} 2"#,
        r#"evenkeel_retries_total{pool="shop/web",reason="left"} 1"#,
        r#"evenkeel_retries_total{pool="shop/web",reason="connect"} 0"#,
        r#"evenkeel_requests_in_flight{pool="shop/web"} 1"#,
        r#"evenkeel_endpoint_answers_total{pool="shop/web",replica="web-1",code="2xx"} 1"#,
        r#"evenkeel_endpoint_response_seconds_bucket{le="0.001",pool="shop/web",replica="web-1"} 0"#,
        r#"evenkeel_endpoint_response_seconds_bucket{le="0.0025",pool="shop/web",replica="web-1"} 1"#,
        r#"evenkeel_endpoints{pool="shop/web",state="ready"} 1"#,
        r#"evenkeel_endpoints{pool="shop/web",state="starting"} 1"#,
        r#"evenkeel_endpoints{pool="shop/web",state="gone"} 0"#,
        r#"evenkeel_endpoint_requests_total{pool="shop/web",replica="web-1"} 1"#,
        r#"evenkeel_endpoint_in_flight{pool="shop/web",replica="web-1"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    drop(request);
}

#[test]
fn the_process_is_seen_with_its_sources_and_answers() {
    let mut snapshot = snapshot(Vec::new());
    snapshot.counters.answered("no_route");
    let _open = snapshot.counters.connection_opened(Listener::Http);
    snapshot.sources = vec![
        source(SourceName::docker(), false, Some(Duration::from_millis(1500))),
        source(SourceName::settings(), true, None),
    ];
    let text = render(&snapshot, Exposition::Prometheus);
    for line in [
        r#"evenkeel_build_info{version="0.1.0"} 1"#,
        r#"evenkeel_answers_total{reason="no_route"} 1"#,
        r#"evenkeel_connections_total{listener="http"} 1"#,
        r#"evenkeel_connections_open{listener="http"} 1"#,
        r#"evenkeel_certificate_expiry_timestamp_seconds{name="a.example",origin="file"} 1800000000"#,
        "evenkeel_access_log_dropped_total 7",
        r#"evenkeel_source_connected{source="docker"} 0"#,
        r#"evenkeel_source_connected{source="settings"} 1"#,
        r#"evenkeel_source_age_seconds{source="docker"} 1.5"#,
        "evenkeel_table_generation 3",
        "evenkeel_problems 2",
        "process_start_time_seconds 5",
        "process_open_fds 9",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains(r#"age_seconds{source="settings"}"#), "{text}");
}

#[test]
fn no_label_set_appears_twice_even_if_replicas_share_a_name() {
    let twins = pool(None, "web", &["twin", "other", "twin"]);
    twins.endpoints.iter().for_each(|it| it.tally.attempt());
    let text = prometheus(vec![twins, pool(Some("a"), "web", &["twin"])]);
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (labels, _) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(labels.to_owned()), "`{labels}` twice");
    }
    let sum = r#"evenkeel_endpoint_requests_total{pool="web",replica="twin"} 2"#;
    assert!(text.lines().any(|line| line == sum), "{text}");
}

#[test]
fn a_replica_that_has_left_is_still_shown_but_for_what_it_has_now() {
    let with = |names: &[&str]| {
        let plan = PoolPlan {
            access: Access::Open(Rule::default()),
            settings: PoolSettings::default(),
            members: names.iter().map(|name| member(name)).collect(),
        };
        let pools = [(PoolName::new(None, "web").unwrap(), plan)].into();
        Plan { pools, complete: true, ..Plan::default() }
    };
    let before = RoutingTable::build(&with(&["web-1", "web-2"]), &RoutingTable::default());
    before.endpoints().for_each(|it| it.tally.attempt());
    let after = RoutingTable::build(&with(&["web-2"]), &before);
    let snapshot = Snapshot {
        departed: after.departed().cloned().collect(),
        ..snapshot(after.pools().map(Arc::clone).collect())
    };
    let text = render(&snapshot, Exposition::Prometheus);
    for line in [
        r#"evenkeel_endpoint_requests_total{pool="web",replica="web-1"} 1"#,
        r#"evenkeel_endpoint_requests_total{pool="web",replica="web-2"} 1"#,
        r#"evenkeel_endpoint_in_flight{pool="web",replica="web-1"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
}

#[test]
fn replicas_beyond_the_bound_are_added_up() {
    let names: Vec<_> = (0..ROWS_MAX + 2).map(|at| format!("web-{at:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let shown = |count: usize| {
        let pool = pool(None, "web", &names[..count]);
        pool.endpoints.iter().for_each(|it| it.tally.attempt());
        let text = prometheus(vec![pool]);
        let lines = text.lines().filter(|it| it.starts_with("evenkeel_endpoint_requests_total{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let at_the_bound = shown(ROWS_MAX);
    assert_eq!(at_the_bound.len(), ROWS_MAX);
    assert!(!at_the_bound.iter().any(|line| line.contains("(other)")));
    let beyond = shown(ROWS_MAX + 2);
    assert_eq!(beyond.len(), ROWS_MAX + 1);
    let rest = r#"evenkeel_endpoint_requests_total{pool="(other)",replica="(other)"} 2"#;
    assert_eq!(beyond.last().unwrap(), rest);
}

/// Debug builds on a busy machine are some ten times slower than what is shipped;
/// `benches/planning.rs` measures that.
#[test]
fn a_scrape_of_a_thousand_replicas_takes_a_moment() {
    let names: Vec<_> = (0..1_000).map(|at| format!("web-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let snapshot = snapshot(vec![pool(None, "web", &names)]);
    let took = (0..3).map(|_| {
        let began = tokio::time::Instant::now();
        assert!(render(&snapshot, Exposition::Prometheus).len() > 1_000_000);
        began.elapsed()
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(500), "{best:?}");
}

#[test]
fn a_name_cannot_forge_a_sample() {
    let text = prometheus(vec![pool(Some("a\"} 1\nforged 1"), "web", &["r\\\"\n"])]);
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    assert!(text.contains(r#"pool="a\"} 1\nforged 1/web""#), "{text}");
}

#[test]
fn open_metrics_ends_with_its_mark_and_the_older_format_does_not() {
    let open_metrics = render(&snapshot(Vec::new()), Exposition::OpenMetrics);
    assert!(open_metrics.ends_with("\n# EOF\n"), "{open_metrics}");
    assert!(open_metrics.contains("# TYPE evenkeel_answers counter\n"), "{open_metrics}");
    assert!(!prometheus(Vec::new()).contains("# EOF"));
}

#[test]
fn names_are_unique_and_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for metric in metrics().chain(traefik()) {
        assert!(seen.insert(metric.name), "`{}` twice", metric.name);
        assert!(!metric.name.ends_with("_total"), "`{}`", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{metric:?}");
        let ours = ["evenkeel_", "process_", "traefik_"]
            .iter()
            .any(|prefix| metric.name.starts_with(prefix));
        assert!(ours, "`{}`", metric.name);
    }
}

#[test]
fn every_metric_has_as_many_labels_as_it_says() {
    let mut snapshot = snapshot(vec![pool(None, "web", &["web-1"])]);
    snapshot.sources = vec![source(SourceName::docker(), true, Some(Duration::ZERO))];
    let text = render(&snapshot, Exposition::Prometheus);
    for metric in metrics().chain(traefik()) {
        let suffix = if matches!(metric.kind, Kind::Histogram(_)) { "_count" } else { "" };
        let name = format!("{}{suffix}", metric.full_name());
        let line = text
            .lines()
            .find(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let line = line.unwrap_or_else(|| panic!("no sample of `{name}` in\n{text}"));
        assert_eq!(line.matches('=').count(), metric.labels.len(), "{line}");
    }
}

#[test]
fn promtool_finds_nothing_to_say() {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("promtool is not installed (Debian package `prometheus`): not checked");
        return;
    };
    let mut snapshot = snapshot(vec![pool(Some("shop"), "web", &["web-1", "web-2"])]);
    snapshot.sources = vec![source(SourceName::docker(), true, Some(Duration::ZERO))];
    let text = render(&snapshot, Exposition::Prometheus);
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let (_, by_hand) = written.split_once(BY_HAND).unwrap_or_default();
    let current = format!("{}{BY_HAND}{by_hand}", reference());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &current).unwrap();
        return;
    }
    assert!(
        written == current,
        "docs/metrics.md is not what the list of metrics says: \
         run `UPDATE_DOCS=1 cargo test --lib the_reference_is_current` and commit the file"
    );
}

/// What follows in the reference is nobody's but a person's.
const BY_HAND: &str = "\n## What to watch\n";

fn prometheus(pools: Vec<Arc<Pool>>) -> String {
    render(&snapshot(pools), Exposition::Prometheus)
}

fn snapshot(pools: Vec<Arc<Pool>>) -> Snapshot {
    Snapshot {
        version: "0.1.0",
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
        generation: 3,
        pools,
        sources: Vec::new(),
        certificates: vec![Certificate {
            name: "a.example".to_owned(),
            origin: "file",
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        }],
        problems: 2,
        access_log_dropped: 7,
        counters: Arc::new(Counters::new(&["no_route"], &[])),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        departed: Vec::new(),
        traefik: true,
        process: Process { cpu_seconds: Some(1.25), resident_bytes: Some(4096), open_fds: Some(9) },
    }
}

fn source(name: SourceName, connected: bool, age: Option<Duration>) -> Source {
    Source { name, connected, age }
}

fn member(name: &str) -> Member {
    Member {
        workload: WorkloadId { id: name.into(), life: 0 },
        name: name.into(),
        service: None,
        host_name: None,
        run: RunState::Running,
        drained: false,
        health: Health::None,
        address: Some(([127, 0, 0, 1], 80).into()),
        scheme: Scheme::Http,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
    }
}

fn pool(project: Option<&str>, name: &str, replicas: &[&str]) -> Arc<Pool> {
    let name = PoolName::new(project, name).unwrap();
    let mut tallies = BTreeMap::<_, Arc<ReplicaTally>>::new();
    let endpoints = (1..).zip(replicas).map(|(life, name)| {
        let tally = Arc::clone(tallies.entry(*name).or_default());
        Endpoint { tally, ..endpoint(life, name) }
    });
    let endpoints: Vec<_> = endpoints.collect();
    Arc::new(Pool {
        label: name.to_string().into(),
        name,
        settings: PoolSettings::default(),
        tiers: Tiers::build(&endpoints, &[]),
        endpoints,
        names: None,
        sessions: None,
        routes: Routes::build(["a.example/*", "b.example/api/*"].map(str::to_owned).into(), None),
        state: Arc::new(PoolState::default()),
    })
}

fn endpoint(life: u32, name: &str) -> Endpoint {
    let workload = WorkloadId { id: name.into(), life };
    Endpoint {
        id: EndpointId { workload, address: ([127, 0, 0, 1], 80).into(), scheme: Scheme::Http },
        name: name.into(),
        service: None,
        weight: 1,
        backup: false,
        max_conns: None,
        seed: 0,
        check: None,
        vitals: Arc::new(Vitals::new(u64::from(life))),
        tally: Arc::default(),
    }
}
