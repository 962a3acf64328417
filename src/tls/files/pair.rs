//! One certificate with its key, in two files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::statfs;
use tokio::time::Instant;
use tracing::info;

use crate::config::PairFiles;
use crate::domain::problem::Problem;
use crate::tls::certificate::{Certificate, Fault};
use crate::tls::clock::date;
use crate::tls::files::read::Opened;
use crate::tls::files::told;
use crate::tls::files::watched::Watched;
use crate::tls::store::Filed;
use crate::tls::{clock, pem};

/// The files, and the last good certificate that stood in them.
#[derive(Debug)]
pub(super) struct Pair {
    path: Arc<Path>,
    key_path: PathBuf,
    /// The setting by which it is known.
    setting: &'static str,
    watched: Watched<Read, Rejected>,
}

/// What stood in the files.
#[derive(Clone, Debug)]
pub(super) struct Read {
    certificate: Certificate,
    /// Anybody on this machine may read the key.
    key_is_public: bool,
}

/// Why what stands in the files does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejected {
    #[error(transparent)]
    Fault(#[from] Fault),
    /// While the one before it is good.
    #[error(
        "the new certificate is good only from {} to {}",
        date(.0.certificate.not_before),
        date(.0.certificate.not_after)
    )]
    Untimely(Box<Read>),
}

impl Pair {
    pub(super) fn new(files: &PairFiles, setting: &'static str) -> Self {
        Self {
            path: files.certificate.as_path().into(),
            key_path: files.key.clone(),
            setting,
            watched: Watched::new(vec![files.certificate.clone(), files.key.clone()]),
        }
    }

    pub(super) fn stands_in(&self, files: &PairFiles) -> bool {
        *self.path == *files.certificate && self.key_path == files.key
    }

    /// Reads it if it has changed. Whether there is a new one.
    pub(super) fn look(&mut self, now: Instant, date: SystemTime) -> bool {
        let Self { path, key_path, .. } = self;
        let serves_better = |before: Option<&Read>, new: &Read| {
            let is_current = |it: &Read| it.certificate.is_current(date);
            before.is_some_and(is_current) && !is_current(new)
        };
        let read = self.watched.look(now, |contents, opened, before| {
            let [chain, key] = contents else { return Err(Fault::NoCertificate.into()) };
            let certificate = pem::certificate(chain, key)?;
            let new = Read { certificate, key_is_public: is_public(opened, key_path) };
            if serves_better(before, &new) {
                return Err(Rejected::Untimely(Box::new(new)));
            }
            Ok(new)
        });
        let changed = read
            || self.watched.judge_again(|rejected, before| match rejected {
                Rejected::Untimely(new) if !serves_better(before, new) => Some(Read::clone(new)),
                Rejected::Untimely(_) | Rejected::Fault(_) => None,
            });
        if let (true, Some(Read { certificate, .. })) = (changed, self.watched.value()) {
            let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
            let until = clock::date(certificate.not_after);
            info!(file = %path.display(), names = names.join(" "), until, "Certificate read");
        }
        changed
    }

    /// What keeps it from serving, or will soon.
    pub(super) fn problem(&self, now: Instant, date: SystemTime) -> Option<Problem> {
        let value = self.certificate();
        let problem = match (self.watched.trouble(now), value) {
            (Some(trouble), _) => told::trouble(&self.path, &self.key_path, trouble, value),
            (None, Some(certificate)) => told::age(&self.path, certificate, date)?,
            (None, None) => return None,
        };
        Some(problem.about(self.setting))
    }

    /// What should be mended about the one that serves, and keeps nobody from it.
    pub(super) fn remarks(&self) -> impl Iterator<Item = Problem> {
        let value = self.watched.value();
        let public = value.filter(|it| it.key_is_public).map(|_| told::public_key(&self.key_path));
        let strays = self.certificate().and_then(|it| told::strays(&self.path, &it.strays));
        public.into_iter().chain(strays).map(|it| it.about(self.setting))
    }

    /// As the store knows it.
    pub(super) fn filed(&self) -> Filed {
        Filed {
            path: Arc::clone(&self.path),
            certificate: self.certificate().cloned(),
            fault: None,
        }
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.watched.value().map(|it| &it.certificate)
    }
}

/// Whether anybody may read the key. Secrets of Docker and Kubernetes are so by
/// default, in memory that nobody else can reach.
fn is_public(opened: &[Opened], key: &Path) -> bool {
    let in_memory = || statfs(key).is_ok_and(|it| it.f_type == TMPFS);
    opened.last().is_some_and(|key| key.is_public) && !in_memory()
}

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: i64 = 0x0102_1994;
