//! One request on a shared connection.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::task::AbortHandle;

use crate::domain::http::http2::websocket;
use crate::domain::http::own::own;
use crate::domain::retry::Cause;
use crate::domain::upstream::Scheme;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::body::RequestBody;
use crate::proxy::upstream::http2::head;
use crate::proxy::upstream::http2::incoming::Http2Body;
use crate::proxy::upstream::http2::session::Place;
use crate::proxy::upstream::http2::tunnel::Http2Tunnel;

/// A place on a connection, and the upload that uses it. When it is dropped
/// before its answer has ended, the stream is reset, and nothing else.
#[derive(Debug)]
pub(in crate::proxy) struct Stream {
    place: Place,
    scheme: Scheme,
    /// What is asked for is a WebSocket.
    is_websocket: bool,
    upload: Option<AbortHandle>,
}

/// Why no answer came, and what follows from it.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct Unanswered {
    pub(in crate::proxy::upstream) cause: Cause,
    pub(in crate::proxy::upstream) error: h2::Error,
    /// The replica may have ended the connection for its age.
    pub(in crate::proxy::upstream) aged: bool,
    /// Another request has met the end of the same connection.
    pub(in crate::proxy::upstream) counted: bool,
}

impl Stream {
    pub(in crate::proxy::upstream) fn new(
        place: Place,
        scheme: Scheme,
        is_websocket: bool,
    ) -> Self {
        Self { place, scheme, is_websocket, upload: None }
    }

    /// Sends the request and waits for the head of its answer. One that names no
    /// host asks for `address`.
    pub(in crate::proxy::upstream) async fn send(
        &mut self,
        request: Request<RequestBody>,
        address: SocketAddr,
    ) -> Result<Response<AnswerBody>, Unanswered> {
        let before = self.written();
        if self.is_websocket {
            let (answer, outgoing, proof) = self.connect(request, address).map_err(begin_failed)?;
            let response = answer.await.map_err(|error| self.failed(error, before))?;
            return Ok(self.switched(response, outgoing, proof));
        }
        let (answer, upload) = self.begin(request, address).map_err(begin_failed)?;
        self.upload = upload;
        Ok(plain(answer.await.map_err(|error| self.failed(error, before))?))
    }

    /// The answer to an extended CONNECT, as HTTP/1.1 has it.
    fn switched(
        &self,
        response: Response<RecvStream>,
        mut outgoing: SendStream<Bytes>,
        proof: HeaderValue,
    ) -> Response<AnswerBody> {
        if !response.status().is_success() {
            // It wants none, and is told that nothing follows; where it knows that,
            // there is nobody to tell.
            let _ = outgoing.send_data(Bytes::new(), true);
            return plain(response);
        }
        self.place.becomes_tunnel();
        let mut response =
            response.map(|body| AnswerBody::Tunnel(Some(Http2Tunnel::new(body, outgoing))));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        websocket::accept(response.headers_mut(), proof);
        response
    }

    /// Why no answer came, where `before` bytes had been written before the
    /// request was.
    fn failed(&self, error: h2::Error, before: u64) -> Unanswered {
        // What others have sent meanwhile cannot be told from what is of this
        // request, so that only silence proves that none of it went.
        let unsent = self.written() == before;
        let cause = match () {
            () if self.requires_http1(&error) => Cause::OtherVersion,
            () if was_refused(&error) => Cause::Refused,
            () if error.is_reset() && (error.is_remote() || error.is_library()) => Cause::Reset,
            () if unsent => Cause::Unsent,
            () => Cause::Unanswered,
        };
        let session = self.place.session();
        let has_ended = matches!(cause, Cause::Unsent | Cause::Unanswered);
        let aged = has_ended && session.died_of_age();
        let counted = has_ended && !aged && !session.charge();
        Unanswered { cause, error, aged, counted }
    }

