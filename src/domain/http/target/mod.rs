//! The request target, read in normal form and as a lenient server would.

use std::borrow::Cow;

use super::refusal::Refusal;

/// A target in origin form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target<'a> {
    /// In the normal form of RFC 3986 §6.2.2: letters that need no escape are
    /// not escaped, escapes are in upper case, dot segments are resolved. This
    /// is what is forwarded. `*` for `OPTIONS *`.
    pub path: Cow<'a, str>,
    /// Where it differs from `path`: everything decoded once, `\` read as `/`,
    /// slashes merged, dot segments resolved. Never forwarded; a target whose
    /// two readings pick different routes is ambiguous.
    pub lenient: Option<String>,
    /// As it was written, without its `?`.
    pub query: Option<&'a str>,
}

/// Reads `path [ "?" query ]`. Allocates nothing for a plain path.
pub fn read(path_and_query: &str) -> Result<Target<'_>, Refusal> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    if !path_and_query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Target);
    }
    // `http://host?query` has an empty path, which is `/` (RFC 9110 §4.2.3).
    let path = if path.is_empty() { "/" } else { path };
    if path != "*" && !path.starts_with('/') {
        return Err(Refusal::Target);
    }
    let look = Look::at(path);
    if look.escaped {
        check_escapes(path)?;
    }
    let normal = if look.escaped || look.dotted { normal(path) } else { Cow::Borrowed(path) };
    let lenient = if look.escaped || look.slashed { lenient(path, &normal) } else { None };
    Ok(Target { path: normal, lenient, query })
}

/// What one walk over a path tells of the work that it needs.
#[derive(Default)]
struct Look {
    /// It holds a `%`.
    escaped: bool,
    /// A segment begins with a dot.
    dotted: bool,
    /// It holds a `\` or a double slash.
    slashed: bool,
}

impl Look {
    fn at(path: &str) -> Self {
        let mut look = Self::default();
        let mut before = 0;
        for byte in path.bytes() {
            look.escaped |= byte == b'%';
            look.dotted |= before == b'/' && byte == b'.';
            look.slashed |= byte == b'\\' || (before == b'/' && byte == b'/');
            before = byte;
        }
        look
    }
}

fn check_escapes(path: &str) -> Result<(), Refusal> {
    for after in path.split('%').skip(1) {
        match escape(after) {
            None => return Err(Refusal::BrokenEscape),
            Some(0) => return Err(Refusal::EscapedNul),
            Some(_) => {}
        }
    }
    Ok(())
}

fn normal(path: &str) -> Cow<'_, str> {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match escape(part) {
            Some(byte) if is_unreserved(byte) => decoded.push(char::from(byte)),
            Some(_) | None => {
                decoded.push('%');
                decoded.extend(part.chars().take(2).map(|digit| digit.to_ascii_uppercase()));
            }
        }
        decoded.push_str(part.get(2..).unwrap_or_default());
    }
    let resolved = without_dots(&decoded);
    if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) }
}

fn lenient(path: &str, normal: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        bytes.extend(escape(part));
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    for byte in &mut bytes {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    bytes.dedup_by(|after, before| (*after, *before) == (b'/', b'/'));
    let read = without_dots(&String::from_utf8_lossy(&bytes));
    (read != normal).then_some(read)
}

/// Resolves `.` and `..` segments (RFC 3986 §5.2.4); never above the root.
fn without_dots(path: &str) -> String {
    let Some(segments) = path.strip_prefix('/') else {
        return path.to_owned();
    };
    let mut resolved = String::with_capacity(path.len());
    let mut ends_open = false;
    for segment in segments.split('/') {
        // A last segment of dots leaves the slash before it.
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if ends_open {
        resolved.push('/');
    }
    resolved
}

/// The byte that the two digits after a `%` stand for.
fn escape(after: &str) -> Option<u8> {
    let mut digits = after.chars().map(|digit| digit.to_digit(16));
    let (high, low) = (digits.next()??, digits.next()??);
    u8::try_from(high * 16 + low).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
