//! Who is on the line, as the PROXY header in front of a connection says.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::domain::proxy_protocol::{self, Ends, HEADER_BYTES_MAX, Header, Malformed};
use crate::proxy::bell::Listener;

/// A connection, and what was read of it after its header.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Introduced {
    pub(super) ends: Ends,
    /// Whether whoever is on the line is known. Where a proxy does not say whom
    /// it speaks for, its address is not the client's, and its client is not to
    /// be believed as the proxy itself would be.
    pub(super) is_known: bool,
    pub(super) rest: Vec<u8>,
}

/// Why a connection that must begin with a header cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotIntroduced {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection ended within its PROXY header")]
    Ended,
    #[error("the connection ended without a PROXY header")]
    Silent,
    #[error("the PROXY header did not come within {0:?}")]
    Late(Duration),
    #[error("we stop")]
    Stopping,
    #[error("the connection cannot be read")]
    Io(#[from] io::Error),
}

impl Introduced {
    /// A connection that speaks for itself.
    pub(super) fn directly(stream: &TcpStream, peer: SocketAddr) -> Self {
        Self { ends: ends_of(stream, peer), is_known: true, rest: Vec::new() }
    }

    /// A connection that begins with a header, which must come whole within
    /// `limit`, and within `patience` once we stop.
    pub(super) async fn by_header(
        stream: &mut TcpStream,
        peer: SocketAddr,
        limit: Duration,
        (stops, patience): (Listener, Duration),
    ) -> Result<Self, NotIntroduced> {
        let (header, rest) = tokio::select! {
            received = timeout(limit, receive(stream)) => {
                received.map_err(|_| NotIntroduced::Late(limit))??
            }
            () = stops.unwanted_for(patience) => return Err(NotIntroduced::Stopping),
        };
        let ends = match header {
            Header::Forwarded(ends) => ends,
            Header::Local | Header::Unknown => ends_of(stream, peer),
        };
        Ok(Self { ends, is_known: header != Header::Unknown, rest })
    }
}

impl NotIntroduced {
    /// Whether something is set up wrongly. Who only looks whether we listen is
    /// no trouble.
    pub(super) fn is_trouble(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Ended | Self::Late(_) => true,
            Self::Silent | Self::Stopping | Self::Io(_) => false,
        }
    }
}

/// Where our end cannot be told, only replicas that want PROXY headers miss it.
fn ends_of(stream: &TcpStream, peer: SocketAddr) -> Ends {
    let nowhere = || match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    Ends { source: peer, destination: stream.local_addr().unwrap_or_else(|_| nowhere()) }
}

/// The header that the stream begins with, and what was read after it.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(Header, Vec<u8>), NotIntroduced> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    loop {
        if let Some((header, length)) = proxy_protocol::read(&bytes)? {
            bytes.drain(..length);
            return Ok((header, bytes));
        }
        // Whatever may still be a header is shorter than this.
        let room = HEADER_BYTES_MAX.saturating_sub(bytes.len());
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            let silent = bytes.is_empty();
            return Err(if silent { NotIntroduced::Silent } else { NotIntroduced::Ended });
        }
    }
}

/// A header, and the request that usually comes with it.
const USUAL_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use crate::proxy::bell::Bell;

    #[tokio::test]
    async fn what_follows_a_header_is_kept_wherever_the_pieces_end() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n";
        for piece in [1, 2, 35, 36, 37, 1000] {
            let (mut client, mut server) = duplex(piece);
            let (sent, received) = tokio::join!(client.write_all(line), async {
                let (header, mut rest) = receive(&mut server).await.unwrap();
                let left = "GET / HTTP/1.1\r\n".len() - rest.len();
                let mut later = vec![0; left];
                server.read_exact(&mut later).await.unwrap();
                rest.extend(later);
                (header, rest)
            });
            sent.unwrap();
            assert!(matches!(received.0, Header::Forwarded(_)));
            assert_eq!(received.1, b"GET / HTTP/1.1\r\n", "{piece}");
        }
    }

    #[tokio::test]
    async fn an_endless_header_is_read_up_to_its_bound() {
        let (mut client, mut server) = duplex(64 * 1024);
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf0";
        client.write_all(&[&header[..], &[0; 60_000]].concat()).await.unwrap();
        assert!(matches!(receive(&mut server).await, Ok((Header::Forwarded(_), _))));
        let (mut client, mut server) = duplex(64 * 1024);
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf1";
        client.write_all(&[&header[..], &[0; 60_000]].concat()).await.unwrap();
        let refused = receive(&mut server).await.unwrap_err();
        assert!(matches!(refused, NotIntroduced::Malformed(Malformed::TooLong)), "{refused}");
    }

    #[tokio::test]
    async fn a_header_has_its_time_and_less_while_we_stop() {
        let (mut server, peer, _client) = connected().await;
        tokio::time::pause();
        let (limit, patience) = (Duration::from_secs(10), Duration::from_secs(1));
        let bell = Rc::new(Bell::default());
        let began = Instant::now();
        let late = Introduced::by_header(&mut server, peer, limit, (bell.listen(), patience)).await;
        assert!(matches!(late, Err(NotIntroduced::Late(_))), "{late:?}");
        assert!(about(began.elapsed(), limit));
        bell.stop();
        let began = Instant::now();
        let stopped =
            Introduced::by_header(&mut server, peer, limit, (bell.listen(), patience)).await;
        assert!(matches!(stopped, Err(NotIntroduced::Stopping)), "{stopped:?}");
        assert!(about(began.elapsed(), patience));
    }

    /// To the millisecond, which is a timer's.
    fn about(elapsed: Duration, expected: Duration) -> bool {
        elapsed >= expected && elapsed < expected + Duration::from_millis(5)
    }

    async fn connected() -> (TcpStream, SocketAddr, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        (server, peer, client)
    }
}
