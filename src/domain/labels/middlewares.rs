//! The labels of middlewares, gathered into the list that a pool runs.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::domain::labels::compress::CompressionWish;
use crate::domain::labels::guards::Guards;
use crate::domain::labels::value::InvalidValue;
use crate::domain::middleware::{HeaderEdits, Middleware};

/// What the labels of one group say of middlewares: a field for each of them.
#[derive(Debug, Default)]
pub(super) struct Middlewares {
    pub(super) compression: CompressionWish,
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
    pub(super) guards: Guards,
}

impl Middlewares {
    /// Those that were asked for, in the order of [`Middleware`]'s variants.
    pub(super) fn into_list(self) -> Arc<[Middleware]> {
        let edits = |edits: HeaderEdits| (!edits.is_empty()).then_some(edits);
        let guards = self.guards;
        let list = [
            self.compression.into_settings().map(Middleware::Compress),
            guards.rate(),
            guards.basic(),
            guards.forward(),
            guards.body_limit(),
            edits(self.request_headers).map(Middleware::RequestHeaders),
            edits(self.response_headers).map(Middleware::ResponseHeaders),
            guards.error_page(),
        ];
        list.into_iter().flatten().collect()
    }
}

/// Adds the edit that `headers.request.<Name>` or its sibling asks for.
pub(super) fn edit_header(
    edits: &mut HeaderEdits,
    name: &str,
    written: &str,
) -> Result<(), InvalidValue> {
    let invalid = || InvalidValue::Header { entry: name.to_owned() };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    if FRAMING.contains(&name.as_str()) {
        return Err(invalid());
    }
    let written = written.trim();
    let value = HeaderValue::from_str(written).map_err(|_| InvalidValue::HeaderValue)?;
    edits.set(name, (!written.is_empty()).then_some(value));
    Ok(())
}

/// Fields by which messages are framed or that end at the next hop: setting one
/// would let two readers of a message disagree on where it ends.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
