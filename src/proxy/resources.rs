//! What the requests of one thread use.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::domain::pool::{PoolSettings, PoolState};
use crate::domain::pressure::Gauge;
use crate::domain::routing::RoutingTable;
use crate::live::{Alarm, Reader};
use crate::proxy::bell::Bell;
use crate::proxy::complaints::Complaints;
use crate::proxy::crowd::Crowd;
use crate::proxy::encoders::Encoders;
use crate::proxy::errand::Errands;
use crate::proxy::handshakes::Handshakes;
use crate::proxy::pages::Pages;
use crate::proxy::passwords::{Verified, Verifier};
use crate::proxy::upstream::Carriers;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counters;
use crate::tls::Clients;
use crate::tls::Store;
use crate::tls::acme::Challenges;

/// What every worker is given.
#[derive(Clone, Debug)]
pub struct Parts {
    pub reader: Reader,
    pub alarm: Alarm,
    pub access_log: AccessLog,
    pub counters: Arc<Counters>,
    /// How short of memory we are.
    pub pressure: Arc<Gauge>,
    /// The connections of each client; none where they have no limit.
    pub crowd: Option<Arc<Crowd>>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Where clients reach our https, for redirects to it.
    pub https_public_port: u16,
    /// How long a client's connection may rest between requests.
    pub keep_alive: Duration,
    /// None where nothing is served by TLS.
    pub tls: Option<Arc<Store>>,
    /// What authorities are told who come to see that a name is ours.
    pub challenges: Challenges,
    pub passwords: Verifier,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Arc<[IpNet]>,
    /// What the seconds of retry budgets are counted from.
    pub epoch: Instant,
    /// Client connections that one worker takes at once.
    pub connections_max: usize,
}

/// What one worker owns. Nothing of it is shared with another thread but what
/// `Parts` names.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) parts: Parts,
    table: RefCell<(Reader, Rc<Table>)>,
    carriers: Carriers,
    bell: Rc<Bell>,
    errands: Errands,
    encoders: Encoders,
    verified: Verified,
    pages: Pages,
    warned_at: Cell<Option<Instant>>,
    complaints: Complaints,
    handshakes: Handshakes,
    /// Those who wait for any table at all, as if for a pool of its own.
    unrouted: (PoolSettings, Arc<PoolState>),
}

/// A routing table as one worker counts its users.
#[derive(Debug)]
pub(super) struct Table(Arc<RoutingTable>);

impl Resources {
    pub(super) fn new(parts: Parts) -> Self {
        let mut reader = parts.reader.clone();
        let table = Rc::new(Table(Arc::clone(reader.current())));
        let clients = Rc::<Clients>::default();
        Self {
            parts,
            table: RefCell::new((reader, table)),
            carriers: Carriers::new(Rc::clone(&clients)),
            bell: Rc::default(),
            errands: Errands::new(clients),
            encoders: Encoders::default(),
            verified: Verified::default(),
            pages: Pages::default(),
            warned_at: Cell::default(),
            complaints: Complaints::default(),
            handshakes: Handshakes::default(),
            unrouted: Default::default(),
        }
    }

    /// The newest table. Its users are counted within this thread only, so that
    /// workers do not contend for the count.
    pub(super) fn table(&self) -> Rc<Table> {
        let (reader, last) = &mut *self.table.borrow_mut();
        let newest = reader.current();
        if !Arc::ptr_eq(newest, &last.0) {
            *last = Rc::new(Table(Arc::clone(newest)));
        }
        Rc::clone(last)
    }

    /// Whether `address` is a proxy whose word about the client is believed.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        is_in(&self.parts.trusted_proxies, address)
    }

    /// Whether connections from `address` begin with a PROXY header.
    pub(super) fn is_introduced(&self, address: IpAddr) -> bool {
        is_in(&self.parts.proxy_protocol, address)
    }

    /// Whether so much time has passed since the last warning of a connection
    /// that it may be given again.
    pub(super) fn may_warn(&self, now: Instant) -> bool {
        let may = self.warned_at.get().is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
        if may {
            self.warned_at.set(Some(now));
        }
        may
    }

    /// For how long, and beside how many others, a request waits that has no
    /// route while not every source has been seen.
    pub(super) fn unrouted(&self) -> (&PoolSettings, &Arc<PoolState>) {
        (&self.unrouted.0, &self.unrouted.1)
    }

    pub(super) fn carriers(&self) -> &Carriers {
        &self.carriers
    }

    pub(super) fn errands(&self) -> &Errands {
        &self.errands
    }

    pub(super) fn encoders(&self) -> &Encoders {
        &self.encoders
    }

    pub(super) fn verified(&self) -> &Verified {
        &self.verified
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    pub(super) fn bell(&self) -> &Rc<Bell> {
        &self.bell
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

impl Deref for Table {
    type Target = RoutingTable;

    fn deref(&self) -> &RoutingTable {
        &self.0
    }
}

/// Between two warnings of one worker of the same kind: what a client can cause
/// must not fill the log.
const WARN_EVERY: Duration = Duration::from_secs(60);
