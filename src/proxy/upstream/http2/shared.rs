//! The HTTP/2 connections of one worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::domain::lifecycle::State;
use crate::domain::pool::Vitals;
use crate::domain::upstream::Tls;
use crate::proxy::upstream::connect::Unconnected;
use crate::proxy::upstream::http2::session::{Place, STREAMS_MAX, Session};
use crate::proxy::upstream::idle::{IDLE_TIMEOUT, Reuse, YOUNG};

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
    /// Those that are being opened, and the requests that wait for a place.
    opening: Cell<usize>,
    waiting: Cell<usize>,
    common: Rc<Common>,
    /// Streams that the one allows that was opened last.
    allowed: Cell<usize>,
    /// The same one has said that no stream of it becomes a WebSocket.
    no_websockets: Cell<bool>,
    /// Why the last one could not be opened, if it could not.
    failed: Cell<Option<Failed>>,
    used_at: Cell<Instant>,
}

/// What the connections to one endpoint tell of it.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// One has been opened or not, or a place has become free.
    pub(super) changed: Notify,
    speaks: Cell<Speaks>,
}

/// What the endpoint is known to speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Speaks {
    /// HTTP/2, as far as is known.
    #[default]
    Http2,
    /// It has chosen HTTP/1.1 when it was asked last, so that nobody waits for a
    /// connection that others could use.
    Http1,
    /// It has chosen HTTP/2 and then said that it will not serve by it.
    Http1Alone,
}

/// A failure, to be told to others than the one who met it.
#[derive(Clone, Copy, Debug)]
struct Failed {
    kind: io::ErrorKind,
    untrusted: bool,
    at: Instant,
}

/// What a place is wanted for.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::upstream) enum Use {
    Request,
    /// It is held for long. Tunnels have half of the places at the most.
    Tunnel,
}

/// What there is for one request.
pub(in crate::proxy::upstream) enum Turn<'a> {
    Place(Place),
    /// It opens a connection, which others may wait for.
    Open(Opening<'a>),
    /// The replica chooses HTTP/1.1: it needs a connection of its own.
    Http1,
}

/// The opening of a connection. Who waits for it goes on when it is dropped.
pub(in crate::proxy::upstream) struct Opening<'a>(&'a List);

/// A request that waits for a place.
struct Waiting<'a>(&'a List);

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
            list.used_at.set(Instant::now());
            return Rc::clone(list);
        }
        let list = Rc::new(List {
            vitals: Arc::clone(vitals),
            tls: tls.cloned(),
            sessions: RefCell::default(),
            opening: Cell::new(0),
            waiting: Cell::new(0),
            common: Rc::default(),
            allowed: Cell::new(STREAMS_MAX),
            no_websockets: Cell::new(false),
            failed: Cell::new(None),
            used_at: Cell::new(Instant::now()),
        });
        lists.push(Rc::clone(&list));
        list
    }

    /// Closes connections to endpoints that leave, those idle for too long, and old
    /// ones. What they carry is finished first.
    pub(in crate::proxy) fn sweep(&self, now: Instant) {
        let is_spent = |session: &Session| {
            session.idle_since().is_some_and(|since| {
                session.is_old(now) || now.duration_since(since) >= IDLE_TIMEOUT
            })
        };
        self.lists.borrow_mut().retain(|_, lists| {
            lists.retain(|list| {
                let state = list.vitals.state();
                // As long as it takes requests it takes them on what it has.
                let keeps = |session: &Session| match state.keeps_connections() {
                    true => !is_spent(session),
                    false => state != State::Gone && session.idle_since().is_none(),
                };
                let mut sessions = list.sessions.borrow_mut();
                sessions.retain(|session| !session.is_over() && keeps(session));
                let is_known =
                    state != State::Gone && now.duration_since(list.used_at.get()) < list.memory();
                !sessions.is_empty() || is_known || Rc::strong_count(list) > 1
            });
            !lists.is_empty()
        });
    }
}

