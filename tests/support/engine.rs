//! The Docker Engine of this machine, by its command line.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// An Engine that answers, compose for it, and the image under test.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) image: String,
    compose: &'static [&'static str],
}

impl Engine {
    /// The Engine; none, said loudly, where these tests are not asked for.
    ///
    /// `make test` asks by `EVK_IMAGE`, which names the image it has just
    /// built: a plain `cargo test` would test one left over from another day.
    ///
    /// # Panics
    /// Where `CI` is set and there is no Docker, and where the image is missing.
    pub(crate) fn find() -> Option<Self> {
        static FOUND: OnceLock<Result<Engine, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::look) {
            Ok(engine) => Some(engine.clone()),
            Err(why) if set("CI").is_some() => panic!("CI is set, but {why}"),
            Err(why) => {
                // Not `eprintln!`, which the test runner keeps to itself.
                let _ = writeln!(io::stderr(), "\n!!! SKIPPED, a test on Docker: {why}");
                None
            }
        }
    }

    fn look() -> Result<Self, String> {
        let image = match (set("EVK_IMAGE"), set("CI")) {
            (Some(image), _) => image,
            (None, Some(_)) => IMAGE.to_owned(),
            (None, None) => return Err("EVK_IMAGE is not set; run `make test`".to_owned()),
        };
        answers(&["docker", "version"])
            .map_err(|why| format!("Docker does not answer (`docker version`: {why})"))?;
        let compose = COMPOSE
            .iter()
            .find(|words| answers(&[words, &["version"][..]].concat()).is_ok())
            .ok_or("neither `docker compose` nor `docker-compose` is installed")?;
        let engine = Self { image, compose };
        assert!(
            answers(&["docker", "image", "inspect", &engine.image]).is_ok(),
            "the image {} does not exist: run `make image`",
            engine.image
        );
        Ok(engine)
    }

    /// Runs `docker` and returns what it printed, trimmed.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        finish(Command::new("docker").args(arguments))
    }

    /// Begins a compose command.
    pub(crate) fn compose(&self) -> Command {
        command(self.compose)
    }
}

/// Runs a command to its end and returns its standard output, trimmed.
///
/// # Panics
/// When it cannot be run or does not succeed.
pub(crate) fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether a command succeeds; else why not.
pub(crate) fn answers(words: &[&str]) -> Result<(), String> {
    let output = command(words).stdin(Stdio::null()).output().map_err(|why| why.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The socket that the command line speaks to, to be mounted into containers.
///
/// # Panics
/// When `DOCKER_HOST` names no Unix socket.
pub(crate) fn socket() -> PathBuf {
    let Some(host) = set("DOCKER_HOST") else { return PathBuf::from(SOCKET) };
    let Some(path) = host.strip_prefix("unix://") else {
        panic!("DOCKER_HOST is `{host}`; tests on Docker need a Unix socket to mount")
    };
    PathBuf::from(path)
}

/// A variable, unless it is empty.
pub(crate) fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "evenkeel:latest";
const COMPOSE: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
