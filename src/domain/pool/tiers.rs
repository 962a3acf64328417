//! Which endpoints are asked first.

use crate::domain::balance;
use crate::domain::lifecycle::State;
use crate::domain::pool::Endpoint;

/// The endpoints of a pool, by when they are chosen.
#[derive(Debug, Default)]
pub struct Tiers {
    /// Ready, and no backup.
    pub primary: Tier,
    /// Ready, and chosen only when no primary one is.
    pub backup: Tier,
    /// Unhealthy, suspect or ejected: better than no answer at all.
    pub last: Tier,
    /// Ejected, as places in the pool's list: they are tried again after their
    /// time-out.
    pub ejected: Vec<u16>,
    /// They have their stop signal, and may still answer for a moment.
    pub leaving: Tier,
    /// Not seen to answer yet; for those who have waited.
    pub starting: Tier,
    /// Some endpoint may have only so many requests at once.
    pub limited: bool,
}

/// Endpoints of one rank, as places in the pool's list.
#[derive(Debug, Default)]
pub struct Tier {
    /// Each once.
    pub members: Vec<u16>,
    /// Each as often as its weight says, spread evenly.
    pub ring: Vec<u16>,
    /// Of all members together.
    pub weight: u32,
}

impl Tiers {
    /// `states` are those of `endpoints`, in their order.
    pub fn build(endpoints: &[Endpoint], states: &[State]) -> Self {
        let tier = |wanted: &[State], backups: &[bool]| {
            let slots = (0..u16::MAX).zip(endpoints.iter().zip(states));
            let chosen = slots.filter(|(_, (endpoint, state))| {
                wanted.contains(state) && backups.contains(&endpoint.backup)
            });
            Tier::build(chosen.map(|(slot, (endpoint, _))| (slot, endpoint.weight)))
        };
        Self {
            primary: tier(&[State::Ready], &[false]),
            backup: tier(&[State::Ready], &[true]),
            last: tier(&[State::Unhealthy, State::Suspect, State::Ejected], &[false, true]),
            ejected: tier(&[State::Ejected], &[false, true]).members,
            leaving: tier(&[State::Draining], &[false, true]),
            starting: tier(&[State::Starting], &[false, true]),
            limited: endpoints.iter().any(|endpoint| endpoint.max_conns.is_some()),
        }
    }
}

impl Tier {
    /// Members of weight 0 take no part: nothing but a pin or a cookie chooses
    /// them.
    pub(super) fn build(members: impl Iterator<Item = (u16, u16)>) -> Self {
        let weighted: Vec<_> = members.filter(|&(_, weight)| weight > 0).collect();
        Self {
            members: weighted.iter().map(|&(slot, _)| slot).collect(),
            ring: balance::ring(&weighted),
            weight: weighted.iter().map(|&(_, weight)| u32::from(weight)).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
