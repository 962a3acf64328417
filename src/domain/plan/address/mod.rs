//! Where a container can be reached from where the balancer stands.

mod network;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::domain::labels::{Membership, value};
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::{
    Attachment, NetworkMode, Observation, OwnNetwork, Place, RunState, Vantage, Workload,
};

/// What one observation tells about who can reach whom.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    reach: Reach<'a>,
    /// Where the balancer listens.
    listeners: &'a [SocketAddr],
    holders: HashMap<&'a str, Holder<'a>>,
}

/// Where the balancer stands.
#[derive(Debug)]
enum Reach<'a> {
    /// In the host's network; in a container if there is an id.
    Host { us: Option<&'a str> },
    Networks {
        us: &'a str,
        name: &'a str,
        /// By name, so that the choice is always the same.
        networks: Vec<&'a OwnNetwork>,
        ids: HashSet<&'a str>,
    },
}

/// Whose network a container uses.
#[derive(Clone, Copy, Debug)]
struct Holder<'a> {
    name: &'a str,
    project: Option<&'a str>,
    run: RunState,
    mode: &'a NetworkMode,
    networks: &'a [Attachment],
}

/// Tells what keeps us from one container.
#[derive(Debug)]
struct Teller<'p> {
    subject: Subject,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(observation: &'a Observation, listeners: &'a [SocketAddr]) -> Self {
        let reach = match &observation.vantage {
            Vantage::Host => Reach::Host { us: None },
            Vantage::Container { id, host_network: true, .. } => Reach::Host { us: Some(id) },
            Vantage::Container { id, name, host_network: false, networks } => {
                let mut networks: Vec<_> = networks.iter().collect();
                networks.sort_by_key(|own| (&own.name, &own.network));
                let ids = networks.iter().map(|own| &*own.network).collect();
                Reach::Networks { us: id, name, networks, ids }
            }
        };
        let holders = observation.workloads.iter().filter_map(Holder::of).collect();
        Self { reach, listeners, holders }
    }

    /// The address of a member, and what is wrong if it runs and has none. Of
    /// several it is the one by which it is `known`: another network is no reason
    /// to leave the connections that there are.
    pub(super) fn find(
        &self,
        workload: &Workload,
        wish: &Membership,
        known: &dyn Fn() -> Option<IpAddr>,
        problems: &mut Vec<Problem>,
    ) -> Option<SocketAddr> {
        if !workload.run.is_alive() || wish.scheme.is_none() {
            return None;
        }
        let (mode, exposed) = match &workload.place {
            Place::Fixed(address) => {
                let subject = Subject::Pool(wish.pool.name.clone());
                return self.not_ours(*address, &mut Teller { subject, problems });
            }
            Place::Container { mode, exposed, .. } => (mode, exposed),
        };
        let subject = Subject::Container(workload.name.clone());
        let mut teller = Teller { subject, problems };
        if self.us() == Some(&workload.id.id) {
            teller.tell(
                "it is the balancer itself, which cannot be one of its own replicas".to_owned(),
                format!("remove its labels that begin with `{}.`", wish.stem),
            );
            return None;
        }
        // Both are looked for, so that a person learns of both faults at once.
        let port = port(exposed.as_deref(), wish, &mut teller);
        let ip = self.ip(mode, workload, wish, known, &mut teller);
        self.not_ours(SocketAddr::new(ip?, port?), &mut teller)
    }

    /// The address, unless the balancer itself listens there.
    fn not_ours(&self, address: SocketAddr, teller: &mut Teller<'_>) -> Option<SocketAddr> {
        let ip = address.ip();
        let is_local = ip.is_loopback() || self.own_addresses().any(|own| own == ip);
        let ours = self.listeners.iter().any(|listener| {
            let same_ip = listener.ip() == ip || listener.ip().is_unspecified() && is_local;
            same_ip && listener.port() == address.port()
        });
        if ours {
            teller.tell(
                format!(
                    "the balancer itself listens on {address}, so that requests would go round"
                ),
                "give the replica another port, or the balancer by `--http` and `--admin`"
                    .to_owned(),
            );
        }
        (!ours).then_some(address)
    }

    fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let networks = match &self.reach {
            Reach::Host { .. } => &[],
            Reach::Networks { networks, .. } => networks.as_slice(),
        };
        networks.iter().filter_map(|network| network.address)
    }

    fn us(&self) -> Option<&str> {
        match self.reach {
            Reach::Host { us } => us,
            Reach::Networks { us, .. } => Some(us),
        }
    }

    fn ip(
        &self,
        mode: &NetworkMode,
        workload: &Workload,
        wish: &Membership,
        known: &dyn Fn() -> Option<IpAddr>,
        teller: &mut Teller<'_>,
    ) -> Option<IpAddr> {
        let mut mode = mode;
        let mut holder = self.holders.get(&*workload.id.id).copied()?;
        for _ in 0..HOPS_MAX {
            match mode {
                NetworkMode::Own => return network::choose(self, holder, wish, known, teller),
                NetworkMode::Host => return self.host(teller),
                NetworkMode::None => {
                    teller.tell(
                        "it has no network, so that nothing can reach it".to_owned(),
                        "remove `network_mode: none`".to_owned(),
                    );
                    return None;
                }
                NetworkMode::Container(id) if self.us() == Some(id) => return Some(LOOPBACK),
                NetworkMode::Container(id) => {
                    holder = self.neighbour(id, workload, teller)?;
                    mode = holder.mode;
                }
            }
        }
        None
    }

    /// The container whose network another one uses.
    fn neighbour(
        &self,
        id: &str,
        workload: &Workload,
        teller: &mut Teller<'_>,
    ) -> Option<Holder<'a>> {
        let again = workload.service.as_ref().map_or_else(
            || format!("recreate container `{}`", workload.name),
            |service| format!("run `docker-compose up -d --force-recreate {service}`"),
        );
        let Some(holder) = self.holders.get(id) else {
            let id: String = id.chars().take(SHORT_ID).collect();
            teller.tell(format!("it uses the network of container `{id}`, which is gone"), again);
            return None;
        };
        if !holder.run.is_alive() {
            let name = holder.name;
            teller.tell(
                format!("it uses the network of container `{name}`, which does not run"),
                format!("start `{name}`, then restart this one"),
            );
            return None;
        }
        Some(*holder)
    }

    /// Where the ports of the host are.
    fn host(&self, teller: &mut Teller<'_>) -> Option<IpAddr> {
        let Reach::Networks { name, networks, .. } = &self.reach else {
            return Some(LOOPBACK);
        };
        let gateways = networks.iter().filter_map(|own| own.gateway);
        let gateway = gateways.min_by_key(IpAddr::is_ipv6);
        if gateway.is_none() {
            teller.tell(
                "it is on the host's network, and no network of the balancer leads to the host"
                    .to_owned(),
                format!("run `docker network connect bridge {}`", network::word(name)),
            );
        }
        gateway
    }
}

