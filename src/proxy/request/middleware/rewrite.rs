//! The target that a replica gets, where it is not the client's.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use crate::domain::middleware::{HeaderEdits, Rewrite, Rewritten};
use crate::proxy::request::prepare::Prepared;

/// The target in place of the client's, if it changes. What was removed from its
/// path is told in `X-Forwarded-Prefix`, after what a trusted proxy has removed.
pub(super) fn rewrite(
    rewrite: &Rewrite,
    prepared: &Prepared,
    granted: &mut HeaderEdits,
) -> Option<PathAndQuery> {
    let asked = prepared.asked(prepared.path());
    let Rewritten { path, stripped } = rewrite.apply(asked.path)?;
    if let Some(stripped) = stripped {
        let before = asked.headers.get(X_FORWARDED_PREFIX).and_then(|it| it.to_str().ok());
        let prefix = format!("{}{stripped}", before.unwrap_or_default().trim_end_matches('/'));
        granted.set(X_FORWARDED_PREFIX, HeaderValue::try_from(prefix).ok());
    }
    let target = match asked.query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // Made of parts of targets, it is one.
    PathAndQuery::try_from(target).ok()
}

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
