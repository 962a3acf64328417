//! The replicas of a pool by the names that a request may call them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::pool::{Affinity, Endpoint, Tier, Turn};

/// Who answers to each name: service, container and host names, without regard
/// to case.
#[derive(Debug)]
pub struct Names {
    /// Lower case, ascending.
    named: Vec<(Box<[u8]>, Named)>,
}

/// All that answer to one name, ready or not.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) tier: Tier,
    /// Of its own, so that those who ask for it take no turns of the others.
    pub(super) turn: Turn,
}

impl Names {
    /// None if no request may name a replica. `host_names` are those of
    /// `endpoints`, in their order.
    pub fn build<'a>(
        affinity: &Affinity,
        endpoints: &[Endpoint],
        host_names: impl Iterator<Item = Option<&'a Arc<str>>>,
    ) -> Option<Box<Self>> {
        if affinity.pin_header.is_none() && affinity.pin_cookie.is_none() {
            return None;
        }
        let mut slots: BTreeMap<Box<[u8]>, Vec<(u16, u16)>> = BTreeMap::new();
        for (slot, (endpoint, host_name)) in (0..u16::MAX).zip(endpoints.iter().zip(host_names)) {
            let names = [Some(&endpoint.name), endpoint.service.as_ref(), host_name];
            for name in names.into_iter().flatten() {
                let of_name = slots.entry(name.to_ascii_lowercase().as_bytes().into()).or_default();
                // A replica may be called the same in two ways.
                if of_name.last().is_none_or(|&(last, _)| last != slot) {
                    of_name.push((slot, endpoint.weight));
                }
            }
        }
        let named = |members| Named { tier: tier(members), turn: Turn::default() };
        let named = slots.into_iter().map(|(name, members)| (name, named(members))).collect();
        Some(Box::new(Self { named }))
    }

    /// Who is called so.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Named> {
        let lower = || name.iter().map(u8::to_ascii_lowercase);
        let found = self.named.binary_search_by(|(it, _)| it.iter().copied().cmp(lower())).ok()?;
        self.named.get(found).map(|(_, named)| named)
    }
}

/// The weight of a replica counts among those of its name. Where all have none
/// they share alike: being named is what they are there for.
fn tier(mut members: Vec<(u16, u16)>) -> Tier {
    if members.iter().all(|&(_, weight)| weight == 0) {
        members.iter_mut().for_each(|(_, weight)| *weight = 1);
    }
    Tier::build(members.into_iter())
}
