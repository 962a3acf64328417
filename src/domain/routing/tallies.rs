//! Finding what was counted of a pool's replicas before.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::pool::{Endpoint, Pool, ReplicaTally};
use crate::domain::routing::departed::Departed;

/// The tallies of a pool, by the replica's name. Most tables change nothing of
/// most pools, so that a replica is looked for where it was before anything else.
pub(super) struct Tallies<'a> {
    label: Arc<str>,
    before: &'a [Endpoint],
    /// None until one was not where it was.
    named: Option<BTreeMap<Arc<str>, Arc<ReplicaTally>>>,
}

impl<'a> Tallies<'a> {
    pub(super) fn of(label: Arc<str>, before: Option<&'a Pool>) -> Self {
        Self { label, before: before.map_or(&[], |pool| &pool.endpoints), named: None }
    }

    /// That of the replica which is now at the place `at`.
    pub(super) fn find(
        &mut self,
        at: usize,
        name: &Arc<str>,
        departed: &mut Departed,
    ) -> Arc<ReplicaTally> {
        if let Some(same) = self.before.get(at).filter(|it| it.name == *name) {
            return Arc::clone(&same.tally);
        }
        let before = self.before.iter();
        let named = self.named.get_or_insert_with(|| {
            before.map(|it| (Arc::clone(&it.name), Arc::clone(&it.tally))).collect()
        });
        let tally = named
            .entry(Arc::clone(name))
            .or_insert_with(|| departed.take(&self.label, name).unwrap_or_default());
        Arc::clone(tally)
    }
}
