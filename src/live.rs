//! The routing table in use: one hand writes it, every worker reads it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::{Notify, watch};

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

/// Tells the control loop that the vitals of some endpoint have changed, so that
/// it looks at them. Many alarms before it looks are one.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<Notify>);

impl Publisher {
    /// Replaces the table by what `next` makes of the one in use.
    pub fn publish(&mut self, next: impl FnOnce(&RoutingTable) -> RoutingTable) {
        let next = next(&self.table.load());
        self.table.store(Arc::new(next));
        self.published.send_replace(());
    }

    /// Has every reader look again at the vitals of the table in use.
    pub fn nudge(&self) {
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

    /// Takes the newest table for seen, so that only later ones end a wait.
    pub fn mark_seen(&mut self) {
        self.changed.mark_unchanged();
    }

    /// Waits for a newer table than those of which this reader was told, or for
    /// vitals of the same one that must be looked at; `None` when the balancer is stopping.
    pub async fn changed(&mut self) -> Option<()> {
        self.changed.changed().await.ok()
    }
}

impl Alarm {
    pub fn raise(&self) {
        self.0.notify_one();
    }

    /// Waits for an alarm that was raised since the last one was heard.
    pub async fn raised(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::Plan;

    #[tokio::test]
    async fn a_reader_sees_the_newest_table_and_is_told_of_it() {
        let (mut publisher, mut reader) = channel(RoutingTable::default());
        assert_eq!(reader.current().generation(), 0);
        publisher.publish(|previous| RoutingTable::build(&Plan::default(), previous));
        reader.changed().await.unwrap();
        assert_eq!(reader.current().generation(), 1);
    }

    #[tokio::test]
    async fn a_reader_is_told_when_no_table_will_follow() {
        let (publisher, mut reader) = channel(RoutingTable::default());
        drop(publisher);
        assert_eq!(reader.changed().await, None);
    }

    #[tokio::test]
    async fn alarms_raised_before_anyone_listens_are_heard_once() {
        let alarm = Alarm::default();
        alarm.raise();
        alarm.raise();
        alarm.raised().await;
        let again = tokio::time::timeout(std::time::Duration::from_millis(10), alarm.raised());
        assert!(again.await.is_err());
    }
}
