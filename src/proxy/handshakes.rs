//! The handshakes that are under way in a worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

/// By their arrival. The oldest gives way when there are too many: whoever means
/// well is done within a few round trips, and whoever does not must not keep
/// others out.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    under_way: RefCell<BTreeMap<u64, Rc<Notify>>>,
    arrivals: Cell<u64>,
}

/// A handshake's place among them.
#[derive(Debug)]
pub(super) struct Place<'a> {
    handshakes: &'a Handshakes,
    arrival: u64,
    gives_way: Rc<Notify>,
}

impl Handshakes {
    pub(super) fn begin(&self) -> Place<'_> {
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        let gives_way = Rc::<Notify>::default();
        let mut under_way = self.under_way.borrow_mut();
        if under_way.len() >= UNDER_WAY_MAX
            && let Some((_, oldest)) = under_way.pop_first()
        {
            oldest.notify_one();
        }
        under_way.insert(arrival, Rc::clone(&gives_way));
        Place { handshakes: self, arrival, gives_way }
    }
}

impl Place<'_> {
    /// Waits until it has to give way.
    pub(super) async fn lost(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.under_way.borrow_mut().remove(&self.arrival);
    }
}

/// In one worker. Each may hold some 40 KiB, so that all hold 40 MiB at the most;
/// at 10 ms for one it is 100,000 handshakes a second.
const UNDER_WAY_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let handshakes = Handshakes::default();
        let mut places: Vec<_> = (0..UNDER_WAY_MAX).map(|_| handshakes.begin()).collect();
        assert!(!is_lost(&places[0]));
        let newest = handshakes.begin();
        assert!(is_lost(&places[0]));
        assert!(!is_lost(&places[1]) && !is_lost(&newest));
        places.clear();
        drop(newest);
        assert!(handshakes.under_way.borrow().is_empty());
    }

    fn is_lost(place: &Place<'_>) -> bool {
        pin!(place.lost()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}
