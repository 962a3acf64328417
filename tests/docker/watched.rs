//! A source that is being watched, and waits for what it tells.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel::config::DockerAddress;
use evenkeel::discovery::docker;
use evenkeel::domain::world::{Hint, Observation, Place, Report, RunState, SourceHealth, Workload};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A watch on a daemon, which ends with this value.
pub(crate) struct Watched {
    reports: mpsc::Receiver<Report>,
    task: JoinHandle<()>,
}

impl Watched {
    pub(crate) fn start(address: DockerAddress, prefix: &str) -> Self {
        Self::start_with_room(address, prefix, 64)
    }

    /// As `start`; the watch waits when so many reports have not been read.
    pub(crate) fn start_with_room(address: DockerAddress, prefix: &str, room: usize) -> Self {
        let (sender, reports) = mpsc::channel(room);
        Self { reports, task: tokio::spawn(docker::watch(address, prefix.into(), sender)) }
    }

    /// The next report, whatever it is.
    pub(crate) async fn next(&mut self) -> Report {
        let deadline = Instant::now() + PATIENCE;
        timeout_at(deadline, self.reports.recv()).await.expect("a report").expect("it goes on")
    }

    /// The next report, which is a hint.
    pub(crate) async fn hint(&mut self) -> Hint {
        match self.next().await {
            Report::Hint { hint, .. } => hint,
            other @ (Report::Seen { .. } | Report::Health { .. } | Report::Noted { .. }) => {
                panic!("a hint comes before {other:#?}")
            }
        }
    }

    /// The next hint, whatever comes before it.
    pub(crate) async fn next_hint(&mut self) -> Hint {
        loop {
            if let Report::Hint { hint, .. } = self.next().await {
                return hint;
            }
        }
    }

    /// The first observation from now on that `fits`.
    pub(crate) async fn seen(&mut self, fits: impl Fn(&Observation) -> bool) -> Observation {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while let Ok(report) = timeout_at(deadline, self.reports.recv()).await {
            if let Report::Seen { observation, .. } = report.expect("it goes on") {
                if fits(&observation) {
                    return observation;
                }
                last = Some(observation);
            }
        }
        panic!("nothing that fits was seen; last: {last:#?}");
    }

    /// The first observation in which the container of this name runs so.
    pub(crate) async fn runs(&mut self, name: &str, run: RunState) -> Workload {
        let observation = self.seen(|it| workload(it, name).is_some_and(|it| it.run == run)).await;
        workload(&observation, name).expect("just seen").clone()
    }

    /// The next message and hint about a daemon that cannot be heard.
    pub(crate) async fn away(&mut self) -> (String, String) {
        loop {
            if let Report::Health { health: SourceHealth::Away { message, hint, .. }, .. } =
                self.next().await
            {
                return (message, hint);
            }
        }
    }

    /// The next peer that is connected to.
    pub(crate) async fn connected(&mut self) -> String {
        loop {
            if let Report::Health { health: SourceHealth::Connected { peer }, .. } =
                self.next().await
            {
                return peer;
            }
        }
    }

    /// Whether the daemon is told to be away within `span`.
    pub(crate) async fn goes_away(&mut self, span: Duration) -> bool {
        let deadline = Instant::now() + span;
        while let Ok(report) = timeout_at(deadline, self.reports.recv()).await {
            if let Some(Report::Health { health: SourceHealth::Away { .. }, .. }) = report {
                return true;
            }
        }
        false
    }

    /// Whether an observation comes within `span`.
    pub(crate) async fn sees_anything(&mut self, span: Duration) -> bool {
        let deadline = Instant::now() + span;
        while let Ok(report) = timeout_at(deadline, self.reports.recv()).await {
            if matches!(report, Some(Report::Seen { .. })) {
                return true;
            }
        }
        false
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn workload<'a>(observation: &'a Observation, name: &str) -> Option<&'a Workload> {
    observation.workloads.iter().find(|workload| &*workload.name == name)
}

/// The names of all that was observed.
pub(crate) fn names(observation: &Observation) -> Vec<&str> {
    observation.workloads.iter().map(|workload| &*workload.name).collect()
}

/// The first address of a container.
pub(crate) fn address(workload: &Workload) -> Option<IpAddr> {
    match &workload.place {
        Place::Container { networks, .. } => networks.iter().find_map(|network| network.address),
        Place::Fixed(address) => Some(address.ip()),
    }
}

/// Far more than anything takes, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);
