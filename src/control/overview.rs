//! What the control loop knows, for those who ask.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::names::SourceName;
use crate::domain::plan::Plan;
use crate::domain::problem::Problem;
use crate::domain::world::{SourceHealth, World};

/// The state of the control loop at one moment.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    pub plan: Arc<Plan>,
    /// What the sources saw last.
    pub world: World,
    /// Every source that was started.
    pub sources: Vec<SourceOverview>,
    /// All problems: those of the plan, of the sources and of the settings.
    pub problems: Vec<Problem>,
    /// The gateways of our own container's networks: through a published port
    /// the Docker host speaks to us from there.
    pub gateways: Vec<IpAddr>,
    /// We are shutting down and take no new connections.
    pub stopping: bool,
}

/// One source as the control loop sees it.
#[derive(Clone, Debug)]
pub struct SourceOverview {
    pub name: SourceName,
    /// None until the source has said anything.
    pub health: Option<SourceHealth>,
    /// When its last whole observation was applied.
    pub seen_at: Option<Instant>,
}

impl Overview {
    /// Whether the World of every source has been applied at least once.
    pub fn has_first_world(&self) -> bool {
        self.sources.iter().all(|source| source.seen_at.is_some())
    }
}
