//! Small requests of our own, to a service that decides.

mod names;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::domain::upstream::{Tls, Trust};
use crate::proxy::errand::names::{NAMES_MAX, Names};
use crate::proxy::upstream::AnswerBroke;
use crate::tls::{Clients, Offer};

/// What one worker needs for errands: idle connections, and where names lead.
#[derive(Debug)]
pub(super) struct Errands {
    idle: RefCell<HashMap<Peer, Vec<(Sender, Instant)>>>,
    names: Names,
    clients: Rc<Clients>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service<'a> {
    pub(super) host: &'a Arc<str>,
    pub(super) port: u16,
    /// It must prove by TLS that it is this host.
    pub(super) secure: bool,
}

/// An address, and who has proved to be there; nobody in the clear.
type Peer = (SocketAddr, Option<Arc<str>>);

type Sender = SendRequest<Empty<Bytes>>;

/// Why an errand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("its name cannot be resolved")]
    Unresolved(#[source] io::Error),
    #[error("it cannot be reached")]
    Unreached(#[source] io::Error),
    #[error("its answer broke off")]
    Broken(#[source] AnswerBroke),
    #[error("its answer is too large")]
    TooLarge,
}

impl Errands {
    pub(super) fn new(clients: Rc<Clients>) -> Self {
        Self { idle: RefCell::default(), names: Names::default(), clients }
    }

    /// Asks the service, and takes an answer of at most `bytes_max`.
    /// The caller bounds the time.
    pub(super) async fn ask(
        &self,
        service: Service<'_>,
        request: &Request<()>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let Service { host, port, secure } = service;
        let name = secure.then_some(host);
        let addresses = self.names.resolve(host, port).await.map_err(Failed::Unresolved)?;
        for &address in &*addresses {
            let peer = (address, name.cloned());
            while let Some(mut sender) = self.take(&peer) {
                // One that has been closed meanwhile says so, or fails: the next
                // one may do, and a fresh one does.
                if sender.ready().await.is_ok()
                    && let Ok(response) = sender.send_request(copy(request)).await
                {
                    return self.read(response, sender, peer, bytes_max).await;
                }
            }
        }
        let opened = open_any(&addresses, name, &self.clients).await;
        let (mut sender, address) = opened.map_err(|failed| {
            self.names.doubt(host, port);
            Failed::Unreached(failed)
        })?;
        let response = sender
            .send_request(copy(request))
            .await
            .map_err(|broke| Failed::Broken(broke.into()))?;
        self.read(response, sender, (address, name.cloned()), bytes_max).await
    }

    /// Forgets connections that have been idle for long, and old names.
    pub(super) fn sweep(&self, now: Instant) {
        let young = |since: &Instant| now.duration_since(*since) < IDLE_MAX;
        self.idle.borrow_mut().retain(|_, senders| {
            senders.retain(|(sender, since)| !sender.is_closed() && young(since));
            !senders.is_empty()
        });
        self.names.sweep(now);
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        sender: Sender,
        peer: Peer,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let response = whole(response, bytes_max).await?;
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && (idle.len() < NAMES_MAX || idle.contains_key(&peer)) {
            let senders = idle.entry(peer).or_default();
            if senders.len() < IDLE_PER_ADDRESS_MAX {
                senders.push((sender, Instant::now()));
            }
        }
        Ok(response)
    }

    fn take(&self, peer: &Peer) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let senders = idle.get_mut(peer)?;
        senders.retain(|(sender, _)| !sender.is_closed());
        senders.pop().map(|(sender, _)| sender)
    }
}

fn copy(request: &Request<()>) -> Request<Empty<Bytes>> {
    let mut copy = Request::new(Empty::new());
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}

/// Of several addresses one that says nothing must not take the time of all.
async fn open_any(
    addresses: &[SocketAddr],
    name: Option<&Arc<str>>,
    clients: &Clients,
) -> io::Result<(Sender, SocketAddr)> {
    let Some((&last, others)) = addresses.split_last() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    for &address in others {
        if let Ok(Ok(sender)) = timeout(CONNECT_MAX, open(address, name, clients)).await {
            return Ok((sender, address));
        }
    }
    open(last, name, clients).await.map(|sender| (sender, last))
}

async fn open(
    address: SocketAddr,
    name: Option<&Arc<str>>,
    clients: &Clients,
) -> io::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(name) = name else { return over(stream).await };
    let tls = Arc::new(Tls { name: Some(Arc::clone(name)), trust: Trust::System });
    over(clients.shake_hands(&tls, address.ip(), Offer::Http1, stream).await?).await
}

async fn over<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handshake = Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    // It ends with its sender.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The answer with all of its body, of at most so many bytes.
pub(super) async fn whole<B>(
    response: Response<B>,
    bytes_max: usize,
) -> Result<Response<Bytes>, Failed>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<AnswerBroke>,
{
    let (parts, mut body) = response.into_parts();
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|broke| Failed::Broken(broke.into()))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if content.len() + data.len() > bytes_max {
            return Err(Failed::TooLarge);
        }
        content.extend_from_slice(data);
    }
    Ok(Response::from_parts(parts, content.freeze()))
}

const HEAD_BYTES_MAX: usize = 64 * 1024;
const IDLE_PER_ADDRESS_MAX: usize = 64;

/// Below the keep-alive time of most servers would be safest; one that has been
/// closed costs another try and no more.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// For connecting to an address that is not the last one.
const CONNECT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test(flavor = "local")]
    async fn an_address_that_says_nothing_is_passed_over_within_a_second() {
        let deaf = TcpSocket::new_v4().unwrap();
        deaf.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let deaf = deaf.listen(0).unwrap();
        let silent = deaf.local_addr().unwrap();
        // Nobody takes them, and the queue of those who wait fills up.
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(200), TcpStream::connect(silent)).await
        {
            waiting.push(stream);
        }
        let well = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = well.local_addr().map(|address| (well, address)).unwrap();
        let began = Instant::now();
        let clients = Clients::default();
        let (_, address) = open_any(&[silent, well.1], None, &clients).await.unwrap();
        assert_eq!(address, well.1);
        assert!(began.elapsed() < 2 * CONNECT_MAX, "{:?}", began.elapsed());
    }
}
