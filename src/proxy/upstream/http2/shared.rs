//! The HTTP/2 connections of one worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::domain::pool::Vitals;
use crate::domain::upstream::Tls;
use crate::proxy::upstream::connect::Unconnected;
use crate::proxy::upstream::http2::session::{Place, Session};
use crate::proxy::upstream::idle::IDLE_TIMEOUT;

/// The connections, by the serial of their endpoint and by how it has proved who
/// it is.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Shared {
    lists: RefCell<HashMap<u64, Vec<Rc<List>>>>,
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct List {
    vitals: Arc<Vitals>,
    tls: Option<Arc<Tls>>,
    sessions: RefCell<Vec<Rc<Session>>>,
    /// Somebody opens one, which the others wait for.
    opening: Cell<bool>,
    opened: Notify,
    /// Why the last one could not be opened.
    failed: Cell<Option<Failed>>,
    /// It has chosen HTTP/1.1 when it was asked last, so that nobody waits for a
    /// connection that others could use.
    pub(in crate::proxy::upstream) is_http1: Cell<bool>,
}

/// A failure, to be told to others than the one who met it.
#[derive(Clone, Copy, Debug)]
struct Failed {
    kind: io::ErrorKind,
    untrusted: bool,
}

/// What there is for one request.
pub(in crate::proxy::upstream) enum Turn<'a> {
    Place(Place),
    /// It opens a connection, which others may wait for.
    Open(Opening<'a>),
}

/// The opening of a connection. Who waits for it goes on when it is dropped.
pub(in crate::proxy::upstream) struct Opening<'a>(&'a List);

impl Shared {
    /// The connections to an endpoint which proves by `tls` who it is.
    pub(in crate::proxy::upstream) fn list(
        &self,
        vitals: &Arc<Vitals>,
        tls: Option<&Arc<Tls>>,
    ) -> Rc<List> {
        let mut lists = self.lists.borrow_mut();
        let lists = lists.entry(vitals.serial()).or_default();
        if let Some(list) = lists.iter().find(|list| list.tls.as_ref() == tls) {
            return Rc::clone(list);
        }
        let list = Rc::new(List {
            vitals: Arc::clone(vitals),
            tls: tls.cloned(),
            sessions: RefCell::default(),
            opening: Cell::new(false),
            opened: Notify::new(),
            failed: Cell::new(None),
            is_http1: Cell::new(false),
        });
        lists.push(Rc::clone(&list));
        list
    }

    /// Closes connections to endpoints that leave, and those idle for too long.
    /// What they carry is finished first.
    pub(in crate::proxy) fn sweep(&self, now: Instant) {
        let is_old = |session: &Session| {
            session.idle_since().is_some_and(|since| now.duration_since(since) >= IDLE_TIMEOUT)
        };
        self.lists.borrow_mut().retain(|_, lists| {
            lists.retain(|list| {
                let keeps = list.vitals.state().keeps_connections();
                let mut sessions = list.sessions.borrow_mut();
                sessions.retain(|session| keeps && !session.is_over() && !is_old(session));
                !sessions.is_empty() || Rc::strong_count(list) > 1
            });
            !lists.is_empty()
        });
    }
}

impl List {
    /// A place on the connection that has the most of them, or the opening of
    /// one more. Of those who come at the same time one opens it.
    pub(in crate::proxy::upstream) async fn turn(
        &self,
        until: Instant,
    ) -> Result<Turn<'_>, Unconnected> {
        loop {
            if let Some(place) = self.place() {
                return Ok(Turn::Place(place));
            }
            if !self.opening.get() {
                if self.sessions.borrow().len() >= CONNECTIONS_MAX {
                    return Err(Unconnected::Unreached(io::ErrorKind::QuotaExceeded.into()));
                }
                self.opening.set(true);
                return Ok(Turn::Open(Opening(self)));
            }
            if timeout_at(until, self.opened.notified()).await.is_err() {
                return Err(Unconnected::Unreached(io::ErrorKind::TimedOut.into()));
            }
            if let Some(Failed { kind, untrusted }) = self.failed.get() {
                let error = io::Error::new(kind, "as for another request at the same time");
                let told = if untrusted { Unconnected::Untrusted } else { Unconnected::Unreached };
                return Err(told(error));
            }
        }
    }

    fn place(&self) -> Option<Place> {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|session| !session.is_over());
        let best = sessions.iter().max_by_key(|session| session.room())?;
        (best.room() > 0).then(|| best.place())
    }

    /// Others may use it too, unless its endpoint leaves.
    pub(in crate::proxy::upstream) fn add(&self, session: &Rc<Session>) {
        if self.vitals.state().keeps_connections() {
            self.sessions.borrow_mut().push(Rc::clone(session));
        }
    }
}

impl Opening<'_> {
    /// Those who wait for it fail alike.
    pub(in crate::proxy::upstream) fn failed(self, why: &Unconnected) {
        let failed = match why {
            Unconnected::Unreached(error) => Failed { kind: error.kind(), untrusted: false },
            Unconnected::Untrusted(error) => Failed { kind: error.kind(), untrusted: true },
            Unconnected::NoUpgrade => return,
        };
        self.0.failed.set(Some(failed));
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        // One that failed has told so already.
        if self.0.opening.replace(false) {
            self.0.failed.set(None);
            self.0.opened.notify_waiters();
        }
    }
}

/// Connections of one worker to one endpoint, for 6,400 requests at a time where
/// it allows a hundred on each.
const CONNECTIONS_MAX: usize = 64;
