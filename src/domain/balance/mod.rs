//! Choosing an endpoint.
//!
//! Each policy is a pure function from slots, loads and a number to a slot. The
//! caller draws the number (a counter, random bits, a client's key), so the same
//! inputs always choose the same slot. `usable` tells the slots that may be
//! chosen at all; a policy passes over the others.

mod hash;
mod least_request;
mod p2c;
mod ring;

pub use hash::{client_key, hash, mix, seed};
pub use least_request::least_request;
pub use p2c::p2c;
pub use ring::{random, ring, round_robin};

/// How a pool shares requests between its endpoints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// In turn, by weight, exactly.
    #[default]
    RoundRobin,
    /// Fewest requests in flight by weight, of all endpoints.
    LeastRequest,
    /// Fewest requests in flight by weight, of two drawn at random.
    P2c,
    /// At random, by weight.
    Random,
    /// By the client's address, so that it meets the same endpoint.
    IpHash,
}

impl Policy {
    pub const ALL: [Self; 5] =
        [Self::RoundRobin, Self::LeastRequest, Self::P2c, Self::Random, Self::IpHash];

    /// As the label `balance` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::P2c => "p2c",
            Self::Random => "random",
            Self::IpHash => "ip_hash",
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
        let after = |load: Self| u64::from(load.in_flight) + 1;
        after(self) * u64::from(other.weight) < after(other) * u64::from(self.weight)
    }
}
