//! One HTTP/2 connection to a replica.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::domain::lifecycle::jittered;
use crate::proxy::upstream::connect::HEAD_BYTES_MAX;
use crate::proxy::upstream::http2::shared::Common;
use crate::proxy::upstream::meter::{Metered, Traffic};

/// Our end of an open connection, which is closed with it. Many requests use it
/// at a time.
pub(in crate::proxy) struct Session {
    pub(super) sender: RefCell<SendRequest<Bytes>>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) opened_at: Instant,
    /// When it is old.
    old_at: Instant,
    signs: Rc<Signs>,
    /// What it shares with the others to the same endpoint.
    pub(super) common: OnceCell<Rc<Common>>,
}

/// The place of one request on a connection, free again when it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Place {
    session: Rc<Session>,
    is_tunnel: Cell<bool>,
}

/// What the task that drives a connection and its users tell each other.
#[derive(Debug)]
struct Signs {
    /// Requests that have a place.
    taken: Cell<usize>,
    /// Tunnels among them, from which nothing is waited for.
    tunnels: Cell<usize>,
    /// Streams that the replica allows; 0 until it has said so.
    allowed: Cell<usize>,
    /// It takes no more requests: it has ended, or the replica says goodbye.
    over: Cell<bool>,
    /// Nobody is left who could use it.
    left: Cell<bool>,
    /// When its last place became free.
    idle_since: Cell<Instant>,
    /// Bytes that had been read when a request ended its idleness; none before it
    /// was idle for the first time.
    woken_at: Cell<Option<u64>>,
    /// Bytes that had been read when its silence became long.
    silent_at: Cell<Option<u64>>,
    /// Its end has been counted against the replica.
    charged: Cell<bool>,
    changed: Notify,
}

impl Session {
    /// Speaks HTTP/2 over `stream`, once the replica has shown that it does too:
    /// its settings come first (RFC 9113, section 3.4). A task of the worker
    /// drives the connection.
    pub(in crate::proxy::upstream) async fn open<S>(
        address: SocketAddr,
        stream: S,
    ) -> io::Result<Rc<Self>>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (stream, traffic) = Metered::new(stream);
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buffer_size(SEND_BUFFER_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        let signs = Rc::new(Signs {
            taken: Cell::new(0),
            tunnels: Cell::new(0),
            allowed: Cell::new(0),
            over: Cell::new(false),
            left: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            woken_at: Cell::new(None),
            silent_at: Cell::new(None),
            charged: Cell::new(false),
            changed: Notify::new(),
        });
        let drive = drive(address, connection, sender.clone(), Rc::clone(&signs), traffic.clone());
        tokio::task::spawn_local(drive);
        let (sender, common, opened_at) = (RefCell::new(sender), OnceCell::new(), Instant::now());
        let old_at = opened_at + jittered(AGE_MAX, fastrand::u32(..));
        let session = Self { sender, traffic, opened_at, old_at, signs, common };
        let signs = &session.signs;
        signs.until(|signs| signs.allowed.get() > 0 || signs.over.get()).await;
        if signs.over.get() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, NotHttp2));
        }
        Ok(Rc::new(session))
    }

    /// How many more requests it takes now.
    pub(super) fn room(&self) -> usize {
        if self.is_over() {
            return 0;
        }
        self.allowed().saturating_sub(self.taken())
    }

    /// Requests that it takes in all.
    pub(super) fn allowed(&self) -> usize {
        self.signs.allowed.get().min(STREAMS_MAX)
    }

    pub(super) fn taken(&self) -> usize {
        self.signs.taken.get()
    }

    /// Whether a stream of it may become a WebSocket (RFC 8441, section 3).
    pub(in crate::proxy::upstream) fn takes_websockets(&self) -> bool {
        self.sender.borrow().is_extended_connect_protocol_enabled()
    }

    pub(super) fn is_over(&self) -> bool {
        self.signs.over.get()
    }

    /// Whether further requests had better go by a new one.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now >= self.old_at
    }

    /// Whether it carries as many tunnels as leave room for requests, which would
    /// else wait for hours for a place.
    pub(super) fn has_enough_tunnels(&self) -> bool {
        self.signs.tunnels.get() * 2 >= self.allowed()
    }

    /// Since when nobody has used it; none while somebody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.taken() == 0).then(|| self.signs.idle_since.get())
    }

    /// Whether it is waited for and has said nothing for long: it may be dead.
    pub(super) fn is_silent(&self) -> bool {
        self.signs.awaited() > 0 && self.signs.silent_at.get() == Some(self.read())
    }

    /// Whether the replica may have ended it for its age: it has said nothing
    /// since the connection was idle.
    pub(super) fn died_of_age(&self) -> bool {
        self.signs.woken_at.get() == Some(self.read())
    }

    /// Whether its end has not been counted against the replica yet. It counts
    /// once, however many requests end with it.
    pub(super) fn charge(&self) -> bool {
        !self.signs.charged.replace(true)
    }

    fn read(&self) -> u64 {
        self.traffic.reading().read
    }

    pub(in crate::proxy::upstream) fn place(self: &Rc<Self>) -> Place {
        let signs = &self.signs;
        let taken = signs.taken.replace(self.taken() + 1);
        if taken == 0 {
            // One that was just opened has not been idle.
            let was_idle = signs.idle_since.get() > self.opened_at;
            signs.woken_at.set(was_idle.then(|| self.read()));
        }
        if signs.awaited() == 1 {
            // The replica is waited for from now on.
            signs.changed.notify_waiters();
        }
        Place { session: Rc::clone(self), is_tunnel: Cell::new(false) }
    }
}