    /// Whether the replica has served nothing since it does so by HTTP/1.1 alone
    /// (RFC 9113, section 7), which is remembered. Of h2c that is an error: there
    /// is no HTTP/1.1.
    fn requires_http1(&self, error: &h2::Error) -> bool {
        let requires = self.scheme == Scheme::Https
            && error.is_remote()
            && error.reason() == Some(Reason::HTTP_1_1_REQUIRED);
        if requires && let Some(common) = self.place.session().common.get() {
            common.requires_http1();
        }
        requires
    }

    fn written(&self) -> u64 {
        self.place.session().traffic.reading().written
    }

    /// Hands the head to the connection, and has the body sent by a task if there
    /// is one.
    fn begin(
        &self,
        request: Request<RequestBody>,
        address: SocketAddr,
    ) -> Result<(ResponseFuture, Option<AbortHandle>), h2::Error> {
        let (head, body) = head::of(request, self.scheme, address).ok_or_else(malformed)?;
        let ended = body.is_end_stream();
        let mut sender = self.place.session().sender.borrow().clone();
        let (answer, stream) = sender.send_request(head, ended)?;
        let upload = (!ended).then(|| tokio::task::spawn_local(upload(body, stream)));
        Ok((answer, upload.map(|task| task.abort_handle())))
    }

    /// Asks for a WebSocket.
    fn connect(
        &self,
        request: Request<RequestBody>,
        address: SocketAddr,
    ) -> Result<(ResponseFuture, SendStream<Bytes>, HeaderValue), h2::Error> {
        let (head, proof) = head::websocket(request, self.scheme, address).ok_or_else(malformed)?;
        let mut sender = self.place.session().sender.borrow().clone();
        let (answer, stream) = sender.send_request(head, false)?;
        Ok((answer, stream, proof))
    }
}

fn malformed() -> h2::Error {
    h2::Error::from(Reason::PROTOCOL_ERROR)
}

fn plain(response: Response<RecvStream>) -> Response<AnswerBody> {
    let (head, body) = response.into_parts();
    let body = Http2Body::new(body, &head.headers);
    Response::from_parts(head, AnswerBody::Http2(body))
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abort();
        }
    }
}

/// Nothing was sent, unless what was to be sent is none. If the connection has
/// ended, whoever was on it has told of that.
fn begin_failed(error: h2::Error) -> Unanswered {
    let unsent = error.is_go_away() || error.is_io();
    let cause = if unsent { Cause::Unsent } else { Cause::Other };
    Unanswered { cause, error, aged: true, counted: true }
}

/// Whether the replica says that it has not looked at the request: it refuses
/// the stream, or says goodbye and counts it as none of those that it took (RFC
/// 9113, section 8.7). h2 fails a stream by a GOAWAY only if it is above the last
/// one.
fn was_refused(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// Sends the body as the replica takes it, until it wants no more.
async fn upload(mut body: RequestBody, mut stream: SendStream<Bytes>) {
    let sent = send(&mut body, &mut stream).await;
    if sent.is_none() {
        stream.send_reset(Reason::CANCEL);
    }
}

/// None if the body broke off, or the replica wants no more of it.
async fn send(body: &mut RequestBody, stream: &mut SendStream<Bytes>) -> Option<()> {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|context| stream.poll_reset(context)) => return None,
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { return stream.send_data(Bytes::new(), true).ok() };
        match frame.ok()?.into_data() {
            Ok(mut data) => {
                // Nothing more is taken from the client before the replica takes it.
                while !data.is_empty() {
                    let room = wait_for_room(stream, data.len()).await?;
                    let piece = data.split_to(room.min(data.len()));
                    let ended = data.is_empty() && body.is_end_stream();
                    stream.send_data(piece, ended).ok()?;
                    if ended {
                        return Some(());
                    }
                }
            }
            Err(frame) => {
                let mut fields = frame.into_trailers().ok()?;
                if fields.is_empty() {
                    return stream.send_data(Bytes::new(), true).ok();
                }
                own(&mut fields);
                return stream.send_trailers(fields).ok();
            }
        }
    }
}

/// How many bytes the replica takes now, at least one.
async fn wait_for_room(stream: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    loop {
        match stream.capacity() {
            0 => poll_fn(|context| stream.poll_capacity(context)).await?.ok()?,
            room => return Some(room),
        };
    }
}
