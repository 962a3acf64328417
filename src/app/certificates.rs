//! Certificates that are asked of an authority for as long as routes want them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::app::Tasks;
use crate::config::Config;
use crate::domain::routing::RoutingTable;
use crate::domain::world::Report;
use crate::proxy::Parts;
use crate::tls::acme::{self, Around};
use crate::tls::wall_clock;

/// Tells for which names certificates are wanted.
#[derive(Debug)]
pub(super) struct Certified(watch::Sender<BTreeSet<Arc<str>>>);

/// Starts the task that keeps certificates, where https is served.
pub(super) fn keep(
    config: &Config,
    parts: &Parts,
    tasks: &mut Tasks,
    reports: &mpsc::Sender<Report>,
) -> Certified {
    let (wanted, names) = watch::channel(BTreeSet::new());
    if let Some(store) = parts.tls.clone() {
        let around = Around {
            has_http: !config.http.is_empty(),
            clock: Box::new(wall_clock),
            chance: fastrand::f64,
        };
        let (challenges, reports) = (parts.challenges.clone(), reports.clone());
        let keeper = acme::keeper(&config.acme, &config.state, challenges, store, reports, around);
        tasks.spawn("certificates", keeper.run(names));
    }
    Certified(wanted)
}

impl Certified {
    /// Has certificates kept for the names of a new table.
    pub(super) fn follow(&self, table: &RoutingTable) {
        let names = table.wanted_certificates();
        self.0.send_if_modified(|wanted| {
            let is_news = *wanted != names;
            *wanted = names;
            is_news
        });
    }
}
