//! Where names of services lead.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What one worker knows of them. A look takes a thread, and may hang: there is
/// one look at a name at a time, which goes on when those who wait give up.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<BTreeMap<Name, Rc<Known>>>);

/// A host and a port.
type Name = (Arc<str>, u16);

#[derive(Debug)]
struct Known {
    /// As of the last look that found any: better than none if the next fails,
    /// for a while. Not for long, since an address may be somebody else's by then.
    addresses: RefCell<Option<Arc<[SocketAddr]>>>,
    found: Cell<Instant>,
    /// Nobody could be reached there since.
    doubted: Cell<bool>,
    looking: Cell<bool>,
    looked: Notify,
    /// When the last look began, and when it is time for the next one.
    began: Cell<Instant>,
    until: Cell<Instant>,
    used: Cell<Instant>,
}

impl Names {
    pub(super) async fn resolve(
        &self,
        host: &Arc<str>,
        port: u16,
    ) -> io::Result<Arc<[SocketAddr]>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([(address, port).into()]));
        }
        let name = (Arc::clone(host), port);
        self.resolve_by(&name, async |(host, port): Name| {
            let found = lookup_host((&*host, port)).await?;
            Ok(found.take(ADDRESSES_MAX).collect())
        })
        .await
    }

    /// Nobody could be reached there: it may lead elsewhere by now.
    pub(super) fn doubt(&self, host: &Arc<str>, port: u16) {
        if let Some(known) = self.0.borrow().get(&(Arc::clone(host), port)) {
            known.until.set(known.until.get().min(known.began.get() + FAILURE_LASTS));
            known.doubted.set(true);
        }
    }

    /// Forgets names that have not been used for long.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.borrow_mut().retain(|_, known| {
            known.looking.get() || now.duration_since(known.used.get()) < UNUSED_MAX
        });
    }

    async fn resolve_by<F>(
        &self,
        name: &Name,
        find: impl FnOnce(Name) -> F,
    ) -> io::Result<Arc<[SocketAddr]>>
    where
        F: Future<Output = io::Result<Arc<[SocketAddr]>>> + 'static,
    {
        let now = Instant::now();
        let known = self.known(name, now)?;
        if !known.looking.get() && known.until.get() <= now {
            known.looking.set(true);
            known.began.set(now);
            tokio::task::spawn_local(Rc::clone(&known).look(find(name.clone())));
        }
        if known.looking.get() {
            let looked = known.looked.notified();
            if known.addresses.borrow().is_some() {
                // Who finds that this look hangs does not wait for it anew.
                let _ = timeout_at(known.began.get() + PATIENCE, looked).await;
            } else {
                looked.await;
            }
        }
        let addresses = known.addresses.borrow().clone();
        let addresses = addresses.filter(|_| known.found.get().elapsed() < KEPT_LAST);
        addresses.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn known(&self, name: &Name, now: Instant) -> io::Result<Rc<Known>> {
        let mut names = self.0.borrow_mut();
        if let Some(known) = names.get(name) {
            known.used.set(now);
            return Ok(Rc::clone(known));
        }
        if names.len() >= NAMES_MAX {
            let idle = names.iter().filter(|(_, known)| !known.looking.get());
            let oldest = idle.min_by_key(|(_, known)| known.used.get());
            let oldest = oldest.map(|(name, _)| name.clone());
            names.remove(&oldest.ok_or(io::ErrorKind::QuotaExceeded)?);
        }
        let known = Rc::new(Known {
            addresses: RefCell::default(),
            found: Cell::new(now),
            doubted: Cell::new(false),
            looking: Cell::new(false),
            looked: Notify::new(),
            began: Cell::new(now),
            until: Cell::new(now),
            used: Cell::new(now),
        });
        names.insert(name.clone(), Rc::clone(&known));
        Ok(known)
    }
}

impl Known {
    async fn look(self: Rc<Self>, finding: impl Future<Output = io::Result<Arc<[SocketAddr]>>>) {
        let found = finding.await.ok().filter(|found| !found.is_empty());
        let lasts = if found.is_some() { FOUND_LASTS } else { FAILURE_LASTS };
        let now = Instant::now();
        self.until.set(now + lasts);
        if found.is_some() {
            self.found.set(now);
        }
        if found.is_some() || self.doubted.replace(false) {
            self.addresses.replace(found);
        }
        self.looking.set(false);
        self.looked.notify_waiters();
    }
}

/// Services that one worker knows; few labels name any.
pub(super) const NAMES_MAX: usize = 256;
const ADDRESSES_MAX: usize = 16;

const FOUND_LASTS: Duration = Duration::from_secs(30);

