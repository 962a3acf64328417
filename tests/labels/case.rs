//! A case as it is written: the worlds one after the other, and how labels are read.
//!
//! ```text
//! prefix edge                          constraint env=prod
//! balancer host                        balancer container lb b0
//!   network front 172.20.0.2 172.20.0.1        (name, own address, gateway)
//! container shop-1                     server api-1 10.0.0.1:80
//!   id c1  project shop  service web  created 5  run paused  health healthy
//!   ready  oneoff  mode host  network front 172.20.0.3  exposes 80 443
//!   lb.pool=web
//! file users ann:…\nbob:…               file gone !it is not there
//! serves http https client_ca           (the last word: clients can be verified)
//! then                                 (a later world; the last is compared)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel::domain::labels::{LabelSettings, Served};
use evenkeel::domain::names::SourceName;
use evenkeel::domain::plan::{Memory, Plan, plan};
use evenkeel::domain::world::{
    Attachment, Health, NetworkMode, Observation, OwnNetwork, Place, RunState, Vantage, Workload,
    WorkloadId, World,
};

/// Worlds in the order in which they are seen.
#[derive(Debug, Default)]
pub(super) struct Case {
    settings: LabelSettings,
    steps: Vec<Step>,
}

#[derive(Debug, Default)]
struct Step {
    observation: Observation,
    been_ready: BTreeSet<Arc<str>>,
}

impl Case {
    pub(super) fn parse(given: &str) -> Result<Self, String> {
        let mut case = Self { steps: vec![Step::default()], ..Self::default() };
        for (number, line) in given.lines().enumerate() {
            let text = line.split("# ").next().unwrap_or_default();
            if !text.trim().is_empty() && !text.starts_with('#') {
                let read = case.line(text);
                read.ok_or_else(|| format!("line {}: cannot read `{line}`", number + 1))?;
            }
        }
        Ok(case)
    }

    /// The plan of the last world, each planned with the memory of the one before.
    pub(super) fn planned(&self) -> Plan {
        let mut last = Plan::default();
        for step in &self.steps {
            let world = World::from([(SourceName::docker(), Arc::new(step.observation.clone()))]);
            let memory =
                Memory { previous: &last, been_ready: &step.been_ready, drained: &BTreeSet::new() };
            last = plan(&world, memory, &self.settings);
        }
        last
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let indented = line.starts_with(' ');
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let step = self.steps.last_mut()?;
        if indented {
            return step.detail(line, word, rest);
        }
        match word {
            "prefix" => self.settings.prefix = rest.into(),
            "constraint" => {
                let (label, value) = rest.split_once('=')?;
                self.settings.constraints.push((label.to_owned(), value.to_owned()));
            }
            "file" => {
                let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
                let found = match content.strip_prefix('!') {
                    Some(fault) => Err(fault.into()),
                    None => Ok(content.replace("\\n", "\n").into_bytes().into()),
                };
                Arc::make_mut(&mut self.settings.files).note(&path.into(), found);
            }
            "listens" => self.settings.listeners.push(rest.parse().ok()?),
            "serves" => self.settings.served = Some(served(rest)),
            "then" => self.steps.push(Step::default()),
            "balancer" => step.observation.vantage = vantage(rest)?,
            "container" => {
                let place = Place::Container {
                    mode: NetworkMode::Own,
                    networks: Vec::new(),
                    exposed: Some(Vec::new()),
                };
                step.observation.workloads.push(workload(rest, place));
            }
            "server" => {
                let (name, address) = rest.split_once(' ')?;
                let place = Place::Fixed(address.parse().ok()?);
                step.observation.workloads.push(workload(name, place));
            }
            _ => return None,
        }
        Some(())
    }
}

impl Step {
    fn detail(&mut self, line: &str, word: &str, rest: &str) -> Option<()> {
        let Some(workload) = self.observation.workloads.last_mut() else {
            return own_network(&mut self.observation.vantage, rest);
        };
        match (word, &mut workload.place) {
            _ if word.contains('=') => {
                let (label, value) = line.split_once('=')?;
                workload.labels.insert(label.to_owned(), value.to_owned());
            }
            ("id", _) => workload.id.id = rest.into(),
            ("life", _) => workload.id.life = rest.parse().ok()?,
            ("project", _) => workload.project = Some(rest.into()),
            ("service", _) => workload.service = Some(rest.into()),
            ("created", _) => workload.created = rest.parse().ok()?,
            ("run", _) => workload.run = run_state(rest)?,
            ("health", _) => workload.health = health(rest)?,
            ("oneoff", _) => workload.oneoff = true,
            ("ready", _) => {
                self.been_ready.insert(Arc::clone(&workload.id.id));
            }
            ("mode", Place::Container { mode, .. }) => *mode = network_mode(rest)?,
            ("network", Place::Container { networks, .. }) => {
                let (name, address) = rest.split_once(' ')?;
                let name: Arc<str> = name.into();
                let address = (address != "-").then(|| address.parse().unwrap());
                networks.push(Attachment { network: Arc::clone(&name), name, address });
            }
            ("exposes", Place::Container { exposed, .. }) => {
                *exposed = Some(rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?);
            }
            _ => return None,
        }
        Some(())
    }
}

fn served(text: &str) -> Served {
    let (special, names): (Vec<_>, Vec<_>) = text.split(' ').partition(|&it| it == "client_ca");
    Served {
        entry_points: names.iter().copied().map(Into::into).collect(),
        https: names.contains(&"https"),
        client_ca: !special.is_empty(),
    }
}

fn workload(name: &str, place: Place) -> Workload {
    Workload {
        id: WorkloadId { id: name.into(), life: 0 },
        name: name.into(),
        project: None,
        service: None,
        labels: BTreeMap::new(),
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place,
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

fn vantage(text: &str) -> Option<Vantage> {
    match *text.split(' ').collect::<Vec<_>>() {
        ["host"] => Some(Vantage::Host),
        [kind @ ("container" | "host-container"), name, id] => Some(Vantage::Container {
            id: id.into(),
            name: name.into(),
            host_network: kind == "host-container",
            networks: Vec::new(),
        }),
        _ => None,
    }
}

fn own_network(vantage: &mut Vantage, text: &str) -> Option<()> {
    let Vantage::Container { networks, .. } = vantage else {
        return None;
    };
    let words: Vec<_> = text.split(' ').collect();
    let name: Arc<str> = (*words.first()?).into();
    let ip = |at: usize| words.get(at).map(|word| word.parse().unwrap());
    let network = Arc::clone(&name);
    networks.push(OwnNetwork { name, network, address: ip(1), gateway: ip(2) });
    Some(())
}

fn run_state(word: &str) -> Option<RunState> {
    Some(match word {
        "created" => RunState::Created,
        "running" => RunState::Running,
        "paused" => RunState::Paused,
        "stopping" => RunState::Stopping,
        "restarting" => RunState::Restarting,
        "stopped" => RunState::Stopped,
        _ => return None,
    })
}

fn health(word: &str) -> Option<Health> {
    Some(match word {
        "starting" => Health::Starting,
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        _ => return None,
    })
}

fn network_mode(word: &str) -> Option<NetworkMode> {
    Some(match (word, word.strip_prefix("container:")) {
        ("host", _) => NetworkMode::Host,
        ("none", _) => NetworkMode::None,
        (_, Some(id)) => NetworkMode::Container(id.into()),
        (_, None) => return None,
    })
}
