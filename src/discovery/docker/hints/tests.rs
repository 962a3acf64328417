//! DESIGN's table of hints, each against the list that lags behind it.

use super::*;
use crate::domain::world::{Attachment, NetworkMode, WorkloadId};
use proptest::prelude::*;

#[test]
fn a_hint_stands_against_a_list_that_began_less_than_500_ms_after_it() {
    let now = Instant::now();
    for expected in [RunState::Stopped, RunState::Paused] {
        let mut hints = Hints::default();
        if expected == RunState::Stopped {
            hints.died(&id(), now);
        } else {
            hints.paused(&id(), now, Health::None);
        }
        assert_eq!(run(&hints, RunState::Running), expected);
        assert_eq!(hints.due(), Some(now + ms(500)));
        hints.listed(now + ms(499), |_| true);
        assert_eq!(run(&hints, RunState::Running), expected);
        hints.listed(now + ms(500), |_| true);
        assert_eq!(run(&hints, RunState::Running), RunState::Running);
        assert_eq!(hints.due(), None);
    }
}

#[test]
fn a_signal_that_stopped_nothing_is_lifted_one_second_after_the_stop_timeout() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.signalled(&id(), now, ms(10_000));
    hints.listed(now + ms(10_999), |_| true);
    assert_eq!(run(&hints, RunState::Running), RunState::Stopping);
    assert_eq!(hints.due(), Some(now + ms(11_000)));
    hints.listed(now + ms(11_000), |_| true);
    assert_eq!(run(&hints, RunState::Running), RunState::Running);
}

#[test]
fn the_list_is_believed_where_it_says_worse_than_the_hint() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.signalled(&id(), now, ms(10_000));
    for listed in [RunState::Stopped, RunState::Restarting, RunState::Created] {
        assert_eq!(run(&hints, listed), listed);
    }
}

#[test]
fn a_start_is_believed_with_the_first_list_after_it() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.signalled(&id(), now, ms(10_000));
    hints.died(&id(), now + ms(20));
    hints.disconnected(&id(), now + ms(30), &"net".into());
    hints.started(&id(), now + ms(300), true);
    // This list may still hold the address of the life before.
    hints.listed(now + ms(299), |_| true);
    assert_eq!(run(&hints, RunState::Running), RunState::Stopped);
    hints.listed(now + ms(300), |_| true);
    assert_eq!(run(&hints, RunState::Running), RunState::Running);
    assert!(address(&hints).is_some());
}

#[test]
fn a_start_without_a_death_takes_nothing_away() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.started(&id(), now, false);
    assert_eq!(run(&hints, RunState::Running), RunState::Running);
}

#[test]
fn a_start_after_an_unseen_death_waits_for_a_list_too() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.started(&id(), now, true);
    assert_eq!(run(&hints, RunState::Running), RunState::Stopped);
    hints.listed(now, |_| true);
    assert_eq!(run(&hints, RunState::Running), RunState::Running);
}

#[test]
fn another_life_forgets_what_happened_before_it_and_nothing_else() {
    for (began, expected) in [(Some(8), RunState::Running), (Some(6), RunState::Stopped)] {
        let (now, mut hints) = (Instant::now(), Hints::default());
        hints.died(&id(), now);
        hints.happened(&id(), 7);
        assert!(hints.died_after(&id(), 6) && !hints.died_after(&id(), 7));
        hints.forget_before(&id(), began);
        assert_eq!(run(&hints, RunState::Running), expected);
    }
}

#[test]
fn unpausing_shows_at_once_and_a_stop_signal_outlives_it() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.unpaused(&id(), now);
    assert_eq!(run(&hints, RunState::Paused), RunState::Running);
    hints.signalled(&id(), now, ms(10_000));
    assert_eq!(run(&hints, RunState::Paused), RunState::Stopping);
    hints.paused(&id(), now + ms(1), Health::None);
    assert_eq!(run(&hints, RunState::Running), RunState::Paused);
    hints.unpaused(&id(), now + ms(2));
    assert_eq!(run(&hints, RunState::Paused), RunState::Stopping);
}

#[test]
fn the_verdict_from_before_a_pause_stands_until_the_next_probe_may_have_been() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.paused(&id(), now, Health::Healthy);
    hints.listed(now + ms(60_000), |_| true);
    assert_eq!(health(&hints, Health::None, now + ms(60_000)), Health::Healthy);
    let unpaused = now + ms(90_000);
    hints.unpaused(&id(), unpaused);
    hints.listed(unpaused + ms(30_000), |_| true);
    assert_eq!(health(&hints, Health::Unhealthy, unpaused + ms(34_999)), Health::Healthy);
    assert_eq!(hints.due(), Some(unpaused + ms(35_000)));
    assert_eq!(health(&hints, Health::Unhealthy, unpaused + ms(35_000)), Health::Unhealthy);
}

