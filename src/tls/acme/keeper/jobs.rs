//! What a keeper has done beside itself: asking, and reading and writing files.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;

use crate::domain::names::Host;
use crate::tls::acme::authority::{Advice, Issuer, identifier};
use crate::tls::acme::failure::{self, Failure};
use crate::tls::acme::keeper::entry::Due;
use crate::tls::acme::keeper::{Keeper, LOOK_EVERY};
use crate::tls::acme::order::Wish;
use crate::tls::acme::storage::{Kept, Storage, Unread};

/// What a job has come to.
pub(super) enum Done {
    Looked(Look),
    /// With the certificate, whether it is kept.
    Issued {
        name: Host,
        hurried: bool,
        issued: Result<(Kept, bool), Failure>,
    },
    Advised {
        name: Host,
        advised: Result<Option<Advice>, Failure>,
    },
}

/// What was found among the certificates that are kept.
pub(super) struct Look {
    pub(super) leads: bool,
    pub(super) found: Vec<(Host, Result<Option<Kept>, Unread>)>,
    pub(super) saved: Vec<Host>,
}

impl<I: Issuer> Keeper<I> {
    /// Reads what is kept, and keeps what could not be kept before.
    pub(super) fn look(&mut self) {
        let mut names = Vec::new();
        let mut unsaved = Vec::new();
        for (name, entry) in self.entries.iter().filter(|(_, entry)| entry.wanted) {
            if !entry.loaded || !self.leads {
                names.push(name.clone());
            }
            if let Some(held) = entry.held.as_ref().filter(|_| entry.unsaved) {
                unsaved.push((name.clone(), held.kept.clone()));
            }
        }
        self.looking = true;
        self.look_at = Some(Instant::now() + LOOK_EVERY);
        let storage = Arc::clone(&self.storage);
        self.jobs.spawn_blocking(move || {
            let leads = storage.lead();
            let kept = |(name, kept)| storage.keep_certificate(&name, &kept).then_some(name);
            let saved = unsaved.into_iter().filter_map(kept).collect();
            let found = names.into_iter().map(|name| {
                let kept = storage.certificate(&name);
                (name, kept)
            });
            Done::Looked(Look { leads, found: found.collect(), saved })
        });
    }

    /// Asks the authority for what is due for `name`.
    pub(super) fn ask(&mut self, name: Host, due: Due, time: SystemTime) {
        let Some(entry) = self.entries.get_mut(&name) else { return };
        entry.busy = true;
        self.asking += 1;
        let issuer = Arc::clone(&self.issuer);
        let held = entry.held.as_ref().map(|held| held.kept.certificate.clone());
        if let (Due::Advice, Some(certificate)) = (due, &held) {
            let certificate = certificate.clone();
            self.jobs.spawn(async move {
                let asking = AssertUnwindSafe(issuer.advice(certificate)).catch_unwind();
                let advised = asking.await.unwrap_or_else(|_| Err(broken()));
                Done::Advised { name, advised }
            });
            return;
        }
        let hurried = entry.is_hurried(time);
        let challenge = failure::kind(self.choice, self.around.has_http, entry.disproved);
        let replaces = held.as_ref().and_then(identifier);
        let wish = Wish { name: name.clone(), challenge, replaces };
        let storage = Arc::clone(&self.storage);
        self.jobs.spawn(async move {
            let asking = AssertUnwindSafe(issuer.issue(wish)).catch_unwind();
            let issued = match asking.await.unwrap_or_else(|_| Err(broken())) {
                Ok(kept) => Ok(keep(storage, name.clone(), kept).await),
                Err(failure) => Err(failure),
            };
            Done::Issued { name, hurried, issued }
        });
    }
}

/// The certificate, and whether it is kept.
async fn keep(storage: Arc<Storage>, name: Host, kept: Kept) -> (Kept, bool) {
    let copy = kept.clone();
    let saving = spawn_blocking(move || storage.keep_certificate(&name, &copy));
    let saved = saving.await.unwrap_or_else(|error| {
        warn!("Keeping a certificate failed: {error}");
        false
    });
    (kept, saved)
}

/// The library that speaks ACME has places where it gives up on an answer that
/// makes no sense; that must cost one try and no more.
fn broken() -> Failure {
    Failure::Ours("asking for it broke off, which is a mistake of ours".to_owned())
}
