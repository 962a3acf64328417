//! Media types, and the text among them.

use std::fmt;
use std::str::FromStr;

/// A set of media types. gRPC is in none: it compresses its messages itself,
/// and each must be passed on as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaTypes(Vec<MediaType>);

/// One type, or several that have a half in common.
#[derive(Clone, Eq, PartialEq)]
pub struct MediaType(Pattern);

#[derive(Clone, Eq, PartialEq)]
enum Pattern {
    /// `application/json`
    Exact(Box<str>),
    /// `text/` for `text/*`
    Prefix(Box<str>),
    /// `+json`
    Suffix(Box<str>),
}

/// What is no media type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoMediaType;

impl MediaTypes {
    pub fn new(types: Vec<MediaType>) -> Self {
        Self(types)
    }

    /// Whether a `Content-Type` is among them, whatever its parameters.
    pub fn contain(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        !essence.is_empty()
            && !has(essence, GRPC, |length| 0..length)
            && self.0.iter().any(|it| it.matches(essence))
    }
}

impl MediaType {
    fn matches(&self, essence: &[u8]) -> bool {
        match &self.0 {
            Pattern::Exact(whole) => essence.eq_ignore_ascii_case(whole.as_bytes()),
            Pattern::Prefix(begin) => has(essence, begin, |length| 0..length),
            Pattern::Suffix(end) => {
                let start = essence.len().saturating_sub(end.len());
                has(essence, end, |length| start..start + length)
            }
        }
    }
}

/// Whether `part` stands in `whole` at the place for its length.
fn has(whole: &[u8], part: &str, place: impl Fn(usize) -> std::ops::Range<usize>) -> bool {
    whole.get(place(part.len())).is_some_and(|it| it.eq_ignore_ascii_case(part.as_bytes()))
}

impl FromStr for MediaType {
    type Err = NoMediaType;

    fn from_str(written: &str) -> Result<Self, NoMediaType> {
        let written = written.to_ascii_lowercase();
        let is_name = |name: &str| {
            let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(usual)
        };
        if let Some(suffix) = written.strip_prefix('+').filter(|it| is_name(it)) {
            return Ok(Self(Pattern::Suffix(format!("+{suffix}").into())));
        }
        match written.split_once('/') {
            Some((kind, "*")) if is_name(kind) => {
                Ok(Self(Pattern::Prefix(format!("{kind}/").into())))
            }
            Some((kind, name)) if is_name(kind) && is_name(name) => {
                Ok(Self(Pattern::Exact(written.into())))
            }
            Some(_) | None => Err(NoMediaType),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Exact(text) | Pattern::Suffix(text) => f.write_str(text),
            Pattern::Prefix(text) => write!(f, "{text}*"),
        }
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Default for MediaTypes {
    fn default() -> Self {
        Self(USUAL.iter().filter_map(|written| written.parse().ok()).collect())
    }
}

/// What is text, or as good as: what shrinks to a half or less.
const USUAL: &[&str] = &[
    "text/*",
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/x-font-ttf",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "+json",
    "+xml",
];

const GRPC: &str = "application/grpc";

/// Of either half (RFC 6838, section 4.2).
const NAME_BYTES_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_types_are_text_and_what_is_as_good() {
        let usual = MediaTypes::default();
        assert_eq!(usual.0.len(), USUAL.len());
        for (content_type, contained) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/HTML", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("application/problem+json;x=y", true),
            (" application/xml ", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/jsonp", false),
            ("font/woff2", false),
            ("textual/html", false),
            ("text", false),
            ("+json", true),
            ("", false),
            (";", false),
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/GRPC-web-text", false),
        ] {
            assert_eq!(usual.contain(content_type.as_bytes()), contained, "{content_type}");
        }
    }

    #[test]
    fn a_type_is_two_names_or_a_half_of_them() {
        for written in ["text/html", "text/*", "+json", "application/vnd.api+json"] {
            assert_eq!(written.parse::<MediaType>().unwrap().to_string(), written);
        }
        assert_eq!("Text/HTML".parse::<MediaType>().unwrap().to_string(), "text/html");
        let long = format!("text/{}", "x".repeat(NAME_BYTES_MAX + 1));
        for written in ["", "text", "/", "text/", "/html", "*/*", "te xt/html", "a/b/c", "+", &long]
        {
            assert_eq!(written.parse::<MediaType>(), Err(NoMediaType), "{written}");
        }
    }
}
