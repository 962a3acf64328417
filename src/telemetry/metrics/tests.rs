//! What a scrape shows.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::domain::lifecycle::State;
use crate::domain::names::PoolName;
use crate::domain::pool::{Endpoint, EndpointId, PoolSettings, PoolState, Tiers, Vitals};
use crate::domain::upstream::Scheme;
use crate::domain::world::WorkloadId;
use crate::telemetry::metrics::list::Kind;

#[test]
fn a_pool_is_seen_by_class_duration_and_state() {
    let pool = pool(Some("shop"), "web", &["web-1", "web-2"]);
    pool.state.tally.record(200, Duration::from_micros(300));
    pool.state.tally.record(503, Duration::from_secs(20));
    pool.state.tally.record_retry();
    pool.endpoints[0].vitals.set_state(State::Ready);
    let request = pool.endpoints[0].vitals.begin();
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
        r#"evenkeel_retries_total{pool="shop/web"} 1"#,
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
    let text = render(snapshot, Exposition::Prometheus).unwrap();
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
    let twins = pool(None, "web", &["twin", "twin"]);
    for endpoint in &twins.endpoints {
        drop(endpoint.vitals.begin());
    }
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
fn a_name_cannot_forge_a_sample() {
    let text = prometheus(vec![pool(Some("a\"} 1\nforged 1"), "web", &["r\\\"\n"])]);
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    assert!(text.contains(r#"pool="a\"} 1\nforged 1/web""#), "{text}");
}

#[test]
fn open_metrics_ends_with_its_mark_and_the_older_format_does_not() {
    let open_metrics = render(snapshot(Vec::new()), Exposition::OpenMetrics).unwrap();
    assert!(open_metrics.ends_with("\n# EOF\n"), "{open_metrics}");
    assert!(open_metrics.contains("# TYPE evenkeel_answers counter\n"), "{open_metrics}");
    assert!(!prometheus(Vec::new()).contains("# EOF"));
}

#[test]
fn names_are_unique_and_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for metric in METRICS {
        assert!(seen.insert(metric.name), "`{}` twice", metric.name);
        assert!(!metric.name.ends_with("_total"), "`{}`", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{metric:?}");
        let ours = ["evenkeel_", "process_"].iter().any(|prefix| metric.name.starts_with(prefix));
        assert!(ours, "`{}`", metric.name);
    }
}

#[test]
fn every_metric_has_as_many_labels_as_it_says() {
    let mut snapshot = snapshot(vec![pool(None, "web", &["web-1"])]);
    snapshot.sources = vec![source(SourceName::docker(), true, Some(Duration::ZERO))];
    let text = render(snapshot, Exposition::Prometheus).unwrap();
    for metric in METRICS {
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
    let text = render(snapshot, Exposition::Prometheus).unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/metrics.md is not what the list of metrics says: \
         run `UPDATE_DOCS=1 cargo test --lib metrics` and commit the file"
    );
}

fn prometheus(pools: Vec<Arc<Pool>>) -> String {
    render(snapshot(pools), Exposition::Prometheus).unwrap()
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
        process: Process { cpu_seconds: Some(1.25), resident_bytes: Some(4096), open_fds: Some(9) },
    }
}

fn source(name: SourceName, connected: bool, age: Option<Duration>) -> Source {
    Source { name, connected, age }
}

fn pool(project: Option<&str>, name: &str, replicas: &[&str]) -> Arc<Pool> {
    let name = PoolName::new(project, name).unwrap();
    let endpoints: Vec<_> = (1..).zip(replicas).map(|(life, name)| endpoint(life, name)).collect();
    Arc::new(Pool {
        label: name.to_string().into(),
        name,
        settings: PoolSettings::default(),
        tiers: Tiers::build(&endpoints, &[]),
        endpoints,
        names: None,
        sessions: None,
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
    }
}
