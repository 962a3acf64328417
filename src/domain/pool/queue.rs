//! Who waits for a place at a replica, in the order of arrival.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::domain::pool::PoolState;

/// The requests of a pool, on any worker, whose replicas are all full.
///
/// Only the one who is called tries to get a place. Called is the first one,
/// whenever a place is free or somebody has left; who must not take the place
/// that is free passes the call on.
#[derive(Debug, Default)]
pub struct Queue {
    /// As many as are in line.
    waiting: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    called: bool,
    waker: Option<Waker>,
}

/// A request's place in the queue, which it keeps while it tries a replica.
#[derive(Debug)]
pub struct Spot {
    pool: Arc<PoolState>,
    number: u64,
}

impl Queue {
    /// How many wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// There may be a place: the first in line tries.
    pub fn call(&self) {
        if self.waiting() > 0 {
            self.line().call(Bound::Unbounded);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, line: &mut Line, number: u64) {
        if line.waiters.contains_key(&number) {
            return;
        }
        line.waiters.insert(number, Waiter::default());
        self.count(line);
        // A place may have become free before anyone could be called.
        fence(Ordering::SeqCst);
        if line.waiters.first_key_value().is_some_and(|(first, _)| *first == number) {
            line.call(Bound::Unbounded);
        }
    }

    fn count(&self, line: &Line) {
        let waiting = u32::try_from(line.waiters.len()).unwrap_or(u32::MAX);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

impl Line {
    fn call(&mut self, from: Bound<u64>) {
        if let Some((_, waiter)) = self.waiters.range_mut((from, Bound::Unbounded)).next() {
            waiter.called = true;
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }
}

impl PoolState {
    /// A place at the end of the queue; none when `most` wait.
    pub fn queue_up(self: &Arc<Self>, most: u32) -> Option<Spot> {
        let mut line = self.queue.line();
        if line.waiters.len() >= most as usize {
            return None;
        }
        let number = line.next;
        line.next += 1;
        self.queue.enter(&mut line, number);
        drop(line);
        Some(Spot { pool: Arc::clone(self), number })
    }
}

impl Spot {
    /// Whether it is a turn in the queue of this pool.
    pub fn is_in(&self, pool: &Arc<PoolState>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Whether nobody in line came before it.
    pub fn is_first(&self) -> bool {
        let line = self.pool.queue.line();
        line.waiters.first_key_value().is_some_and(|(first, _)| *first == self.number)
    }

    /// Whether it is in line and called. It has to try now: the next call is
    /// for what happens from here on.
    pub fn take_call(&self) -> bool {
        let mut line = self.pool.queue.line();
        let waiter = line.waiters.get_mut(&self.number);
        waiter.is_some_and(|waiter| std::mem::take(&mut waiter.called))
    }

    /// Something may have changed for whoever is first.
    pub fn wake_first(&self) {
        self.pool.queue.call();
    }

    /// It could not take what may be free, and others behind it may.
    pub fn pass_on(&self) {
        self.pool.queue.line().call(Bound::Excluded(self.number));
    }

    /// It has a place at a replica.
    pub fn leave(&self) {
        let mut line = self.pool.queue.line();
        if line.waiters.remove(&self.number).is_some() {
            self.pool.queue.count(&line);
            line.call(Bound::Unbounded);
        }
    }

    /// Waits where it waited before, if it does not already.
    pub fn come_back(&self) {
        self.pool.queue.enter(&mut self.pool.queue.line(), self.number);
    }

    /// Ready once it is called, or out of line.
    pub fn poll_called(&self, context: &Context<'_>) -> Poll<()> {
        let mut line = self.pool.queue.line();
        match line.waiters.get_mut(&self.number) {
            Some(waiter) if !waiter.called => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(()),
        }
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pool::Vitals;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    #[test]
    fn the_queue_has_a_bound() {
        let pool = Arc::<PoolState>::default();
        let turns: Vec<_> = (0..3).map(|_| pool.queue_up(3)).collect();
        assert!(turns.iter().all(Option::is_some));
        assert!(pool.queue_up(3).is_none());
        drop(turns);
        assert_eq!(pool.queue.waiting(), 0);
        assert!(pool.queue_up(0).is_none());
    }

    #[test]
    fn who_leaves_calls_the_next() {
        let pool = Arc::<PoolState>::default();
        let [first, second, third] = [(); 3].map(|()| pool.queue_up(9).unwrap());
        assert!(first.take_call(), "it looks once more");
        assert!(!first.take_call() && !second.take_call());
        pool.queue.call();
        assert!(!second.take_call());
        drop(first);
        assert!(second.take_call(), "also if the first was called and has not tried");
        second.pass_on();
        assert!(third.take_call());
    }

    #[test]
    fn who_tried_in_vain_waits_where_it_waited() {
        let pool = Arc::<PoolState>::default();
        let [first, second] = [(); 2].map(|()| pool.queue_up(9).unwrap());
        first.leave();
        assert!(second.take_call());
        first.come_back();
        pool.queue.call();
        assert!(first.take_call() && !second.take_call());
    }

    proptest! {
        /// Whoever is called tries; the model has so many places.
        #[test]
        fn whatever_happens_all_are_served_in_the_order_of_arrival(
            steps in vec((0_u8..4, 0_usize..8), 1..80), places in 1_u32..4,
        ) {
            let (pool, vitals) = (Arc::<PoolState>::default(), Arc::new(Vitals::new(1)));
            let (mut waits, mut serves, mut served) = (Vec::new(), Vec::new(), Vec::new());
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        let at_once = (pool.queue.waiting() == 0)
                            .then(|| vitals.begin_within(places, &pool))
                            .flatten();
                        match at_once {
                            Some(request) => serves.push(request),
                            None => waits.push(pool.queue_up(u32::MAX).unwrap()),
                        }
                    }
                    2 if !serves.is_empty() => drop(serves.swap_remove(which % serves.len())),
                    3 if !waits.is_empty() => drop(waits.remove(which % waits.len())),
                    _ => {}
                }
                while let Some(at) = waits.iter().position(Spot::take_call) {
                    if let Some(request) = vitals.begin_within(places, &pool) {
                        prop_assert_eq!(at, 0, "nobody overtakes");
                        served.push(waits[at].number);
                        waits.remove(at).leave();
                        serves.push(request);
                    }
                }
                let free = places - vitals.in_flight();
                prop_assert!(free == 0 || waits.is_empty(), "{} wait for {free} places", waits.len());
            }
            prop_assert!(served.is_sorted());
        }
    }

    #[test]
    fn no_more_than_the_limit_are_in_flight_whatever_the_workers_do() {
        let (pool, vitals) = (Arc::<PoolState>::default(), Arc::new(Vitals::new(1)));
        let (inside, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let looks = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let turn = pool.queue_up(u32::MAX).unwrap();
                        let request = loop {
                            if turn.take_call()
                                && let Some(request) = vitals.begin_within(2, &pool)
                            {
                                break request;
                            }
                            let looks = looks.fetch_add(1, Ordering::Relaxed);
                            assert!(looks < 50_000_000, "nobody is called");
                            thread::yield_now();
                        };
                        turn.leave();
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(request);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((done.into_inner(), pool.queue.waiting()), (8_000, 0));
    }
}
