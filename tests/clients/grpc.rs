//! gRPC as Python's own library speaks it, at both ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Site, run, there_is};
use crate::cli::support::Whoami;

#[test]
fn python_calls_python_by_every_kind_of_call() {
    if !has_grpc() {
        return;
    }
    let server = Server::start();
    let pools = format!(
        "[pools.calls]\nservers = [\"{}\"]\npath = \"/test.Calls\"\nscheme = \"h2c\"\n",
        server.address
    );
    let site = Site::open(&pools, &[server.address]);
    for (how, address) in [("tls", site.https), ("clear", site.http)] {
        let address = format!("localhost:{}", address.port());
        let authority = site.authority();
        let client = script("grpc_client.py");
        let words = [PYTHON, &client, how, &address, authority.to_str().unwrap()];
        let told = String::from_utf8(run(&words).stdout).unwrap();
        let passed: Vec<_> = told.lines().collect();
        assert_eq!(passed, CHECKS, "{how}");
    }
    let line = site.balancer.access_logged("/other.Service/Method");
    assert!(line.contains("no_route") && line.contains(" HTTP/2.0\" 200 "), "{line}");
}

/// Of two replicas only the one that says that it serves is called.
#[test]
fn the_health_protocol_decides_who_is_called() {
    if !has_grpc() {
        return;
    }
    let well = Whoami::start(&[]);
    let ill = Whoami::start(&["--grpc-health", "not_serving"]);
    let pools = format!(
        "[pools.web]\nservers = [\"{}\", \"{}\"]\nscheme = \"h2c\"\nhealth.path = \"grpc\"\n",
        ill.address, well.address
    );
    let site = Site::open(&pools, &[well.address]);
    let address = format!("localhost:{}", site.https.port());
    let authority = site.authority();
    let client = script("grpc_client.py");
    let words = [PYTHON, &client, "echo", &address, authority.to_str().unwrap()];
    assert_eq!(String::from_utf8(run(&words).stdout).unwrap(), "echo\n");
    for line in site.balancer.all_access_logged("/any.Service/Echo", CALLS) {
        assert!(line.contains(&well.address.to_string()), "{line}");
    }
    assert!(!site.balancer.has_logged(&format!("address={} ", ill.address)));
}

/// As many as the script makes.
const CALLS: usize = 20;

fn has_grpc() -> bool {
    there_is("python3-grpcio", &[PYTHON, "-c", "import grpc"])
}

/// A gRPC server of Python's; it ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(PYTHON)
            .arg(script("grpc_server.py"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    path.to_str().unwrap().to_owned()
}

/// Debian's, for which its packages are.
const PYTHON: &str = "/usr/bin/python3";

/// What the client prints, a line when a check has passed.
const CHECKS: [&str; 12] = [
    "unary",
    "client stream",
    "server stream",
    "bidirectional stream",
    "many at once",
    "large message",
    "status with details",
    "deadline",
    "deadline is passed on",
    "cancellation",
    "no route",
    "no compression of ours",
];
