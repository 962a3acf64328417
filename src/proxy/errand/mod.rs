//! Small requests of our own: to a service that decides, or for a page.

mod names;

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
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::proxy::errand::names::{NAMES_MAX, Names};

/// What one worker needs for errands: idle connections, and where names lead.
#[derive(Debug, Default)]
pub(super) struct Errands {
    idle: RefCell<HashMap<SocketAddr, Vec<(Sender, Instant)>>>,
    names: Names,
}

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
        let addresses = self.names.resolve(host, port).await.map_err(Failed::Unresolved)?;
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
        let (mut sender, address) = open_any(&addresses).await.map_err(|failed| {
            self.names.doubt(host, port);
            Failed::Unreached(failed)
        })?;
        let response = sender.send_request(copy(request)).await.map_err(Failed::Broken)?;
        self.read(response, sender, address, bytes_max).await
    }

    /// As [`Self::ask`], of one address and on a connection of its own, which
    /// begins with `greeting` and is there within `connect`.
    pub(super) async fn ask_once(
        address: SocketAddr,
        greeting: Option<&[u8]>,
        connect: Duration,
        request: &Request<()>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let opened = timeout(connect, open(address, greeting)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut sender = opened.map_err(Failed::Unreached)?;
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
        self.names.sweep(now);
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

/// Of several addresses one that says nothing must not take the time of all.
async fn open_any(addresses: &[SocketAddr]) -> io::Result<(Sender, SocketAddr)> {
    let Some((&last, others)) = addresses.split_last() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    for &address in others {
        if let Ok(Ok(sender)) = timeout(CONNECT_MAX, open(address, None)).await {
            return Ok((sender, address));
        }
    }
    open(last, None).await.map(|sender| (sender, last))
}

async fn open(address: SocketAddr, greeting: Option<&[u8]>) -> io::Result<Sender> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if let Some(greeting) = greeting {
        stream.write_all(greeting).await?;
    }
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
        let (_, address) = open_any(&[silent, well.1]).await.unwrap();
        assert_eq!(address, well.1);
        assert!(began.elapsed() < 2 * CONNECT_MAX, "{:?}", began.elapsed());
    }
}