impl List {
    /// A place on a connection that may serve as `reuse` says, or the opening of
    /// one more. Of those who come at the same time one opens it for as many as it
    /// will carry.
    pub(in crate::proxy::upstream) async fn turn(
        &self,
        reuse: Reuse,
        use_as: Use,
        until: Instant,
    ) -> Result<Turn<'_>, Unconnected> {
        let began = Instant::now();
        loop {
            if self.common.speaks.get() != Speaks::Http2 {
                return Ok(Turn::Http1);
            }
            if let Some(place) = self.place(reuse, use_as, began) {
                return Ok(Turn::Place(place));
            }
            let failed = self.failed.get().filter(|failed| failed.at >= began);
            if let Some(Failed { kind, untrusted, .. }) = failed
                && self.opening.get() == 0
            {
                let error = io::Error::new(kind, "as for another request at the same time");
                return Err(Unconnected::Alike { error, untrusted });
            }
            if self.may_open() {
                self.opening.set(self.opening.get() + 1);
                return Ok(Turn::Open(Opening(self)));
            }
            let waiting = Waiting::new(self);
            let changed = timeout_at(until, self.common.changed.notified()).await;
            drop(waiting);
            if changed.is_err() {
                let error = io::ErrorKind::TimedOut.into();
                let opens = self.opening.get() > 0;
                let late = Unconnected::Alike { error, untrusted: false };
                return Err(if opens { late } else { Unconnected::Full });
            }
        }
    }

    /// A place on the fullest connection that has one, so that the others can grow
    /// idle.
    fn place(&self, reuse: Reuse, use_as: Use, began: Instant) -> Option<Place> {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|session| !session.is_over());
        // There can be no better one then.
        let is_full = sessions.len() >= CONNECTIONS_MAX;
        let is_young = |since: Instant| since.elapsed() < YOUNG;
        let fits = |session: &Session| match reuse {
            Reuse::Never => session.opened_at >= began,
            Reuse::Young => session.idle_since().is_none_or(is_young),
            Reuse::Any => true,
        };
        let best = sessions
            .iter()
            .filter(|it| {
                let is_best = || fits(it) && !it.is_silent() && !it.is_old(began);
                let has_place = match use_as {
                    Use::Request => true,
                    Use::Tunnel => !it.has_enough_tunnels(),
                };
                it.room() > 0 && has_place && (is_full || is_best())
            })
            .max_by_key(|it| (it.taken(), it.idle_since()))?;
        Some(best.place())
    }

    /// Whether a tunnel would have to wait for the end of another one.
    pub(in crate::proxy::upstream) fn has_enough_tunnels(&self) -> bool {
        let sessions = self.sessions.borrow();
        sessions.len() + self.opening.get() >= CONNECTIONS_MAX
            && sessions.iter().all(|it| it.room() == 0 || it.has_enough_tunnels())
    }

    /// Whether it is known that no stream of it becomes a WebSocket.
    pub(in crate::proxy::upstream) fn takes_no_websockets(&self) -> bool {
        self.no_websockets.get()
    }

    /// Whether those that are being opened will not do for all who wait.
    fn may_open(&self) -> bool {
        let opening = self.opening.get();
        let wanted = (self.waiting.get() + opening + 1).div_ceil(self.allowed.get().max(1));
        opening < wanted.min(OPENINGS_MAX)
            && self.sessions.borrow().len() + opening < CONNECTIONS_MAX
    }

    /// It has chosen HTTP/1.1.
    pub(in crate::proxy::upstream) fn chooses_http1(&self) {
        if self.common.speaks.get() == Speaks::Http2 {
            self.common.speaks.set(Speaks::Http1);
        }
    }

    /// Whether nothing but HTTP/1.1 is of use, though it would choose HTTP/2.
    pub(in crate::proxy::upstream) fn takes_http1_alone(&self) -> bool {
        self.common.speaks.get() == Speaks::Http1Alone
    }

    /// For how long what is known of it is kept when it is not used.
    fn memory(&self) -> Duration {
        match self.common.speaks.get() {
            Speaks::Http2 => Duration::ZERO,
            // As long as idle connections of its own.
            Speaks::Http1 => IDLE_TIMEOUT,
            Speaks::Http1Alone => HTTP1_ALONE_MEMORY,
        }
    }

    /// What it hears of the endpoint counts for all of its connections.
    pub(in crate::proxy::upstream) fn adopt(&self, session: &Session) {
        // Only the first list counts, and there is one.
        let _ = session.common.set(Rc::clone(&self.common));
    }

    /// Others may use it too, unless its endpoint is gone.
    pub(in crate::proxy::upstream) fn add(&self, session: &Rc<Session>) {
        self.failed.set(None);
        self.allowed.set(session.allowed());
        self.no_websockets.set(!session.takes_websockets());
        if self.common.speaks.get() == Speaks::Http1 {
            self.common.speaks.set(Speaks::Http2);
        }
        self.adopt(session);
        if self.vitals.state() != State::Gone {
            self.sessions.borrow_mut().push(Rc::clone(session));
        }
    }
}

