//! The client's connection, as its requests see it.

use std::cell::Cell;

use crate::domain::http::forwarded;
use crate::domain::proxy_protocol::Ends;
use crate::proxy::http1::turn::{Fault, GateHandle, Turn};
use crate::proxy::request::tunnel::Tunnel;

/// Who is on the line, for the requests of one connection.
pub(in crate::proxy) struct Downstream {
    /// Whom the connection comes from, and what replicas are told of that.
    pub(super) from: forwarded::Downstream,
    /// Its address and ours.
    pub(super) ends: Ends,
    gate: GateHandle,
    tunnel: Cell<Option<Tunnel>>,
    used: Cell<bool>,
}

impl Downstream {
    pub(in crate::proxy) fn new(from: forwarded::Downstream, ends: Ends, gate: GateHandle) -> Self {
        Self { from, ends, gate, tunnel: Cell::new(None), used: Cell::new(false) }
    }

    /// Why the gate cut the connection, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.gate.fault()
    }

    /// The turn of the request that the server hands over now.
    pub(in crate::proxy) fn next_turn(&self) -> Option<Turn> {
        self.used.set(true);
        self.gate.next()
    }

    /// Whether a request has come by this connection.
    pub(in crate::proxy) fn was_used(&self) -> bool {
        self.used.get()
    }

    /// The answer that is being given turns the connection into `tunnel`.
    pub(super) fn switch_to(&self, tunnel: Tunnel) {
        self.tunnel.set(Some(tunnel));
    }

    /// What the connection is to become, now that its last answer is given.
    pub(in crate::proxy) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }
}
