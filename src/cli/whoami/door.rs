//! Where the demo backend listens, in the clear or by TLS.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A listener, and those who are still shaking hands at it.
pub(super) struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shaking: JoinSet<Option<(Line, SocketAddr)>>,
}

/// A client's connection.
pub(super) enum Line {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub(super) SocketAddr);

impl Door {
    /// Listens on both families where there are two; with `tls` by a certificate
    /// that is made now, in the name of `localhost` and `name`.
    ///
    /// # Errors
    /// When the port cannot be had, or `name` is no name for a certificate.
    pub(super) async fn open(port: u16, tls: bool, name: &str) -> io::Result<Self> {
        let bound = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        };
        let listener = bound.map_err(|error| {
            let message =
                format!("cannot listen on port {port}: {error}; choose another with --port");
            io::Error::new(error.kind(), message)
        })?;
        let tls = tls.then(|| acceptor(name)).transpose()?;
        Ok(Self { listener, tls, shaking: JoinSet::new() })
    }
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            let (stream, remote) = tokio::select! {
                accepted = Listener::accept(&mut self.listener) => accepted,
                Some(Ok(Some(shaken))) = self.shaking.join_next() => return shaken,
            };
            // A delay that nobody asked for would be measured as the balancer's;
            // it is kept if this fails.
            let _ = stream.set_nodelay(true);
            let Some(tls) = self.tls.clone() else { return (Line::Clear(stream), remote) };
            self.shaking.spawn(async move {
                let shaken = timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
                Some((Line::Tls(Box::new(shaken.ok()?.ok()?)), remote))
            });
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Remote {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

fn acceptor(name: &str) -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), name.to_owned()]);
    let made = made.map_err(io::Error::other)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// For a client that connects and says nothing.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
