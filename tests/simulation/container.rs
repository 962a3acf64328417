//! One model container: what is true of it, and what lists show.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// What a program does when it gets its stop signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    Exits,
    Ignores,
    /// It closes its listener and its idle connections, finishes and exits.
    Drains,
}

/// A container and its program.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) pool: &'static str,
    pub(super) manner: Manner,
    pub(super) stop_timeout: Duration,
    /// Of its HEALTHCHECK, if it has one, as the engine writes it.
    pub(super) verdict: Option<&'static str>,
    /// Something is being done to it.
    pub(super) busy: bool,
    pub(super) removed: bool,
    pub(super) alive: bool,
    pub(super) life: u32,
    pub(super) started_at: i64,
    pub(super) died_at: Option<Instant>,
    pub(super) listens: bool,
    pub(super) paused: bool,
    pub(super) connected: bool,
    /// Its own until the engine takes it back.
    pub(super) address: Option<u8>,
    /// Since when it can truly serve.
    pub(super) up_since: Option<Instant>,
    /// Requests that it has not answered.
    pub(super) requests: u32,
    /// How often it was paused or lost its network.
    pub(super) breaks: u32,
    pub(super) heard: Heard,
    pub(super) shown: Shown,
}

/// The events of a container that the balancer has heard: which life, or which
/// break, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) start: Option<(u32, Instant)>,
    pub(super) stop_signal: Option<(u32, Instant)>,
    pub(super) death: Option<(u32, Instant)>,
    pub(super) broken: Option<(u32, Instant)>,
    /// Something was not heard of, so that nothing follows from silence.
    pub(super) misses: bool,
}

/// An event as it was true when it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) container: usize,
    pub(super) kind: Kind,
    life: u32,
    breaks: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Start,
    StopSignal,
    Death,
    Break,
    Other,
}

/// What lists show, which may be older than the truth.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Shown {
    state: &'static str,
    status: String,
    address: Option<u8>,
}

impl Container {
    pub(super) fn is_up(&self) -> bool {
        self.alive && self.listens && !self.paused && self.connected
    }

    /// Whether it should take requests.
    pub(super) fn is_ready(&self) -> bool {
        self.is_up() && self.verdict.is_none_or(|verdict| verdict == HEALTHY)
    }

    /// What a list would show if lists were never late.
    pub(super) fn now_shown(&self) -> Shown {
        let (state, status) = match (self.alive, self.paused, self.verdict) {
            (false, ..) if self.life == 0 => ("created", "Created".to_owned()),
            (false, ..) => ("exited", "Exited (137) 1 second ago".to_owned()),
            (true, true, _) => ("paused", "Up 1 minute (Paused)".to_owned()),
            (true, false, None) => ("running", "Up 1 minute".to_owned()),
            (true, false, Some(verdict)) => ("running", format!("Up 1 minute ({verdict})")),
        };
        let address = self.address.filter(|_| self.connected);
        Shown { state, status, address }
    }

    pub(super) fn fact(&self, container: usize, action: &str, signal: Option<u8>) -> Fact {
        let kind = match (action, signal) {
            ("start", _) => Kind::Start,
            ("kill", Some(9 | 15)) => Kind::StopSignal,
            ("die", _) => Kind::Death,
            ("pause" | "disconnect", _) if self.alive => Kind::Break,
            _ => Kind::Other,
        };
        Fact { container, kind, life: self.life, breaks: self.breaks }
    }

    /// The balancer hears of something.
    pub(super) fn hear(&mut self, fact: Fact) {
        let (heard, number) = match fact.kind {
            Kind::Start => (&mut self.heard.start, fact.life),
            Kind::StopSignal => (&mut self.heard.stop_signal, fact.life),
            Kind::Death => (&mut self.heard.death, fact.life),
            Kind::Break => (&mut self.heard.broken, fact.breaks),
            Kind::Other => return,
        };
        // A new stream may repeat it, and what was before it.
        if heard.is_none_or(|(known, _)| known < number) {
            *heard = Some((number, Instant::now()));
        }
    }

    /// Whether this is the first that is heard of the death of the life that it
    /// had last.
    pub(super) fn is_news_of_death(&self, fact: Fact) -> bool {
        let known = self.heard.death.is_some_and(|(life, _)| life == fact.life);
        fact.kind == Kind::Death && !self.alive && self.life == fact.life && !known
    }

    /// Why no request may go there any more, by what was heard `within` ago.
    pub(super) fn objection(&self, within: Duration) -> Option<&'static str> {
        let old = |at: Instant| at.elapsed() > within;
        let told = |heard: Option<(u32, Instant)>, number| {
            heard.is_some_and(|(heard, at)| heard == number && old(at))
        };
        if !self.alive && told(self.heard.death, self.life) {
            return Some("its death was heard of");
        }
        if (self.paused || !self.connected) && told(self.heard.broken, self.breaks) {
            return Some("its pause or its loss of the network was heard of");
        }
        None
    }

    /// Whether it must be draining, by a stop signal of which was heard.
    pub(super) fn is_signalled(&self, within: Duration) -> bool {
        self.heard.stop_signal.is_some_and(|(life, at)| {
            let over = self.stop_timeout + Duration::from_secs(1);
            life == self.life && at.elapsed() > within && at.elapsed() < over
        })
    }

    pub(super) fn listed(&self) -> Value {
        let Shown { state, status, address } = &self.shown;
        let address = address.map(|last| ip(last).to_string()).unwrap_or_default();
        let networks = if self.connected {
            json!({"net": {"NetworkID": NETWORK, "IPAddress": address}})
        } else {
            json!({})
        };
        json!({
            "Id": self.id, "Names": [format!("/{}", self.id)], "Created": 1_700_000_000,
            "Labels": self.labels(), "State": state, "Status": status,
            "Ports": [{"PrivatePort": PORT, "Type": "tcp"}],
            "HostConfig": {"NetworkMode": "net"}, "NetworkSettings": {"Networks": networks},
        })
    }

    pub(super) fn inspected(&self) -> Value {
        let seconds = self.started_at / 1_000_000_000;
        let time = std::time::UNIX_EPOCH + Duration::from_nanos(self.started_at as u64);
        let started = if seconds == 0 {
            "0001-01-01T00:00:00Z".to_owned()
        } else {
            humantime::format_rfc3339_nanos(time).to_string()
        };
        json!({
            "Id": self.id, "Created": "2023-11-14T22:13:20.5Z", "State": {"StartedAt": started},
            "Config": {"StopTimeout": self.stop_timeout.as_secs(),
                       "ExposedPorts": {format!("{PORT}/tcp"): {}}},
        })
    }

    pub(super) fn labels(&self) -> Value {
        json!({"lb.pool": self.pool, "lb.host": format!("{}.example", self.pool)})
    }
}

pub(super) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, last)
}

/// The last byte of an address on the model's network.
pub(super) fn last_byte(address: SocketAddr) -> u8 {
    match address {
        SocketAddr::V4(v4) => v4.ip().octets()[3],
        SocketAddr::V6(_) => panic!("the model has no IPv6"),
    }
}

pub(super) const STARTING: &str = "health: starting";
pub(super) const HEALTHY: &str = "healthy";
pub(super) const UNHEALTHY: &str = "unhealthy";

pub(super) const NETWORK: &str = "n1";

pub(super) const PORT: u16 = 8080;
