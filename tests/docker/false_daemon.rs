//! A Docker daemon that says what a test tells it to.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use evenkeel::config::DockerAddress;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A daemon on a socket of its own. When it is dropped it checks that nobody
/// asked it for more than to read.
pub(crate) struct FalseDaemon {
    script: Script,
    folder: TempDir,
    listening: Option<JoinHandle<()>>,
}

/// What the daemon answers; all connections share it.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<Answers>>,
    stream: broadcast::Sender<Said>,
}

struct Answers {
    version: Value,
    containers: Vec<Value>,
    /// Instead of the list, if set.
    list_failure: Option<u16>,
    lists_wait: Duration,
    inspects_wait: Duration,
    streams_end: bool,
    silent: bool,
    requests: Vec<String>,
}

/// What is said on every open event stream.
#[derive(Clone)]
enum Said {
    Line(Vec<u8>),
    /// These last bytes, then the connection is cut.
    Cut(Vec<u8>),
}

impl FalseDaemon {
    /// Starts on a unix socket.
    pub(crate) fn start() -> Self {
        let mut daemon = Self::stopped();
        daemon.listen();
        daemon
    }

    /// Does not listen yet, and has no socket.
    pub(crate) fn stopped() -> Self {
        let answers = Answers {
            version: json!({"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"}),
            containers: Vec::new(),
            list_failure: None,
            lists_wait: Duration::ZERO,
            inspects_wait: Duration::ZERO,
            streams_end: false,
            silent: false,
            requests: Vec::new(),
        };
        let script =
            Script { answers: Arc::new(Mutex::new(answers)), stream: broadcast::channel(4096).0 };
        Self { script, folder: TempDir::new().unwrap(), listening: None }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn address(&self) -> DockerAddress {
        DockerAddress::Unix(self.socket())
    }

    /// Makes the socket and listens on it.
    pub(crate) fn listen(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let script = self.script.clone();
        self.listening = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script.clone().serve(stream));
            }
        }));
    }

    /// Listens on TCP too, with TLS if a way to accept it is given.
    pub(crate) async fn listen_tcp(&mut self, tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = self.script.clone();
        self.listening = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, tls) = (script.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => script.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                script.serve(stream).await;
                            }
                        }
                    }
                });
            }
        }));
        port
    }

    /// Cuts all streams, stops listening and removes the socket.
    pub(crate) fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        let _ = std::fs::remove_file(self.socket());
        self.cut(b"");
    }

    pub(crate) fn set_version(&self, newest: &str, oldest: &str) {
        self.answers().version =
            json!({"Version": "99.0", "ApiVersion": newest, "MinAPIVersion": oldest});
    }

    pub(crate) fn set_containers(&self, containers: impl IntoIterator<Item = Value>) {
        self.answers().containers = containers.into_iter().collect();
    }

    pub(crate) fn set_list_failure(&self, status: Option<u16>) {
        self.answers().list_failure = status;
    }

    /// Holds every list back, which shows then what there was when it was asked for.
    pub(crate) fn set_lists_wait(&self, wait: Duration) {
        self.answers().lists_wait = wait;
    }

    /// Holds every inspect back, as a daemon does while a container starts.
    pub(crate) fn set_inspects_wait(&self, wait: Duration) {
        self.answers().inspects_wait = wait;
    }

    /// Ends every event stream as soon as it is open.
    pub(crate) fn set_streams_end(&self, end: bool) {
        self.answers().streams_end = end;
    }

    /// Takes connections and answers nothing, as a daemon that is stopped by a
    /// signal; open streams stay open.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.answers().silent = silent;
    }

    /// Says an event on every open stream.
    pub(crate) fn say(&self, event: &Value) {
        self.say_raw(&event.to_string());
    }

    pub(crate) fn say_raw(&self, line: &str) {
        let _ = self.script.stream.send(Said::Line(format!("{line}\n").into_bytes()));
    }

    /// Says these last bytes on every stream, then cuts it.
    pub(crate) fn cut(&self, last: &[u8]) {
        let _ = self.script.stream.send(Said::Cut(last.to_vec()));
    }

    /// Every request so far: method and target.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.answers().requests.clone()
    }

    /// How often a path that begins so was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        let asked = |line: &String| line.split(' ').nth(1).is_some_and(|it| it.starts_with(path));
        self.requests().iter().filter(|line| asked(line)).count()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.script.answers()
    }
}

