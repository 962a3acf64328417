//! Version 2: a binary header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, HEADER_BYTES_MAX, Header, Malformed};

/// As [`super::read`], of bytes that begin with a carriage return.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let begins = bytes.iter().zip(SIGNATURE).all(|(byte, expected)| byte == expected);
    if !begins {
        return Err(Malformed::Missing);
    }
    let Some(&[command, transport, high, low]) =
        bytes.get(SIGNATURE.len()..FIXED).and_then(<[u8]>::first_chunk)
    else {
        return Ok(None);
    };
    if command >> 4 != 2 {
        return Err(Malformed::Version);
    }
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let forwarded = match command & 15 {
        LOCAL => false,
        PROXY => true,
        _ => return Err(Malformed::Command),
    };
    let Some(payload) = bytes.get(FIXED..whole) else { return Ok(None) };
    let header = if forwarded { meaning(transport, payload)? } else { Header::Local };
    Ok(Some((header, whole)))
}

/// What is said of a connection over `transport`; what follows the addresses is
/// passed over.
fn meaning(transport: u8, payload: &[u8]) -> Result<Header, Malformed> {
    let ends = match (transport >> 4, transport & 15) {
        (INET, STREAM) => ends::<4>(payload),
        (INET6, STREAM) => ends::<16>(payload),
        // Not said, or no addresses of a client over TCP.
        (UNSPEC | INET | INET6 | UNIX, UNSPEC | STREAM | DATAGRAM) => return Ok(Header::Unknown),
        _ => return Err(Malformed::Transport),
    };
    ends.map(Header::Forwarded).ok_or(Malformed::TooShort)
}

/// Two addresses of `N` bytes and two ports.
fn ends<const N: usize>(payload: &[u8]) -> Option<Ends>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = payload.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    let end = |address: [u8; N], port: [u8; 2]| {
        SocketAddr::new(IpAddr::from(address), u16::from_be_bytes(port))
    };
    let (source, destination) = (end(*source, *source_port), end(*destination, *destination_port));
    Some(Ends { source, destination })
}

pub(super) fn write(header: Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let ends = match header {
        Header::Forwarded(ends) => ends,
        Header::Local | Header::Unknown => {
            let command = if header == Header::Local { LOCAL } else { PROXY };
            bytes.extend([VERSION | command, UNSPEC, 0, 0]);
            return bytes;
        }
    };
    let (source, destination) = ends.in_one_family();
    let (family, length) = if source.is_ipv4() { (INET, 12) } else { (INET6, 36) };
    bytes.extend([VERSION | PROXY, family << 4 | STREAM, 0, length]);
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => bytes.extend(Ipv4Addr::octets(&address)),
            IpAddr::V6(address) => bytes.extend(Ipv6Addr::octets(&address)),
        }
    }
    for port in [source.port(), destination.port()] {
        bytes.extend(port.to_be_bytes());
    }
    bytes
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, the command, the transport and the length of the rest.
const FIXED: usize = 16;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const UNSPEC: u8 = 0;
const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;

const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;
