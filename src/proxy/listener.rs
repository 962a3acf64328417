//! Sockets that clients connect to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

/// Where clients come in.
#[derive(Debug)]
pub struct EntryPoint {
    /// What `lb.entrypoint` calls it.
    pub name: Arc<str>,
    /// Whether its connections begin with a TLS handshake.
    pub tls: bool,
}

/// A socket of an entry point.
#[derive(Debug)]
pub struct Listening {
    pub socket: TcpListener,
    pub entry: Arc<EntryPoint>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{0} is already in use: stop what listens there (`ss -ltnp` names it) or choose another address"
    )]
    InUse(SocketAddr),
    #[error("cannot listen on {address}")]
    Other {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Opens `count` listeners on one address, among which the kernel shares the
/// connections (`SO_REUSEPORT`). With port 0 all get the same free port.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse(address)
        } else {
            BindError::Other { address, source }
        }
    };
    // The kernel would let a second balancer share the port silently, if both
    // ask for sharing: a plain bind finds it out.
    let alone = listen(address, false).map_err(fail)?;
    if count <= 1 {
        return Ok(vec![alone]);
    }
    let address = alone.local_addr().map_err(fail)?;
    drop(alone);
    (0..count).map(|_| listen(address, true).map_err(fail)).collect()
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the kernel keeps until we accept them; it takes
/// `net.core.somaxconn` if that is less.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_one_address_share_its_port() {
        let listeners = bind(([127, 0, 0, 1], 0).into(), 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
    }

    #[test]
    fn a_port_in_use_is_told_even_when_its_owner_would_share_it() {
        let first = bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        let address = first[0].local_addr().unwrap();
        let refused = bind(address, 2).unwrap_err();
        assert!(matches!(refused, BindError::InUse(in_use) if in_use == address), "{refused}");
    }
}
