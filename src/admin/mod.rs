//! What operators ask: health, readiness, metrics, the API.
//!
//! Nothing here changes anything, and nothing reads a request's body.

mod accept;
mod access;
mod handlers;
mod readiness;
mod serve;
mod status;
pub mod view;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::get;
use tokio::sync::watch;
use tokio::time::Instant;

pub use serve::serve;

use crate::control::Overview;
use crate::live::Reader;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counters;

/// All that the answers are made from.
#[derive(Clone, Debug)]
pub struct Admin {
    pub overview: watch::Receiver<Arc<Overview>>,
    pub table: Reader,
    pub counters: Arc<Counters>,
    pub access_log: AccessLog,
    pub version: &'static str,
    pub started_at: SystemTime,
    /// The same moment on the clock that is never set.
    pub started: Instant,
}

/// Every address of the admin listener. A request must carry
/// [`axum::extract::ConnectInfo`]; from whom we do not know we tell nothing.
pub fn router(state: Admin) -> Router {
    Router::new()
        .route("/", get(handlers::index))
        .route("/healthz", get(handlers::healthz))
        .route("/readyz", get(handlers::readyz))
        .route("/metrics", get(handlers::metrics))
        .route("/api/v1/status", get(handlers::status))
        .fallback(handlers::not_found)
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(map_response(handlers::harden))
        .with_state(state)
}
