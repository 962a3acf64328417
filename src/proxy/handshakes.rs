//! The handshakes that are under way in a worker.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::yield_now;

use crate::domain::limit::client_network;

/// When there are too many, one gives way of the client that has the most: the one
/// that has waited longest for its turn or since. Whoever means well has few and is
/// done a round trip after its turn, and whoever does not must not keep others out.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// By their arrival, or their turn.
    under_way: RefCell<BTreeMap<u64, UnderWay>>,
    arrivals: Cell<u64>,
    turns: Mutex<()>,
}

#[derive(Debug)]
struct UnderWay {
    client: IpAddr,
    gives_way: Rc<Notify>,
}

/// A handshake's place among them.
#[derive(Debug)]
pub(super) struct Place<'a> {
    handshakes: &'a Handshakes,
    arrival: Cell<u64>,
    gives_way: Rc<Notify>,
}

impl Handshakes {
    /// Whoever shares a network with `client` counts as the same.
    pub(super) fn begin(&self, client: IpAddr) -> Place<'_> {
        let arrival = self.next();
        let gives_way = Rc::<Notify>::default();
        let mut under_way = self.under_way.borrow_mut();
        let client = client_network(client);
        under_way.insert(arrival, UnderWay { client, gives_way: Rc::clone(&gives_way) });
        if under_way.len() > UNDER_WAY_MAX
            && let Some(last) = oldest_of_most(&under_way)
            && let Some(last) = under_way.remove(&last)
        {
            last.gives_way.notify_one();
        }
        Place { handshakes: self, arrival: Cell::new(arrival), gives_way }
    }

    fn next(&self) -> u64 {
        self.arrivals.replace(self.arrivals.get() + 1)
    }
}

/// Of clients with equally many, the one that came first has to do.
fn oldest_of_most(under_way: &BTreeMap<u64, UnderWay>) -> Option<u64> {
    let mut clients = HashMap::new();
    for (&arrival, it) in under_way {
        clients.entry(it.client).or_insert((0, Reverse(arrival))).0 += 1;
    }
    clients.into_values().max().map(|(_, Reverse(oldest))| oldest)
}

impl<'a> Place<'a> {
    /// Waits for its turn to answer what the client wants, which costs more than a
    /// request does. Between two turns the sockets are looked at and whoever is
    /// ready gets on, so that those who are served do not wait for all who come.
    pub(super) async fn turn(&self) -> MutexGuard<'a, ()> {
        let turn = self.handshakes.turns.lock().await;
        yield_now().await;
        self.renew();
        turn
    }

    /// Those who still wait for their turn give way before one that has been
    /// answered: else in a storm every answer would be for nothing.
    fn renew(&self) {
        let mut under_way = self.handshakes.under_way.borrow_mut();
        if let Some(it) = under_way.remove(&self.arrival.get()) {
            self.arrival.set(self.handshakes.next());
            under_way.insert(self.arrival.get(), it);
        }
    }

    /// Waits until it has to give way.
    pub(super) async fn lost(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.under_way.borrow_mut().remove(&self.arrival.get());
    }
}

/// In one worker. Each may hold some 40 KiB, so that all hold 40 MiB at the most.
const UNDER_WAY_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use tokio::task::LocalSet;

    #[test]
    fn the_oldest_of_the_client_with_the_most_gives_way_when_there_are_too_many() {
        let handshakes = Handshakes::default();
        let begin = |client: &str| handshakes.begin(client.parse().unwrap());
        let (first, second) = (begin("192.0.2.1"), begin("192.0.2.2"));
        // One network of many addresses.
        let flood: Vec<_> =
            (2..UNDER_WAY_MAX).map(|at| begin(&format!("2001:db8::{at:x}"))).collect();
        assert!(!is_lost(&flood[0]));
        let third = begin("192.0.2.1");
        assert!(is_lost(&flood[0]) && !is_lost(&flood[1]));
        let another = begin("2001:db8::1");
        assert!(is_lost(&flood[1]) && !is_lost(&flood[2]));
        assert!([&first, &second, &third, &another].iter().all(|place| !is_lost(place)));
        drop((flood, first, second, third, another));
        assert!(handshakes.under_way.borrow().is_empty());
    }

    #[test]
    fn among_many_clients_the_oldest_gives_way() {
        let handshakes = Handshakes::default();
        let client = |at: u32| IpAddr::from((at + (10 << 24)).to_be_bytes());
        let places: Vec<_> = (0..=1024).map(|at| handshakes.begin(client(at))).collect();
        assert!(is_lost(&places[0]) && !is_lost(&places[1]));
    }

    #[tokio::test]
    async fn who_has_had_its_turn_stays_before_those_who_wait_for_theirs() {
        let handshakes = Handshakes::default();
        let client = |at: u32| IpAddr::from((at + (10 << 24)).to_be_bytes());
        let places: Vec<_> = (0..1024).map(|at| handshakes.begin(client(at))).collect();
        drop(places[0].turn().await);
        let _more: Vec<_> = (1024..1026).map(|at| handshakes.begin(client(at))).collect();
        let lost: Vec<_> = places.iter().take(4).map(is_lost).collect();
        assert_eq!(lost, [false, true, true, false]);
    }

    #[tokio::test]
    async fn those_who_are_served_get_on_between_two_handshakes() {
        let steps = Rc::<RefCell<String>>::default();
        let handshakes = Rc::<Handshakes>::default();
        let local = LocalSet::new();
        for _ in 0..5 {
            let (handshakes, steps) = (Rc::clone(&handshakes), Rc::clone(&steps));
            local.spawn_local(async move {
                let place = handshakes.begin([192, 0, 2, 1].into());
                let _turn = place.turn().await;
                steps.borrow_mut().push('h');
            });
        }
        let served = Rc::clone(&steps);
        local.spawn_local(async move {
            for _ in 0..5 {
                served.borrow_mut().push('s');
                yield_now().await;
            }
        });
        local.await;
        // Who is first in a round is the runtime's affair.
        assert!(!steps.borrow().contains("hhh"), "{}", steps.borrow());
    }

    fn is_lost(place: &Place<'_>) -> bool {
        pin!(place.lost()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}
