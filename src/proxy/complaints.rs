//! What is told of clients that misbehave: a line a minute for each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::domain::limit::client_network;
use crate::proxy::resources::Resources;

/// The clients of one worker of whom something was told, or would have been.
#[derive(Debug, Default)]
pub(super) struct Complaints(RefCell<HashMap<(Kind, IpAddr), Complaint>>);

/// What is complained of, each on its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Kind {
    Handshake,
    Certificate,
    Crowd,
    Http2,
}

#[derive(Debug)]
struct Complaint {
    told_at: Instant,
    since: u64,
}

/// Tells of a fault of `client`, if it is time for it.
pub(super) fn complain(resources: &Resources, kind: Kind, client: IpAddr, why: &dyn Display) {
    if let Some(count) = resources.complaints().note(kind, client, Instant::now()) {
        let what = kind.as_str();
        info!(%client, count, "{what}: {why}. This is told once a minute at the most");
    }
}

impl Complaints {
    /// Notes a fault of `client`. How many there have been since the last line
    /// about it, this one among them, if it is time for one.
    fn note(&self, kind: Kind, client: IpAddr, now: Instant) -> Option<u64> {
        let mut clients = self.0.borrow_mut();
        let client = (kind, client_network(client));
        if let Some(complaint) = clients.get_mut(&client) {
            complaint.since += 1;
            if now.duration_since(complaint.told_at) < EVERY {
                return None;
            }
            complaint.told_at = now;
            return Some(std::mem::take(&mut complaint.since));
        }
        if clients.len() >= CLIENTS_MAX {
            return None;
        }
        clients.insert(client, Complaint { told_at: now, since: 0 });
        Some(1)
    }

    /// Forgets those of whom nothing was told for long, and tells what is left to
    /// be told of them.
    pub(super) fn sweep(&self, now: Instant) {
        for (kind, client, count) in self.forget(now) {
            let what = kind.as_str();
            info!(%client, count, "{what}: so many more since the last line");
        }
    }

    fn forget(&self, now: Instant) -> Vec<(Kind, IpAddr, u64)> {
        let mut clients = self.0.borrow_mut();
        let is_old = |complaint: &Complaint| now.duration_since(complaint.told_at) >= EVERY * 2;
        let old = clients.extract_if(|_, complaint| is_old(complaint));
        let untold = old.filter(|(_, complaint)| complaint.since > 0);
        let untold = untold.map(|((kind, client), it)| (kind, client, it.since)).collect();
        if clients.is_empty() {
            *clients = HashMap::new();
        }
        untold
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "TLS handshakes fail",
            Self::Certificate => "The client's certificate counts as not shown",
            Self::Crowd => "Connections refused",
            Self::Http2 => "HTTP/2 connection closed",
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);

/// Of whom lines are written at a time: more would flood the log.
const CLIENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    use Kind::{Crowd, Handshake};

    #[test]
    fn a_client_is_told_of_once_a_minute_with_what_came_between() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(complaints.note(Crowd, client, now), Some(1));
        assert_eq!(complaints.note(Crowd, neighbour, now), None);
        assert_eq!(complaints.note(Handshake, client, now), Some(1), "another kind");
        assert_eq!(complaints.note(Crowd, client, now + EVERY / 2), None);
        assert_eq!(complaints.note(Crowd, client, now + EVERY), Some(3));
        assert_eq!(complaints.note(Crowd, client, now + EVERY), None);
    }

    #[test]
    fn the_clients_have_a_bound_and_are_forgotten() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let client = |number: usize| IpAddr::from((number as u32 + (10 << 24)).to_be_bytes());
        let note = |number, now| complaints.note(Crowd, client(number), now);
        for number in 0..CLIENTS_MAX {
            assert_eq!(note(number, now), Some(1));
        }
        assert_eq!(note(CLIENTS_MAX, now), None);
        assert_eq!(note(7, now), None);
        assert_eq!(complaints.forget(now + EVERY), []);
        assert_eq!(note(CLIENTS_MAX, now + EVERY), None);
        assert_eq!(complaints.forget(now + EVERY * 2), [(Crowd, client(7), 1)], "it was not told");
        assert_eq!(note(CLIENTS_MAX, now + EVERY * 2), Some(1));
    }
}
