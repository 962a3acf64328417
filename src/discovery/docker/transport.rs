//! Connections to the Docker Engine API: a fresh one for every call.
//!
//! A daemon that restarts makes a new socket at the same path, so the path is
//! opened anew each time. Nothing but GET can be asked: reading is all we do.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::trace;

use super::tls;
use super::tls::TlsError;
use crate::config::DockerAddress;

/// The way to one daemon.
#[derive(Clone)]
pub(super) struct Transport {
    address: DockerAddress,
    tls: Option<TlsConnector>,
}

/// Why a daemon cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("there is no socket at {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is a directory, not a socket", .0.display())]
    Directory(PathBuf),
    #[error("permission to open {} was denied", path.display())]
    Denied {
        path: PathBuf,
        /// None where not even the socket's owner may be seen.
        group: Option<u32>,
    },
    #[error("{} is the socket of a daemon that is gone", .0.display())]
    Dead(PathBuf),
    #[error("{} refuses connections", .0.display())]
    Refused(PathBuf),
    #[error("cannot connect to {address}")]
    Connect { address: String, source: io::Error },
    #[error("the TLS handshake with {address} failed")]
    Handshake { address: String, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("`{0}` is not a name that a certificate can carry")]
    ServerName(String),
    #[error("the request for `{path}` cannot be written")]
    Request { path: String, source: http::Error },
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
}

impl Transport {
    /// Reads what TLS needs from its folder; connects nowhere yet.
    pub(super) async fn prepare(address: &DockerAddress) -> Result<Self, TransportError> {
        let tls = match address {
            DockerAddress::Unix(_) | DockerAddress::Tcp { .. } => None,
            DockerAddress::Tls { certificates, verify, .. } => {
                Some(tls::connector(certificates, *verify).await?)
            }
        };
        Ok(Self { address: address.clone(), tls })
    }

    /// Sends one GET and waits for the head of its answer. It waits without a
    /// limit, which is the caller's to set.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, TransportError> {
        trace!(path, "Asking Docker");
        match &self.address {
            // The daemon refuses a Host that is a path.
            DockerAddress::Unix(socket) => exchange(unix(socket).await?, "docker", path).await,
            DockerAddress::Tcp { host, port } | DockerAddress::Tls { host, port, .. } => {
                let stream = tcp(host, *port).await?;
                let authority = authority(host, *port);
                match &self.tls {
                    None => exchange(stream, &authority, path).await,
                    Some(tls) => {
                        let name = ServerName::try_from(host.clone())
                            .map_err(|_| TransportError::ServerName(host.clone()))?;
                        let stream =
                            Box::pin(tls.connect(name, stream)).await.map_err(|source| {
                                TransportError::Handshake {
                                    address: spelled(&self.address),
                                    source,
                                }
                            })?;
                        exchange(stream, &authority, path).await
                    }
                }
            }
        }
    }
}

/// The address as a user would write it for `--docker`.
pub(super) fn spelled(address: &DockerAddress) -> String {
    match address {
        DockerAddress::Unix(path) => format!("unix://{}", path.display()),
        DockerAddress::Tcp { host, port } | DockerAddress::Tls { host, port, .. } => {
            format!("tcp://{}", authority(host, *port))
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn unix(path: &Path) -> Result<UnixStream, TransportError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(stream),
        Err(source) => Err(diagnosis(path, source).await),
    }
}

/// What is wrong with the socket at `path`, which tells a person more than the
/// error number: a directory and a dead socket both "refuse".
async fn diagnosis(path: &Path, source: io::Error) -> TransportError {
    let found = tokio::fs::metadata(path).await;
    let owned = path.to_owned();
    match (source.kind(), found) {
        (_, Ok(found)) if found.is_dir() => TransportError::Directory(owned),
        (io::ErrorKind::PermissionDenied, found) => {
            TransportError::Denied { path: owned, group: found.ok().map(|found| found.gid()) }
        }
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => {
            TransportError::Missing(owned)
        }
        // Only a mount still holds this inode: the daemon has made another socket.
        (io::ErrorKind::ConnectionRefused, Ok(found)) if found.nlink() == 0 => {
            TransportError::Dead(owned)
        }
        (io::ErrorKind::ConnectionRefused, _) => TransportError::Refused(owned),
        (_, _) => TransportError::Connect { address: format!("unix://{}", path.display()), source },
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let failed = |source| TransportError::Connect {
        address: format!("tcp://{}", authority(host, port)),
        source,
    };
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    SockRef::from(&stream).set_tcp_keepalive(&keepalive()).map_err(failed)?;
    Ok(stream)
}

/// Finds a dead peer under a silent event stream within half a minute.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES)
}

async fn exchange<S>(
    stream: S,
    host: &str,
    path: &str,
) -> Result<Response<Incoming>, TransportError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let unwritable = |source| TransportError::Request { path: path.to_owned(), source };
    let host = HeaderValue::try_from(host).map_err(|error| unwritable(error.into()))?;
    let request = Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(unwritable)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the answer's body is read or dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            trace!(%error, "A connection to Docker broke");
        }
    });
    Ok(sender.send_request(request).await?)
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

const USER_AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
