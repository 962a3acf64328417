//! Which answers are compressed, and how (`lb.compress`).

mod accept;
mod media;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE,
};
use http::{HeaderMap, StatusCode};

use accept::Wanted;
pub use media::{MediaType, MediaTypes};

use crate::domain::http::{cache, token};

/// A way to compress content (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

/// What a pool compresses, and in which ways.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compression {
    /// In the order in which they are chosen where the client has no preference;
    /// never empty.
    pub codings: Vec<Coding>,
    /// From so many bytes; an answer whose length is not known counts as large.
    pub bytes_min: u64,
    pub types: MediaTypes,
}

/// What the choice depends on beside the answer's own head.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub headers: &'a HeaderMap,
    /// The body's length, if it is known.
    pub length: Option<u64>,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl Compression {
    /// Brings the head of an answer in line with what is made of its body:
    /// compressed as is returned, else as it is. It is not where `grant` has no
    /// room for it.
    pub fn apply<R>(
        &self,
        asked: Asked<'_>,
        status: StatusCode,
        headers: &mut HeaderMap,
        grant: impl Fn(Coding) -> Option<R>,
    ) -> Option<(Coding, R)> {
        if status == StatusCode::NOT_MODIFIED {
            weaken_as_asked(asked.headers, headers);
            return None;
        }
        if !self.may_compress(status, headers) {
            return None;
        }
        // Caches must not give one client's form to another.
        cache::vary_by(headers, BY);
        let choices = self.choose(asked, headers);
        let granted = |coding| Some((coding, grant(coding)?));
        let (coding, room) = choices.into_iter().flatten().find_map(granted)?;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        forget_plain_form(headers);
        if let Some(weak) = headers.get(ETAG).and_then(weakened) {
            headers.insert(ETAG, weak);
        }
        Some((coding, room))
    }

    /// Whether any client may get this answer compressed.
    fn may_compress(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has_body = !status.is_informational()
            && ![StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::PARTIAL_CONTENT]
                .contains(&status);
        let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        has_body
            && self.types.contain(content_type)
            && !headers.contains_key(CONTENT_RANGE)
            && !is_encoded(headers)
            && !forbids_transforms(headers)
    }

    /// What the answer is compressed with, and what with if there is no room for
    /// that: gzip, which takes the least. Events take it first, since they last
    /// for hours.
    fn choose(&self, asked: Asked<'_>, headers: &HeaderMap) -> [Option<Coding>; 2] {
        let wanted = headers_of(asked.headers, &ACCEPT_ENCODING);
        // Nothing stays nothing, also where all sizes are compressed.
        let is_small = |length: u64| length < self.bytes_min.max(1);
        // A part of the compressed form would be none of the plain one.
        if asked.length.is_some_and(is_small)
            || asked.headers.contains_key(RANGE)
            || forbids_transforms(asked.headers)
        {
            return [None; 2];
        }
        // A length that is told before the content is, as in an answer to HEAD.
        let told = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        if told.is_some_and(is_small) {
            return [None; 2];
        }
        let wanted = Wanted::read(wanted);
        let (best, gzip) = (wanted.best_of(&self.codings), Some(Coding::Gzip));
        let light = gzip.filter(|it| self.codings.contains(it) && wanted.best_of(&[*it]) == gzip);
        if is_events(headers) { [light, best] } else { [best, light] }
    }
}

/// Takes out what was said of the plain form of a content that is compressed; to
/// be done with trailers too.
pub fn forget_plain_form(fields: &mut HeaderMap) {
    for name in OF_THE_PLAIN_FORM {
        fields.remove(name);
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let is_they = |line: &[u8]| {
        let essence = line.split(|&byte| byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    headers_of(headers, &CONTENT_TYPE).any(is_they)
}

/// A client that has the compressed form, under a weak tag, is told that this
/// is still good.
fn weaken_as_asked(asked: &HeaderMap, headers: &mut HeaderMap) {
    let Some(weak) = headers.get(ETAG).and_then(weakened) else { return };
    let is_asked = |line: &[u8]| line.windows(weak.len()).any(|it| it == weak.as_bytes());
    if headers_of(asked, &IF_NONE_MATCH).any(is_asked) {
        headers.insert(ETAG, weak);
        cache::vary_by(headers, BY);
    }
}

/// The weak form of a strong tag: the compressed form means the same and is not
/// the same (RFC 9110, section 8.8.1).
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let strong = tag.as_bytes().starts_with(b"\"");
    let weak = || HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok();
    strong.then(weak).flatten()
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = token::elements(headers, &CONTENT_ENCODING);
    codings.any(|it| !it.is_empty() && !it.eq_ignore_ascii_case(b"identity"))
}

fn forbids_transforms(headers: &HeaderMap) -> bool {
    let mut directives = token::elements(headers, &CACHE_CONTROL);
    directives.any(|it| it.eq_ignore_ascii_case(b"no-transform"))
}

fn headers_of<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

/// The field by which answers differ.
const BY: &str = "Accept-Encoding";

/// What was said of the content as it was, byte by byte.
const OF_THE_PLAIN_FORM: [HeaderName; 6] = [
    CONTENT_LENGTH,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

impl Default for Compression {
    fn default() -> Self {
        Self { codings: Coding::ALL.to_vec(), bytes_min: 256, types: MediaTypes::default() }
    }
}

#[cfg(test)]
mod tests;
