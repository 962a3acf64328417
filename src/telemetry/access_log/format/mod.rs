//! How a line of the access log is written.

mod fields;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::Version;

use crate::telemetry::access_log::Entry;
use crate::telemetry::access_log::format::fields::{Key, Value};

/// A format that writes something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Combined,
    Json,
    Logfmt,
}

/// The last second that was written, since most lines share it.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// Since the epoch; none before the first line.
    at: Option<u64>,
    /// `2026-01-31T23:59:59`.
    iso: String,
    /// `31/Jan/2026:23:59:59 +0000`.
    apache: String,
}

impl Format {
    /// Appends one line, with its line break.
    pub(super) fn write(self, entry: &Entry<'_>, second: &mut Second, to: &mut Vec<u8>) {
        // The clock of a machine without one starts at the epoch.
        let since = entry.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        second.set(since.as_secs());
        match self {
            Self::Combined => combined(entry, second, to),
            Self::Json => json(entry, second, since.subsec_micros(), to),
            Self::Logfmt => logfmt(entry, second, since.subsec_micros(), to),
        }
        to.push(b'\n');
    }
}

impl Second {
    fn set(&mut self, at: u64) {
        if self.at == Some(at) {
            return;
        }
        let at = at.min(SECOND_MAX);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        let iso = humantime::format_rfc3339_seconds(time).to_string();
        self.iso = iso.trim_end_matches('Z').to_owned();
        let mut parts = self.iso.split(['-', 'T']);
        let mut part = || parts.next().unwrap_or_default();
        let (year, month, day, clock) = (part(), part(), part(), part());
        let month = month.parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?));
        let month = month.unwrap_or(&"???");
        self.apache = format!("{day}/{month}/{year}:{clock} +0000");
        self.at = Some(at);
    }
}

/// Apache's combined format, then our fields as `key=value`.
fn combined(entry: &Entry<'_>, second: &Second, to: &mut Vec<u8>) {
    address(entry.client, to);
    to.extend_from_slice(b" - ");
    plain_or_quoted(entry.user.map(str::as_bytes), to);
    to.extend_from_slice(b" [");
    to.extend_from_slice(second.apache.as_bytes());
    to.extend_from_slice(b"] \"");
    escape(or_dash(entry.method.as_bytes()), to);
    to.push(b' ');
    escape(or_dash(entry.target), to);
    to.push(b' ');
    to.extend_from_slice(version(entry.version).as_bytes());
    to.extend_from_slice(b"\" ");
    number(u64::from(entry.status), to);
    to.push(b' ');
    number(entry.response_bytes, to);
    for header in [entry.referer, entry.user_agent] {
        to.extend_from_slice(b" \"");
        escape(header.unwrap_or(b"-"), to);
        to.push(b'"');
    }
    let mut put = |key: Key, value: Value<'_>| {
        to.extend_from_slice(key.pair.as_bytes());
        match value {
            Value::Text(text) => plain_or_quoted(text, to),
            Value::Number(_) | Value::Flag(_) | Value::Upstream(_) | Value::Trace(_) => {
                scalar(value, b"-", to);
            }
        }
    };
    fields::of_connection(entry, &mut put);
    fields::of_the_rest(entry, &mut put);
}

/// A text among others that are separated by spaces.
fn plain_or_quoted(text: Option<&[u8]>, to: &mut Vec<u8>) {
    match text {
        Some(text) if is_plain(text) => to.extend_from_slice(text),
        Some(text) => {
            to.push(b'"');
            escape(text, to);
            to.push(b'"');
        }
        None => to.push(b'-'),
    }
}

/// One object; its keys are always all there, in this order, but for those of
/// TLS, which a clear connection does not have.
fn json(entry: &Entry<'_>, second: &Second, micros: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(b"{\"time\":\"");
    moment(second, micros, to);
    to.extend_from_slice(b"\",\"client\":\"");
    address(entry.client, to);
    to.push(b'"');
    fields::all(entry, &mut |key: Key, value: Value<'_>| {
        to.extend_from_slice(key.json.as_bytes());
        match value {
            Value::Text(Some(text)) => quoted(text, to),
            Value::Text(None) => to.extend_from_slice(b"null"),
            Value::Upstream(Some(_)) | Value::Trace(Some(_)) => {
                to.push(b'"');
                scalar(value, b"", to);
                to.push(b'"');
            }
            Value::Number(_) | Value::Flag(_) | Value::Upstream(None) | Value::Trace(None) => {
                scalar(value, b"null", to);
            }
        }
    });
    to.push(b'}');
}

