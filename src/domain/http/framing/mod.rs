//! What the bytes of a request head say about its framing, read strictly.
//!
//! A head that two parsers could read in two ways is refused, whatever the
//! parser behind this one would make of it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::hop_by_hop;
use super::host;
use super::host::Authority;
use super::refusal::Refusal;
use super::token::{is_field_value, is_tchar, list, trim};

/// What the owner of the byte stream must know of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadFacts {
    pub body: Body,
    /// HTTP/1.0, else HTTP/1.1.
    pub version10: bool,
    /// It asks for another protocol and has no body. Which protocols may be
    /// asked for is decided by [`super::hop_by_hop`].
    pub upgrade: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
}

impl Body {
    /// Whether no byte follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Reads one head, from its request line to its empty line; what follows is
/// not looked at. Needs the whole head: one that is cut is malformed.
pub fn judge(head: &[u8]) -> Result<HeadFacts, Refusal> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    let mut rest = head;
    let line = RequestLine::take(&mut rest)?;
    let mut fields = Fields::default();
    while !rest.starts_with(b"\r\n") {
        let (name, value) = field(&mut rest)?;
        fields.add(name, value)?;
    }
    fields.judge(&line)
}

/// Whether a field says where a message ends or what becomes of its connection,
/// also to servers that read `_` as `-`: who sets one lets two readers of a
/// message disagree.
pub fn frames(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    let frames = |name: &HeaderName| hop_by_hop::ends_here(name) || FRAMING.contains(name);
    HeaderName::try_from(dashed).is_ok_and(|name| frames(&name))
}

/// Leaves one of the equal lengths that a message gives more than once (RFC 9110
/// §8.6).
pub fn fold_lengths(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next().map(HeaderValue::as_bytes) else { return };
    if lengths.next().is_none() && !first.contains(&b',') {
        return;
    }
    let one = trim(first.split(|&byte| byte == b',').next().unwrap_or_default());
    if let Ok(one) = HeaderValue::from_bytes(one) {
        headers.insert(header::CONTENT_LENGTH, one);
    }
}

struct RequestLine<'a> {
    version10: bool,
    /// Of a target in absolute form, with the default port of its scheme.
    authority: Option<(Authority<'a>, u16)>,
}

impl<'a> RequestLine<'a> {
    /// `method SP target SP version CRLF` (RFC 9112 §3), with single spaces.
    fn take(rest: &mut &'a [u8]) -> Result<Self, Refusal> {
        let method = run(rest, is_tchar);
        if method.is_empty() || !skip(rest, b" ") {
            return Err(fault(rest, Refusal::RequestLine));
        }
        let target = run(rest, is_target);
        if !skip(rest, b" ") {
            let wrong =
                if matches!(rest, [b'\r', ..]) { Refusal::RequestLine } else { Refusal::Target };
            return Err(fault(rest, wrong));
        }
        let version = run(rest, |byte| byte > b' ' && byte < 0x7f);
        end_of_line(rest, Refusal::RequestLine)?;
        let version10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Refusal::Version);
            }
            _ => return Err(Refusal::RequestLine),
        };
        if method == b"CONNECT" {
            return Err(Refusal::Connect);
        }
        // Browsers send a backtick as it is in a query, and only there.
        let path = target.split(|&byte| byte == b'?').next();
        if path.is_some_and(|path| path.contains(&b'`')) {
            return Err(Refusal::Target);
        }
        Ok(Self { version10, authority: authority(method, target)? })
    }
}

/// The authority of a target in absolute form; none of one in origin form
/// (`/…`) or asterisk form (`OPTIONS *`) (RFC 9112 §3.2).
fn authority<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<(Authority<'a>, u16)>, Refusal> {
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok(None);
    }
    let mut rest = target;
    let default_port = match run(&mut rest, |byte| byte.is_ascii_alphabetic()) {
        scheme if scheme.eq_ignore_ascii_case(b"http") => 80,
        scheme if scheme.eq_ignore_ascii_case(b"https") => 443,
        _ => return Err(Refusal::Target),
    };
    if !skip(&mut rest, b"://") {
        return Err(Refusal::Target);
    }
    let authority = run(&mut rest, |byte| !matches!(byte, b'/' | b'?'));
    Ok(Some((host::split(authority)?, default_port)))
}

/// One `name: value` line (RFC 9112 §5), the value without the space around it.
fn field<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Refusal> {
    if matches!(rest, [b' ' | b'\t', ..]) {
        return Err(Refusal::ObsFold);
    }
    let name = run(rest, is_tchar);
    if name.is_empty() || !skip(rest, b":") {
        return Err(match rest {
            [b' ' | b'\t', ..] => Refusal::SpaceBeforeColon,
            _ => fault(rest, Refusal::FieldName),
        });
    }
    let value = long_run(rest, is_field_value);
    end_of_line(rest, Refusal::ControlCharacter)?;
    Ok((name, trim(value)))
}

