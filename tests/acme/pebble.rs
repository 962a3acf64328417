//! `pebble`, a real ACME server made for tests, on ports of its own.

use std::env;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::certificates::{Authority, Made};
use crate::support::wait::eventually;

/// Where the balancer listens and where the authority does, so that each can be
/// told of the other before it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) directory: u16,
}

/// The folder with what both need.
pub(crate) struct Site {
    pub(crate) ports: Ports,
    /// For `localhost`, where directories are.
    pub(crate) certificate: Made,
    folder: TempDir,
}

/// A running authority, and the name server that it asks: every name leads to
/// 127.0.0.1. Both are ended when it is dropped, also by a panic.
pub(crate) struct Pebble {
    _server: Ended,
    _names: Ended,
}

struct Ended(Child);

/// Whether these tests can run here; if not, it is said loudly.
///
/// # Panics
/// Where `CI` is set and there is no pebble.
pub(crate) fn is_installed() -> bool {
    let missing = ["pebble", "pebble-challtestsrv"].into_iter().find(|program| {
        let folders = env::var_os("PATH").unwrap_or_default();
        !env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    });
    let Some(missing) = missing else { return true };
    let is_ci = env::var("CI").is_ok_and(|value| !value.is_empty());
    assert!(!is_ci, "CI is set, but `{missing}` is not installed");
    // Not `eprintln!`, which the test runner keeps to itself.
    let _ = writeln!(io::stderr(), "\n!!! SKIPPED, a test on ACME: `{missing}` is not installed");
    false
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("directory");
        let certificate = authority.issue(&["localhost"]);
        certificate.write(&folder.path().join("cert.pem"), &folder.path().join("key.pem"));
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let [http, https, directory] = free_ports();
        Self { ports: Ports { http, https, directory }, certificate, folder }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.ports.directory)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The file in which the balancer keeps the certificate for `name`.
    pub(crate) fn kept(&self, name: &str) -> Option<PathBuf> {
        let folders = std::fs::read_dir(self.state().join("acme")).ok()?;
        let kept = |folder: io::Result<std::fs::DirEntry>| {
            Some(folder.ok()?.path().join(format!("{name}.pem")))
        };
        folders.filter_map(kept).find(|path| path.is_file())
    }

    /// An authority that comes to where the balancer listens.
    pub(crate) fn pebble(&self) -> Pebble {
        self.pebble_with(self.ports, "")
    }

    /// One that comes to these ports, with further settings in JSON.
    pub(crate) fn pebble_with(&self, Ports { http, https, .. }: Ports, more: &str) -> Pebble {
        let directory = self.ports.directory;
        let [names, management, other] = free_ports();
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{directory}",
                "managementListenAddress": "127.0.0.1:{management}",
                "certificate": "{}", "privateKey": "{}", "httpPort": {http}, "tlsPort": {https},
                "retryAfter": {{"authz": 1, "order": 1}} {more}}}}}"#,
            file("cert.pem"),
            file("key.pem"),
        );
        let path = self.folder.path().join("pebble.json");
        std::fs::write(&path, config).unwrap();
        let names_at = format!("127.0.0.1:{names}");
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-dns01", &names_at, "-defaultIPv6", "", "-http01", "", "-https01", ""]);
        command.args(["-tlsalpn01", "", "-management", &format!("127.0.0.1:{other}")]);
        let name_server = Ended::start(&mut command, other);
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&path).args(["-dnsserver", &names_at, "-strict"]);
        // What fails by chance here fails by plan in [`super::directory`].
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let server = Ended::start(&mut command, directory);
        Pebble { _server: server, _names: name_server }
    }
}

impl Ended {
    /// Starts it and waits until it listens.
    fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Self(quiet.spawn().unwrap());
        eventually(Duration::from_secs(10), || {
            if let Some(status) = child.0.try_wait().unwrap() {
                panic!("{command:?} ended: {status}");
            }
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))
        });
        child
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports that nobody listens at.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // All are held until all are chosen, so that none is chosen twice.
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A text of a file, which must be there.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
