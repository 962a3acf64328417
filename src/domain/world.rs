//! What the sources see, in the words of the balancer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::names::SourceName;
use crate::domain::problem::Problem;

/// The last observation of each source.
pub type World = BTreeMap<SourceName, Arc<Observation>>;

/// All that one source sees at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observation {
    pub workloads: Vec<Workload>,
    pub vantage: Vantage,
    /// What the source cannot make out, for a person to mend.
    pub problems: Vec<Problem>,
    /// What runs beside, for those who ask why it gets no requests.
    pub bystanders: Vec<Bystander>,
}

impl Observation {
    /// Whether both come to the same plan.
    pub fn plans_as(&self, other: &Self) -> bool {
        let Self { workloads, vantage, problems, bystanders: _ } = self;
        (workloads, vantage, problems) == (&other.workloads, &other.vantage, &other.problems)
    }
}

/// A container that asks for nothing: it has no label of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bystander {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub image: Arc<str>,
    pub project: Option<Arc<str>>,
    pub service: Option<Arc<str>>,
    pub run: RunState,
}

/// Bystanders that a source keeps.
pub const BYSTANDERS_MAX: usize = 1_000;

/// A running thing that may take traffic, whoever runs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    pub id: WorkloadId,
    /// What users call it: the container's name.
    pub name: Arc<str>,
    /// The compose project or stack.
    pub project: Option<Arc<str>>,
    /// The compose service.
    pub service: Option<Arc<str>>,
    /// What it calls itself: the container's host name, or that of a server that
    /// is written down. None while it is not known.
    pub host_name: Option<Arc<str>>,
    /// Every label, spelled as it was written.
    pub labels: BTreeMap<String, String>,
    pub run: RunState,
    pub health: Health,
    /// When it was created, in nanoseconds since the epoch; orders "newest".
    pub created: i64,
    pub place: Place,
    /// How long its process has to end after its stop signal; none while that is
    /// not known, and where nobody stops it.
    pub stop_timeout: Option<Duration>,
    /// With what its process ended, while it does not run.
    pub exit_code: Option<i32>,
    /// Made by `docker-compose run` rather than `up`.
    pub oneoff: bool,
}

/// One life of a container: its id, and how many lives it had before.
///
/// Addresses are no identity, since the engine re-uses them at once.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkloadId {
    pub id: Arc<str>,
    pub life: u32,
}

/// What is known of a container's process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum RunState {
    /// Created, not started yet.
    Created,
    Running,
    Paused,
    /// It has its stop signal and finishes what it has.
    Stopping,
    /// Dead, to be started again by its restart policy.
    Restarting,
    Stopped,
}

impl RunState {
    /// Whether there is a process. Without one a container may list an address
    /// that another has by now.
    pub fn is_alive(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Stopping => true,
            Self::Created | Self::Restarting | Self::Stopped => false,
        }
    }
}

/// The verdict of the container's own HEALTHCHECK.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Health {
    /// The container has no HEALTHCHECK.
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// Where a workload can be found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A container: the planner chooses network and port.
    Container {
        mode: NetworkMode,
        networks: Vec<Attachment>,
        /// TCP ports that the image or the container exposes, ascending; none
        /// while that is not known yet.
        exposed: Option<Vec<u16>>,
    },
    /// A server written down with its address.
    Fixed(SocketAddr),
}

/// How a container is connected, after Docker's `HostConfig.NetworkMode`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NetworkMode {
    /// Networks of its own.
    Own,
    /// The host's network.
    Host,
    /// The network of the container with this id (`network_mode: service:x`).
    Container(Arc<str>),
    /// `none`: no network at all.
    None,
}

/// One network that a container is connected to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Attachment {
    pub name: Arc<str>,
    /// Names may be double on old engines; ids are not.
    pub network: Arc<str>,
    /// None while the container does not run.
    pub address: Option<IpAddr>,
}

/// Where the balancer itself stands, which decides what it can reach.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Vantage {
    /// On the host: every bridge address is in reach, and loopback is the host's.
    #[default]
    Host,
    /// In a container of the same engine.
    Container {
        /// The full id of our own container.
        id: Arc<str>,
        name: Arc<str>,
        /// We run in the host's network (`network_mode: host`).
        host_network: bool,
        networks: Vec<OwnNetwork>,
    },
}

/// A network of our own container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnNetwork {
    pub name: Arc<str>,
    pub network: Arc<str>,
    /// Reaches the host; none on internal networks.
    pub gateway: Option<IpAddr>,
    pub address: Option<IpAddr>,
}

/// What a source tells the control loop.
#[derive(Clone, Debug)]
pub enum Report {
    /// All it sees now.
    Seen {
        source: SourceName,
        observation: Observation,
        /// When the first event happened that was heard since the last one; in
        /// nanoseconds since the epoch.
        event_at: Option<i64>,
    },
    /// What an event took away, ahead of the observation that will show it.
    Hint { source: SourceName, hint: Hint },
    /// It is connected, or is not and why.
    Health { source: SourceName, health: SourceHealth },
    /// All problems there are now with `topic`, in place of those that were
    /// noted of it before; it is told by who looks after it, and is no source.
    Noted { topic: &'static str, problems: Vec<Problem> },
}

/// What an event took from a workload. It only ever takes away: what is added
/// comes with the next observation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hint {
    /// The container's id, in whichever life it is.
    pub id: Arc<str>,
    pub loss: Loss,
}

/// What a workload has lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Loss {
    /// It got its stop signal, or the one that kills.
    Stopping,
    /// Its process has ended.
    Stopped,
    Paused,
    /// Its address on the network with this id.
    Network(Arc<str>),
}

/// Whether a source can be heard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SourceHealth {
    Connected {
        /// What answers, such as `Docker 28.5.2, API 1.51`.
        peer: String,
    },
    /// The last observation stands meanwhile.
    Away {
        /// What failed, such as "cannot open /var/run/docker.sock: permission denied".
        message: String,
        /// How to mend it; may be empty.
        hint: String,
        retry_in: Duration,
    },
}
