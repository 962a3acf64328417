//! What an event takes away, ahead of the observation that will show it.
//!
//! A loss never gives anything back: an endpoint that is gone does not drain
//! again because the event of its stop signal comes late.

use crate::domain::lifecycle::State;
use crate::domain::world::{Loss, Place, RunState, Workload};

/// The state of an endpoint that was in `state`, right after `loss`.
pub fn lose(state: State, loss: &Loss) -> State {
    let left = match loss {
        Loss::Stopping => State::Draining,
        Loss::Paused => State::Paused,
        Loss::Stopped | Loss::Network(_) => State::Gone,
    };
    if lost(left) > lost(state) { left } else { state }
}

/// Writes `loss` into what was last seen of a workload. Whether that is news.
pub fn take_away(workload: &mut Workload, loss: &Loss) -> bool {
    let left = match loss {
        Loss::Stopping => RunState::Stopping,
        Loss::Paused => RunState::Paused,
        Loss::Stopped => RunState::Stopped,
        Loss::Network(network) => return leave(&mut workload.place, network),
    };
    let is_news = run_lost(left) > run_lost(workload.run);
    if is_news {
        workload.run = left;
    }
    is_news
}

fn leave(place: &mut Place, network: &str) -> bool {
    let Place::Container { networks, .. } = place else { return false };
    let mut left = networks.iter_mut().filter(|it| &*it.network == network);
    left.any(|attachment| attachment.address.take().is_some())
}

/// How much an endpoint has lost. One that is paused cannot even finish what it
/// has, which one that drains can.
fn lost(state: State) -> u8 {
    match state {
        State::Starting | State::Ready | State::Unhealthy | State::Suspect | State::Ejected => 0,
        State::Draining => 1,
        State::Paused => 2,
        State::Gone => 3,
    }
}

pub(super) fn run_lost(run: RunState) -> u8 {
    match run {
        RunState::Running => 0,
        RunState::Stopping => 1,
        RunState::Paused => 2,
        RunState::Created | RunState::Restarting | RunState::Stopped => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::world::{Attachment, Health, NetworkMode, WorkloadId};
    use std::collections::BTreeMap;

    #[test]
    fn a_loss_takes_away_and_gives_nothing_back() {
        use State::{Draining, Gone, Paused, Ready, Starting, Suspect, Unhealthy};
        let network = Loss::Network("front".into());
        let table = [
            (Starting, [Draining, Paused, Gone]),
            (Ready, [Draining, Paused, Gone]),
            (Unhealthy, [Draining, Paused, Gone]),
            (Suspect, [Draining, Paused, Gone]),
            (State::Ejected, [Draining, Paused, Gone]),
            (Draining, [Draining, Paused, Gone]),
            (Paused, [Paused, Paused, Gone]),
            (Gone, [Gone, Gone, Gone]),
        ];
        for (before, after) in table {
            for (loss, after) in [Loss::Stopping, Loss::Paused, Loss::Stopped].iter().zip(after) {
                assert_eq!(lose(before, loss), after, "{before:?}, {loss:?}");
            }
            assert_eq!(lose(before, &network), Gone, "{before:?}");
        }
    }

    #[test]
    fn the_same_loss_is_news_once() {
        let network = Loss::Network("front".into());
        for loss in [Loss::Stopping, Loss::Paused, Loss::Stopped, network] {
            let mut workload = workload();
            assert!(take_away(&mut workload, &loss), "{loss:?}");
            assert!(!take_away(&mut workload, &loss), "{loss:?}");
        }
    }

    #[test]
    fn the_end_of_a_process_is_not_undone_by_an_event_that_comes_late() {
        let mut workload = workload();
        take_away(&mut workload, &Loss::Stopped);
        assert!(!take_away(&mut workload, &Loss::Stopping));
        assert!(!take_away(&mut workload, &Loss::Paused));
        assert_eq!(workload.run, RunState::Stopped);
    }

    #[test]
    fn a_network_that_is_left_takes_its_address_and_no_other() {
        let mut workload = workload();
        assert!(!take_away(&mut workload, &Loss::Network("other".into())));
        assert!(take_away(&mut workload, &Loss::Network("front".into())));
        let Place::Container { networks, .. } = &workload.place else { panic!("{workload:?}") };
        let addresses: Vec<_> = networks.iter().map(|it| it.address.is_some()).collect();
        assert_eq!(addresses, [false, true]);
        assert_eq!(workload.run, RunState::Running);

        workload.place = Place::Fixed(([10, 0, 0, 9], 80).into());
        assert!(!take_away(&mut workload, &Loss::Network("front".into())), "it has no networks");
    }

    fn workload() -> Workload {
        let on = |network: &str, last: u8| Attachment {
            name: network.into(),
            network: network.into(),
            address: Some([10, 0, 0, last].into()),
        };
        Workload {
            id: WorkloadId { id: "web".into(), life: 0 },
            name: "web".into(),
            project: None,
            service: None,
            labels: BTreeMap::new(),
            run: RunState::Running,
            health: Health::None,
            created: 0,
            place: Place::Container {
                mode: NetworkMode::Own,
                networks: vec![on("front", 1), on("back", 2)],
                exposed: None,
            },
            stop_timeout: None,
            exit_code: None,
            oneoff: false,
            host_name: None,
        }
    }
}
