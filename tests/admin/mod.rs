//! The admin listener, asked over real sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

mod access;
mod explain;
mod orders;

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evenkeel::admin::view::{Readiness, Status};
use evenkeel::admin::{self, Admin};
use evenkeel::control::{Control, Overview, SourceOverview};
use evenkeel::domain::labels::LabelSettings;
use evenkeel::domain::names::{PoolName, SourceName};
use evenkeel::domain::plan::{Member, Plan, PoolPlan};
use evenkeel::domain::pool::PoolSettings;
use evenkeel::domain::problem::{Problem, Subject};
use evenkeel::domain::routing::RoutingTable;
use evenkeel::domain::rule::{Access, Rule};
use evenkeel::domain::upstream::Scheme;
use evenkeel::domain::world::{Health, RunState, SourceHealth, WorkloadId};
use evenkeel::live::{self, Alarm};
use evenkeel::telemetry::access_log::AccessLog;
use evenkeel::telemetry::metrics::{Counters, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn a_running_process_is_healthy_whatever_its_sources_say() {
    let server = Server::start(Overview { stopping: true, ..starting() }).await;
    let answer = server.get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn readiness_follows_the_first_world_the_loss_of_docker_and_the_end() {
    let server = Server::start(starting()).await;
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "not ready: starting\n\
         docker: away, never seen: cannot open /var/run/docker.sock: permission denied\n\
         \x20 hint: add the group of the socket\n"
    );

    server.tell(seen(SourceHealth::Connected { peer: "Docker 28.5.2, API 1.51".to_owned() }));
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        "ready\ndocker: connected, last seen 0s ago: Docker 28.5.2, API 1.51\n"
    );

    server.tell(seen(away()));
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("ready\ndocker: away, last seen 0s ago: "), "{}", answer.body);

    server.tell(Overview { stopping: true, ..seen(away()) });
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("not ready: stopping\n"), "{}", answer.body);
}

#[tokio::test]
async fn readiness_is_json_for_those_who_ask_for_it() {
    let server = Server::start(starting()).await;
    let answer = server.ask("GET", "/readyz", "Host: x\r\nAccept: application/json\r\n").await;
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/json")));
    let read: Readiness = serde_json::from_str(&answer.body).unwrap();
    assert!(!read.ready && !read.stopping);
}

#[tokio::test]
async fn a_foreign_host_reads_readiness_and_nothing_of_the_api() {
    let server = Server::start(seen(away())).await;
    let answer = server.ask("GET", "/readyz", "Host: evil.example\r\n").await;
    assert!(answer.status == 200 && answer.body.starts_with("ready\n"), "{}", answer.body);
    for path in ["/healthz", "/metrics"] {
        assert_eq!(server.ask("GET", path, "Host: lb:9090\r\n").await.status, 200, "{path}");
    }
    for path in ["/", "/api/v1/status", "/nothing"] {
        let answer = server.ask("GET", path, "Host: evil.example\r\n").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.starts_with("forbidden: the Host \"evil.example\""), "{}", answer.body);
    }
    for host in ["localhost:9090", "lb.localhost", "127.0.0.1", "[::1]:9090"] {
        let answer = server.ask("GET", "/api/v1/status", &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_target_that_names_another_host_is_foreign_too() {
    let server = Server::start(starting()).await;
    let target = "http://evil.example/api/v1/status";
    assert_eq!(server.ask("GET", target, "Host: localhost\r\n").await.status, 403);
}

#[tokio::test]
async fn the_status_lists_pools_replicas_problems_and_sources() {
    let mut overview = seen(away());
    overview.plan = Arc::new(shop());
    let problem = Problem::new(
        Subject::Container("shop-web-1".into()),
        "label `lb.port` is `80a`, which is not a port",
        "write a number from 1 to 65535",
    );
    overview.problems = vec![problem.about("lb.port")];
    let server = Server::start(overview).await;
    let answer = server.get("/api/v1/status").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let status: Status = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((status.version.as_str(), status.generation, status.ready), ("0.1.0", 0, true));
    assert!(status.uptime_seconds >= 0.0 && !status.stopping);
    let [pool] = status.pools.as_slice() else { panic!("{status:?}") };
    assert_eq!((pool.label.as_str(), pool.state.as_str()), ("shop/web", "not_ready"));
    let [replica] = pool.replicas.as_slice() else { panic!("{status:?}") };
    assert_eq!((replica.name.as_str(), replica.state.as_str()), ("shop-web-1", "gone"));
    let [problem] = status.problems.as_slice() else { panic!("{status:?}") };
    assert_eq!(problem.subject, "container `shop-web-1`");
    assert_eq!(problem.key.as_deref(), Some("lb.port"));
    let [source] = status.sources.as_slice() else { panic!("{status:?}") };
    assert_eq!((source.name.as_str(), source.connected), ("docker", false));
    assert_eq!(source.hint, "add the group of the socket");
    assert!(source.age_seconds.is_some());
}

#[tokio::test]
async fn metrics_come_in_both_formats_and_count_the_admins_own_connections() {
    let server = Server::start(seen(away())).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "evenkeel_build_info{version=\"0.1.0\"} 1",
        "evenkeel_connections_open{listener=\"admin\"} 1",
        "evenkeel_source_connected{source=\"docker\"} 0",
        "evenkeel_answers_total{reason=\"no_route\"} 0",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "no `{line}`: {}", answer.body);
    }
    let accept = "Host: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
    let answer = server.ask("GET", "/metrics", accept).await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text;"));
    assert!(answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let server = Server::start(starting()).await;
    let answer = server.get("/nothing").await;
    assert_eq!(answer.status, 404);
    for path in ["/", "/healthz", "/readyz", "/metrics", "/api/v1/status"] {
        let answer = server.ask("POST", path, "Host: localhost\r\nContent-Length: 0\r\n").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "{path}");
    }
    assert_eq!(server.ask("HEAD", "/healthz", "Host: localhost\r\n").await.body, "");
}

