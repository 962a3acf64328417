//! What wakes the tasks of a worker when something changes: attempts whose
//! endpoint leaves, requests that wait for one, connections when we stop.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::sleep;

use crate::domain::pool::{InFlight, Vitals};

/// Who sleeps in one worker until something changes.
#[derive(Debug, Default)]
pub(super) struct Bell {
    watches: RefCell<Slab<Seat>>,
    /// By their arrival.
    holds: RefCell<BTreeMap<u64, Option<Waker>>>,
    arrivals: Cell<u64>,
    /// The clients' connections.
    connections: RefCell<Slab<Option<Waker>>>,
    stopping: Cell<bool>,
    pressed: Cell<bool>,
}

#[derive(Debug)]
struct Seat {
    vitals: Arc<Vitals>,
    waker: Option<Waker>,
}

/// An attempt from its begin to the end of its answer or tunnel: it counts as
/// in flight, and learns when its endpoint leaves.
#[derive(Debug)]
pub(super) struct Ongoing {
    pub(super) in_flight: InFlight,
    pub(super) watch: Watch,
}

/// A look at an endpoint's vitals that is woken when it leaves.
pub(super) struct Watch {
    bell: Rc<Bell>,
    seat: usize,
}

/// A request's place among those that wait.
#[derive(Debug)]
pub(super) struct Place {
    bell: Rc<Bell>,
    arrival: u64,
}

/// A client's connection that is told when we stop.
#[derive(Debug)]
pub(super) struct Listener {
    bell: Rc<Bell>,
    seat: usize,
}

impl Bell {
    /// An attempt begins.
    pub(super) fn attempt(self: &Rc<Self>, in_flight: InFlight) -> Ongoing {
        let watch = self.watch(in_flight.vitals());
        Ongoing { in_flight, watch }
    }

    pub(super) fn watch(self: &Rc<Self>, vitals: &Arc<Vitals>) -> Watch {
        let seat = Seat { vitals: Arc::clone(vitals), waker: None };
        let seat = self.watches.borrow_mut().insert(seat);
        Watch { bell: Rc::clone(self), seat }
    }

    /// The turn of a request that begins to wait.
    pub(super) fn arrive(&self) -> u64 {
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        arrival
    }

    /// A request waits whose turn is `arrival`, for the first time or again.
    pub(super) fn hold(self: &Rc<Self>, arrival: u64) -> Place {
        self.holds.borrow_mut().insert(arrival, None);
        Place { bell: Rc::clone(self), arrival }
    }

    /// Wakes the attempts whose endpoint has left or whose time is over.
    pub(super) fn ring_watches(&self) {
        for (_, seat) in self.watches.borrow_mut().iter_mut() {
            let vitals = &seat.vitals;
            if (vitals.state().leaves() || vitals.is_cut())
                && let Some(waker) = seat.waker.take()
            {
                waker.wake();
            }
        }
    }

    /// A client's connection begins.
    pub(super) fn listen(self: &Rc<Self>) -> Listener {
        Listener { bell: Rc::clone(self), seat: self.connections.borrow_mut().insert(None) }
    }