impl<'a> Holder<'a> {
    fn of(workload: &'a Workload) -> Option<(&'a str, Self)> {
        let Place::Container { mode, networks, .. } = &workload.place else {
            return None;
        };
        let project = workload.project.as_deref();
        let (name, run) = (&*workload.name, workload.run);
        Some((&workload.id.id, Self { name, project, run, mode, networks }))
    }
}

impl Teller<'_> {
    fn tell(&mut self, message: String, hint: String) {
        self.problems.push(Problem::new(self.subject.clone(), message, hint));
    }

    /// Of a label, as in `lb.network`.
    fn tell_of(&mut self, label: &str, message: &str, hint: String) {
        let message = format!("label `{label}` {message}");
        self.problems.push(Problem::new(self.subject.clone(), message, hint).about(label));
    }
}

fn port(exposed: Option<&[u16]>, wish: &Membership, teller: &mut Teller<'_>) -> Option<u16> {
    let port = wish.port.or_else(|| value::usual_port(exposed?));
    if let (None, Some(exposed)) = (port, exposed) {
        let label = format!("`{}.port`", wish.stem);
        let mut shown: Vec<_> = exposed.iter().take(PORTS_SHOWN).map(u16::to_string).collect();
        if exposed.len() > PORTS_SHOWN {
            shown.push("…".to_owned());
        }
        if shown.is_empty() {
            teller.tell(
                "it exposes no port, so that nothing says where it listens".to_owned(),
                format!("add the label {label} with the port that it listens on"),
            );
        } else {
            teller.tell(
                format!("it exposes several ports: {}", shown.join(", ")),
                format!("add the label {label} with one of them"),
            );
        }
    }
    port
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// From container to container whose network it uses; engines allow one.
const HOPS_MAX: u32 = 4;

/// Letters of a container's id, as the Docker CLI shows it.
const SHORT_ID: usize = 12;

const PORTS_SHOWN: usize = 8;