impl Place {
    pub(in crate::proxy::upstream) fn session(&self) -> &Session {
        &self.session
    }

    /// Its request has become a tunnel, which may be silent for long.
    pub(super) fn becomes_tunnel(&self) {
        if !self.is_tunnel.replace(true) {
            let tunnels = &self.session.signs.tunnels;
            tunnels.set(tunnels.get() + 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let signs = &self.session.signs;
        if self.is_tunnel.get() {
            signs.tunnels.set(signs.tunnels.get().saturating_sub(1));
        }
        signs.taken.set(signs.taken.get().saturating_sub(1));
        signs.idle_since.set(Instant::now());
        if signs.taken.get() == 0 && signs.over.get() {
            signs.changed.notify_waiters();
        }
        if let Some(common) = self.session.common.get() {
            common.changed.notify_one();
        }
    }
}

impl Drop for Session {
    /// The task that drives it says goodbye.
    fn drop(&mut self) {
        self.signs.left.set(true);
        self.signs.changed.notify_waiters();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("signs", &self.signs).finish_non_exhaustive()
    }
}

impl Signs {
    async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            self.changed.notified().await;
        }
    }

    /// Requests whose answers are waited for.
    fn awaited(&self) -> usize {
        self.taken.get().saturating_sub(self.tunnels.get())
    }

    fn is_done(&self) -> bool {
        self.left.get() || self.over.get() && self.taken.get() == 0
    }

    fn note(&self, allowed: usize, over: bool) {
        let over = over || self.over.get();
        if (self.allowed.replace(allowed), self.over.replace(over)) != (allowed, over) {
            self.changed.notify_waiters();
        }
    }
}

/// Runs the connection until it ends, is found dead, or is of no more use: nobody
/// has it, or the replica has said goodbye and the last request is answered.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    address: SocketAddr,
    mut connection: Connection<Metered<S>, Bytes>,
    mut sender: SendRequest<Bytes>,
    signs: Rc<Signs>,
    traffic: Arc<Traffic>,
) {
    let pings = connection.ping_pong();
    let run = poll_fn(|context| {
        let ended = Pin::new(&mut connection).poll(context);
        // It fails as soon as the replica has said that it takes no more.
        let refuses = matches!(sender.poll_ready(context), Poll::Ready(Err(_)));
        signs.note(sender.current_max_send_streams(), ended.is_ready() || refuses);
        ended
    });
    tokio::select! {
        ended = run => if let Err(error) = ended {
            debug!(%address, %error, "HTTP/2 connection to a replica ended");
        },
        () = silent(pings, &signs, &traffic) => {
            debug!(%address, "HTTP/2 connection to a replica is dead: it answers no PING");
        }
        () = signs.until(Signs::is_done) => {
            signs.note(0, true);
            // Without senders and streams it says goodbye by itself (GOAWAY with
            // NO_ERROR), and ends when that is written. To a replica that has said
            // it first there is no need.
            drop(sender);
            if signs.left.get() {
                let _ = timeout(GOODBYE_MAX, connection).await;
            }
        }
    }
    signs.note(0, true);
}

