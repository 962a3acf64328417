//! The certificates in use, and which of them a handshake gets.

mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::VerifierBuilderError;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::domain::names::{Host, host_key};
use crate::domain::tls::{ClientAuth, Profile, UnknownName};
use crate::tls::certificate::Certificate;
use crate::tls::self_signed::{Unmade, self_signed};
use crate::tls::server_config::Terms;
use crate::tls::store::table::Table;

/// The certificates in use. Handshakes read it without a lock; whoever finds
/// newer ones replaces them at once.
#[derive(Debug)]
pub struct Store {
    table: ArcSwap<Table>,
    challenges: ArcSwap<HashMap<Host, Arc<ServerConfig>>>,
    /// Locked by those who write alone.
    sources: Mutex<Sources>,
}

/// Which of our certificates it is, whatever its content becomes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity(Arc<str>);

/// By which authorities clients were known at some time.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<Terms>);

/// What a handshake goes on with.
#[derive(Clone, Debug)]
pub struct Choice {
    pub config: Arc<ServerConfig>,
    pub identity: Identity,
    pub authorities: Authorities,
}

/// There is no certificate for this name, and no other is to be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no certificate for the name that was asked for")]
pub struct Unrecognised;

/// A certificate from an authority, or the wish for one.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Whom it is asked for, at least one; the first tells it from others.
    pub names: Vec<Host>,
    /// None until the first is issued: the default one is shown meanwhile.
    pub certificate: Option<Certificate>,
    /// When the next one is asked for.
    pub renews_at: Option<SystemTime>,
    /// Why the last one could not be had: a sentence without its full stop.
    pub failure: Option<Arc<str>>,
}

/// A certificate that stands in files, or should.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    /// Of the certificate, as it was written in the settings or found.
    pub(super) path: Arc<Path>,
    /// The last good one.
    pub(super) certificate: Option<Certificate>,
    /// What is wrong with those that stand there now.
    pub(super) fault: Option<Arc<str>>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Origin {
    /// The file of the certificate.
    File(Arc<Path>),
    Acme,
    SelfSigned,
}

/// A certificate as it is shown to operators.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Hosts and wildcards.
    pub names: Vec<String>,
    pub origin: Origin,
    /// Shown to those who ask for no name, or for one that we do not know.
    pub is_default: bool,
    /// From when and until when it is good; none while there is none.
    pub validity: Option<(SystemTime, SystemTime)>,
    pub renews_at: Option<SystemTime>,
    /// What keeps a newer one from being used.
    pub fault: Option<Arc<str>>,
}

/// Everything from which the table is made.
#[derive(Debug)]
struct Sources {
    profile: Profile,
    unknown_name: UnknownName,
    terms: Arc<Terms>,
    self_signed: Certificate,
    /// The first one that can be used is the default.
    files: Vec<Filed>,
    issued: Vec<Issued>,
}

/// Why certificates cannot be put to use; those before them stay in use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("cannot make what a handshake needs")]
    Handshake(#[from] rustls::Error),
    #[error("cannot use the authorities of clients")]
    Clients(#[from] VerifierBuilderError),
}

impl PartialEq for Authorities {
    /// Whether none has been replaced in between.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Authorities {}

impl Store {
    /// A store with nothing but a self-signed certificate.
    pub fn new(profile: Profile, unknown_name: UnknownName) -> Result<Self, Unmade> {
        let sources = Sources {
            profile,
            unknown_name,
            terms: Arc::new(Terms::new(profile, None)?),
            self_signed: self_signed()?,
            files: Vec::new(),
            issued: Vec::new(),
        };
        Ok(Self {
            table: ArcSwap::from_pointee(Table::build(&sources, None, SystemTime::UNIX_EPOCH)?),
            challenges: ArcSwap::default(),
            sources: Mutex::new(sources),
        })
    }

    /// What a client gets that asks for `name`, if it says one, under this
    /// policy for certificates of its own.
    pub fn choose(&self, name: Option<&str>, auth: ClientAuth) -> Result<Choice, Unrecognised> {
        let table = self.table.load();
        let entry = match name {
            Some(name) => table.find(&host_key(name)).ok_or(Unrecognised)?,
            None => table.default(),
        };
        Ok(entry.choice(auth))
    }

    /// What a client gets that comes to validate `name` (RFC 8737): none if
    /// nobody waits for it.
    pub fn challenge(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.challenges.load().get(&*host_key(name)).cloned()
    }

    /// The certificate that stands for `name`.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        self.table.load().find(&host_key(name)).map(|entry| entry.identity().clone())
    }

    /// By which clients are known now.
    pub fn authorities(&self) -> Authorities {
        self.table.load().default().authorities()
    }

    /// Every certificate there is, and those that should be there.
    pub fn standings(&self) -> Vec<Standing> {
        self.table.load().standings().to_vec()
    }

    /// Replaces all certificates that authorities have issued; which of several
    /// for a name counts is decided as of `date`.
    pub fn set_issued(&self, issued: Vec<Issued>, date: SystemTime) -> Result<(), Unusable> {
        let mut sources = self.sources();
        let before = std::mem::replace(&mut sources.issued, issued);
        self.rebuild(&sources, date).inspect_err(|_| sources.issued = before)
    }

    /// Has those who come to validate `name` see this certificate; none: nobody
    /// waits for them any longer.
    pub fn set_challenge(&self, name: &Host, key: Option<&CertifiedKey>) -> Result<(), Unusable> {
        let sources = self.sources();
        let config = key.map(|key| sources.terms.challenge(key)).transpose()?;
        let mut challenges = HashMap::clone(&self.challenges.load());
        match config {
            Some(config) => challenges.insert(name.clone(), Arc::new(config)),
            None => challenges.remove(name),
        };
        self.challenges.store(Arc::new(challenges));
        Ok(())
    }

    /// Replaces all certificates that stand in files, as [`Self::set_issued`].
    pub(super) fn set_files(&self, files: Vec<Filed>, date: SystemTime) -> Result<(), Unusable> {
        let mut sources = self.sources();
        let before = std::mem::replace(&mut sources.files, files);
        self.rebuild(&sources, date).inspect_err(|_| sources.files = before)
    }

    /// Knows clients by certificates of these authorities from now on.
    pub(super) fn set_clients(
        &self,
        roots: Option<&Arc<RootCertStore>>,
        date: SystemTime,
    ) -> Result<(), Unusable> {
        let mut sources = self.sources();
        let terms = Arc::new(Terms::new(sources.profile, roots)?);
        let before = std::mem::replace(&mut sources.terms, terms);
        self.rebuild(&sources, date).inspect_err(|_| sources.terms = before)
    }

    fn rebuild(&self, sources: &Sources, date: SystemTime) -> Result<(), Unusable> {
        let table = Table::build(sources, Some(&self.table.load()), date)?;
        self.table.store(Arc::new(table));
        Ok(())
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