#[tokio::test]
async fn the_first_page_lists_every_address() {
    let server = Server::start(starting()).await;
    let page = server.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    for path in
        ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/drain", "/api/v1/undrain"]
    {
        assert!(page.body.contains(path), "no {path}: {}", page.body);
        assert_ne!(server.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn no_answer_may_be_kept_or_guessed_at() {
    let server = Server::start(starting()).await;
    for (path, host) in [("/", "localhost"), ("/nothing", "localhost"), ("/", "evil.example")] {
        let answer = server.ask("GET", path, &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path} {host}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path} {host}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Server::start(starting()).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut client = server.connect().await;
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // Its answer proves that this connection holds a place.
        client.read_exact(&mut [0; 12]).await.unwrap();
        open.push(client);
    }
    let mut late = server.connect().await;
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let waiting = timeout(Duration::from_millis(200), late.read_to_end(&mut answer)).await;
    assert!(waiting.is_err(), "it was served beside 64 others");
    assert_eq!(server.counters.connections_open(Listener::Admin), 64);
    open.pop();
    timeout(SOON, late.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let server = Server::start(starting()).await;
    let headers = format!("Host: localhost\r\nX-Long: {}\r\n", "x".repeat(32 << 10));
    assert_eq!(server.ask("GET", "/healthz", &headers).await.status, 431);
}

#[tokio::test]
async fn the_listener_ends_when_told_even_with_a_silent_client() {
    let mut server = Server::start(starting()).await;
    let mut silent = server.connect().await;
    silent.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop.take().unwrap().send(()).unwrap();
    timeout(SOON, server.task).await.expect("it still serves").unwrap();
}

struct Server {
    address: SocketAddr,
    overview: watch::Sender<Arc<Overview>>,
    counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// The table's one hand; it does nothing here.
    _control: Control,
}

impl Server {
    async fn start(overview: Overview) -> Self {
        let (overview, watching) = watch::channel(Arc::new(overview));
        let (publisher, table) = live::channel(RoutingTable::default());
        let (control, _) =
            Control::new(LabelSettings::default(), &[], Vec::new(), publisher, Alarm::default());
        let counters = Arc::new(Counters::new(&["no_route"], &[]));
        let state = Admin {
            overview: watching,
            table,
            counters: Arc::clone(&counters),
            access_log: AccessLog::off(),
            metrics_traefik: false,
            certificates: None,
            operator: control.operator(),
            access: Arc::default(),
            edge: Arc::default(),
            version: "0.1.0",
            started_at: SystemTime::UNIX_EPOCH,
            started: Instant::now(),
        };
        let (address, stop, task) = listen(state).await;
        Self { address, overview, counters, stop: Some(stop), task, _control: control }
    }

    fn tell(&self, overview: Overview) {
        self.overview.send_replace(Arc::new(overview));
    }

    async fn connect(&self) -> TcpStream {
        connect(self.address).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "Host: localhost\r\n").await
    }

    async fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        ask(self.address, method, target, headers, "").await
    }
}

/// Serves the admin port anywhere, until told to stop.
async fn listen(state: Admin) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        if stopped.await.is_err() {
            pending::<()>().await;
        }
    };
    (address, stop, tokio::spawn(admin::serve(listener, state, stopped)))
}

async fn connect(address: SocketAddr) -> TcpStream {
    timeout(SOON, TcpStream::connect(address)).await.unwrap().unwrap()
}

async fn ask(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let head = format!("{method} {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let mut client = connect(address).await;
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    Answer::parse(&String::from_utf8(answer).unwrap())
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("no whole answer");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn starting() -> Overview {
    let source = SourceOverview { name: SourceName::docker(), health: Some(away()), seen_at: None };
    Overview { sources: vec![source], ..Overview::default() }
}

fn seen(health: SourceHealth) -> Overview {
    let source = SourceOverview {
        name: SourceName::docker(),
        health: Some(health),
        seen_at: Some(Instant::now()),
    };
    Overview { sources: vec![source], ..Overview::default() }
}

fn away() -> SourceHealth {
    SourceHealth::Away {
        message: "cannot open /var/run/docker.sock: permission denied".to_owned(),
        hint: "add the group of the socket".to_owned(),
        retry_in: Duration::from_secs(1),
    }
}

fn shop() -> Plan {
    let stopped = Member {
        workload: WorkloadId { id: "c1".into(), life: 1 },
        name: "shop-web-1".into(),
        service: Some("web".into()),
        host_name: None,
        run: RunState::Stopped,
        drained: false,
        health: Health::None,
        address: None,
        scheme: Scheme::Http,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
    };
    let pool = PoolPlan {
        access: Access::Open(Rule::default()),
        settings: PoolSettings::default(),
        members: vec![stopped],
    };
    let name = PoolName::new(Some("shop"), "web").unwrap();
    Plan { pools: [(name, pool)].into(), ..Plan::default() }
}

const SOON: Duration = Duration::from_secs(10);