/// The fields that frame a message, gathered line by line.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    encoding: Option<&'a [u8]>,
    upgrade: bool,
    connection_upgrade: bool,
    expect_continue: bool,
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(Refusal::FieldsTooMany);
        }
        // The length is compared first, so that most fields cost no more.
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => once(&mut self.host, value, Refusal::HostRepeated)?,
            14 if is(b"content-length") => self.add_length(value)?,
            17 if is(b"transfer-encoding") => {
                once(&mut self.encoding, value, Refusal::EncodingRepeated)?;
            }
            7 if is(b"upgrade") => self.upgrade = true,
            10 if is(b"connection") => {
                self.connection_upgrade |=
                    list(value).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
            }
            6 if is(b"expect") => {
                self.expect_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }

    /// A repetition of the same number is one number (RFC 9112 §6.3), but a
    /// list within one line is refused, as the parser behind does.
    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = decimal(value).ok_or(Refusal::LengthMalformed)?;
        match self.length.replace(length) {
            Some(earlier) if earlier != length => Err(Refusal::LengthRepeated),
            Some(_) | None => Ok(()),
        }
    }

    fn judge(&self, line: &RequestLine<'_>) -> Result<HeadFacts, Refusal> {
        let body = self.body(line.version10)?;
        self.check_host(line)?;
        Ok(HeadFacts {
            body,
            version10: line.version10,
            upgrade: self.upgrade && self.connection_upgrade && !line.version10 && body.is_empty(),
            expect_continue: self.expect_continue && !line.version10 && !body.is_empty(),
        })
    }

    fn body(&self, version10: bool) -> Result<Body, Refusal> {
        match (self.encoding, self.length) {
            (Some(_), Some(_)) => Err(Refusal::LengthWithEncoding),
            (Some(_), None) if version10 => Err(Refusal::EncodingOnHttp10),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
            (Some(codings), None) => Err(misused(codings)),
            (None, Some(length)) => Ok(Body::Length(length)),
            (None, None) => Ok(Body::None),
        }
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), Refusal> {
        let Some(host) = self.host else {
            return if line.version10 { Ok(()) } else { Err(Refusal::HostMissing) };
        };
        let host = host::split(host)?;
        match &line.authority {
            Some((authority, port)) if !authority.is_same(&host, *port) => {
                Err(Refusal::HostMismatch)
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn once<'a>(
    seen: &mut Option<&'a [u8]>,
    value: &'a [u8],
    otherwise: Refusal,
) -> Result<(), Refusal> {
    if seen.replace(value).is_some() { Err(otherwise) } else { Ok(()) }
}

/// Why a list of codings other than the one `chunked` is refused (RFC 9112 §6.1).
fn misused(codings: &[u8]) -> Refusal {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let chunked = list(codings).filter(|coding| is_chunked(coding)).count();
    let ends_chunked = list(codings).last().is_some_and(is_chunked);
    if codings.is_empty() || chunked > 1 || (chunked == 1 && !ends_chunked) {
        Refusal::EncodingNotLast
    } else {
        Refusal::EncodingUnknown
    }
}

/// A length as it is written: digits alone.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, &digit: &u8| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    };
    let number = if digits.is_empty() { None } else { digits.iter().try_fold(0, add) };
    number.filter(|&length| length <= LENGTH_MAX)
}

/// Takes the bytes in front that are `allowed`.
fn run<'a>(rest: &mut &'a [u8], allowed: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|&byte| !allowed(byte)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    *rest = left;
    taken
}

/// As [`run`], faster where the run is long: whole blocks are looked at without
/// a branch a byte, which compiles to a few vector instructions.
fn long_run<'a>(rest: &mut &'a [u8], allowed: impl Fn(u8) -> bool + Copy) -> &'a [u8] {
    let whole = *rest;
    let is_whole = |block: &&[u8; 16]| block.iter().fold(true, |all, &byte| all & allowed(byte));
    let blocks = whole.as_chunks().0.iter().take_while(is_whole).count();
    *rest = whole.get(blocks * 16..).unwrap_or_default();
    run(rest, allowed);
    whole.get(..whole.len() - rest.len()).unwrap_or_default()
}

fn skip(rest: &mut &[u8], expected: &[u8]) -> bool {
    match rest.strip_prefix(expected) {
        Some(left) => {
            *rest = left;
            true
        }
        None => false,
    }
}

fn end_of_line(rest: &mut &[u8], otherwise: Refusal) -> Result<(), Refusal> {
    if skip(rest, b"\r\n") { Ok(()) } else { Err(fault(rest, otherwise)) }
}

/// What is wrong with the byte in front, where it tells more than `otherwise`.
fn fault(rest: &[u8], otherwise: Refusal) -> Refusal {
    match rest {
        [b'\n', ..] => Refusal::BareLf,
        [b'\r', b'\n', ..] => otherwise,
        [b'\r', _, ..] => Refusal::BareCr,
        [byte, ..] if *byte != b'\t' && !is_field_value(*byte) => Refusal::ControlCharacter,
        _ => otherwise,
    }
}

/// What may stand in a target: visible ASCII but what would end a URI or make
/// the parser behind refuse it.
fn is_target(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && !matches!(byte, b'#' | b'<' | b'>' | b'"')
}

/// Fields in one head.
pub const FIELDS_MAX: usize = 100;
/// Bytes in one head.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Besides those that end at the next hop.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::EXPECT, header::TRAILER];
/// The largest length that the parser behind does not take for a marker.
const LENGTH_MAX: u64 = u64::MAX - 2;

#[cfg(test)]
mod tests;
