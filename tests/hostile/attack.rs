//! Ways to do harm, a connection each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::frames;
use crate::support::client::tls::shake_hands;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Attack {
    /// A head that comes by a byte a second.
    SlowHead,
    /// A body of a MiB that comes by a byte a second.
    SlowBody,
    /// Requests that are taken back as soon as they are sent.
    RapidReset,
    /// Large answers that are asked for and never taken.
    StalledWindow,
    /// A TLS handshake that stops after its first bytes.
    HalfHandshake,
}

/// Where they come in, and with what.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) clear: SocketAddr,
    pub(super) secure: SocketAddr,
    pub(super) tls: TlsConnector,
}

impl Attack {
    pub(super) const ALL: [Self; 5] = [
        Self::SlowHead,
        Self::SlowBody,
        Self::RapidReset,
        Self::StalledWindow,
        Self::HalfHandshake,
    ];

    /// Where it connects.
    pub(super) fn door(self, target: &Target) -> SocketAddr {
        match self {
            Self::SlowHead | Self::SlowBody => target.clear,
            Self::RapidReset | Self::StalledWindow | Self::HalfHandshake => target.secure,
        }
    }

    /// Goes on until the balancer ends the connection.
    pub(super) async fn carry_out(self, stream: TcpStream, target: &Target) -> io::Result<()> {
        match self {
            Self::SlowHead => drip(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await,
            Self::SlowBody => {
                let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n";
                drip(stream, head).await
            }
            Self::RapidReset => rapid_reset(self.secured(stream, target).await?).await,
            Self::StalledWindow => stalled_window(self.secured(stream, target).await?).await,
            Self::HalfHandshake => drip(stream, &HALF_HELLO).await,
        }
    }

    async fn secured(
        self,
        stream: TcpStream,
        target: &Target,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
        let refused = |_| io::Error::other("no handshake");
        shake_hands(&target.tls, stream).await.map_err(refused)
    }
}

/// Sends the beginning at once and a byte a second ever after.
async fn drip(mut stream: TcpStream, beginning: &[u8]) -> io::Result<()> {
    stream.write_all(beginning).await?;
    loop {
        let ended = timeout(DRIP, stream.read(&mut [0; 256])).await;
        match ended {
            // The time of a byte is over.
            Err(_) => stream.write_all(b"x").await?,
            Ok(Ok(0)) => return Ok(()),
            // Whatever it says, such as 408.
            Ok(said) => drop(said?),
        }
    }
}

async fn rapid_reset(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(&frames::greeting(&[])).await?;
    let mut number = 1;
    loop {
        let mut burst = Vec::new();
        for _ in 0..BURST {
            frames::get(&mut burst, number, "/");
            frames::reset(&mut burst, number);
            number += 2;
        }
        stream.write_all(&burst).await?;
        // What is answered is thrown away, so that nothing stalls.
        if let Ok(read) = timeout(BURST_PAUSE, read_away(&mut stream)).await {
            return read;
        }
    }
}

async fn stalled_window(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = frames::greeting(&[(frames::INITIAL_WINDOW_SIZE, 1)]);
    for number in 0..STALLED {
        frames::get(&mut bytes, 1 + 2 * number, "/?size=1MiB");
    }
    stream.write_all(&bytes).await?;
    read_away(&mut stream).await
}

async fn read_away(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut away = [0; 4096];
    while stream.read(&mut away).await? > 0 {}
    Ok(())
}

/// Comes anew after an end; not at once, or only connecting would be tested.
pub(super) async fn regroup() {
    sleep(REGROUP).await;
}

const DRIP: Duration = Duration::from_secs(1);
const REGROUP: Duration = Duration::from_secs(2);

/// A record of 512 bytes is announced, and a `ClientHello` begins in it.
const HALF_HELLO: [u8; 9] = [22, 3, 1, 2, 0, 1, 0, 1, 252];

/// As many as many servers let be open at once.
const BURST: usize = 100;
const BURST_PAUSE: Duration = Duration::from_millis(100);
const STALLED: u32 = 100;
