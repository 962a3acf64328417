//! Finding the pool for a request, by both readings of its path.

use crate::domain::routing::{Route, RoutingTable};
use crate::proxy::error::ProxyError;
use crate::proxy::request::prepare::Prepared;

/// The route of a request. Where a strict and a lenient reader of its path
/// would not agree on the route, it has none.
pub(super) fn route<'a>(
    table: &'a RoutingTable,
    prepared: &Prepared,
) -> Result<Route<'a>, ProxyError> {
    let route = table.route(prepared.asked(prepared.path()));
    if let Some(lenient) = &prepared.lenient_path {
        let other = table.route(prepared.asked(lenient));
        let name = |route: Option<Route<'_>>| route.map(|route| route.pool.name.clone());
        if name(route) != name(other) {
            return Err(ProxyError::AmbiguousPath);
        }
    }
    route.ok_or(ProxyError::NoRoute)
}
