//! PROXY headers: who the client behind a forwarded connection is, said once in
//! front of its first byte (haproxy.org/download/3.2/doc/proxy-protocol.txt).
//!
//! Version 1 is a line of text, version 2 is binary. What comes in is read in
//! either; what goes out is written in the one that is asked for.

mod v1;
mod v2;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The form of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// `PROXY TCP4 192.0.2.1 192.0.2.2 4711 80`.
    V1,
    /// The same in 28 bytes, 52 for IPv6.
    V2,
}

/// What a header says of the connection that it begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// Nothing: whoever connected speaks for itself, as in a health check.
    Local,
    /// It is forwarded, and for whom is not said: whoever connected speaks for
    /// somebody else.
    Unknown,
    Forwarded(Ends),
}

/// Both ends of the client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The client; its port is 0 where it is not known.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// Why what a connection begins with is no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header has no end within {HEADER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the PROXY line has no end within 107 bytes")]
    LineTooLong,
    #[error("the PROXY line does not end in CR LF")]
    LineEnd,
    #[error("the PROXY line names no family that we know")]
    Family,
    #[error("an address in the PROXY line is none")]
    Address,
    #[error("a port in the PROXY line is none")]
    Port,
    #[error("the PROXY header is of an unknown version")]
    Version,
    #[error("the PROXY header has an unknown command")]
    Command,
    #[error("the PROXY header has an unknown family or transport")]
    Transport,
    #[error("the PROXY header is too short for its addresses")]
    TooShort,
}

/// Reads the header that `bytes` begin with, and how many of them it takes. None
/// while it is not whole; then further bytes change nothing that stands already.
pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::read(bytes),
        Some(b'\r') => v2::read(bytes),
        Some(_) => Err(Malformed::Missing),
    }
}

impl Header {
    /// The header as it is sent.
    pub fn to_bytes(self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => v1::write(self),
            Version::V2 => v2::write(self),
        }
    }
}

impl Ends {
    /// Both in one family, as the forms want it: an IPv4 address beside an IPv6
    /// one is mapped, and two mapped ones are IPv4 again.
    fn in_one_family(self) -> (SocketAddr, SocketAddr) {
        let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return (source, destination);
        }
        let wide = |it: SocketAddr| SocketAddr::new(IpAddr::V6(mapped(it.ip())), it.port());
        (wide(source), wide(destination))
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The longest header that is read: of version 2 with what may follow its
/// addresses, which is at most a client's certificate and a few short values.
pub const HEADER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