/// For so long an address counts that no look has confirmed.
const KEPT_LAST: Duration = Duration::from_secs(60);

const FAILURE_LASTS: Duration = Duration::from_secs(1);

/// For a look at a name of which addresses are known.
const PATIENCE: Duration = Duration::from_millis(500);

const UNUSED_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    /// Resolves `auth` by what `find` gives, counting looks.
    async fn ask<F>(names: &Names, looks: &Cell<u32>, find: F) -> Result<usize, ()>
    where
        F: Future<Output = io::Result<Arc<[SocketAddr]>>> + 'static,
    {
        let find = |_| {
            looks.set(looks.get() + 1);
            find
        };
        let found = names.resolve_by(&("auth".into(), 80), find).await;
        found.map(|addresses| addresses.len()).map_err(|_| ())
    }

    fn found(count: u8) -> io::Result<Arc<[SocketAddr]>> {
        Ok((0..count).map(|number| ([10, 0, 0, number], 80).into()).collect())
    }

    fn failed() -> io::Result<Arc<[SocketAddr]>> {
        Err(io::ErrorKind::TimedOut.into())
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn there_is_one_look_at_a_time_and_a_failure_counts_for_a_second() {
        let (names, looks) = (Names::default(), Cell::new(0));
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(20)).await;
            failed()
        };
        for _ in 0..9 {
            // They give up; the look goes on.
            let given_up = tokio::time::timeout(FAILURE_LASTS, ask(&names, &looks, slow())).await;
            assert!(given_up.is_err());
        }
        assert_eq!(looks.get(), 1);
        assert_eq!(ask(&names, &looks, async { found(1) }).await, Err(()));
        assert_eq!(ask(&names, &looks, async { found(1) }).await, Err(()));
        assert_eq!(looks.get(), 1);
        tokio::time::sleep(FAILURE_LASTS).await;
        assert_eq!(ask(&names, &looks, async { found(1) }).await, Ok(1));
        assert_eq!(looks.get(), 2);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn what_was_found_outlives_looks_that_fail_or_hang() {
        let (names, looks) = (Names::default(), Cell::new(0));
        assert_eq!(ask(&names, &looks, async { found(2) }).await, Ok(2));
        tokio::time::sleep(FOUND_LASTS).await;
        assert_eq!(ask(&names, &looks, async { failed() }).await, Ok(2));
        names.sweep(Instant::now());
        tokio::time::sleep(FAILURE_LASTS).await;
        let began = Instant::now();
        for _ in 0..9 {
            assert_eq!(ask(&names, &looks, pending()).await, Ok(2));
        }
        assert_eq!((looks.get(), began.elapsed()), (3, PATIENCE));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn an_address_that_nothing_confirms_is_believed_for_a_minute_and_not_if_nobody_is_there()
    {
        let (names, looks) = (Names::default(), Cell::new(0));
        for doubted in [false, true] {
            assert_eq!(ask(&names, &looks, async { found(1) }).await, Ok(1));
            tokio::time::sleep(FOUND_LASTS).await;
            if doubted {
                names.doubt(&"auth".into(), 80);
            }
            let kept = if doubted { Err(()) } else { Ok(1) };
            assert_eq!(ask(&names, &looks, async { failed() }).await, kept);
            tokio::time::sleep(KEPT_LAST - FOUND_LASTS).await;
            assert_eq!(ask(&names, &looks, async { failed() }).await, Err(()));
            tokio::time::sleep(FAILURE_LASTS).await;
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_cannot_be_reached_is_looked_for_again_but_once_a_second() {
        let (names, looks) = (Names::default(), Cell::new(0));
        for expected in [1, 1, 2] {
            let _ = ask(&names, &looks, async { found(1) }).await;
            assert_eq!(looks.get(), expected);
            names.doubt(&"auth".into(), 80);
            tokio::time::sleep(FAILURE_LASTS / 2).await;
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn names_have_a_bound() {
        let names = Names::default();
        for port in 0..u16::try_from(2 * NAMES_MAX).unwrap() {
            let _ = names.resolve_by(&("auth".into(), port), async |_| found(1)).await;
        }
        assert_eq!(names.0.borrow().len(), NAMES_MAX);
        names.sweep(Instant::now() + UNUSED_MAX);
        assert!(names.0.borrow().is_empty());
        for port in 0..=u16::try_from(NAMES_MAX).unwrap() {
            let name = ("auth".into(), port);
            let asking = names.resolve_by(&name, async |_| pending().await);
            let outcome = tokio::time::timeout(Duration::ZERO, asking).await;
            assert_eq!(outcome.is_ok(), usize::from(port) == NAMES_MAX, "all of them are hung");
        }
    }
}
