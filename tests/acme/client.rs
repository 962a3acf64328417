//! A client that sees which certificate it is shown, and trusts any.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use x509_parser::parse_x509_certificate;

use crate::support::believing::believing_anyone;

/// A connection whose handshake is done.
pub(crate) struct Secure(StreamOwned<ClientConnection, TcpStream>);

/// The certificate that a client is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    pub(crate) issuer: String,
    pub(crate) serial: String,
}

impl Shown {
    pub(crate) fn is_of_pebble(&self) -> bool {
        self.issuer.contains("Pebble Intermediate")
    }
}

impl Secure {
    /// # Errors
    /// When there is no connection, or no handshake.
    pub(crate) fn connect(port: u16, name: &str) -> io::Result<Self> {
        let config = believing_anyone().with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    pub(crate) fn shown(&self) -> Shown {
        let own = &self.0.conn.peer_certificates().unwrap()[0];
        let (_, own) = parse_x509_certificate(own).unwrap();
        Shown { issuer: own.issuer().to_string(), serial: own.raw_serial_as_string() }
    }

    /// The whole answer to a request after which the connection is closed.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(request)?;
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// The status of the answer to a GET, whose body is read.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) fn get(&mut self, host: &str) -> io::Result<u16> {
        write!(self.0, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body)?;
        Ok(head[9..12].parse().unwrap())
    }
}

/// Which certificate the balancer shows for `name` now.
pub(crate) fn shown(port: u16, name: &str) -> io::Result<Shown> {
    Ok(Secure::connect(port, name)?.shown())
}