/// Ends if the replica says nothing while it is waited for, not even an answer
/// to a PING.
async fn silent(pings: Option<PingPong>, signs: &Signs, traffic: &Traffic) {
    let Some(mut pings) = pings else { return pending().await };
    // PINGs since the replica has said anything else, and when the next may go.
    let (mut asked, mut ask_again) = (0, Instant::now());
    let mut heard = traffic.reading().read;
    loop {
        signs.until(|signs| signs.awaited() > 0).await;
        let before = traffic.reading().read;
        if before != heard {
            asked = 0;
        }
        sleep_until(Instant::now() + SILENCE_MAX).await;
        heard = traffic.reading().read;
        if heard != before {
            asked = 0;
            continue;
        }
        if signs.awaited() == 0 {
            continue;
        }
        signs.silent_at.set(Some(heard));
        if asked >= PINGS_MAX && Instant::now() < ask_again {
            continue;
        }
        match timeout(PONG_WAIT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => (asked, ask_again) = (asked + 1, Instant::now() + PING_AGAIN),
            // The connection tells why itself.
            Ok(Err(_)) => return pending().await,
            Err(_) => return,
        }
        heard = traffic.reading().read;
    }
}

/// Whoever answers does not begin as HTTP/2 does.
#[derive(Debug, thiserror::Error)]
#[error("it does not speak HTTP/2")]
struct NotHttp2;

/// Requests that one connection carries at a time, though the replica may allow
/// more: nginx, HAProxy and Envoy serve no more than that, and what one lost
/// packet holds up has a bound.
pub(super) const STREAMS_MAX: usize = 100;

/// What a replica may send of one answer before its client has taken it: enough
/// for a gigabit at a round trip of half a millisecond.
const STREAM_WINDOW: u32 = 64 * 1024;

/// What it may send of all answers on one connection: as much as they may have
/// together, so that clients that take nothing hold up nobody else's.
const CONNECTION_WINDOW: u32 = STREAMS_MAX as u32 * STREAM_WINDOW;

/// What waits to be written of one upload.
const SEND_BUFFER_MAX: usize = 128 * 1024;

/// Streams that we have reset, which are remembered for what still comes on them.
const RESET_STREAMS_MAX: usize = 100;

/// A connection takes no more requests at this age, give or take a tenth so that
/// not all are renewed at once: whatever stands between us and the replica, a name
/// or another balancer, leads new ones to where it leads by then. What it costs is
/// one handshake in an hour.
pub(super) const AGE_MAX: Duration = Duration::from_secs(3600);

/// For a goodbye to be written, which a peer that takes nothing prevents.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A replica that is waited for and says nothing for so long is asked whether it
/// is there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A PING is answered at once, whatever the application does.
const PONG_WAIT: Duration = Duration::from_secs(5);

/// PINGs that may follow each other in one silence, and the time before another
/// one: servers of gRPC close a connection that sends more of them within five
/// minutes in which they had nothing to say.
const PINGS_MAX: u32 = 2;
const PING_AGAIN: Duration = Duration::from_secs(330);

