//! A compose project of its own, gone when the test ends, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::engine::{Engine, answers, finish, socket};
use super::http::{Answer, get};
use super::wait::eventually;

/// A balancer and its backends, started from a file of `compose/`.
///
/// Its balancer minds the containers of this project only, so that tests may
/// run beside each other and beside what else the Engine carries.
#[derive(Debug)]
pub(crate) struct Stack {
    engine: Engine,
    project: String,
    files: Vec<PathBuf>,
    environment: Vec<(&'static str, String)>,
}

impl Stack {
    /// Starts `compose/<file>` with so many replicas of `api`, on free ports.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn up(engine: &Engine, file: &'static str, replicas: usize) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = [root.join("compose").join(file), root.join("tests/stacks/isolated.yml")];
        let stack = Self::of(engine, files.into(), Vec::new());
        stack.scale(replicas);
        stack
    }

    /// Starts every service of `compose/<file>` with so many containers where
    /// `scale` names it, on free ports.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn start(
        engine: &Engine,
        file: &'static str,
        scale: &[(&str, usize)],
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = [root.join("compose").join(file), root.join("tests/stacks/isolated.yml")];
        let stack = Self::of(engine, files.into(), environment);
        stack.start_all(scale);
        stack
    }

    /// Starts what does not run yet.
    pub(crate) fn start_all(&self, scale: &[(&str, usize)]) {
        let scale =
            scale.iter().flat_map(|(name, count)| ["--scale".into(), format!("{name}={count}")]);
        finish(self.compose().args(["up", "-d", "--no-recreate", "--timeout", "5"]).args(scale));
    }

    /// Runs a compose command of few words on some services.
    pub(crate) fn tell(&self, words: &[&str]) {
        finish(self.compose().args(words));
    }

    /// Waits until just these host names answer, over as many requests for
    /// `path` as show it.
    pub(crate) fn answered_by(&self, path: &str, expected: &[&str]) {
        let at = self.address("80");
        let expected: BTreeSet<_> = expected.iter().map(|&name| name.to_owned()).collect();
        eventually(Duration::from_secs(30), || {
            let mut seen = BTreeSet::new();
            for _ in 0..3 * expected.len() {
                let answer = get(at, path, &[]).map_err(|why| why.to_string())?;
                let name = answer.host_name().map(str::to_owned);
                seen.insert(name.ok_or_else(|| format!("nobody answers: {answer:?}"))?);
            }
            if seen == expected {
                return Ok(());
            }
            Err(format!("{seen:?} answer, not {expected:?}; the balancer says:\n{}", self.logs()))
        });
    }

    /// A project of these files, of which nothing is started yet.
    pub(crate) fn of(
        engine: &Engine,
        files: Vec<PathBuf>,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let project = format!("evk-{}-{number}", process::id());
        Self { engine: engine.clone(), project, files, environment }
    }

    /// Has so many replicas of `api`; those that run are left as they are.
    pub(crate) fn scale(&self, replicas: usize) {
        let scale = format!("api={replicas}");
        finish(
            self.compose()
                .args(["up", "-d", "--no-recreate", "--timeout", "5"])
                .args(["--scale", scale.as_str()]),
        );
    }

    /// Starts a container of our image as `whoami`, outside the compose file
    /// but in the project, and returns its name.
    pub(crate) fn run(&self, name: &str, network: &str, labels: &[&str]) -> String {
        let name = format!("{}-{name}", self.project);
        let project = self.project_label();
        let mut arguments = vec!["run", "-d", "--name", &name, "--network", network];
        for label in [project.as_str()].iter().chain(labels) {
            arguments.extend(["--label", label]);
        }
        arguments.extend([self.engine.image.as_str(), "whoami"]);
        self.engine.docker(&arguments);
        name
    }

    /// The network that the compose file's services share.
    pub(crate) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// Makes another network, on which the balancer is not.
    pub(crate) fn other_network(&self) -> String {
        let name = format!("{}-elsewhere", self.project);
        self.engine.docker(&["network", "create", "--label", &self.project_label(), &name]);
        name
    }

    /// The ids of the containers of a service.
    pub(crate) fn containers(&self, service: &str) -> Vec<String> {
        let ids = finish(self.compose().args(["ps", "-q", service]));
        ids.lines().map(str::to_owned).collect()
    }

    /// The host names of a service's containers: the starts of their ids.
    pub(crate) fn host_names(&self, service: &str) -> BTreeSet<String> {
        self.containers(service).into_iter().map(|id| id[..12].to_owned()).collect()
    }

    /// The names of a service's containers.
    pub(crate) fn names(&self, service: &str) -> BTreeSet<String> {
        let name = |id: &String| self.engine.docker(&["inspect", "-f", "{{.Name}}", id]);
        self.containers(service).iter().map(name).map(|name| name.replace('/', "")).collect()
    }

    /// The address where the host finds a port of the balancer.
    pub(crate) fn address(&self, port: &str) -> SocketAddr {
        let text = finish(self.compose().args(["port", "lb", port]));
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok());
        let Some(port) = port else { panic!("the balancer's port is not published: {text:?}") };
        ([127, 0, 0, 1], port).into()
    }

    /// The host names that answer `count` requests, in their order.
    ///
    /// # Errors
    /// What went wrong with the first request that no replica answered.
    pub(crate) fn ask(&self, count: usize) -> Result<Vec<String>, String> {
        let at = self.address("80");
        let known = self.host_names("api");
        (0..count)
            .map(|_| {
                let answer = get(at, "/", &[]).map_err(|why| why.to_string())?;
                let host = known.iter().find(|host| answer.body.contains(host.as_str()));
                match host {
                    Some(host) if answer.status == 200 => Ok(host.clone()),
                    Some(_) | None => Err(format!("no replica of {known:?}: {answer:?}")),
                }
            })
            .collect()
    }

    /// Waits until so many replicas are ready, over all pools.
    pub(crate) fn wait_until_ready(&self, count: usize) {
        eventually(Duration::from_secs(30), || {
            let status = self.admin("/api/v1/status").map_err(|why| why.to_string())?.body;
            let ready = status.matches(r#""state":"ready","reason""#).count();
            if ready == count { Ok(()) } else { Err(format!("{ready} of {count} ready: {status}")) }
        });
    }

    /// Waits until each replica, and nobody else, answers.
    pub(crate) fn settle(&self, bound: Duration) -> BTreeSet<String> {
        let expected = self.host_names("api");
        eventually(bound, || {
            let seen: BTreeSet<_> = self.ask(2 * expected.len())?.into_iter().collect();
            if seen == expected {
                return Ok(seen);
            }
            Err(format!("{seen:?} answer, not {expected:?}; the balancer says:\n{}", self.logs()))
        })
    }

    /// Asks the balancer's admin port.
    pub(crate) fn admin(&self, path: &str) -> io::Result<Answer> {
        get(self.address("9090"), path, &[])
    }

    /// What the balancer says of a container, with the command's exit code.
    pub(crate) fn explain(&self, container: &str) -> (Option<i32>, String) {
        let lb = self.containers("lb").remove(0);
        let words = ["exec", &lb, "/evenkeel", "explain", "--container", container];
        let output = Command::new("docker").args(words).stdin(Stdio::null()).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&told).into_owned())
    }

    /// The last of what the balancer has written.
    pub(crate) fn logs(&self) -> String {
        finish(self.compose().args(["logs", "--no-color", "--tail", "40", "lb"]))
    }

    /// Begins a compose command for this project.
    pub(crate) fn compose(&self) -> Command {
        let mut command = self.engine.compose();
        command.args(["-p", &self.project]);
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command
            .env("EVK_IMAGE", &self.engine.image)
            .env("EVK_TEST_PROJECT", &self.project)
            // Any free port: the Engine chooses, so that no two tests collide.
            .env("EVK_DEMO_PORT", "0")
            .env("EVK_DEMO_HTTPS_PORT", "0")
            .env("EVK_DEMO_ADMIN_PORT", "0")
            .env("DOCKER_GID", socket_group().to_string())
            .env("EVK_TEST_SOCKET", socket())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The name of the project.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// What marks everything that is ours.
    pub(crate) fn project_label(&self) -> String {
        format!("com.docker.compose.project={}", self.project)
    }

    /// The ids that a listing command of `docker` prints for this project.
    fn mine(&self, listing: &[&str]) -> Vec<String> {
        let filter = format!("label={}", self.project_label());
        let output =
            Command::new("docker").args(listing).args(["-q", "--filter", &filter]).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl Drop for Stack {
    /// Removes every container, network and volume of the project, also what
    /// compose does not know of. It must not panic: a failed test is on its way.
    fn drop(&mut self) {
        // Side by side, since each takes the Engine a while.
        let remove =
            |id| Command::new("docker").args(["rm", "-fv", id]).stdout(Stdio::null()).spawn();
        let containers = self.mine(&["ps", "-a"]);
        let removals: Vec<_> = containers.iter().map(|id| remove(id.as_str())).collect();
        for mut removal in removals.into_iter().flatten() {
            let _ = removal.wait();
        }
        for id in self.mine(&["network", "ls"]) {
            let _ = answers(&["docker", "network", "rm", &id]);
        }
        for name in self.mine(&["volume", "ls"]) {
            let _ = answers(&["docker", "volume", "rm", &name]);
        }
    }
}

/// The group that owns the Engine's socket.
fn socket_group() -> u32 {
    fs::metadata(socket()).map_or(0, |socket| socket.gid())
}
