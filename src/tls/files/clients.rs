//! The authorities by whose certificates clients are known, in a file.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::time::Instant;
use tracing::info;

use crate::domain::problem::Problem;
use crate::tls::certificate::Fault;
use crate::tls::files::told;
use crate::tls::files::watched::Watched;
use crate::tls::pem;

#[derive(Debug)]
pub(super) struct Clients {
    watched: Watched<Arc<RootCertStore>, Fault>,
    path: Arc<Path>,
}

impl Clients {
    pub(super) fn new(path: &Path) -> Self {
        Self { watched: Watched::new(vec![path.to_owned()]), path: path.into() }
    }

    /// Reads them if they have changed. Whether there are others now.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let mut is_same = false;
        let changed = self.watched.look(now, |contents, _, before| {
            let roots = Arc::new(roots(contents.first().map_or(&[], Vec::as_slice))?);
            // Sessions of clients end with the authorities that they came by.
            match before {
                Some(before) if before.roots == roots.roots => {
                    is_same = true;
                    Ok(Arc::clone(before))
                }
                Some(_) | None => Ok(roots),
            }
        });
        let changed = changed && !is_same;
        if let (true, Some(roots)) = (changed, self.watched.value()) {
            info!(file = %self.path.display(), count = roots.len(), "Authorities of clients read");
        }
        changed
    }

    pub(super) fn roots(&self) -> Option<&Arc<RootCertStore>> {
        self.watched.value()
    }

    pub(super) fn problem(&self, now: Instant) -> Option<Problem> {
        let trouble = self.watched.trouble(now)?;
        Some(told::clients(&self.path, trouble, self.watched.value().is_some()))
    }
}

/// The authorities that stand in `text`; if one cannot be read, none count.
fn roots(text: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in pem::certificates(text)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| Fault::Unreadable { place: index + 1 })?;
    }
    Ok(roots)
}