/// GOAWAY with NO_ERROR, before which the replica has opened no stream.
#[cfg(test)]
pub(super) const GOODBYE: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Takes what it is sent and answers with its settings, and with a PONG to so
    /// many PINGs; tells when each PING came.
    async fn replica(mut stream: DuplexStream, pongs: usize, pings: Rc<RefCell<Vec<Duration>>>) {
        let began = Instant::now();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[2])];
            stream.read_exact(&mut payload).await.unwrap();
            let is_ping = head[3] == 6 && head[4] == 0;
            if is_ping {
                pings.borrow_mut().push(began.elapsed());
                if pings.borrow().len() <= pongs {
                    stream.write_all(&[0, 0, 8, 6, 1, 0, 0, 0, 0]).await.unwrap();
                    stream.write_all(&payload).await.unwrap();
                }
            }
        }
    }

    async fn open(pongs: usize) -> (Rc<Session>, Rc<RefCell<Vec<Duration>>>) {
        let (ours, theirs) = duplex(4096);
        let pings = Rc::<RefCell<Vec<_>>>::default();
        tokio::task::spawn_local(replica(theirs, pongs, Rc::clone(&pings)));
        let session = Session::open(([127, 0, 0, 1], 1).into(), ours).await.unwrap();
        (session, pings)
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_replica_that_is_waited_for_and_answers_no_ping_is_dead() {
        let (session, pings) = open(2).await;
        let _place = session.place();
        let began = Instant::now();
        session.signs.until(|signs| signs.over.get()).await;
        let last = 2 * SILENCE_MAX + PING_AGAIN;
        assert_eq!(began.elapsed(), last + PONG_WAIT);
        assert_eq!(*pings.borrow(), [SILENCE_MAX, 2 * SILENCE_MAX, last]);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_has_been_silent_for_long_is_found_dead_soon() {
        let (session, _) = open(0).await;
        let _place = session.place();
        let began = Instant::now();
        tokio::time::sleep(SILENCE_MAX + Duration::from_secs(1)).await;
        assert!(session.is_silent() && !session.is_over());
        session.signs.until(|signs| signs.over.get()).await;
        assert_eq!(began.elapsed(), SILENCE_MAX + PONG_WAIT);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_answers_pings_alone_is_silent_when_no_more_may_be_sent() {
        let (session, pings) = open(9).await;
        let _place = session.place();
        tokio::time::sleep(3 * SILENCE_MAX - Duration::from_secs(1)).await;
        assert_eq!((session.is_silent(), pings.borrow().len()), (false, 2));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((session.is_silent(), pings.borrow().len()), (true, 2));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn an_end_is_of_age_only_after_a_rest_and_counts_once_else() {
        let (session, _) = open(0).await;
        let first = session.place();
        assert!(!session.died_of_age(), "it has not rested yet");
        assert_eq!((session.charge(), session.charge()), (true, false));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = session.place();
        drop((first, second));
        let _third = session.place();
        assert!(session.died_of_age());
        let _fourth = session.place();
        assert!(session.died_of_age(), "who joins it meets the same end");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_connection_that_nobody_has_says_goodbye_and_ends() {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let session = Session::open(([127, 0, 0, 1], 1).into(), ours).await.unwrap();
        let place = session.place();
        drop(session);
        let mut heard = Vec::new();
        let heard_all = timeout(Duration::from_secs(9), theirs.read_to_end(&mut heard)).await;
        assert!(heard_all.is_err() && !heard.ends_with(&GOODBYE), "somebody uses it");
        drop(place);
        let began = Instant::now();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(&GOODBYE), "{heard:?}");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_peer_that_takes_nothing_is_left_without_a_goodbye() {
        // Room for our preface and settings, and not for a GOAWAY.
        let (ours, mut theirs) = duplex(PREFACE_BYTES);
        theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let session = Session::open(([127, 0, 0, 1], 1).into(), ours).await.unwrap();
        drop(session);
        tokio::time::sleep(GOODBYE_MAX).await;
        let began = Instant::now();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!((began.elapsed(), heard.ends_with(&GOODBYE)), (Duration::ZERO, false));
    }

    const PREFACE_BYTES: usize = 24;

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn who_is_not_waited_for_is_not_asked() {
        let (session, pings) = open(0).await;
        drop(session.place());
        tokio::time::sleep(PING_AGAIN).await;
        assert_eq!((session.is_over(), pings.borrow().len()), (false, 0));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_tunnel_may_be_silent_and_holds_its_place() {
        let (session, pings) = open(0).await;
        let tunnel = session.place();
        tunnel.becomes_tunnel();
        tokio::time::sleep(PING_AGAIN).await;
        assert_eq!(
            (session.is_silent(), session.is_over(), pings.borrow().len()),
            (false, false, 0)
        );
        assert_eq!((session.room(), session.idle_since()), (STREAMS_MAX - 1, None));
        let _place = session.place();
        tokio::time::sleep(SILENCE_MAX + Duration::from_secs(1)).await;
        assert_eq!(pings.borrow().len(), 1, "a request beside it is waited for");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_connection_has_room_for_so_many_requests() {
        // This one allows any number.
        let (session, _) = open(0).await;
        let places: Vec<_> = (0..STREAMS_MAX).map(|_| session.place()).collect();
        assert_eq!((session.room(), session.idle_since()), (0, None));
        drop(places);
        assert_eq!((session.room(), session.idle_since()), (STREAMS_MAX, Some(Instant::now())));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_peer_that_begins_otherwise_is_no_session() {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        assert!(Session::open(([127, 0, 0, 1], 1).into(), ours).await.is_err());
    }
}
