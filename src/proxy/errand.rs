//! Small requests of our own: to a service that decides, or for a page.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

/// What one worker needs for errands: idle connections, and where names lead.
#[derive(Debug, Default)]
pub(super) struct Errands {
    idle: RefCell<HashMap<SocketAddr, Vec<(Sender, Instant)>>>,
    names: RefCell<HashMap<Name, Known>>,
}

/// A host and a port.
type Name = (Arc<str>, u16);

/// Where a name leads, and until when that is believed.
type Known = (Arc<[SocketAddr]>, Instant);

type Sender = SendRequest<Empty<Bytes>>;

/// Why an errand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("its name cannot be resolved")]
    Unresolved(#[source] io::Error),
    #[error("it cannot be reached")]
    Unreached(#[source] io::Error),
    #[error("its answer broke off")]
    Broken(#[source] hyper::Error),
    #[error("its answer is too large")]
    TooLarge,
}

impl Errands {
    /// Asks the service at `host`, and takes an answer of at most `bytes_max`.
    /// The caller bounds the time.
    pub(super) async fn ask(
        &self,
        host: &Arc<str>,
        port: u16,
        request: &Request<()>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let addresses = self.resolve(host, port).await.map_err(Failed::Unresolved)?;
        for &address in &*addresses {
            while let Some(mut sender) = self.take(address) {
                // One that has been closed meanwhile says so, or fails: the next
                // one may do, and a fresh one does.
                if sender.ready().await.is_ok()
                    && let Ok(response) = sender.send_request(copy(request)).await
                {
                    return self.read(response, sender, address, bytes_max).await;
                }
            }
        }
        let (mut sender, address) = open_any(&addresses).await.map_err(Failed::Unreached)?;
        let response = sender.send_request(copy(request)).await.map_err(Failed::Broken)?;
        self.read(response, sender, address, bytes_max).await
    }

    /// As [`Self::ask`], of one address and on a connection of its own.
    pub(super) async fn ask_once(
        address: SocketAddr,
        request: &Request<()>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let mut sender = open(address).await.map_err(Failed::Unreached)?;
        let response = sender.send_request(copy(request)).await.map_err(Failed::Broken)?;
        whole(response, bytes_max).await
    }

    /// Forgets connections that have been idle for long, and old names.
    pub(super) fn sweep(&self, now: Instant) {
        let young = |since: &Instant| now.duration_since(*since) < IDLE_MAX;
        self.idle.borrow_mut().retain(|_, senders| {
            senders.retain(|(sender, since)| !sender.is_closed() && young(since));
            !senders.is_empty()
        });
        self.names.borrow_mut().retain(|_, (_, until)| *until > now);
    }

    async fn resolve(&self, host: &Arc<str>, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let name = (Arc::clone(host), port);
        let now = Instant::now();
        if let Some((addresses, until)) = self.names.borrow().get(&name)
            && *until > now
        {
            return Ok(Arc::clone(addresses));
        }
        let found = lookup_host((&*name.0, port)).await?;
        let found: Arc<[_]> = found.take(ADDRESSES_MAX).collect();
        let mut names = self.names.borrow_mut();
        if names.len() < NAMES_MAX {
            names.insert(name, (Arc::clone(&found), now + NAME_LASTS));
        }
        Ok(found)
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        sender: Sender,
        address: SocketAddr,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let response = whole(response, bytes_max).await?;
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && (idle.len() < NAMES_MAX || idle.contains_key(&address)) {
            let senders = idle.entry(address).or_default();
            if senders.len() < IDLE_PER_ADDRESS_MAX {
                senders.push((sender, Instant::now()));
            }
        }
        Ok(response)
    }

    fn take(&self, address: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let senders = idle.get_mut(&address)?;
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

async fn open_any(addresses: &[SocketAddr]) -> io::Result<(Sender, SocketAddr)> {
    let mut last = io::ErrorKind::NotFound.into();
    for &address in addresses {
        match open(address).await {
            Ok(sender) => return Ok((sender, address)),
            Err(failed) => last = failed,
        }
    }
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let handshake = Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    // It ends with its sender.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn whole(response: Response<Incoming>, bytes_max: usize) -> Result<Response<Bytes>, Failed> {
    let (parts, mut body) = response.into_parts();
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failed::Broken)?;
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

/// Services that one worker knows; few labels name any.
const NAMES_MAX: usize = 256;
const ADDRESSES_MAX: usize = 16;
const NAME_LASTS: Duration = Duration::from_secs(30);
