//! Connections that do nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::frames;
use super::victim::{MIB, Victim};
use crate::support::client::{Failure, connect, http1, tls};

/// What has happened on them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Idle {
    /// In the clear, before any request.
    Clear,
    /// In the clear, after a request.
    ClearUsed,
    /// Over TLS, before any request.
    Secure,
    /// Over TLS, after a request by HTTP/1.1.
    SecureUsed,
    /// HTTP/2 over TLS, after a request.
    Http2Used,
}

/// What they cost, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// All that the balancer has.
    pub(super) whole: u64,
    before: u64,
    connections: usize,
}

impl Idle {
    pub(super) const ALL: [Self; 5] =
        [Self::Clear, Self::ClearUsed, Self::Secure, Self::SecureUsed, Self::Http2Used];

    /// What a balancer needs with so many.
    pub(super) fn cost(self, connections: usize) -> Cost {
        let victim = Victim::start(connections);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // What everything needs once, such as the first answer.
            let first = self.one(&victim).await.unwrap();
            let before = victim.memory();
            let victim = Arc::new(victim);
            let entering = Arc::new(Semaphore::new(ENTERING_MAX));
            let mut entered = JoinSet::new();
            for _ in 0..connections {
                let (victim, entering) = (Arc::clone(&victim), Arc::clone(&entering));
                entered.spawn(async move {
                    let _turn = entering.acquire().await;
                    self.one(&victim).await.unwrap()
                });
            }
            let resting = entered.join_all().await;
            // It gives back what a connection needs only while it is busy.
            tokio::time::sleep(REST).await;
            let whole = victim.memory();
            drop((first, resting));
            Cost { whole, before, connections }
        })
    }

    /// Of ten thousand with the balancer itself.
    pub(super) fn whole_max(self) -> u64 {
        match self {
            Self::Clear | Self::ClearUsed => 150 * MIB,
            Self::Secure | Self::SecureUsed | Self::Http2Used => 300 * MIB,
        }
    }

    /// What one may add, the balancer itself aside.
    pub(super) fn most_per_connection(self) -> u64 {
        self.whole_max() / 10_000
    }

    async fn one(self, victim: &Victim) -> Result<Box<dyn Line>, Failure> {
        let at = match self {
            Self::Clear | Self::ClearUsed => victim.http,
            Self::Secure | Self::SecureUsed | Self::Http2Used => victim.https,
        };
        let mut stream = connect(at).await?;
        match self {
            Self::Clear => Ok(Box::new(stream)),
            Self::ClearUsed => {
                http1::exchange(&mut stream, GET).await?;
                Ok(Box::new(stream))
            }
            Self::Secure | Self::SecureUsed => {
                let mut stream = tls::shake_hands(&tls::connector(b"http/1.1"), stream).await?;
                if matches!(self, Self::SecureUsed) {
                    http1::exchange_over(&mut stream, GET).await?;
                }
                Ok(Box::new(stream))
            }
            Self::Http2Used => {
                let mut stream = tls::shake_hands(&tls::connector(b"h2"), stream).await?;
                let mut bytes = frames::greeting(&[]);
                frames::get(&mut bytes, 1, "/");
                stream.write_all(&bytes).await.map_err(|_| Failure::Closed)?;
                frames::until_end_of_stream(&mut stream).await.map_err(|_| Failure::Closed)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Something that is kept open.
trait Line: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Line for T {}

impl Cost {
    pub(super) fn per_connection(&self) -> u64 {
        self.whole.saturating_sub(self.before) / u64::try_from(self.connections).unwrap()
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Clear => "in the clear, before a request",
            Self::ClearUsed => "in the clear, after one",
            Self::Secure => "over TLS, before a request",
            Self::SecureUsed => "over TLS, after one",
            Self::Http2Used => "HTTP/2 over TLS, after one",
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, each) = (self.whole as f64 / MIB as f64, self.per_connection() as f64 / 1024.0);
        write!(to, "{whole:.1} MiB, {each:.1} KiB each")
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Longer than the second after which a connection keeps no buffers.
const REST: Duration = Duration::from_millis(2_500);
/// Fewer than the balancer's backlog.
const ENTERING_MAX: usize = 256;