impl Drop for FalseDaemon {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        if !std::thread::panicking() {
            let requests = self.requests();
            let reads = |line: &&String| line.starts_with("GET ") || line.starts_with("HEAD ");
            assert_eq!(requests.iter().find(|line| !reads(line)), None, "only reading is allowed");
        }
    }
}

impl Script {
    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let request = head.lines().next().unwrap().to_owned();
        self.answers().requests.push(request.clone());
        if self.answers().silent {
            return pending().await;
        }
        let target = request.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') {
            return answer(&mut stream, 400, "no good Host").await;
        }
        if path.ends_with("/events") {
            return self.stream_events(&mut stream).await;
        }
        let (status, body) = self.reply(path);
        let wait = match path.matches('/').count() {
            4.. => self.answers().inspects_wait,
            3 => self.answers().lists_wait,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(wait).await;
        answer(&mut stream, status, &body).await;
    }

    fn reply(&self, path: &str) -> (u16, String) {
        let answers = self.answers();
        let versioned = path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/'));
        match (path, versioned) {
            ("/_ping", _) => (200, "OK".to_owned()),
            ("/version", _) => (200, answers.version.to_string()),
            (_, Some((_, "containers/json"))) => match answers.list_failure {
                Some(status) => (status, json!({"message": "out of order"}).to_string()),
                None => (200, Value::from(answers.containers.clone()).to_string()),
            },
            (_, Some((_, rest))) => {
                let id = rest.trim_start_matches("containers/").trim_end_matches("/json");
                let known = answers.containers.iter().find(|it| it["Id"] == id);
                match known.map(|container| &container["Inspect"]) {
                    Some(inspect) if inspect.is_object() => (200, inspect.to_string()),
                    Some(_) => (200, json!({"Id": id}).to_string()),
                    None => (404, json!({"message": "No such container"}).to_string()),
                }
            }
            (_, None) => (400, "only versioned paths are answered".to_owned()),
        }
    }

    async fn stream_events(&self, stream: &mut (impl AsyncWrite + Unpin)) {
        let mut said = self.stream.subscribe();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        if self.answers().streams_end {
            return;
        }
        while let Ok(said) = said.recv().await {
            let (Said::Line(text) | Said::Cut(text)) = &said;
            let chunk = [format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
            if !text.is_empty() && stream.write_all(&chunk).await.is_err() {
                return;
            }
            if matches!(said, Said::Cut(_)) {
                return;
            }
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }
}

/// A running container as the list shows it, in the pool `api`.
pub(crate) fn container(name: &str, last_byte: u8) -> Value {
    json!({
        "Id": id(name), "Names": [format!("/{name}")], "Created": 1_700_000_000,
        "Labels": {"lb.pool": "api"}, "State": "running", "Status": "Up 1 minute",
        "Ports": [{"PrivatePort": 8080, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "net"},
        "NetworkSettings": {"Networks":
            {"net": {"NetworkID": "n1", "IPAddress": format!("172.30.0.{last_byte}")}}},
    })
}

/// The same container in another state.
pub(crate) fn in_state(mut container: Value, state: &str, status: &str) -> Value {
    container["State"] = state.into();
    container["Status"] = status.into();
    container
}

/// Something that happened to the container of this name, `at` nanoseconds after
/// all that an inspect tells of.
pub(crate) fn event(name: &str, action: &str, at: i64) -> Value {
    json!({
        "Type": "container", "Action": action, "scope": "local", "timeNano": EVENTS_FROM + at,
        "Actor": {"ID": id(name), "Attributes": {"lb.pool": "api", "name": name, "signal": "15"}},
    })
}

/// 2025 began then.
const EVENTS_FROM: i64 = 1_735_689_600_000_000_000;

pub(crate) fn id(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0>64}")
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
}

pub(crate) fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker/certificates")
}
