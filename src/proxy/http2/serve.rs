//! A connection that speaks HTTP/2.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::proxy::http2::Limits;
use crate::proxy::http2::account::{Account, Piece};
use crate::proxy::http2::stream::{self, Connection};
use crate::proxy::request::{Downstream, Visitor};
use crate::proxy::resources::Resources;

/// Serves `stream`, of which `before` has been read already.
pub(in crate::proxy) async fn serve<S>(
    resources: Rc<Resources>,
    stream: S,
    _before: &[u8],
    visitor: Visitor,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let peer = visitor.ends.source;
    let limits = Limits { idle: resources.parts.keep_alive, ..Limits::default() };
    let account = Account::new(limits.connection_buffer);
    let downstream = Rc::new(Downstream::new(visitor, None));
    let shared = Rc::new(Connection { resources, downstream, account, limits });
    let mut connection = match builder(&limits).handshake::<_, Piece>(stream).await {
        Ok(connection) => connection,
        Err(error) => return debug!(%peer, %error, "A client's connection ended"),
    };
    let mut streams = FuturesUnordered::new();
    poll_fn(|context| {
        loop {
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {}
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    streams.push(stream::serve(Rc::clone(&shared), request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    debug!(%peer, %error, "A client's connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buffer_size(limits.stream_buffer)
        .enable_connect_protocol();
    builder
}
