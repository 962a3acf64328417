//! A balancer, the replicas behind it, and what both have written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::clock::Micros;
use super::cut::Cut;
use super::events::Ear;
use super::scenario::{Mode, SERVICES, Size};
use super::traefik::Traefik;
use crate::support::engine::{Engine, finish, socket};
use crate::support::http::get;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

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
    /// Whether the balancer's way to the Engine can be cut.
    pub(super) is_cut: bool,
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

#[derive(Debug)]
pub(super) struct Site {
    pub(super) stack: Stack,
    pub(super) engine: Engine,
    pub(super) ear: Ear,
    /// Between the balancer and the Engine, where there is to be something.
    pub(super) cut: Option<Cut>,
    folder: TempDir,
    traefik: Option<Traefik>,
    door: SocketAddr,
}

impl Site {
    /// Starts a balancer, and no replicas.
    pub(super) fn up(engine: &Engine, balancer: Balancer, way: Way) -> Self {
        let folder = tempfile::Builder::new().prefix("evk-churn-").tempdir().unwrap();
        // The balancer has no rights of its own on what is mounted into it.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let before = folder.path().join("docker.sock");
        let cut = way.is_cut.then(|| Cut::before(&socket(), &before));
        let engine_socket = if way.is_cut { before } else { socket() };
        let stack = stack(engine, way.mode, folder.path(), &engine_socket);
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
        let door = traefik.as_ref().map_or_else(|| stack.address("80"), |it| it.address);
        let engine = engine.clone();
        Self { stack, engine, ear, cut, folder, traefik, door }
    }

    /// Has exactly these replicas, all of them serving.
    pub(super) fn settle(&mut self, fleet: Size) {
        self.scale(fleet);
        let expected = self.replicas();
        let door = self.door;
        eventually(SETTLED_WITHIN, || {
            let mut seen = BTreeSet::new();
            for _ in 0..3 * expected.len() {
                let answer = get(door, "/settle", &[]).map_err(|why| why.to_string())?;
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
        });
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

    /// Where the load goes.
    pub(super) fn door(&self) -> SocketAddr {
        self.door
    }

    /// What the replicas have been asked below `/row/`.
    pub(super) fn requests(&self, row: &str) -> Vec<Line> {
        let written = fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        let below = format!("/{row}/");
        let lines = written.lines().filter_map(line);
        lines.filter(|line| line.target.starts_with(&below)).collect()
    }

    /// The container that the balancer's access log names for each target below
    /// `/row/`, with its whole line; of Traefik none.
    pub(super) fn access_log(&self, row: &str) -> BTreeMap<String, (String, String)> {
        if self.traefik.is_some() {
            return BTreeMap::new();
        }
        let below = format!("/{row}/");
        let lb = &self.stack.containers("lb")[0];
        let written = Command::new("docker").args(["logs", lb]).output().unwrap().stdout;
        let entry = |line: &str| {
            let told: Value = serde_json::from_str(line).ok()?;
            let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            let target = text("target");
            target.starts_with(&below).then(|| (target, (text("container"), line.to_owned())))
        };
        String::from_utf8_lossy(&written).lines().filter_map(entry).collect()
    }
}

fn stack(engine: &Engine, mode: Mode, folder: &Path, socket: &Path) -> Stack {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks/churn/compose.yml");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let environment = vec![
        ("EVK_CHURN_ON_TERM", mode.on_term().to_owned()),
        ("EVK_CHURN_FOLDER", text(folder)),
        ("EVK_TEST_SOCKET", text(socket)),
    ];
    Stack::of(engine, vec![PathBuf::from(file)], environment)
}

fn line(written: &str) -> Option<Line> {
    let mut words = written.split(' ');
    let at = words.next()?.parse().ok()?;
    let (replica, stage) = (words.next()?.to_owned(), words.next()?.to_owned());
    let target = words.nth(1)?.to_owned();
    Some(Line { at, replica, stage, target })
}

/// Long enough for a loaded machine and a HEALTHCHECK's first verdict.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
