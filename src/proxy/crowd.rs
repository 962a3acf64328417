//! How many connections each client holds, over all workers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::limit::client_network;

/// The open connections by client, touched when one begins and ends.
#[derive(Debug)]
pub struct Crowd {
    /// For one client.
    most: u32,
    /// An attacker must not choose whose shard is slow.
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<IpAddr, u32>>>,
}

/// One of a client's connections; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    pub fn new(most: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { most, hasher: RandomState::new(), shards }
    }

    /// Lets one more connection of `client` in; none if it has as many as it may.
    pub(super) fn join(self: &Arc<Self>, client: IpAddr) -> Option<Member> {
        let client = client_network(client);
        let mut shard = self.shard(client)?;
        let open = shard.entry(client).or_default();
        if *open >= self.most {
            return None;
        }
        *open += 1;
        Some(Member { crowd: Arc::clone(self), client })
    }

    fn shard(&self, client: IpAddr) -> Option<MutexGuard<'_, HashMap<IpAddr, u32>>> {
        let at = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).ok()?;
        Some(self.shards.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(mut shard) = self.crowd.shard(self.client) else { return };
        if let Some(open) = shard.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.client);
            }
        }
    }
}

/// Workers meet at one only if they accept at the same moment from clients of
/// the same shard.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_no_more_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::new(2));
        let client = |text: &str| crowd.join(text.parse().unwrap());
        let first = client("192.0.2.1").unwrap();
        let second = client("::ffff:192.0.2.1").unwrap();
        assert!(client("192.0.2.1").is_none());
        let other = client("192.0.2.2").unwrap();
        drop(first);
        let third = client("192.0.2.1").unwrap();
        assert!(client("192.0.2.1").is_none());
        drop((second, third, other));
        assert!(crowd.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let crowd = Arc::new(Crowd::new(1));
        let first = crowd.join("2001:db8::1".parse().unwrap()).unwrap();
        assert!(crowd.join("2001:db8::ffff:1".parse().unwrap()).is_none());
        assert!(crowd.join("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(first);
        assert!(crowd.join("2001:db8::2".parse().unwrap()).is_some());
    }
}
