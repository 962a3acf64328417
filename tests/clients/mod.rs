//! Clients that others have written: they know nothing of the balancer, and it
//! knows nothing of them.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod browser;
mod curl;
mod grpc;
mod nghttp;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::engine::{answers, set};
use crate::wire::balancer::Balancer;

/// A balancer that serves http and https, the latter as `localhost`.
struct Site {
    balancer: Balancer,
    http: SocketAddr,
    https: SocketAddr,
    folder: TempDir,
}

impl Site {
    /// With these pools, as the settings file has them, once replicas at these
    /// addresses are ready.
    fn open(pools: &str, ready: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("Clients");
        let made = authority.issue(&["localhost"]);
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        file("ca.pem", &authority.pem());
        let (cert, key) = (file("cert.pem", &made.chain), file("key.pem", &made.key));
        let settings = file("evenkeel.toml", pools);
        let balancer = Balancer::start(&[
            "--config",
            &settings,
            "--https",
            "127.0.0.1:0",
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ]);
        for address in ready {
            balancer.logged(&format!("address={address}"));
        }
        let line = balancer.logged("Evenkeel serves");
        let https = line.split(" https=").nth(1).unwrap().trim_start_matches('"');
        let https = https.split([' ', '"']).next().unwrap().parse().unwrap();
        Self { http: balancer.http, balancer, https, folder }
    }

    /// The certificate of whoever vouches for the site.
    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// Whether a client is there, which `probe` runs. Where it is not, and `CI` is
/// set, that is a failure; else it is said loudly.
fn there_is(package: &str, probe: &[&str]) -> bool {
    let Err(why) = answers(probe) else { return true };
    assert!(set("CI").is_none(), "CI is set, but {package} does not answer: {why}");
    // Not `eprintln!`, which the test runner keeps to itself.
    let _ = writeln!(
        io::stderr(),
        "\n!!! SKIPPED, a test with a real client: {package} is not installed ({why}); \
         run: apt-get install {package}"
    );
    false
}

/// Runs a client to its end, which `timeout` bounds.
fn run(words: &[&str]) -> Output {
    let output = Command::new("timeout")
        .args(["-k", "5", SECONDS_MAX])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {}\n{told}\n{complained}", output.status);
    output
}

/// For one run of a client: more than a busy machine needs.
const SECONDS_MAX: &str = "30";
