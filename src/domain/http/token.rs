//! The small grammar that all header rules share.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether a field name or a token may hold this byte (RFC 9110 §5.6.2).
pub(in crate::domain) fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
        | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether a field value may hold this byte: what is visible, space, tab and
/// the bytes above ASCII (RFC 9110 §5.5).
pub(super) fn is_field_value(byte: u8) -> bool {
    !((byte < b' ' && byte != b'\t') || byte == 0x7f)
}

/// The elements of a comma-separated value, without the white space around them.
pub(in crate::domain) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// The elements of all lines of a field whose value is a list.
pub(in crate::domain) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).flat_map(list)
}

/// The value without the spaces and tabs around it.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
