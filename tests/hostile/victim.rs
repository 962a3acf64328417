//! A balancer and its replicas, as processes of their own, and how much memory
//! the balancer has.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

/// Ended when dropped.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    balancer: Running,
    _replicas: Vec<Running>,
}

/// A process that ends with this.
#[derive(Debug)]
struct Running(Child);

impl Victim {
    /// Started for so many connections at once, its replicas ready.
    pub(super) fn start(connections: usize) -> Self {
        make_room(connections);
        let replicas: Vec<_> = (0..REPLICAS).map(|_| replica()).collect();
        let servers: Vec<_> = replicas.iter().map(|(_, at)| at.to_string()).collect();
        let mut command = evenkeel();
        command.args(["run", "--docker=off", "--http=127.0.0.1:0", "--https=127.0.0.1:0"]);
        command.args(["--admin=127.0.0.1:0", "--workers=2", "--access-log=off"]);
        // As the image sets it.
        command.env("MIMALLOC_PURGE_DELAY", "100");
        // All come from one address, as no real siege does.
        command.args(["--connections-per-client=off"]);
        command.arg(format!("--pool=web={}", servers.join(",")));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = lines(child.stderr.take().unwrap());
        let balancer = Running(child);
        let serves = await_line(&log, "Evenkeel serves");
        for _ in 0..REPLICAS {
            await_line(&log, "Replica ready");
        }
        Self {
            http: address(&serves, "http="),
            https: address(&serves, "https="),
            balancer,
            _replicas: replicas.into_iter().map(|(child, _)| child).collect(),
        }
    }

    /// What it has of the machine's memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most it ever had.
    pub(super) fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.balancer.0.id());
        let text = fs::read_to_string(path).expect("the balancer runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets all that is neither this thread nor its own go first.
pub(super) fn be_patient() {
    // None: the thread that asks. Whoever may not has a noisier machine.
    let _ = setpriority_process(None, NICE);
}

fn replica() -> (Running, SocketAddr) {
    let mut child = evenkeel().args(["whoami", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = lines(child.stdout.take().unwrap());
    let line = await_line(&said, "Listening on ");
    let port = line.split(" as ").next().unwrap().rsplit(':').next().unwrap();
    (Running(child), ([127, 0, 0, 1], port.parse().unwrap()).into())
}

/// That of `make hostile`, else the one that was built for the tests.
fn evenkeel() -> Command {
    let binary = env::var_os("EVK_BIN").filter(|path| !path.is_empty());
    let mut command =
        Command::new(binary.unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_evenkeel"))));
    command.stdin(Stdio::null());
    command
}

/// Lets us and those whom we start open as many files as it takes.
fn make_room(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    // Twice, since a connection may have another behind it, over two workers
    // that share unevenly.
    let wanted = u64::try_from(4 * connections + 4096).unwrap();
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.max(Some(wanted)) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        // As far as whoever runs this may; `ulimit -Hn` says how far that is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Each line that it writes, until it ends.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (told, heard) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Read on even if nobody listens: it must not block.
            let _ = told.send(line);
        }
    });
    heard
}

fn await_line(heard: &Receiver<String>, text: &str) -> String {
    let mut before = Vec::new();
    loop {
        match heard.recv_timeout(START) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => before.push(line),
            Err(_) => panic!("`{text}` was not said, but:\n{}", before.join("\n")),
        }
    }
}

fn address(line: &str, key: &str) -> SocketAddr {
    let (_, rest) = line.split_once(&format!(" {key}")).unwrap();
    rest.trim_start_matches('"').split([' ', '"']).next().unwrap().parse().unwrap()
}

pub(super) const MIB: u64 = 1 << 20;
const REPLICAS: usize = 2;
const START: Duration = Duration::from_secs(20);
const NICE: i32 = 19;