/// `key=value`, with the keys of JSON; what there is none of is left out.
fn logfmt(entry: &Entry<'_>, second: &Second, micros: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(b"time=");
    moment(second, micros, to);
    to.extend_from_slice(b" client=");
    address(entry.client, to);
    fields::all(entry, &mut |key: Key, value: Value<'_>| {
        if value.is_none() {
            return;
        }
        to.extend_from_slice(key.pair.as_bytes());
        match value {
            Value::Text(Some(text)) if !is_plain(text) => quoted(text, to),
            Value::Text(_)
            | Value::Number(_)
            | Value::Flag(_)
            | Value::Upstream(_)
            | Value::Trace(_) => scalar(value, b"", to),
        }
    });
}

/// What needs no quotes to be read as one word, or `none`.
fn scalar(value: Value<'_>, none: &[u8], to: &mut Vec<u8>) {
    match value {
        Value::Number(Some(value)) => number(value, to),
        Value::Flag(value) => to.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Upstream(Some(upstream)) => socket(upstream, to),
        Value::Trace(Some(trace)) => put(to, format_args!("{trace}")),
        Value::Text(Some(text)) => to.extend_from_slice(text),
        Value::Text(None) | Value::Number(None) | Value::Upstream(None) | Value::Trace(None) => {
            to.extend_from_slice(none);
        }
    }
}

/// As RFC 3339 has it.
fn moment(second: &Second, micros: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(second.iso.as_bytes());
    let mut text = *b".000000Z";
    let mut left = micros;
    for digit in text.iter_mut().rev().skip(1).take(6) {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    to.extend_from_slice(&text);
}

/// Writes text such that it can neither end its quotes nor its line, nor speak
/// to a terminal: all but printable ASCII becomes `\xNN`.
fn escape(text: &[u8], to: &mut Vec<u8>) {
    let bad = |byte: u8| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
    if is_all(text, |byte| !bad(byte)) {
        to.extend_from_slice(text);
        return;
    }
    for run in text.split_inclusive(|&byte| bad(byte)) {
        match run.split_last() {
            Some((&last, before)) if bad(last) => {
                to.extend_from_slice(before);
                to.extend_from_slice(b"\\x");
                hex(last, to);
            }
            Some(_) | None => to.extend_from_slice(run),
        }
    }
}

/// Writes a JSON string. Control characters are escaped beyond what RFC 8259,
/// section 7 asks for, and bytes that are no UTF-8 become U+FFFD.
fn quoted(text: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    if is_all(text, |byte| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')) {
        to.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            chunk.valid().chars().for_each(|letter| json_letter(letter, to));
            if !chunk.invalid().is_empty() {
                to.extend_from_slice(b"\\ufffd");
            }
        }
    }
    to.push(b'"');
}

fn json_letter(letter: char, to: &mut Vec<u8>) {
    match letter {
        '"' => to.extend_from_slice(b"\\\""),
        '\\' => to.extend_from_slice(b"\\\\"),
        _ if letter.is_control() => {
            // Control characters end at U+009F.
            to.extend_from_slice(b"\\u00");
            hex(letter as u8, to);
        }
        _ => to.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn hex(byte: u8, to: &mut Vec<u8>) {
    let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8);
    to.extend([digit(byte >> 4), digit(byte & 15)]);
}

/// Whether a value needs no quotes.
fn is_plain(text: &[u8]) -> bool {
    let plain =
        |byte| matches!(byte, b'!'..=b'~') & (byte != b'"') & (byte != b'\\') & (byte != b'=');
    !text.is_empty() && text != b"-" && is_all(text, plain)
}

/// As `all` of an iterator, but many bytes at a time: most text is as it should
/// be to its end.
fn is_all(text: &[u8], is: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |all, &byte| all & is(byte))
}

fn number(value: u64, to: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut left = value;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        count += 1;
        if left == 0 {
            break;
        }
    }
    to.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

fn address(address: IpAddr, to: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (place, byte) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    to.push(b'.');
                }
                number(byte.into(), to);
            }
        }
        IpAddr::V6(address) => put(to, format_args!("{address}")),
    }
}

fn socket(address: SocketAddr, to: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => {
            self::address(IpAddr::V4(*v4.ip()), to);
            to.push(b':');
            number(v4.port().into(), to);
        }
        SocketAddr::V6(v6) => put(to, format_args!("{v6}")),
    }
}

/// Writing to memory does not fail.
fn put(to: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(text);
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "-",
    }
}

fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The end of the year 9999, beyond which RFC 3339 has no dates.
const SECOND_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
