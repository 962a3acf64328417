//! How a line of the access log is written.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::Version;

use crate::telemetry::access_log::Entry;

/// A format that writes something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Combined,
    Json,
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
    field(entry.user.map(str::as_bytes), to);
    to.extend_from_slice(b" [");
    to.extend_from_slice(second.apache.as_bytes());
    to.extend_from_slice(b"] \"");
    escape(or_dash(entry.method).as_bytes(), to);
    to.push(b' ');
    escape(or_dash(entry.target).as_bytes(), to);
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
    let secured = [("tls", entry.tls.map(|tls| tls.version.as_bytes())), ("sni", sni(entry))];
    for (key, text) in secured.into_iter().chain(texts(entry)) {
        pair(key, to);
        field(text, to);
    }
    pair("upstream", to);
    match entry.upstream {
        Some(upstream) => put(to, format_args!("{upstream}")),
        None => to.push(b'-'),
    }
    pair("reused", to);
    to.extend_from_slice(boolean(entry.reused));
    for (key, value) in numbers(entry) {
        pair(key, to);
        match value {
            Some(value) => number(value, to),
            None => to.push(b'-'),
        }
    }
    pair("end", to);
    to.extend_from_slice(entry.end.as_bytes());
}

/// A field among others that are separated by spaces.
fn field(text: Option<&[u8]>, to: &mut Vec<u8>) {
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
    to.extend_from_slice(second.iso.as_bytes());
    put(to, format_args!(".{micros:06}Z\",\"client\":\""));
    address(entry.client, to);
    to.push(b'"');
    for (name, text) in [("method", entry.method), ("target", entry.target)] {
        key(name, to);
        quoted(text.as_bytes(), to);
    }
    key("version", to);
    quoted(version(entry.version).as_bytes(), to);
    if let Some(tls) = entry.tls {
        key("tls", to);
        quoted(tls.version.as_bytes(), to);
        key("sni", to);
        nullable(sni(entry), to);
    }
    for (name, value) in
        [("status", u64::from(entry.status)), ("response_bytes", entry.response_bytes)]
    {
        key(name, to);
        number(value, to);
    }
    let headers = [
        ("user", entry.user.map(str::as_bytes)),
        ("referer", entry.referer),
        ("user_agent", entry.user_agent),
    ];
    for (name, text) in headers.into_iter().chain(texts(entry)) {
        key(name, to);
        nullable(text, to);
    }
    key("upstream", to);
    match entry.upstream {
        Some(upstream) => put(to, format_args!("\"{upstream}\"")),
        None => to.extend_from_slice(b"null"),
    }
    key("reused", to);
    to.extend_from_slice(boolean(entry.reused));
    for (name, value) in numbers(entry) {
        key(name, to);
        match value {
            Some(value) => number(value, to),
            None => to.extend_from_slice(b"null"),
        }
    }
    key("end", to);
    quoted(entry.end.as_bytes(), to);
    to.push(b'}');
}

fn texts<'a>(entry: &Entry<'a>) -> [(&'static str, Option<&'a [u8]>); 7] {
    [
        ("host", entry.host),
        ("request_id", entry.request_id.map(str::as_bytes)),
        ("pool", entry.pool.map(str::as_bytes)),
        ("project", entry.project.map(str::as_bytes)),
        ("service", entry.service.map(str::as_bytes)),
        ("replica", entry.replica.map(str::as_bytes)),
        ("container", entry.container.map(short_id)),
    ]
}

/// Names in handshakes have the bound of host names, so no other is needed here.
fn sni<'a>(entry: &Entry<'a>) -> Option<&'a [u8]> {
    entry.tls?.sni.map(str::as_bytes)
}

fn numbers(entry: &Entry<'_>) -> [(&'static str, Option<u64>); 6] {
    [
        ("attempts", Some(u64::from(entry.attempts))),
        ("request_bytes", Some(entry.request_bytes)),
        ("wait_us", Some(entry.wait_us)),
        ("connect_us", entry.connect_us),
        ("first_byte_us", entry.first_byte_us),
        ("total_us", Some(entry.total_us)),
    ]
}

/// As Docker shows ids; what is no id of a container stays as it is.
fn short_id(id: &str) -> &[u8] {
    let whole = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = id.as_bytes();
    if whole { id.get(..12).unwrap_or(id) } else { id }
}

fn pair(key: &str, to: &mut Vec<u8>) {
    to.push(b' ');
    to.extend_from_slice(key.as_bytes());
    to.push(b'=');
}

fn key(name: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(b",\"");
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b"\":");
}

/// Writes text such that it can neither end its quotes nor its line, nor speak
/// to a terminal: all but printable ASCII becomes `\xNN`.
fn escape(text: &[u8], to: &mut Vec<u8>) {
    let bad = |byte: u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
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
    if text.iter().all(|&byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
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

fn nullable(text: Option<&[u8]>, to: &mut Vec<u8>) {
    match text {
        Some(text) => quoted(text, to),
        None => to.extend_from_slice(b"null"),
    }
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
    let plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'=');
    !text.is_empty() && text != b"-" && text.iter().all(plain)
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

fn boolean(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The end of the year 9999, beyond which RFC 3339 has no dates.
const SECOND_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
