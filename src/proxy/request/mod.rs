//! The story of one request, whatever protocol brought it.

mod answer;
mod attempt;
mod body;
mod compress;
mod downstream;
mod exchange;
mod hold;
mod middleware;
mod misdirected;
mod prepare;
mod queue;
mod route;
mod serve;
mod stopwatch;
mod timers;
mod tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};

pub(super) use body::{Broken, ResponseBody};
pub(super) use downstream::{Arrived, Downstream, Visitor};
pub use tunnel::WEBSOCKETS_END;

use crate::domain::pressure::Level;
use crate::proxy::client_body::ClientBody;
use crate::proxy::error::ProxyError;
use crate::proxy::request::answer::Language;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::middleware::Admission;
use crate::proxy::request::timers::Stage;
use crate::proxy::resources::Resources;

/// Serves one request; it always answers.
pub(super) async fn handle(
    resources: Rc<Resources>,
    downstream: Rc<Downstream>,
    arrived: Arrived,
    request: Request<ClientBody>,
) -> Response<ResponseBody> {
    let mut response = respond(resources, downstream, arrived, request).await;
    response.body_mut().enter(Stage::Elsewhere);
    response
}

async fn respond(
    resources: Rc<Resources>,
    downstream: Rc<Downstream>,
    arrived: Arrived,
    request: Request<ClientBody>,
) -> Response<ResponseBody> {
    let mut exchange =
        Box::new(Exchange::begin(&resources, &downstream.visitor, arrived, &request));
    let language = Language::of(request.headers());
    let fail = |error: ProxyError, exchange| {
        let error = error.blame(downstream.fault());
        resources.parts.counters.answered(error.metric());
        answer::of(&error, language, exchange)
    };
    if let Some(proof) = proof(&resources, &request).filter(|_| exchange.facts().is_ok()) {
        return answer::proof(&proof, exchange);
    }
    let prepared = match prepare::prepare(&resources, &downstream, request, &mut exchange) {
        Ok(prepared) => prepared,
        Err(refusal) => return fail(ProxyError::Refused(refusal), exchange),
    };
    if resources.parts.pressure.level() == Level::Critical {
        return fail(ProxyError::Overloaded, exchange);
    }
    let mut admission = Admission::default();
    let served = serve::serve(&resources, &prepared, &mut exchange, &mut admission).await;
    let response = match served {
        Ok(answered) => answered.into_response(exchange),
        Err(error) => fail(error, exchange),
    };
    if admission.is_empty() {
        return response;
    }
    Box::pin(admission.finish(&resources, &prepared, response)).await
}

/// What an authority is told that comes to see that a name is ours, ahead of all
/// that a route might do with it (RFC 8555, section 8.3).
fn proof(resources: &Resources, request: &Request<ClientBody>) -> Option<Arc<str>> {
    let proof = resources.parts.challenges.answer(request.uri().path())?;
    (request.method() == Method::GET).then_some(proof)
}

/// How long an endpoint that is gone may be silent in an answer or a tunnel:
/// long enough for all that it sent before and that is still on its way.
const GONE_SILENCE: Duration = Duration::from_secs(1);

/// A socket may tell that a replica ends this long before the engine does.
const SIGN_OF_LEAVING: Duration = Duration::from_millis(500);
