//! What operators ask: health, readiness, metrics, the API.
//!
//! What changes anything is POST and becomes an order to the control loop.

mod accept;
mod access;
mod certificates;
mod explain;
mod handlers;
mod orders;
mod readiness;
mod serve;
mod status;
pub mod view;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{get, post};
use tokio::sync::watch;
use tokio::time::Instant;

pub use access::Access;
pub use serve::serve;

use crate::control::{Operator, Overview};
use crate::live::Reader;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counters;
use crate::tls::{Standing, Store};

/// All that the answers are made from.
#[derive(Clone, Debug)]
pub struct Admin {
    pub overview: watch::Receiver<Arc<Overview>>,
    pub table: Reader,
    pub counters: Arc<Counters>,
    pub access_log: AccessLog,
    /// Metrics come under Traefik's names too.
    pub metrics_traefik: bool,
    /// None where nothing is served by TLS.
    pub certificates: Option<Arc<Store>>,
    pub operator: Operator,
    pub access: Arc<Access>,
    pub edge: Arc<Edge>,
    pub version: &'static str,
    pub started_at: SystemTime,
    /// The same moment on the clock that is never set.
    pub started: Instant,
}

/// The settings that explanations depend on.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// `lb` unless set otherwise.
    pub label_prefix: Arc<str>,
    /// Where clients reach our https, for redirects to it.
    pub https_public_port: u16,
    /// The names of where clients come in.
    pub entry_points: Vec<Arc<str>>,
}

impl Admin {
    fn certificates(&self) -> Vec<Standing> {
        self.certificates.as_ref().map(|store| store.standings()).unwrap_or_default()
    }
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
        .route("/api/v1/explain", post(explain::request))
        .route("/api/v1/explain/container", post(explain::container))
        .route("/api/v1/drain", post(orders::drain))
        .route("/api/v1/undrain", post(orders::undrain))
        .fallback(handlers::not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(map_response(handlers::harden))
        .with_state(state)
}

/// Of what is sent to us: the names of a few hundred replicas.
const BODY_BYTES_MAX: usize = 64 << 10;
