//! Choosing an endpoint.
//!
//! Each policy is a pure function from slots, loads and a number to a slot. The
//! caller draws the number (a counter, random bits, a client's key), so the same
//! inputs always choose the same slot. `usable` tells the slots that may be
//! chosen at all; a policy passes over the others.

mod bounded;
mod hash;
mod least_request;
mod p2c;
mod peak_ewma;
mod ring;

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

pub use bounded::bounded_hash;
pub use hash::{client_key, hash, key, mix, seed};
pub use least_request::least_request;
pub use p2c::p2c;
pub use peak_ewma::{Cost, peak_ewma};
pub use ring::{random, ring, round_robin};

/// How a pool shares requests between its endpoints.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// In turn, by weight, exactly.
    #[default]
    RoundRobin,
    /// Fewest requests in flight by weight, of all endpoints.
    LeastRequest,
    /// Fewest requests in flight by weight, of two drawn at random.
    P2c,
    /// The shortest wait by weight, of two drawn at random: by how long each
    /// took of late, and what it has in flight.
    PeakEwma,
    /// At random, by weight.
    Random,
    /// By the client's address, so that it meets the same endpoint.
    IpHash,
    /// By what the request says, as long as the endpoint has not much more to
    /// do than the others. In turn where the request does not say it.
    Hash(HashKey),
}

/// What of a request is hashed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HashKey {
    Header(HeaderName),
    Cookie(Arc<str>),
    /// The path in normal form, with the query.
    Uri,
}

impl Policy {
    /// Those that are one word.
    pub const PLAIN: [Self; 6] = [
        Self::RoundRobin,
        Self::LeastRequest,
        Self::P2c,
        Self::PeakEwma,
        Self::Random,
        Self::IpHash,
    ];

    /// As the label `balance` spells it, without what is hashed.
    pub fn word(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::P2c => "p2c",
            Self::PeakEwma => "peak_ewma",
            Self::Random => "random",
            Self::IpHash => "ip_hash",
            Self::Hash(_) => "hash",
        }
    }
}

/// As the label `balance` spells it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Hash(HashKey::Header(name)) => write!(f, ":header:{name}"),
            Self::Hash(HashKey::Cookie(name)) => write!(f, ":cookie:{name}"),
            Self::Hash(HashKey::Uri) => f.write_str(":uri"),
            Self::RoundRobin
            | Self::LeastRequest
            | Self::P2c
            | Self::PeakEwma
            | Self::Random
            | Self::IpHash => Ok(()),
        }
    }
}

/// What an endpoint carries and what it should.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub in_flight: u32,
    pub weight: u16,
}

impl Load {
    /// Never preferred to anything.
    pub const MAX: Self = Self { in_flight: u32::MAX, weight: 1 };

    /// Whether one more request weighs less here than at `other`.
    fn is_below(self, other: Self) -> bool {
        self.with_one_more() * u64::from(other.weight)
            < other.with_one_more() * u64::from(self.weight)
    }

    fn with_one_more(self) -> u64 {
        u64::from(self.in_flight) + 1
    }
}
