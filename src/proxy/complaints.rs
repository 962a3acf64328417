//! What is told of clients that misbehave: a line a minute for each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::limit::client_network;

/// The clients of one worker of whom something was told, or would have been.
#[derive(Debug, Default)]
pub(super) struct Complaints(RefCell<HashMap<IpAddr, Complaint>>);

#[derive(Debug)]
struct Complaint {
    told_at: Instant,
    since: u64,
}

impl Complaints {
    /// Notes a fault of `client`. How many there have been since the last line
    /// about it, this one among them, if it is time for one.
    pub(super) fn note(&self, client: IpAddr, now: Instant) -> Option<u64> {
        let mut clients = self.0.borrow_mut();
        let client = client_network(client);
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

    /// Forgets those of whom nothing was heard for long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut clients = self.0.borrow_mut();
        clients.retain(|_, complaint| now.duration_since(complaint.told_at) < EVERY * 2);
        if clients.is_empty() {
            *clients = HashMap::new();
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);

/// Of whom lines are written at a time: more would flood the log.
const CLIENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_of_once_a_minute_with_what_came_between() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(complaints.note(client, now), Some(1));
        assert_eq!(complaints.note(neighbour, now), None);
        assert_eq!(complaints.note(client, now + EVERY / 2), None);
        assert_eq!(complaints.note(client, now + EVERY), Some(3));
        assert_eq!(complaints.note(client, now + EVERY), None);
    }

    #[test]
    fn the_clients_have_a_bound_and_are_forgotten() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let client = |number: usize| IpAddr::from((number as u32 + (10 << 24)).to_be_bytes());
        for number in 0..CLIENTS_MAX {
            assert_eq!(complaints.note(client(number), now), Some(1));
        }
        assert_eq!(complaints.note(client(CLIENTS_MAX), now), None);
        complaints.sweep(now + EVERY);
        assert_eq!(complaints.note(client(CLIENTS_MAX), now + EVERY), None);
        complaints.sweep(now + EVERY * 2);
        assert_eq!(complaints.note(client(CLIENTS_MAX), now + EVERY * 2), Some(1));
    }
}
