//! A balancer, the replicas behind it, and what both have written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::balancing::Balancing;
use super::clock::Micros;
use super::cut::Cut;
use super::events::Ear;
use super::lines::Speaks;
use super::scenario::{Mode, Reach, SERVICES, Size};
use super::traefik::Traefik;
use crate::support::engine::{Engine, finish, set, socket};
use crate::support::http::get;
use crate::support::stack::Stack;
use crate::support::wait::within;

/// Who balances.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Balancer {
    Evenkeel,
    Traefik,
}

/// What the containers of a site are like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Way {
    pub(super) mode: Mode,
    pub(super) engine: Reach,
    pub(super) balancing: Balancing,
    pub(super) speaks: Speaks,
}

/// What a replica has written of a request.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Micros,
    pub(super) replica: String,
    /// `arrived`, `executed` or `cut`.
    pub(super) stage: String,
    pub(super) target: String,
}

/// A line of the balancer's access log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The replica that it names.
    pub(super) container: String,
    pub(super) line: String,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) stack: Stack,
    pub(super) engine: Engine,
    pub(super) ear: Ear,
    /// Between the balancer and the Engine, where there is to be something.
    pub(super) cut: Option<Cut>,
    pub(super) balancing: Balancing,
    pub(super) speaks: Speaks,
    mode: Mode,
    folder: TempDir,
    traefik: Option<Traefik>,
    /// Of HTTP/1.1 in the clear, by which it is seen who serves.
    door: SocketAddr,
    secure_door: SocketAddr,
}

impl Site {
    /// Starts a balancer, and no replicas.
    pub(super) fn up(engine: &Engine, balancer: Balancer, way: Way) -> Self {
        let folder = tempfile::Builder::new().prefix("evk-churn-").tempdir().unwrap();
        // The balancer has no rights of its own on what is mounted into it.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let before = folder.path().join("docker.sock");
        let cut = matches!(way.engine, Reach::Cut).then(|| Cut::before(&socket(), &before));
        let engine_socket = if cut.is_some() { before } else { socket() };
        let stack = stack(engine, way, folder.path(), &engine_socket);
        let ear = Ear::on(&socket());
        let traefik = match balancer {
            Balancer::Evenkeel => {
                finish(stack.compose().args(["up", "-d", "--no-deps", "lb"]));
                None
            }
            Balancer::Traefik => {
                // The networks, which the host reaches by itself.
                finish(stack.compose().args(["up", "--no-start", "lb"]));
                Some(Traefik::start(&stack, &engine_socket, folder.path()))
            }
        };
        let doors = |port: u16| match &traefik {
            Some(traefik) => traefik.address,
            None if way.engine == Reach::Restarted => inner_address(engine, &stack, port),
            None => stack.address(&port.to_string()),
        };
        let (door, secure_door) = (doors(80), doors(443));
        let engine = engine.clone();
        let Way { mode, balancing, speaks, .. } = way;
        Self {
            stack,
            engine,
            ear,
            cut,
            balancing,
            speaks,
            mode,
            folder,
            traefik,
            door,
            secure_door,
        }
    }

    /// Has exactly these replicas, all of them serving.
    ///
    /// # Errors
    /// Who does not serve, or does although it is gone.
    pub(super) fn settle(&self, fleet: Size) -> Result<(), String> {
        self.scale(fleet);
        self.settled()
    }

    /// Waits until those that run, and nobody else, serve.
    ///
    /// # Errors
    /// Who does not serve, or does although it is gone.
    pub(super) fn settled(&self) -> Result<(), String> {
        let expected = self.replicas();
        let door = self.door;
        within(SETTLED_WITHIN, || {
            let mut seen = BTreeSet::new();
            // A hash meets them all only with the addresses of many.
            let each = if self.balancing == Balancing::IpHash { 24 } else { 3 };
            for number in 0..each * expected.len() {
                let fields = self.balancing.fields(number);
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = get(door, "/settle", &fields).map_err(|why| why.to_string())?;
                if answer.status != 200 {
                    return Err(format!("{answer:?}"));
                }
                let host = answer.body.lines().next().and_then(|it| it.strip_prefix("Hostname: "));
                seen.insert(host.unwrap_or_default().to_owned());
            }
            if seen == expected {
                Ok(())
            } else {
                Err(format!("{seen:?} answer, not {expected:?}"))
            }
        })
    }

    /// Has so many replicas of each service; what runs is left as it is.
    pub(super) fn scale(&self, fleet: Size) {
        let count = |service: &str| {
            fleet.iter().find(|(name, _)| *name == service).map_or(0, |(_, count)| *count)
        };
        let mut up = self.stack.compose();
        up.args(["up", "-d", "--no-recreate", "--no-deps"]);
        for service in SERVICES {
            up.arg("--scale").arg(format!("{service}={}", count(service)));
        }
        finish(up.args(SERVICES));
    }

