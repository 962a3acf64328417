//! Values of the labels `redirect`, `redirect.status`, `strip_prefix` and `add_prefix`.

use std::sync::Arc;

use http::StatusCode;

use crate::domain::labels::path;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::middleware::Target;
use crate::domain::rule::Rule;

/// Which prefixes to remove.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Strip {
    /// Those that the rule asks for.
    Matched,
    These(Vec<Arc<str>>),
}

pub(super) fn target(written: &str) -> Result<Target, InvalidValue> {
    Target::parse(written.trim()).map_err(InvalidValue::Target)
}

pub(super) fn status(written: &str) -> Result<StatusCode, InvalidValue> {
    match written.trim() {
        "301" => Ok(StatusCode::MOVED_PERMANENTLY),
        "302" => Ok(StatusCode::FOUND),
        "303" => Ok(StatusCode::SEE_OTHER),
        "307" => Ok(StatusCode::TEMPORARY_REDIRECT),
        "308" => Ok(StatusCode::PERMANENT_REDIRECT),
        _ => Err(InvalidValue::that("is no status of a redirect")),
    }
}

/// `true`, `false` or prefixes; none where nothing is to be removed.
pub(super) fn strip(written: &str) -> Result<Option<Strip>, InvalidValue> {
    if !written.contains('/') {
        return Ok(value::boolean(written)?.then_some(Strip::Matched));
    }
    match value::prefixes(written) {
        (prefixes, None) => Ok(Some(Strip::These(prefixes))),
        (_, Some(fault)) => Err(fault),
    }
}

pub(super) fn add(written: &str) -> Result<Option<Arc<str>>, InvalidValue> {
    let written = written.trim();
    if written.is_empty() {
        return Err(InvalidValue::Empty);
    }
    let prefix = path::prefix(written)
        .map_err(|fault| InvalidValue::Path { entry: written.to_owned(), fault })?;
    Ok((prefix != "/").then(|| prefix.into()))
}

impl Strip {
    /// Without the root, where there is nothing to remove.
    pub(super) fn prefixes(self, rule: &Rule) -> Vec<Arc<str>> {
        let mut prefixes = match self {
            Self::Matched => rule.prefixes.clone(),
            Self::These(prefixes) => prefixes,
        };
        prefixes.retain(|prefix| **prefix != *"/");
        prefixes
    }
}
