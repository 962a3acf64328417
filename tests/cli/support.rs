//! Running the binary, and speaking to it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder to run the binary in, with an environment of its own.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    pub(crate) fn with(self, file: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(file), text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(command(self.folder.path(), &self.env).args(arguments))
    }
}

/// Runs the binary in a folder of ours, without an environment.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    ran(command(folder, &[]).args(arguments))
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn command(folder: &Path, env: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.envs(env.iter().map(|(name, value)| (*name, value)));
    command
}

/// A backend that runs until it is dropped.
pub(crate) struct Whoami {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Whoami {
    /// Started on a free port, and listening.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command(Path::new("/"), &[])
            .args(["whoami", "--port", "0", "--name", "me"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(" as ").next().unwrap().rsplit(':').next().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { child, address }
    }

    /// The whole answer to a request for `target`.
    pub(crate) fn get(&self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn ask(&self, request: &str) -> String {
        answer(self.send(request))
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ended; it has to end by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        eventually(|| self.child.try_wait().unwrap())
    }
}

impl Drop for Whoami {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes until the connection ends, however it ends.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset keeps what came before it.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// Answers every request with the same bytes while the test runs.
pub(crate) fn fake(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// An address where nothing listens, and nothing else can while the socket is kept.
pub(crate) fn nowhere() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Waits for something to be there, within [`PATIENCE`].
pub(crate) fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if let Some(found) = probe() {
            return found;
        }
        thread::sleep(STEP);
    }
    panic!("it has not come within {PATIENCE:?}");
}

/// More than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const STEP: Duration = Duration::from_millis(10);