    /// The host names of the replicas that run.
    pub(super) fn replicas(&self) -> BTreeSet<String> {
        let (project, service) = (self.stack.project_label(), "com.docker.compose.service");
        let listed = self.engine.docker(&[
            "ps",
            "--filter",
            &format!("label={project}"),
            "--format",
            &format!("{{{{.ID}}}} {{{{.Label \"{service}\"}}}}"),
        ]);
        let replicas = listed.lines().filter_map(|line| line.split_once(' '));
        replicas.filter(|(_, service)| *service != "lb").map(|(id, _)| id.to_owned()).collect()
    }

    /// What starts a further replica, outside of the compose file.
    pub(super) fn one_more(&self, number: usize) -> Vec<String> {
        let (project, folder) = (self.stack.project(), self.folder.path().display());
        let run = set("EVK_CHURN_RUN").unwrap_or_default();
        let words = format!(
            "run -d --name {project}-further-{number} --network {project}_inside \
             --label {} --label com.docker.compose.service=api --label evenkeel.churn={run} \
             --label lb.pool=api --label lb.scheme={} --label {} --label traefik.enable=true \
             --label traefik.docker.network={project}_inside \
             --label traefik.http.routers.api.rule=PathPrefix(`/`) \
             --label traefik.http.services.api.loadbalancer.server.port=80 \
             -v {folder}:/log {} whoami --delay=20ms --on-term={} --request-log=/log/requests",
            self.stack.project_label(),
            self.speaks.scheme(),
            self.balancing.label(),
            self.engine.image,
            self.mode.on_term(),
        );
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Where the load goes.
    pub(super) fn door(&self) -> SocketAddr {
        match self.speaks {
            Speaks::Http1 => self.door,
            Speaks::Http2 | Speaks::Http2Throughout => self.secure_door,
        }
    }

    /// What the replicas have been asked below `/row/`.
    pub(super) fn requests(&self, row: &str) -> Vec<Line> {
        let written = fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        let below = format!("/{row}/");
        let lines = written.lines().filter_map(line);
        lines.filter(|line| line.target.starts_with(&below)).collect()
    }

    /// The balancer's access log of the targets below `/row/`, of which the first
    /// was asked for at `begin`; of Traefik nothing.
    pub(super) fn access_log(&self, row: &str, begin: Micros) -> BTreeMap<String, Entry> {
        if self.traefik.is_some() {
            return BTreeMap::new();
        }
        let below = format!("/{row}/");
        let lb = &self.stack.containers("lb")[0];
        let since = format!("{}", begin / MICROS_A_SECOND);
        let logs = ["logs", "--since", &since, lb];
        let written = Command::new("docker").args(logs).output().unwrap().stdout;
        let entry = |line: &str| {
            let told: Value = serde_json::from_str(line).ok()?;
            let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            let target = text("target");
            let entry = Entry { container: text("container"), line: line.to_owned() };
            target.starts_with(&below).then_some((target, entry))
        };
        String::from_utf8_lossy(&written).lines().filter_map(entry).collect()
    }
}

/// Where the balancer is on its own network: what a daemon publishes is gone
/// while the daemon is.
fn inner_address(engine: &Engine, stack: &Stack, port: u16) -> SocketAddr {
    let network = format!("{}_inside", stack.project());
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    let ip = engine.docker(&["inspect", "-f", &format, &stack.containers("lb")[0]]);
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn stack(engine: &Engine, way: Way, folder: &Path, socket: &Path) -> Stack {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks/churn/compose.yml");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    // A daemon that comes back makes another socket, which is found in its folder.
    let mount = match way.engine {
        Reach::Restarted => format!("{}:/engine", text(socket.parent().unwrap())),
        Reach::Plain | Reach::Cut => format!("{}:/engine/docker.sock", text(socket)),
    };
    let environment = vec![
        ("EVK_CHURN_ON_TERM", way.mode.on_term().to_owned()),
        ("EVK_CHURN_SCHEME", way.speaks.scheme().to_owned()),
        ("EVK_CHURN_POOL_LABEL", way.balancing.label()),
        ("EVK_CHURN_FOLDER", text(folder)),
        ("EVK_CHURN_ENGINE", mount),
    ];
    Stack::of(engine, vec![file], environment)
}

fn line(written: &str) -> Option<Line> {
    let mut words = written.split(' ');
    let at = words.next()?.parse().ok()?;
    let (replica, stage) = (words.next()?.to_owned(), words.next()?.to_owned());
    let target = words.nth(1)?.to_owned();
    Some(Line { at, replica, stage, target })
}

const MICROS_A_SECOND: Micros = 1_000_000;

/// Long enough for a loaded machine and a HEALTHCHECK's first verdict.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
