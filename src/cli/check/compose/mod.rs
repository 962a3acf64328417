//! Compose files: the services of one project, and where each word of them
//! stands.

mod load;
mod mount;
mod port;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) use load::load;
pub(super) use mount::{Mount, Source};
pub(super) use port::{Port, range};
pub(super) use service::{Service, Text};

use crate::cli::check::yaml::At;
use crate::cli::finding::{Finding, Severity};
use crate::config::Place;

/// All files of a project, laid over one another.
#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) services: BTreeMap<String, Service>,
    /// What the engine calls each network that the files define, by its name in
    /// them.
    pub(super) networks: BTreeMap<String, String>,
    /// The files behind secrets and configs; none where they come from elsewhere.
    secrets: BTreeMap<String, Option<PathBuf>>,
    configs: BTreeMap<String, Option<PathBuf>>,
    told: Vec<Told>,
    files: Vec<PathBuf>,
    unread: Vec<Finding>,
}

/// Something that is wrong at a place in the files.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) at: At,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Project {
    pub(super) fn place(&self, at: At) -> Place {
        let file = self.files.get(at.file).cloned().unwrap_or_default();
        Place::Line { file, line: at.line, column: at.column }
    }

    pub(super) fn finding(&self, told: &Told) -> Finding {
        Finding {
            place: Some(self.place(told.at)),
            severity: told.severity,
            message: told.message.clone(),
            hint: told.hint.clone(),
        }
    }

    /// What reading the files has found.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let told = self.told.iter().map(|told| self.finding(told));
        self.unread.iter().cloned().chain(told).collect()
    }

    /// Where the whole of the first file stands.
    pub(super) fn beginning(&self) -> At {
        At { file: 0, line: 1, column: 1 }
    }

    /// What `service` sees at `path`.
    pub(super) fn seen(&self, service: &Service, path: &Path) -> Seen {
        let within = |mount: &&Mount| path.starts_with(&mount.target);
        let nearest = service.mounts.iter().filter(within);
        let Some(mount) = nearest.max_by_key(|mount| mount.target.as_os_str().len()) else {
            return Seen::Nothing;
        };
        let source = match &mount.source {
            Source::Host(source) => Some(source.clone()),
            Source::Secret(name) => self.secrets.get(name).cloned().flatten(),
            Source::Config(name) => self.configs.get(name).cloned().flatten(),
            Source::Unknown => None,
        };
        let rest = path.strip_prefix(&mount.target).unwrap_or(Path::new(""));
        // Joining nothing would add a slash, which makes a file a folder.
        let whole = |source: PathBuf| match rest.as_os_str().is_empty() {
            true => source,
            false => source.join(rest),
        };
        source.map_or(Seen::Unknown, |source| Seen::Host(whole(source)))
    }

    /// The service whose network `service` uses: itself, or that of
    /// `network_mode: service:x`.
    pub(super) fn holder<'a>(&'a self, service: &'a Service) -> &'a Service {
        let other = service.network_mode.as_ref().and_then(|it| it.text.strip_prefix("service:"));
        other.and_then(|name| self.services.get(name)).unwrap_or(service)
    }
}

/// What a container sees at a path of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// What its image has there.
    Nothing,
    Host(PathBuf),
    /// Something that is not in the files.
    Unknown,
}
