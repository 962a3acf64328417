//! The admin listener: few connections, none of them for ever.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin::{Admin, router};
use crate::telemetry::metrics::Listener;

/// Answers until `stop` ends, then lets connections finish for a second.
pub async fn serve(listener: TcpListener, state: Admin, stop: impl Future<Output = ()>) {
    let counters = Arc::clone(&state.counters);
    let router = router(state);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &places) => match accepted {
                Ok((stream, peer, place)) => {
                    let held = (place, counters.connection_opened(Listener::Admin));
                    connections.spawn(connection(stream, peer, router.clone(), stopped.clone(), held));
                }
                Err(error) => {
                    tracing::warn!(%error, "The admin listener cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    drop(stopping);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What is still open then ends with the set.
    let _ = timeout(STOP_TIMEOUT, finished).await;
}

/// The next client, once there is a place for one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // A client that is gone already ends its connection by itself.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, place))
}

/// Serves one client; what is `held` for it is given back at the end.
async fn connection<H>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    mut stopped: watch::Receiver<()>,
    _held: H,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return said(peer, ended),
        // Its sender is dropped when we stop.
        _ = stopped.changed() => {}
        // A client that reads nothing holds its place no longer than this.
        () = sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(STOP_TIMEOUT, connection).await {
        said(peer, ended);
    }
}

fn said(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "An admin connection failed");
    }
}

const CONNECTIONS_MAX: usize = 64;

/// For a whole head, and between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

const HEAD_BYTES_MAX: usize = 16 << 10;

const CONNECTION_LIFE: Duration = Duration::from_secs(60);

const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Before the next try when none can be accepted, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_finish_its_head_is_dropped() {
        let (mut client, served, _stopping) = serving();
        let begun = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        served.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_dropped() {
        let (mut client, served, _stopping) = serving();
        let begun = Instant::now();
        // Their answers do not fit into the pipe.
        client.write_all(&REQUEST.repeat(8)).await.unwrap();
        served.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), (CONNECTION_LIFE + STOP_TIMEOUT).as_secs());
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_at_once_when_we_stop() {
        let (mut client, served, stopping) = serving();
        client.write_all(REQUEST).await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        let begun = Instant::now();
        drop(stopping);
        client.read_to_end(&mut Vec::new()).await.unwrap();
        served.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    fn serving() -> (DuplexStream, JoinHandle<()>, watch::Sender<()>) {
        let (client, server) = duplex(512);
        let (stopping, stopped) = watch::channel(());
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let router = Router::new().route("/", get(|| async { "x".repeat(200) }));
        (client, tokio::spawn(connection(server, peer, router, stopped, ())), stopping)
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
}