#[test]
fn a_new_verdict_ends_the_one_from_before_the_pause() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.paused(&id(), now, Health::Healthy);
    hints.unpaused(&id(), now + ms(10));
    hints.judged(&id(), now + ms(20), Health::Unhealthy);
    assert_eq!(health(&hints, Health::Healthy, now + ms(20)), Health::Unhealthy);
    hints.listed(now + ms(20), |_| true);
    assert_eq!(health(&hints, Health::Healthy, now + ms(20)), Health::Healthy);
}

#[test]
fn a_pause_that_only_lists_show_keeps_the_verdict_too() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.found_paused(&id(), Health::Healthy);
    hints.found_running(&id(), now);
    assert_eq!(health(&hints, Health::Unhealthy, now + ms(1)), Health::Healthy);
}

#[test]
fn a_pause_whose_end_only_a_list_shows_is_over_with_it() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.paused(&id(), now, Health::Starting);
    hints.listed(now + ms(499), |_| true);
    hints.found_running(&id(), now + ms(499));
    assert_eq!(health(&hints, Health::None, now + ms(60_000)), Health::Starting, "it lagged");
    hints.listed(now + ms(500), |_| true);
    hints.found_running(&id(), now + ms(500));
    assert_eq!(health(&hints, Health::Unhealthy, now + ms(600)), Health::Starting);
    assert_eq!(health(&hints, Health::Healthy, now + ms(35_500)), Health::Healthy);
}

#[test]
fn a_network_that_was_left_takes_its_address_along_until_it_is_joined_anew() {
    let (now, mut hints) = (Instant::now(), Hints::default());
    hints.disconnected(&id(), now, &"other".into());
    assert!(address(&hints).is_some());
    hints.disconnected(&id(), now, &"net".into());
    assert_eq!(address(&hints), None);
    hints.connected(&id(), now + ms(50), &"net".into());
    hints.listed(now + ms(49), |_| true);
    assert_eq!(address(&hints), None);
    hints.listed(now + ms(50), |_| true);
    assert!(address(&hints).is_some());
}

proptest! {
    #[test]
    fn hints_of_a_container_that_is_gone_do_not_pile_up(steps in proptest::collection::vec(0_u8..8, 0..30)) {
        let (now, mut hints) = (Instant::now(), Hints::default());
        for step in steps {
            match step {
                0 => hints.signalled(&id(), now, ms(10_000)),
                1 => hints.died(&id(), now),
                2 => hints.started(&id(), now, true),
                3 => hints.paused(&id(), now, Health::Healthy),
                4 => hints.unpaused(&id(), now),
                5 => hints.judged(&id(), now, Health::Healthy),
                6 => hints.disconnected(&id(), now, &"net".into()),
                _ => hints.connected(&id(), now, &"net".into()),
            }
        }
        hints.listed(now + ms(60_000), |_| false);
        prop_assert!(hints.standing.is_empty(), "{:?}", hints);
        prop_assert_eq!(hints.due(), None);
    }
}

fn run(hints: &Hints, listed: RunState) -> RunState {
    corrected(hints, listed, Health::None, Instant::now()).run
}

fn health(hints: &Hints, listed: Health, now: Instant) -> Health {
    corrected(hints, RunState::Running, listed, now).health
}

fn address(hints: &Hints) -> Option<std::net::IpAddr> {
    let corrected = corrected(hints, RunState::Running, Health::None, Instant::now());
    let Place::Container { networks, .. } = corrected.place else { panic!("no container") };
    networks[0].address
}

fn corrected(hints: &Hints, run: RunState, health: Health, now: Instant) -> Workload {
    let mut workload = Workload {
        id: WorkloadId { id: id(), life: 0 },
        name: "web".into(),
        project: None,
        service: None,
        labels: BTreeMap::new(),
        run,
        health,
        created: 0,
        place: Place::Container {
            mode: NetworkMode::Own,
            networks: vec![Attachment {
                name: "net".into(),
                network: "net".into(),
                address: Some([172, 17, 0, 2].into()),
            }],
            exposed: None,
        },
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    };
    hints.correct(&mut workload, now);
    workload
}

fn id() -> Arc<str> {
    "c".into()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
