//! A real Docker Engine to test against, and what a test leaves on it: nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use evenkeel::config::DockerAddress;
use tempfile::TempDir;

/// One test's share of the machine's Docker: its image and its containers bear
/// its name and go with it, also when the test panics.
pub(crate) struct Engine {
    /// Also the prefix of the test's labels, so that no other container is seen.
    name: String,
    socket: PathBuf,
}

impl Engine {
    /// None, said loudly, where there is no Docker; in CI that is a failure.
    pub(crate) fn find() -> Option<Self> {
        let host = env::var_os("DOCKER_HOST").and_then(|host| host.into_string().ok());
        let named = host.as_deref().and_then(|host| host.strip_prefix("unix://"));
        let socket = PathBuf::from(named.unwrap_or(SOCKET));
        if !socket.exists() || !run("docker", &["version"]).status.success() {
            let socket = socket.display();
            assert!(env::var_os("CI").is_none(), "no Docker at {socket}, and CI is set");
            // Not `eprintln!`, which the test runner keeps to itself.
            let _ = writeln!(io::stderr(), "\n!!! SKIPPED, a test on Docker: none at {socket}");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let engine =
            Self { name: format!("evenkeel-test-{}-{number}", std::process::id()), socket };
        engine.build();
        Some(engine)
    }

    pub(crate) fn address(&self) -> DockerAddress {
        DockerAddress::Unix(self.socket.clone())
    }

    pub(crate) fn label_prefix(&self) -> &str {
        &self.name
    }

    /// The full name of this test's container.
    pub(crate) fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Creates a container in the pool `web`.
    pub(crate) fn create(&self, name: &str, options: &[&str]) {
        let (name, label) = (self.container(name), format!("{}.pool=web", self.name));
        let fixed = ["create", "--name", &name, "--label", &label];
        self.docker(&[&fixed, options, &[&self.name]].concat());
    }

    /// Does something with this test's container, such as `["kill", "-s", "TERM"]`.
    pub(crate) fn tell(&self, name: &str, command: &[&str]) {
        self.docker(&[command, &[&self.container(name)]].concat());
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = run("docker", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// An image of nothing but a program that waits.
    fn build(&self) {
        let folder = TempDir::new().unwrap();
        let (source, dockerfile) =
            (folder.path().join("idle.rs"), folder.path().join("Dockerfile"));
        fs::write(&source, IDLE).unwrap();
        fs::write(&dockerfile, dockerfile_of(&self.name)).unwrap();
        let program = folder.path().join("idle");
        let [source, program] = [&source, &program].map(|path| path.to_str().unwrap());
        let compiled = run(
            "rustc",
            &["-C", "target-feature=+crt-static", "-C", "opt-level=1", "-o", program, source],
        );
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        self.docker(&["build", "-q", "-t", &self.name, folder.path().to_str().unwrap()]);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let filter = format!("label={}.pool", self.name);
        let listed = run("docker", &["ps", "-aq", "--filter", &filter]);
        for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            run("docker", &["rm", "-f", id]);
        }
        let networks =
            run("docker", &["network", "ls", "-q", "--filter", &format!("name={}", self.name)]);
        for id in String::from_utf8_lossy(&networks.stdout).split_whitespace() {
            run("docker", &["network", "rm", id]);
        }
        run("docker", &["rmi", &self.name]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Its own label first: no two tests share an image, which one would remove
/// while the other builds upon it.
fn dockerfile_of(name: &str) -> String {
    format!("FROM scratch\nLABEL test={name}\nCOPY idle /idle\nEXPOSE 8080\nCMD [\"/idle\"]\n")
}

const SOCKET: &str = "/var/run/docker.sock";

/// As the first process of a container it ignores every signal but KILL.
const IDLE: &str =
    "fn main() { loop { std::thread::sleep(std::time::Duration::from_secs(3600)); } }";
