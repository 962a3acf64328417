//! Who may change anything, over real sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use evenkeel::admin::view::Status;
use evenkeel::admin::{Access, Admin};
use evenkeel::config::{self, Key};
use evenkeel::control::Control;
use evenkeel::domain::labels::LabelSettings;
use evenkeel::domain::names::SourceName;
use evenkeel::domain::routing::RoutingTable;
use evenkeel::domain::world::{
    Attachment, Health, NetworkMode, Observation, Place, Report, RunState, Workload, WorkloadId,
};
use evenkeel::live::{self, Alarm};
use evenkeel::telemetry::access_log::AccessLog;
use evenkeel::telemetry::metrics::Counters;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Answer, SOON, ask, listen};

#[tokio::test]
async fn a_foreign_host_or_origin_or_a_proxy_changes_nothing_even_with_the_token() {
    let desk = Desk::start().await;
    for foreign in [
        "Host: evil.example\r\n",
        "Host: lb:9090\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: https://localhost\r\n",
        "Host: localhost\r\nForwarded: for=127.0.0.1\r\n",
        "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n",
        "Host: localhost\r\nX-Forwarded-Proto: https\r\n",
        "Host: localhost\r\nX_Forwarded_For: 127.0.0.1\r\n",
        "Host: localhost\r\nX-Real-IP: 127.0.0.1\r\n",
        "Host: localhost\r\nVia: 1.1 proxy\r\n",
    ] {
        for token in ["", TOKEN_HEADER] {
            let answer = desk.post("/api/v1/drain", &format!("{foreign}{token}"), ORDER).await;
            assert_eq!(answer.status, 403, "{foreign}{token}");
            assert!(answer.body.starts_with("forbidden: "), "{}", answer.body);
        }
    }
    assert!(desk.drains_nothing().await);
}

#[tokio::test]
async fn a_page_of_our_own_may_order() {
    let desk = Desk::start().await;
    let headers = "Host: localhost:9090\r\nOrigin: http://localhost:9090\r\n";
    assert_eq!(desk.post("/api/v1/drain", headers, ORDER).await.status, 200);
}

#[tokio::test]
async fn the_token_opens_reading_under_any_name_and_a_wrong_one_closes_all_but_the_public() {
    let desk = Desk::start().await;
    let named = format!("Host: lb.example\r\n{TOKEN_HEADER}");
    assert_eq!(desk.ask("GET", "/api/v1/status", &named, "").await.status, 200);
    let right = format!("{LOCAL}{TOKEN_HEADER}");
    assert_eq!(desk.post("/api/v1/drain", &right, ORDER).await.status, 200);

    for wrong in ["Bearer 0123456789abcdee", "Bearer", "Basic 0123456789abcdef"] {
        let headers = format!("{LOCAL}Authorization: {wrong}\r\n");
        for (method, path) in [("GET", "/api/v1/status"), ("POST", "/api/v1/undrain")] {
            let answer = desk.ask(method, path, &headers, "").await;
            assert_eq!(answer.status, 401, "{method} {wrong}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"evenkeel\""));
        }
        assert_eq!(desk.ask("GET", "/readyz", &headers, "").await.status, 200);
    }
}

#[tokio::test]
async fn where_no_token_is_set_any_is_wrong() {
    let desk = Desk::with(Access::default()).await;
    let headers = format!("{LOCAL}{TOKEN_HEADER}");
    assert_eq!(desk.post("/api/v1/drain", &headers, ORDER).await.status, 401);
    assert_eq!(desk.post("/api/v1/drain", LOCAL, ORDER).await.status, 200);
}

/// An admin port before a control loop with two replicas, `web-1` and `web-2`.
pub(super) struct Desk {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
    _task: JoinHandle<()>,
    _reports: mpsc::Sender<Report>,
    _stopping: watch::Sender<bool>,
}

impl Desk {
    pub(super) async fn start() -> Self {
        let flags = [(Key::AdminTokenFile, "token".to_owned())];
        let file = |path: &Path| match path.ends_with("token") {
            true => Ok(TOKEN.to_owned()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let config = config::load(&flags, &BTreeMap::new(), &file).unwrap();
        Self::with(Access { token: config.admin_token, allow: Vec::new() }).await
    }

    async fn with(access: Access) -> Self {
        let (publisher, table) = live::channel(RoutingTable::default());
        let (labels, sources) = (LabelSettings::default(), [SourceName::docker()]);
        let (control, mut overview) =
            Control::new(labels, &sources, Vec::new(), publisher, Alarm::default());
        let state = Admin {
            overview: overview.clone(),
            table,
            counters: Arc::new(Counters::new(&["no_route"], &[])),
            access_log: AccessLog::off(),
            metrics_traefik: false,
            certificates: None,
            operator: control.operator(),
            access: Arc::new(access),
            edge: Arc::default(),
            version: "0.1.0",
            started_at: SystemTime::UNIX_EPOCH,
            started: Instant::now(),
        };
        let (reports, received) = mpsc::channel(4);
        let (stopping, watched) = watch::channel(false);
        tokio::spawn(control.run(received, watched, |_| ()));
        let workloads = vec![web(1, "a"), web(2, "b")];
        let observation = Observation { workloads, ..Observation::default() };
        let source = SourceName::docker();
        reports.send(Report::Seen { source, observation, event_at: None }).await.unwrap();
        let applied = overview.wait_for(|overview| !overview.plan.pools.is_empty());
        timeout(SOON, applied).await.unwrap().unwrap();
        let (address, stop, task) = listen(state).await;
        Self { address, _stop: stop, _task: task, _reports: reports, _stopping: stopping }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        ask(self.address, method, path, headers, body).await
    }

    /// Posts JSON.
    pub(super) async fn post(&self, path: &str, headers: &str, json: &str) -> Answer {
        let length = json.len();
        let headers =
            format!("{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n");
        self.ask("POST", path, &headers, json).await
    }

    pub(super) async fn status(&self) -> Status {
        let answer = self.ask("GET", "/api/v1/status", LOCAL, "").await;
        serde_json::from_str(&answer.body).unwrap()
    }

    async fn drains_nothing(&self) -> bool {
        let status = self.status().await;
        let mut replicas = status.pools.iter().flat_map(|pool| &pool.replicas);
        replicas.all(|replica| replica.state != "draining")
    }
}

fn web(number: u8, digit: &str) -> Workload {
    let network = Attachment {
        name: "n".into(),
        network: "n".into(),
        address: Some([10, 0, 0, number].into()),
    };
    Workload {
        id: WorkloadId { id: digit.repeat(64).into(), life: 0 },
        name: format!("web-{number}").into(),
        project: Some("shop".into()),
        service: Some("web".into()),
        labels: [("lb.pool".to_owned(), "web".to_owned())].into(),
        run: RunState::Running,
        health: Health::None,
        created: i64::from(number),
        place: Place::Container {
            mode: NetworkMode::Own,
            networks: vec![network],
            exposed: Some(vec![80]),
        },
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

pub(super) const LOCAL: &str = "Host: localhost\r\n";

const ORDER: &str = r#"{"replicas": ["web-1"]}"#;

const TOKEN: &str = "0123456789abcdef";

const TOKEN_HEADER: &str = "Authorization: Bearer 0123456789abcdef\r\n";
