//! Judging the labels of what runs now, without serving anything.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::DockerAddress;
use crate::control::read_label_files;
use crate::discovery;
use crate::domain::labels::LabelSettings;
use crate::domain::names::SourceName;
use crate::domain::plan::{Memory, Plan, plan};
use crate::domain::problem::Problem;
use crate::domain::world::{Report, SourceHealth, World};

/// What is wrong with the labels of the containers that the engine at
/// `address` runs, or why nobody can tell.
pub fn check_docker(
    address: &DockerAddress,
    labels: &LabelSettings,
) -> Result<Vec<Problem>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let world = runtime.map(|runtime| runtime.block_on(first_world(address, labels)));
    let world = world.map_err(|error: io::Error| error.to_string())??;
    let memory = Memory {
        previous: &Plan::default(),
        been_ready: &BTreeSet::new(),
        drained: &BTreeSet::new(),
    };
    let first = plan(&world, memory, labels);
    let labels = with_files(labels, &first.files);
    Ok(plan(&world, memory, &labels).problems)
}

/// The settings with the content of these label files. Where their folder is
/// not there, as on a host beside the balancer's container, they are taken to be
/// in order, and so are entry points where no https is set: the balancer itself
/// may be told more than we are.
pub fn with_files(labels: &LabelSettings, wanted: &BTreeSet<Arc<str>>) -> LabelSettings {
    let mut files = (*labels.files).clone();
    if files.folder.is_dir() {
        read_label_files(&mut files, wanted);
    } else {
        files.assumed = true;
    }
    let served = labels.served.clone().filter(|served| served.https);
    LabelSettings { files: files.into(), served, ..labels.clone() }
}

async fn first_world(address: &DockerAddress, labels: &LabelSettings) -> Result<World, String> {
    let (reports, mut received) = mpsc::channel(REPORTS_MAX);
    let prefix = Arc::clone(&labels.prefix);
    let watching = tokio::spawn(discovery::docker::watch(address.clone(), prefix, reports));
    let first = timeout(PATIENCE, async {
        loop {
            match received.recv().await {
                Some(Report::Seen { source, observation, .. }) => {
                    return Ok(World::from([(source, Arc::new(observation))]));
                }
                Some(Report::Health {
                    health: SourceHealth::Away { message, hint, .. }, ..
                }) => {
                    return Err(if hint.is_empty() {
                        message
                    } else {
                        format!("{message}; {hint}")
                    });
                }
                Some(
                    Report::Hint { .. }
                    | Report::Noted { .. }
                    | Report::Health { health: SourceHealth::Connected { .. }, .. },
                ) => {}
                None => return Err(format!("the {} source ended", SourceName::docker())),
            }
        }
    });
    let first = first.await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
    watching.abort();
    first
}

const REPORTS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(15);
