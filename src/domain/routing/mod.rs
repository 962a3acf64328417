//! Finding the pool for a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::names::PoolName;
use crate::domain::pool::Pool;

/// Everything a request needs to be served, never changed once built.
#[derive(Debug, Default)]
pub struct RoutingTable {
    generation: u64,
    pools: BTreeMap<PoolName, Arc<Pool>>,
}

impl RoutingTable {
    /// How many tables there were before this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values()
    }
}
