//! Certificates that are asked of an authority (RFC 8555), kept, and renewed in
//! time.
//!
//! One certificate a name: a name that fails costs no other its certificate, and
//! none tells of the others.

mod authority;
mod challenge;
mod client;
mod failure;
mod keeper;
mod order;
mod schedule;
mod storage;
mod tries;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use authority::{Advice, Authority, Issuer};
pub use challenge::{Challenges, Kind};
pub use failure::Failure;
pub use keeper::{Around, Keeper};
pub use order::Wish;
pub use schedule::Window;
pub use storage::{Kept, Storage, Unread};

use crate::config::Acme;
use crate::domain::world::Report;
use crate::tls::Store;
use crate::tls::acme::challenge::Board;

/// Whoever keeps certificates for us, beneath `state`. Nothing is read, made or
/// asked before a name is wanted.
pub fn keeper(
    settings: &Acme,
    state: &Path,
    challenges: Challenges,
    store: Arc<Store>,
    reports: mpsc::Sender<Report>,
    around: Around,
) -> Keeper<Authority> {
    let storage = Arc::new(Storage::new(state, &settings.directory));
    let board = Board { challenges, store: Arc::clone(&store) };
    let authority = Authority::new(settings.clone(), Arc::clone(&storage), board);
    Keeper::new(authority, settings.challenge, storage, store, reports, around)
}
