//! Paths of rules, in the normal form in which requests are compared.

use std::fmt::Write as _;

/// Why a string is not a path that a rule can ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPath {
    #[error("does not begin with `/`")]
    Relative,
    #[error("holds a query or a fragment")]
    Query,
    #[error("holds a fragment")]
    Fragment,
    #[error("holds a space or a control character")]
    Blank,
    #[error("holds a backslash")]
    Backslash,
    #[error("holds an empty segment")]
    EmptySegment,
    #[error("holds a `.` or `..` segment")]
    DotSegment,
    #[error("holds `%00`")]
    Nul,
    #[error("holds a `%` that no two hexadecimal digits follow")]
    Escape,
    #[error("holds a `*`, though that is no wildcard here")]
    Star,
    #[error("holds `{0}`, which may not stand in a path")]
    Letter(char),
}

impl InvalidPath {
    /// What to write instead.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Relative => "write it from the root, such as `/api`",
            Self::Query => "write the path alone, without `?` and `#`",
            Self::Fragment => "leave out `#` and what follows it",
            Self::Blank => "write a space as `%20`, and separate paths by commas",
            Self::Backslash => "write `/` between segments",
            Self::EmptySegment => "write one `/` between segments",
            Self::DotSegment => "write the path that it leads to",
            Self::Nul => "leave it out: such requests are always refused",
            Self::Escape => "write `%25` for a percent sign",
            Self::Star => "write `/api` to take everything below it too",
            Self::Letter(_) => "write it as a percent escape, such as `%7B`",
        }
    }
}

/// A prefix of whole segments: no trailing slash, unless it is `/` itself.
pub fn prefix(written: &str) -> Result<String, InvalidPath> {
    let mut path = exact(written)?;
    if path.len() > 1 && path.ends_with('/') {
        path.pop();
    }
    Ok(path)
}

/// A whole path in the normal form of RFC 3986, section 6.2.2: unreserved
/// characters plain, hexadecimal digits in upper case. Other than ASCII is
/// written as escapes.
pub fn exact(written: &str) -> Result<String, InvalidPath> {
    if !written.starts_with('/') {
        return Err(InvalidPath::Relative);
    }
    let mut path = String::with_capacity(written.len());
    let mut bytes = written.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'?' | b'#' => return Err(InvalidPath::Query),
            b'\\' => return Err(InvalidPath::Backslash),
            b'%' => match escaped(&mut bytes).ok_or(InvalidPath::Escape)? {
                0 => return Err(InvalidPath::Nul),
                plain if is_unreserved(plain) => path.push(char::from(plain)),
                other => push_escape(&mut path, other),
            },
            _ if byte.is_ascii_whitespace() || byte.is_ascii_control() => {
                return Err(InvalidPath::Blank);
            }
            _ if is_unreserved(byte) || DELIMITERS.contains(&byte) => path.push(char::from(byte)),
            _ if byte.is_ascii() => return Err(InvalidPath::Letter(char::from(byte))),
            _ => push_escape(&mut path, byte),
        }
    }
    match segments_fault(&path) {
        Some(fault) => Err(fault),
        None => Ok(path),
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let value = digit()? * 16 + digit()?;
    u8::try_from(value).ok()
}

fn push_escape(path: &mut String, byte: u8) {
    let _ = write!(path, "%{byte:02X}");
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Looks at the segments once they are decoded, so that `%2e%2e` is seen.
fn segments_fault(path: &str) -> Option<InvalidPath> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Some(InvalidPath::DotSegment),
            "*" | "**" => return Some(InvalidPath::Star),
            "" if segments.peek().is_some() => return Some(InvalidPath::EmptySegment),
            _ => {}
        }
    }
    None
}

/// What else may stand in a path (RFC 3986, section 3.3).
const DELIMITERS: &[u8] = b"/!$&'()*+,;=:@";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_to_the_normal_form_of_rfc_3986() {
        for (written, normal) in [
            ("/", "/"),
            ("/%7euser/%41", "/~user/A"),
            ("/a%2fb%3a", "/a%2Fb%3A"),
            ("/käse", "/k%C3%A4se"),
            ("/a;b=c,d@e", "/a;b=c,d@e"),
            ("/a/", "/a/"),
        ] {
            assert_eq!(exact(written).as_deref(), Ok(normal), "{written}");
        }
    }

    #[test]
    fn a_prefix_has_no_trailing_slash() {
        assert_eq!(prefix("/api/").as_deref(), Ok("/api"));
        assert_eq!(prefix("/").as_deref(), Ok("/"));
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for (written, fault) in [
            ("", InvalidPath::Relative),
            ("api", InvalidPath::Relative),
            ("/a?b", InvalidPath::Query),
            ("/a#b", InvalidPath::Query),
            ("/a b", InvalidPath::Blank),
            ("/a\u{7f}", InvalidPath::Blank),
            ("/a\\b", InvalidPath::Backslash),
            ("//a", InvalidPath::EmptySegment),
            ("/a//b", InvalidPath::EmptySegment),
            ("/a//", InvalidPath::EmptySegment),
            ("/a/../b", InvalidPath::DotSegment),
            ("/a/.", InvalidPath::DotSegment),
            ("/%2e%2E/b", InvalidPath::DotSegment),
            ("/a%00", InvalidPath::Nul),
            ("/a%2", InvalidPath::Escape),
            ("/a%zz", InvalidPath::Escape),
            ("/a/*", InvalidPath::Star),
            ("/{id}", InvalidPath::Letter('{')),
        ] {
            assert_eq!(exact(written), Err(fault), "{written}");
        }
    }
}