impl Common {
    /// The endpoint has said that it serves by HTTP/1.1 alone.
    pub(super) fn requires_http1(&self) {
        self.speaks.set(Speaks::Http1Alone);
        self.changed.notify_waiters();
    }
}

impl<'a> Waiting<'a> {
    fn new(list: &'a List) -> Self {
        list.waiting.set(list.waiting.get() + 1);
        Self(list)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

impl Opening<'_> {
    /// Those who wait for it fail alike.
    pub(in crate::proxy::upstream) fn failed(self, why: &Unconnected) {
        let (kind, untrusted) = match why {
            Unconnected::Unreached(error) => (error.kind(), false),
            Unconnected::Untrusted(error) => (error.kind(), true),
            Unconnected::Alike { .. } | Unconnected::Full | Unconnected::NoUpgrade => return,
        };
        self.0.failed.set(Some(Failed { kind, untrusted, at: Instant::now() }));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(self.0.opening.get().saturating_sub(1));
        self.0.common.changed.notify_waiters();
    }
}

/// Connections of one worker to one endpoint, for 6,400 requests at a time where
/// it allows a hundred on each.
const CONNECTIONS_MAX: usize = 64;

/// One that serves by HTTP/1.1 alone is asked for HTTP/2 again when nobody has
/// used it for so long: it is rarely reconfigured, and each time costs a request
/// that is sent twice, or fails if it cannot be.
const HTTP1_ALONE_MEMORY: Duration = Duration::from_secs(3600);

/// Connections that are opened to it at the same time, however many wait: what a
/// replica that has just come can bear.
const OPENINGS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::upstream::http2::session::{AGE_MAX, GOODBYE};
    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn list(shared: &Shared) -> (Rc<List>, Arc<Vitals>) {
        let vitals = Arc::new(Vitals::new(1));
        (shared.list(&vitals, None), vitals)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_waits_for_an_opening_that_fails_has_not_failed_itself() {
        let (list, _) = list(&Shared::default());
        let Ok(Turn::Open(opening)) = list.turn(Reuse::Any, Use::Request, soon()).await else {
            panic!()
        };
        let refused = Unconnected::Unreached(io::ErrorKind::ConnectionRefused.into());
        let wait = async {
            let turn = list.turn(Reuse::Any, Use::Request, soon()).await;
            matches!(turn, Err(Unconnected::Alike { error, untrusted: false })
                if error.kind() == io::ErrorKind::ConnectionRefused)
        };
        let waiting = async { tokio::join!(wait, list.turn(Reuse::Any, Use::Request, soon())) };
        let fail = async {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            opening.failed(&refused);
        };
        let ((alike, other), ()) = tokio::join!(waiting, fail);
        assert!(alike && matches!(other, Err(Unconnected::Alike { .. })));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(
            matches!(list.turn(Reuse::Any, Use::Request, soon()).await, Ok(Turn::Open(_))),
            "it is tried anew"
        );
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_waits_too_long_for_an_opening_has_not_failed_itself() {
        let (list, _) = list(&Shared::default());
        let Ok(Turn::Open(_opening)) = list.turn(Reuse::Any, Use::Request, soon()).await else {
            panic!()
        };
        let turn = list.turn(Reuse::Any, Use::Request, soon()).await;
        assert!(matches!(turn, Err(Unconnected::Alike { .. })));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn as_many_are_opened_as_those_who_wait_need() {
        let (list, _) = list(&Shared::default());
        for (allowed, requests, expected) in
            [(100, 90, 1), (100, 101, 2), (2, 9, 5), (1, 9, OPENINGS_MAX)]
        {
            list.allowed.set(allowed);
            let opened = Cell::new(0);
            let turns = (0..requests).map(|_| async {
                let turn = list.turn(Reuse::Any, Use::Request, soon()).await;
                let opens = matches!(turn, Ok(Turn::Open(_)));
                opened.set(opened.get() + usize::from(opens));
                if opens {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
            });
            join_all(turns).await;
            assert_eq!(opened.get(), expected, "{requests} at {allowed} on each");
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn that_a_replica_chooses_http_1_1_is_known_until_it_leaves() {
        let (shared, now) = (Shared::default(), Instant::now());
        let (found, vitals) = list(&shared);
        found.chooses_http1();
        drop(found);
        shared.sweep(now);
        let turn = async {
            shared.list(&vitals, None).turn(Reuse::Any, Use::Request, soon()).await.is_ok()
        };
        assert!(turn.await && shared.list(&vitals, None).common.speaks.get() == Speaks::Http1);
        vitals.set_state(State::Gone);
        shared.sweep(now);
        assert_eq!(shared.list(&vitals, None).common.speaks.get(), Speaks::Http2);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn that_a_replica_serves_by_http_1_1_alone_outlives_its_choice_and_not_its_end() {
        let (shared, now) = (Shared::default(), Instant::now());
        let (found, vitals) = list(&shared);
        found.common.requires_http1();
        found.chooses_http1();
        let (session, _theirs) = session().await;
        found.add(&session);
        assert!(found.takes_http1_alone() && found.used_at.get() == now);
        assert!(matches!(found.turn(Reuse::Any, Use::Request, soon()).await, Ok(Turn::Http1)));
        drop((found, session));
        shared.sweep(now + HTTP1_ALONE_MEMORY - Duration::from_millis(1));
        assert!(shared.list(&vitals, None).takes_http1_alone());
        shared.sweep(now + HTTP1_ALONE_MEMORY);
        assert!(!shared.list(&vitals, None).takes_http1_alone());
    }

    /// A connection to a replica that says no more than its settings, which allow
    /// any number of streams.
    async fn session() -> (Rc<Session>, DuplexStream) {
        let (ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        (Session::open(([127, 0, 0, 1], 1).into(), ours).await.unwrap(), theirs)
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn tunnels_leave_half_of_the_places_to_requests() {
        let (list, _) = list(&Shared::default());
        let (session, _theirs) = session().await;
        list.add(&session);
        let now = Instant::now();
        let tunnel = || list.place(Reuse::Any, Use::Tunnel, now).inspect(Place::becomes_tunnel);
        let tunnels: Vec<_> = std::iter::from_fn(tunnel).collect();
        assert_eq!(tunnels.len(), STREAMS_MAX / 2);
        let request = || list.place(Reuse::Any, Use::Request, now);
        assert_eq!(std::iter::from_fn(request).take(STREAMS_MAX).count(), STREAMS_MAX);
        assert!(!list.has_enough_tunnels(), "there may be more connections");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_connection_that_has_been_idle_for_long_is_closed() {
        let shared = Shared::default();
        let (list, _) = list(&shared);
        let (session, mut theirs) = session().await;
        list.add(&session);
        drop(session);
        let now = Instant::now();
        shared.sweep(now + IDLE_TIMEOUT - Duration::from_millis(1));
        assert_eq!(list.sessions.borrow().len(), 1);
        shared.sweep(now + IDLE_TIMEOUT);
        assert_eq!(list.sessions.borrow().len(), 0);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(&GOODBYE), "{heard:?}");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn there_are_only_so_many_connections_to_an_endpoint() {
        let (list, _) = list(&Shared::default());
        let (mut places, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS_MAX {
            let Ok(Turn::Open(_opening)) = list.turn(Reuse::Any, Use::Request, soon()).await else {
                panic!()
            };
            let (session, theirs) = session().await;
            places.extend((0..STREAMS_MAX).map(|_| session.place()));
            list.add(&session);
            ends.push(theirs);
        }
        let began = Instant::now();
        let late = list.turn(Reuse::Any, Use::Request, soon()).await;
        assert!(matches!(late, Err(Unconnected::Full)));
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        let free = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            places.pop();
        };
        let (turn, ()) = tokio::join!(list.turn(Reuse::Any, Use::Request, soon()), free);
        assert!(matches!(turn, Ok(Turn::Place(_))), "who waits gets the first place that is free");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn an_old_connection_takes_no_more_requests_and_ends_with_its_last() {
        let shared = Shared::default();
        let (list, _) = list(&shared);
        let (session, mut theirs) = session().await;
        list.add(&session);
        let tenth = AGE_MAX / 10;
        tokio::time::sleep(AGE_MAX - tenth - Duration::from_secs(1)).await;
        assert!(matches!(list.turn(Reuse::Any, Use::Request, soon()).await, Ok(Turn::Place(_))));
        tokio::time::sleep(2 * tenth + Duration::from_secs(2)).await;
        let place = session.place();
        drop(session);
        assert!(matches!(list.turn(Reuse::Any, Use::Request, soon()).await, Ok(Turn::Open(_))));
        shared.sweep(Instant::now());
        assert_eq!(list.sessions.borrow().len(), 1, "it has a request");
        drop(place);
        shared.sweep(Instant::now());
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(&GOODBYE), "{heard:?}");
    }
}
