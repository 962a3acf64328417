//! The routing table in use: one hand writes it, every worker reads it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use crate::domain::routing::RoutingTable;

/// Splits a table into the one hand that writes and the many that read.
pub fn channel(initial: RoutingTable) -> (Publisher, Reader) {
    let table = Arc::new(ArcSwap::from_pointee(initial));
    let (published, changed) = watch::channel(());
    let reader = Reader { table: Cache::new(Arc::clone(&table)), changed };
    (Publisher { table, published }, reader)
}

/// The right to replace the table. There is one, and it cannot be cloned.
#[derive(Debug)]
pub struct Publisher {
    table: Arc<ArcSwap<RoutingTable>>,
    published: watch::Sender<()>,
}

/// One reader's view of the table.
///
/// It keeps the table it last read, so that reading costs one relaxed load and
/// no reference count. The price is that an idle reader keeps an old table.
#[derive(Clone, Debug)]
pub struct Reader {
    table: Cache<Arc<ArcSwap<RoutingTable>>, Arc<RoutingTable>>,
    changed: watch::Receiver<()>,
}

impl Publisher {
    /// Replaces the table by what `next` makes of the one in use.
    pub fn publish(&mut self, next: impl FnOnce(&RoutingTable) -> RoutingTable) {
        let next = next(&self.table.load());
        self.table.store(Arc::new(next));
        self.published.send_replace(());
    }

    pub fn current(&self) -> Arc<RoutingTable> {
        self.table.load_full()
    }
}

impl Reader {
    /// The newest table.
    pub fn current(&mut self) -> &Arc<RoutingTable> {
        self.table.load()
    }

    /// Waits for a newer table than those of which this reader was told;
    /// `None` when the balancer is stopping.
    pub async fn changed(&mut self) -> Option<()> {
        self.changed.changed().await.ok()
    }
}
