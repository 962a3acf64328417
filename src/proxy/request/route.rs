//! Finding the pool for a request, by both readings of its path.

use crate::domain::routing::{Route, RoutingTable, Unrouted};
use crate::proxy::error::ProxyError;
use crate::proxy::request::prepare::Prepared;

/// The route of a request. Where a strict and a lenient reader of its path
/// would not agree on the route, it has none.
pub(super) fn route<'a>(
    table: &'a RoutingTable,
    prepared: &Prepared,
) -> Result<Route<'a>, ProxyError> {
    let asked = prepared.asked(prepared.path());
    table.route_of_both(asked, prepared.lenient_path.as_deref()).map_err(
        |unrouted| match unrouted {
            Unrouted::Unclaimed => ProxyError::NoRoute,
            Unrouted::Ambiguous => ProxyError::AmbiguousPath,
        },
    )
}
