//! The question of a health check by HTTP/2, and by gRPC.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{ACCEPT, CONTENT_TYPE, TE, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::domain::lifecycle::{Fault, HealthCheck, Question, grpc};
use crate::domain::upstream::Scheme;
use crate::probe::ask::{HEAD_BYTES_MAX, NAME, beside, host, judge};

/// Why there is no good answer.
pub(super) enum Unanswered {
    Fault(Fault),
    /// It is given by HTTP/1.1 alone (RFC 9113, section 7).
    Http1Required,
}

/// Whether the check passes, over `stream` alone.
pub(super) async fn ask<S>(
    stream: S,
    scheme: Scheme,
    address: SocketAddr,
    check: &HealthCheck,
) -> Result<(), Unanswered>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(scheme, address, check).map_err(|_| Fault::NotHttp2)?;
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD_BYTES_MAX as u32);
    let (sender, connection) = builder.handshake(stream).await.map_err(|it| fault(&it))?;
    let question = async {
        let answer = send(sender, request, check).await.map_err(|it| fault(&it))?;
        let response = answer.await.map_err(|it| unanswered(&it))?;
        match &check.asks {
            Question::Path(_) => Ok(judge(response.status().as_u16(), check)?),
            Question::Grpc(_) => Ok(read_grpc(response).await?),
        }
    };
    beside(connection, question).await
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    check: &HealthCheck,
) -> Result<ResponseFuture, h2::Error> {
    let mut sender = sender.ready().await?;
    match &check.asks {
        Question::Path(_) => Ok(sender.send_request(request, true)?.0),
        Question::Grpc(service) => {
            let (answer, mut body) = sender.send_request(request, false)?;
            body.send_data(grpc::question(service).into(), true)?;
            Ok(answer)
        }
    }
}

/// A gRPC answer says how it ended in its trailers, or in its head where there
/// is nothing else to it.
async fn read_grpc(response: Response<RecvStream>) -> Result<(), Fault> {
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        return Err(Fault::Status(head.status.as_u16()));
    }
    let mut content = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|it| fault(&it))?;
        if content.len() + piece.len() > grpc::ANSWER_BYTES_MAX {
            return Err(Fault::NotHttp2);
        }
        let _ = body.flow_control().release_capacity(piece.len());
        content.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(|it| fault(&it))?;
    let status = |fields: &HeaderMap| fields.get("grpc-status").cloned();
    let status = trailers.as_ref().and_then(status).or_else(|| status(&head.headers));
    grpc::verdict(status.as_ref().map(|it| it.as_bytes()), &content)
}

fn request(scheme: Scheme, address: SocketAddr, check: &HealthCheck) -> http::Result<Request<()>> {
    let authority: Authority = host(address, check).parse()?;
    let uri = Uri::builder()
        .scheme(if scheme == Scheme::Https { "https" } else { "http" })
        .authority(authority);
    match &check.asks {
        Question::Path(path) => Request::get(uri.path_and_query(&**path).build()?)
            .header(USER_AGENT, NAME)
            .header(ACCEPT, "*/*")
            .body(()),
        Question::Grpc(_) => Request::post(uri.path_and_query(grpc::TARGET).build()?)
            .header(USER_AGENT, NAME)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(()),
    }
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Unanswered> for Fault {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Fault(fault) => fault,
            Unanswered::Http1Required => Self::Closed,
        }
    }
}

fn unanswered(error: &h2::Error) -> Unanswered {
    if error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        Unanswered::Http1Required
    } else {
        fault(error).into()
    }
}

fn fault(error: &h2::Error) -> Fault {
    // What is no HTTP/2 is found by ourselves, or ends before it has begun.
    if error.is_library() { Fault::NotHttp2 } else { Fault::Closed }
}
