//! The host and port of a `Host` header or an authority.

use super::refusal::Refusal;

/// A host as it was written, and its port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authority<'a> {
    /// An IPv6 address keeps its brackets; letters keep their case.
    pub host: &'a str,
    /// None where none is written, also after a colon.
    pub port: Option<u16>,
}

impl Authority<'_> {
    /// Whether both name the same host and port, where a missing port is
    /// `default_port`.
    pub fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// Splits `host [":" port]` (RFC 3986 §3.2).
///
/// Stricter than the grammar where two readers could differ: no user
/// information, no percent escapes, no comma (a joined repetition), no empty
/// host.
pub fn split(written: &[u8]) -> Result<Authority<'_>, Refusal> {
    let written = str::from_utf8(written).map_err(|_| Refusal::HostMalformed)?;
    let (host, port) = if written.starts_with('[') {
        let end = written.find(']').ok_or(Refusal::HostMalformed)?;
        written.split_at_checked(end + 1).ok_or(Refusal::HostMalformed)?
    } else {
        let end = written.bytes().position(|byte| byte == b':').unwrap_or(written.len());
        written.split_at_checked(end).ok_or(Refusal::HostMalformed)?
    };
    if !is_host(host) {
        return Err(Refusal::HostMalformed);
    }
    Ok(Authority { host, port: self::port(port)? })
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_byte),
    }
}

fn port(written: &str) -> Result<Option<u16>, Refusal> {
    let Some(digits) = written.strip_prefix(':') else {
        return if written.is_empty() { Ok(None) } else { Err(Refusal::HostMalformed) };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    // `parse` alone would take a sign.
    if digits.len() > PORT_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::HostMalformed);
    }
    digits.parse().map(Some).map_err(|_| Refusal::HostMalformed)
}

/// Unreserved and sub-delims of RFC 3986 §2, but the comma.
fn is_name_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

const PORT_DIGITS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_carry_a_port() {
        for (written, host, port) in [
            ("shop.example", "shop.example", None),
            ("Shop.Example.:8080", "Shop.Example.", Some(8080)),
            ("shop.example:", "shop.example", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[::1]:65535", "[::1]", Some(65535)),
            ("a_b:1", "a_b", Some(1)),
        ] {
            assert_eq!(split(written.as_bytes()), Ok(Authority { host, port }), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for written in [
            "",
            ":80",
            "user@shop.example",
            "user:secret@shop.example",
            "shop.example:80:90",
            "shop.example:+80",
            "shop.example:8o",
            "shop.example:65536",
            "shop.example:000080",
            "a,b",
            "a%2eb",
            "a b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[192.0.2.1]",
            "::1",
            "bücher.example",
            "a\0b",
        ] {
            assert_eq!(split(written.as_bytes()), Err(Refusal::HostMalformed), "{written}");
        }
        assert_eq!(split(b"a\xff"), Err(Refusal::HostMalformed));
    }

    #[test]
    fn hosts_are_the_same_whatever_their_case_and_default_port() {
        let authority = |written: &'static str| split(written.as_bytes()).unwrap();
        assert!(authority("A.example").is_same(&authority("a.EXAMPLE:80"), 80));
        assert!(!authority("a.example").is_same(&authority("a.example:80"), 443));
        assert!(!authority("a.example").is_same(&authority("b.example"), 80));
    }
}
