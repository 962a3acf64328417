//! Every certificate in use, found by the name that a client asks for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::debug;

use crate::domain::names::{Host, HostPattern};
use crate::domain::tls::{ClientAuth, UnknownName};
use crate::tls::certificate::Certificate;
use crate::tls::server_config::{Configs, Terms};
use crate::tls::store::{Authorities, Choice, Filed, Identity, Issued, Origin, Sources, Standing};

/// It is never changed, only replaced.
#[derive(Debug)]
pub(super) struct Table {
    exact: HashMap<Host, Arc<Entry>>,
    /// By what follows `*.`.
    wildcards: HashMap<Host, Arc<Entry>>,
    /// Whom a certificate has been asked for that is not there yet.
    awaited: HashSet<Host>,
    default: Arc<Entry>,
    unknown_name: UnknownName,
    entries: Vec<Arc<Entry>>,
    standings: Vec<Standing>,
}

/// Those of the table before, by identity.
type Known<'a> = HashMap<&'a str, &'a Arc<Entry>>;

/// A certificate in use.
#[derive(Debug)]
pub(super) struct Entry {
    identity: Identity,
    certificate: Certificate,
    terms: Arc<Terms>,
    configs: Configs,
}

impl Table {
    /// The certificates as they count at `date`. One that `previous` has too goes
    /// on with the sessions that were begun with it.
    pub(super) fn build(
        sources: &Sources,
        previous: Option<&Self>,
        date: SystemTime,
    ) -> Result<Self, rustls::Error> {
        let known = previous.into_iter().flat_map(|it| it.entries.iter().chain([&it.default]));
        let known: Known<'_> = known.map(|it| (&*it.identity.0, it)).collect();
        let entry = |identity, certificate| Entry::new(identity, certificate, sources, &known);
        let mut entries = Vec::new();
        for Filed { path, certificate, .. } in &sources.files {
            if let Some(certificate) = certificate {
                entries.push(entry(format!("file {}", path.display()), certificate)?);
            }
        }
        let (mut default, filed) = (entries.first().cloned(), entries.len());
        let mut awaited = HashSet::new();
        for Issued { names, certificate, .. } in &sources.issued {
            match (names.first(), certificate) {
                (Some(first), Some(certificate)) => {
                    entries.push(entry(format!("acme {first}"), certificate)?);
                }
                (_, _) => awaited.extend(names.iter().cloned()),
            }
        }
        let default = match default.take() {
            Some(default) => default,
            None => entry("self-signed".to_owned(), &sources.self_signed)?,
        };
        // Of several for one name one that is good now counts, then what the operator
        // has put there himself, then the one that is good for longest.
        let mut ranked: Vec<_> = entries.into_iter().enumerate().collect();
        ranked.sort_by_key(|(index, entry)| {
            let Entry { certificate, .. } = &**entry;
            (certificate.is_current(date), *index < filed, certificate.not_after)
        });
        let entries: Vec<Arc<Entry>> = ranked.into_iter().map(|(_, entry)| entry).collect();
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        for entry in &entries {
            for name in &entry.certificate.names {
                let (names, host) = match name {
                    HostPattern::Exact(host) => (&mut exact, host),
                    HostPattern::Wildcard(host) => (&mut wildcards, host),
                };
                let other: Option<Arc<Entry>> = names.insert(host.clone(), Arc::clone(entry));
                if let Some(other) = other.filter(|other| !Arc::ptr_eq(other, entry)) {
                    let (taken, left) = (&*entry.identity.0, &*other.identity.0);
                    debug!(%name, taken, left, "Of several certificates for one name one is not shown for it");
                }
            }
        }
        Ok(Self {
            exact,
            wildcards,
            awaited,
            standings: standings(sources, &default),
            default,
            unknown_name: sources.unknown_name,
            entries,
        })
    }

    /// The certificate for a host, as [`crate::domain::names::host_key`] writes it.
    pub(super) fn find(&self, host: &str) -> Option<&Arc<Entry>> {
        if let Some(entry) = self.exact.get(host) {
            return Some(entry);
        }
        // A wildcard stands for one label (RFC 9525, section 6.3).
        let parent = host.split_once('.').map(|(_, parent)| parent);
        if let Some(entry) = parent.and_then(|parent| self.wildcards.get(parent)) {
            return Some(entry);
        }
        match self.unknown_name {
            UnknownName::Default => Some(&self.default),
            UnknownName::Refuse => self.awaited.contains(host).then_some(&self.default),
        }
    }

    pub(super) fn default(&self) -> &Arc<Entry> {
        &self.default
    }

    pub(super) fn standings(&self) -> &[Standing] {
        &self.standings
    }
}

impl Entry {
    fn new(
        identity: String,
        certificate: &Certificate,
        sources: &Sources,
        known: &Known<'_>,
    ) -> Result<Arc<Self>, rustls::Error> {
        let same = known.get(&*identity).filter(|it| {
            it.certificate.is_same(certificate) && Arc::ptr_eq(&it.terms, &sources.terms)
        });
        if let Some(same) = same {
            return Ok(Arc::clone(same));
        }
        Ok(Arc::new(Self {
            identity: Identity(identity.into()),
            certificate: certificate.clone(),
            terms: Arc::clone(&sources.terms),
            configs: sources.terms.configs(&certificate.key)?,
        }))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn authorities(&self) -> Authorities {
        Authorities(Arc::clone(&self.terms))
    }

    pub(super) fn choice(&self, auth: ClientAuth) -> Choice {
        Choice {
            config: Arc::clone(self.configs.under(auth)),
            identity: self.identity.clone(),
            authorities: self.authorities(),
        }
    }
}

fn standings(sources: &Sources, default: &Entry) -> Vec<Standing> {
    let standing = |certificate: Option<&Certificate>, origin| Standing {
        names: certificate.iter().flat_map(|it| &it.names).map(ToString::to_string).collect(),
        origin,
        is_default: certificate.is_some_and(|it| it.is_same(&default.certificate)),
        validity: certificate.map(|it| (it.not_before, it.not_after)),
        renews_at: None,
        fault: None,
    };
    let files = sources.files.iter().map(|it| Standing {
        fault: it.fault.clone(),
        ..standing(it.certificate.as_ref(), Origin::File(Arc::clone(&it.path)))
    });
    let issued = sources.issued.iter().map(|it| Standing {
        names: it.names.iter().map(ToString::to_string).collect(),
        renews_at: it.renews_at,
        fault: it.failure.clone(),
        ..standing(it.certificate.as_ref(), Origin::Acme)
    });
    let own = standing(Some(&sources.self_signed), Origin::SelfSigned);
    files.chain(issued).chain(own.is_default.then_some(own)).collect()
}
