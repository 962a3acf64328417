//! Values of labels of pages for answers that failed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::labels::guards::no_text;
use crate::domain::labels::own::Known;
use crate::domain::labels::value::InvalidValue;
use crate::domain::labels::voice::Voice;
use crate::domain::labels::{health, path};
use crate::domain::middleware::Page;
use crate::domain::names::PoolName;

/// Statuses of answers that failed, as of health checks.
pub(super) fn failures(written: &str) -> Result<Arc<[RangeInclusive<u16>]>, InvalidValue> {
    let ranges = health::statuses(written)?;
    match ranges.iter().find(|range| *range.start() < 400) {
        None => Ok(ranges.into()),
        Some(range) => {
            let entry = format!("{}-{}", range.start(), range.end());
            Err(InvalidValue::NoFailure { entry })
        }
    }
}

/// `file:PATH` or `pool:NAME/path`.
pub(super) fn page(
    written: &str,
    known: &Known<'_>,
    voice: &mut Voice,
) -> Result<Option<Page>, InvalidValue> {
    let written = written.trim();
    if let Some(path) = written.strip_prefix("file:") {
        let Some(content) = voice.file(known, path)? else { return Ok(None) };
        if content.bytes().len() > PAGE_BYTES_MAX {
            let entry = format!("file:{}", path.trim());
            return Err(InvalidValue::entry_that(&entry, "is larger than 256 KiB"));
        }
        let template = content.page().ok_or_else(|| no_text(path))?;
        return Ok(Some(Page::File(Arc::clone(template))));
    }
    let Some(rest) = written.strip_prefix("pool:") else {
        return Err(InvalidValue::Word { meant: None });
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    PoolName::new(None, name).map_err(|_| InvalidValue::PoolName)?;
    let path = if path.is_empty() { "/" } else { path };
    let plain = path.replace("{status}", "500");
    path::exact(&plain).map_err(|fault| InvalidValue::Path { entry: path.to_owned(), fault })?;
    Ok(Some(Page::Pool { pool: name.into(), path: path.into() }))
}

/// Of a page, which is filled in for each answer.
const PAGE_BYTES_MAX: usize = 256 * 1024;
