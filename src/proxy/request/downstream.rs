//! The client's connection, as its requests see it.

use std::cell::Cell;
use std::sync::Arc;

use crate::domain::http::forwarded;
use crate::domain::http::framing::HeadFacts;
use crate::domain::http::refusal::Refusal;
use crate::domain::proxy_protocol::Ends;
use crate::proxy::http1::turn::{Fault, GateHandle, Turn};
use crate::proxy::listener::EntryPoint;
use crate::proxy::secure::Session;

/// Who is on the line, and how they came.
#[derive(Debug)]
pub(in crate::proxy) struct Visitor {
    /// Whom the connection comes from, and what replicas are told of that.
    pub(in crate::proxy) from: forwarded::Downstream,
    /// Its address and ours.
    pub(in crate::proxy) ends: Ends,
    pub(in crate::proxy) entry: Arc<EntryPoint>,
    /// None if it is not encrypted.
    pub(in crate::proxy) session: Option<Session>,
}

/// A connection, for its requests.
#[derive(Debug)]
pub(in crate::proxy) struct Downstream {
    pub(super) visitor: Visitor,
    /// None but for HTTP/1.
    gate: Option<GateHandle>,
    used: Cell<bool>,
}

/// What whoever took a request from its connection knows of it.
#[derive(Debug)]
pub(in crate::proxy) struct Arrived {
    /// Where the head is refused, the request beside it may not be the client's.
    pub(in crate::proxy) facts: Result<HeadFacts, Refusal>,
    /// HTTP/1 has one request at a time.
    pub(in crate::proxy) turn: Option<Turn>,
}

impl Downstream {
    pub(in crate::proxy) fn new(visitor: Visitor, gate: Option<GateHandle>) -> Self {
        Self { visitor, gate, used: Cell::new(false) }
    }

    /// Why the gate cut the connection, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.gate.as_ref()?.fault()
    }

    /// The turn of the request that the server hands over now.
    pub(in crate::proxy) fn next_turn(&self) -> Option<Turn> {
        self.used.set(true);
        self.gate.as_ref()?.next()
    }

    /// Whether a request has come by this connection.
    pub(in crate::proxy) fn was_used(&self) -> bool {
        self.used.get()
    }
}

impl Arrived {
    /// As the gate of its connection has judged it.
    pub(in crate::proxy) fn by_turn(turn: Option<Turn>) -> Self {
        let facts = turn.as_ref().map_or(Err(Refusal::RequestLine), |turn| turn.verdict);
        Self { facts, turn }
    }
}
