//! The labels of a container that are ours.

use crate::domain::labels::schema::{LABELS, Label};

/// A label with our prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    pub(super) written: &'a str,
    /// What follows the prefix.
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// A label that we know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) label: &'static Label,
    pub(super) own: Own<'a>,
    /// Of a family; else empty.
    pub(super) name: &'a str,
    /// Another spelling of the same label says something else.
    pub(super) contested: Option<&'a str>,
}

/// What begins a label cannot name a group.
pub(super) fn is_reserved(head: &str) -> bool {
    LABELS.iter().any(|label| label.head() == head)
}
