//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use memchr::memchr;

use super::{Ends, Header, Malformed};

/// As [`super::read`], of bytes that begin with `P`.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let begins = bytes.iter().zip(PREFIX).all(|(byte, expected)| byte == expected);
    if !begins {
        return Err(Malformed::Missing);
    }
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(at) = memchr(b'\r', within) else {
        let full = bytes.len() >= LINE_BYTES_MAX;
        return if full { Err(Malformed::LineTooLong) } else { Ok(None) };
    };
    match within.get(at + 1) {
        Some(b'\n') => {}
        Some(_) => return Err(Malformed::LineEnd),
        None if bytes.len() >= LINE_BYTES_MAX => return Err(Malformed::LineTooLong),
        None => return Ok(None),
    }
    let line = within.get(PREFIX.len()..at).ok_or(Malformed::Missing)?;
    let line = str::from_utf8(line).map_err(|_| Malformed::Family)?;
    Ok(Some((meaning(line)?, at + 2)))
}

/// What the line says after `PROXY `.
fn meaning(line: &str) -> Result<Header, Malformed> {
    // Words are one space apart, so that two make an empty one between them.
    let mut words = line.split(' ');
    let ends = match words.next() {
        Some("TCP4") => ends::<Ipv4Addr>(words)?,
        Some("TCP6") => ends::<Ipv6Addr>(words)?,
        // Whatever follows is to be passed over.
        Some("UNKNOWN") => return Ok(Header::Unknown),
        Some(_) | None => return Err(Malformed::Family),
    };
    Ok(Header::Forwarded(ends))
}

fn ends<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Ends, Malformed> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let source = address().ok_or(Malformed::Address)?;
    let destination = address().ok_or(Malformed::Address)?;
    let mut port = || port(words.next()?);
    let source = SocketAddr::new(source, port().ok_or(Malformed::Port)?);
    let destination = SocketAddr::new(destination, port().ok_or(Malformed::Port)?);
    if words.next().is_some() {
        return Err(Malformed::Port);
    }
    Ok(Ends { source, destination })
}

/// Digits alone, without zeros in front, which some read as octal.
fn port(written: &str) -> Option<u16> {
    let plain = written.bytes().all(|byte| byte.is_ascii_digit());
    let padded = written.len() > 1 && written.starts_with('0');
    if plain && !padded { written.parse().ok() } else { None }
}

pub(super) fn write(header: Header) -> Vec<u8> {
    let ends = match header {
        Header::Forwarded(ends) => ends,
        // There is no word for the one and the other.
        Header::Local | Header::Unknown => return b"PROXY UNKNOWN\r\n".to_vec(),
    };
    let (source, destination) = ends.in_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

const PREFIX: &[u8] = b"PROXY ";

/// The longest line there can be, with its end (the specification, section 2.1).
pub(super) const LINE_BYTES_MAX: usize = 107;