    /// Tells every connection that we stop.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        self.ring_connections();
    }

    /// Asks connections that carry nothing to end, for as long as memory is short.
    pub(super) fn press(&self, short: bool) {
        if self.pressed.replace(short) != short && short {
            self.ring_connections();
        }
    }

    fn ring_connections(&self) {
        for (_, waker) in self.connections.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Wakes the waiting, those first who came first.
    pub(super) fn ring_holds(&self) {
        for waker in self.holds.borrow_mut().values_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

impl Watch {
    /// Whether the vitals are as `wanted`.
    pub(super) fn sees(&self, wanted: impl Fn(&Vitals) -> bool) -> bool {
        self.bell.watches.borrow().get(self.seat).is_some_and(|seat| wanted(&seat.vitals))
    }

    /// Has the task of `context` woken when the endpoint leaves.
    pub(super) fn note(&self, context: &Context<'_>) {
        if let Some(seat) = self.bell.watches.borrow_mut().get_mut(self.seat) {
            note(&mut seat.waker, context);
        }
    }

    /// To be told when we stop.
    pub(super) fn listener(&self) -> Listener {
        self.bell.listen()
    }

    /// Waits until the vitals of an endpoint that leaves are as `wanted`.
    pub(super) async fn until(&self, wanted: impl Fn(&Vitals) -> bool) {
        poll_fn(|context| {
            if self.sees(&wanted) {
                return Poll::Ready(());
            }
            self.note(context);
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bell.watches.borrow_mut().try_remove(self.seat);
    }
}

impl Listener {
    /// Whether we stop; if not, the task of `context` is woken when we do.
    pub(super) fn hears_stop(&self, context: &Context<'_>) -> bool {
        self.bell.is_stopping() || self.waits(context)
    }

    /// Whether memory is short now, so that whoever carries nothing should leave;
    /// if not, the task of `context` is woken when it is, or when we stop.
    pub(super) fn hears_press(&self, context: &Context<'_>) -> bool {
        self.bell.pressed.get() || self.waits(context)
    }

    /// Waits until we have been stopping for `patience`.
    pub(super) async fn stopped_for(&self, patience: Duration) {
        poll_fn(|context| ready_if(self.hears_stop(context))).await;
        sleep(patience).await;
    }

    /// Waits until we have been stopping, or memory has been short, for
    /// `patience`: what has not carried anything yet has no longer.
    pub(super) async fn unwanted_for(&self, patience: Duration) {
        let is_unwanted = || self.bell.is_stopping() || self.bell.pressed.get();
        loop {
            poll_fn(|context| ready_if(is_unwanted() || self.waits(context))).await;
            sleep(patience).await;
            if is_unwanted() {
                return;
            }
        }
    }

    /// Has the task of `context` woken when something is asked of connections.
    fn waits(&self, context: &Context<'_>) -> bool {
        if let Some(waker) = self.bell.connections.borrow_mut().get_mut(self.seat) {
            note(waker, context);
        }
        false
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.bell.connections.borrow_mut().try_remove(self.seat);
    }
}

impl Place {
    /// Waits until the bell rings for those that wait.
    pub(super) async fn rung(&self) {
        let mut waits = false;
        poll_fn(|context| {
            let mut holds = self.bell.holds.borrow_mut();
            match holds.get_mut(&self.arrival) {
                // Ringing takes the waker.
                Some(None) if waits => Poll::Ready(()),
                Some(waker) => {
                    waits = true;
                    note(waker, context);
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bell.holds.borrow_mut().remove(&self.arrival);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("seat", &self.seat).finish_non_exhaustive()
    }
}

fn ready_if(is_so: bool) -> Poll<()> {
    if is_so { Poll::Ready(()) } else { Poll::Pending }
}

fn note(place: &mut Option<Waker>, context: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::State;
    use std::sync::Mutex;
    use std::task::Wake;
    use tokio::time::Instant;

    #[test]
    fn only_attempts_whose_endpoint_leaves_are_woken() {
        let (bell, woken) = (Rc::new(Bell::default()), Arc::new(Mutex::new(Vec::new())));
        let (stays, leaves) = (ready(1), ready(2));
        let attempts = [&stays, &leaves].map(|vitals| bell.attempt(vitals.begin()));
        for (name, attempt) in attempts.iter().enumerate() {
            attempt.watch.note(&Context::from_waker(&called(name, &woken)));
        }
        bell.ring_watches();
        assert!(woken.lock().unwrap().is_empty());
        leaves.set_state(State::Gone);
        bell.ring_watches();
        bell.ring_watches();
        assert_eq!(*woken.lock().unwrap(), [1], "once");
    }

    #[test]
    fn those_that_wait_are_woken_in_the_order_of_their_arrival() {
        let (bell, woken) = (Rc::new(Bell::default()), Arc::new(Mutex::new(Vec::new())));
        let places = [0, 1, 2].map(|_| bell.hold(bell.arrive()));
        let mut waits: Vec<_> = places.iter().map(|place| Box::pin(place.rung())).collect();
        for name in [2, 0, 1] {
            let waker = called(name, &woken);
            assert!(waits[name].as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        bell.ring_holds();
        assert_eq!(*woken.lock().unwrap(), [0, 1, 2]);
        let waker = called(0, &woken);
        assert!(waits[0].as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn connections_are_told_once_that_we_stop() {
        let (bell, woken) = (Rc::new(Bell::default()), Arc::new(Mutex::new(Vec::new())));
        let connection = bell.listen();
        let waker = called(7, &woken);
        assert!(!connection.hears_stop(&Context::from_waker(&waker)));
        bell.stop();
        bell.stop();
        assert_eq!(*woken.lock().unwrap(), [7]);
        assert!(connection.hears_stop(&Context::from_waker(&waker)));
        drop(connection);
        assert!(bell.connections.borrow().is_empty());
    }

    #[test]
    fn short_memory_is_heard_while_it_lasts_and_is_no_stop() {
        let (bell, woken) = (Rc::new(Bell::default()), Arc::new(Mutex::new(Vec::new())));
        let connection = bell.listen();
        let waker = called(7, &woken);
        let hears = || connection.hears_press(&Context::from_waker(&waker));
        let hears_stop = || connection.hears_stop(&Context::from_waker(&waker));
        assert!(!hears());
        bell.press(true);
        bell.press(true);
        assert_eq!(*woken.lock().unwrap(), [7]);
        assert!(hears() && !hears_stop());
        bell.press(false);
        assert!(!hears());
    }

    #[tokio::test(start_paused = true)]
    async fn who_carries_nothing_is_unwanted_once_memory_has_stayed_short() {
        let (bell, second) = (Rc::new(Bell::default()), Duration::from_secs(1));
        let (connection, began) = (bell.listen(), Instant::now());
        let press = async {
            bell.press(true);
            sleep(second / 2).await;
            bell.press(false);
            sleep(second * 9).await;
            bell.press(true);
        };
        tokio::join!(connection.unwanted_for(second), press);
        assert_eq!(began.elapsed(), second * 21 / 2);
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let bell = Rc::new(Bell::default());
        let vitals = ready(1);
        for _ in 0..3 {
            let attempts: Vec<_> = (0..10).map(|_| bell.attempt(vitals.begin())).collect();
            let places: Vec<_> = (0..10).map(|_| bell.hold(bell.arrive())).collect();
            assert_eq!(vitals.in_flight(), 10);
            drop((attempts, places));
        }
        assert_eq!(vitals.in_flight(), 0);
        assert!(bell.holds.borrow().is_empty());
        assert!(bell.watches.borrow().is_empty());
    }

    fn ready(serial: u64) -> Arc<Vitals> {
        let vitals = Arc::new(Vitals::new(serial));
        vitals.set_state(State::Ready);
        vitals
    }

    struct Called(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn called(name: usize, woken: &Arc<Mutex<Vec<usize>>>) -> Waker {
        Waker::from(Arc::new(Called(name, Arc::clone(woken))))
    }
}
