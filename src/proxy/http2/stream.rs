//! One stream: a request, its answer, and what it may become.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tracing::debug;

use crate::domain::http::http2::ledger::Abuse;
use crate::proxy::client_body::{ClientBody, Expectation};
use crate::proxy::http2::Limits;
use crate::proxy::http2::account::{Account, Piece};
use crate::proxy::http2::gate::Wire;
use crate::proxy::http2::head;
use crate::proxy::http2::send::{Outgoing, Unsent};
use crate::proxy::http2::tunnel_stream::TunnelStream;
use crate::proxy::request::{self, Arrived, Downstream, ResponseBody};
use crate::proxy::resources::Resources;

/// What the streams of a connection share.
pub(super) struct Shared {
    pub(super) resources: Rc<Resources>,
    pub(super) downstream: Rc<Downstream>,
    pub(super) account: Rc<Account>,
    pub(super) limits: Limits,
    pub(super) wire: Rc<Wire>,
    /// Since when the client has taken nothing of any answer, though there was
    /// something to take.
    pub(super) stalled_since: Cell<Option<Instant>>,
}

impl Shared {
    /// The client takes nothing of an answer now.
    pub(super) fn note_stall(&self) {
        self.stalled_since.set(self.stalled_since.get().or_else(|| Some(Instant::now())));
    }

    /// It has taken something.
    pub(super) fn note_progress(&self) {
        self.stalled_since.set(None);
    }

    /// A stream was reset since nothing of it was taken: the whole connection is
    /// of no use if that is so for all of its streams.
    fn note_stalled(&self) {
        let since = self.stalled_since.get();
        if since.is_some_and(|since| since.elapsed() >= self.limits.connection_stall) {
            self.wire.abuse.set(Some(Abuse::Stalled));
        }
    }
}

/// Serves one request, unless its client leaves before that.
pub(super) async fn serve(
    shared: Rc<Shared>,
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Piece>,
) {
    let facts = head::read(&mut request);
    let method = request.method().clone();
    let mut incoming = None;
    let mut expectation = None;
    let request = request.map(|stream| match &facts {
        Ok(facts) if facts.upgrade => {
            incoming = Some(stream);
            ClientBody::None
        }
        Ok(facts) => {
            expectation = facts.expect_continue.then(Rc::<Expectation>::default);
            let (length, idle) = (head::length(facts), shared.limits.body_idle);
            ClientBody::http2(stream, length, idle, expectation.clone())
        }
        // Nobody reads what follows a head that is refused.
        Err(_) => ClientBody::None,
    });
    let answered = {
        let arrived = Arrived { facts, turn: None };
        let (resources, downstream) = (Rc::clone(&shared.resources), Rc::clone(&shared.downstream));
        // Boxed, since an answer may take long, and needs none of its room.
        let mut answering = Box::pin(request::handle(resources, downstream, arrived, request));
        poll_fn(|context| {
            if let Poll::Ready(response) = answering.as_mut().poll(context) {
                return Poll::Ready(Some(response));
            }
            if respond.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            if let Some(expectation) = &expectation
                && expectation.poll_arisen(context).is_ready()
            {
                proceed(&mut respond);
            }
            Poll::Pending
        })
        .await
    };
    let Some(mut response) = answered else { return };
    match (response.body_mut().take_tunnel(), incoming) {
        (Some(tunnel), Some(incoming)) => {
            let head = head::switched(response);
            let Ok(stream) = respond.send_response(head, false) else { return };
            let stream = TunnelStream::new(incoming, stream, &shared.account, shared.limits.stall);
            tunnel.run(stream, Bytes::new()).await;
        }
        (None, incoming) => {
            let tunnel = incoming.is_some();
            drop(incoming);
            answer(&shared, &mut respond, response, &method, tunnel).await;
        }
        // Nothing becomes a tunnel that did not ask for one.
        (Some(_), None) => respond.send_reset(h2::Reason::INTERNAL_ERROR),
    }
}

/// Tells the client to send the body that it holds back (RFC 9110 §10.1.1).
fn proceed(respond: &mut SendResponse<Piece>) {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    // It fails only if the stream has ended, which others see.
    let _ = respond.send_informational(head);
}

async fn answer(
    shared: &Shared,
    respond: &mut SendResponse<Piece>,
    response: Response<ResponseBody>,
    method: &http::Method,
    asked_for_tunnel: bool,
) {
    let (mut head, mut body, mut ends) = head::answer(method, response);
    if asked_for_tunnel && head.status().is_success() {
        // Of a replica that is known by now; but a failed gRPC call is told so by a
        // success too, and so would the client be that it has its tunnel.
        body.break_off("bad_switch");
        head = Response::new(());
        *head.status_mut() = StatusCode::BAD_GATEWAY;
        ends = true;
    }
    let Ok(stream) = respond.send_response(head, ends) else { return };
    if ends {
        return;
    }
    let mut outgoing = Outgoing::new(stream, shared);
    if let Err(unsent) = outgoing.send(&mut body).await {
        outgoing.reset(&unsent);
        match unsent {
            Unsent::Left => body.break_off("client_closed"),
            Unsent::Stalled => {
                body.break_off("write_stall");
                shared.note_stalled();
            }
            Unsent::Broken(error) => debug!(%error, "An answer broke off"),
        }
    }
}
