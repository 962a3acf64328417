//! Every state by its signs, and what holds over any course of events.

use super::*;
use crate::domain::world::Loss;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const RUNNING: Signs = Signs {
    run: RunState::Running,
    drained: false,
    health: Health::None,
    checked: false,
    probe: Probe::Untried,
    been_ready: false,
    ejected: false,
};

#[test]
fn signs_are_judged_in_the_order_process_operator_healthcheck_probe() {
    use Health::{Healthy, None, Starting, Unhealthy};
    use Probe::{Failed, Passed, Unfit, Untried};
    use RunState::{Created, Paused, Restarting, Running, Stopped, Stopping};
    let table = [
        (Running, None, Untried, State::Starting),
        (Running, None, Passed, State::Ready),
        (Running, None, Failed, State::Starting),
        (Running, None, Unfit, State::Unhealthy),
        (Running, Starting, Passed, State::Starting),
        (Running, Healthy, Untried, State::Ready),
        (Running, Healthy, Passed, State::Ready),
        (Running, Healthy, Failed, State::Suspect),
        (Running, Unhealthy, Passed, State::Unhealthy),
        (Paused, Healthy, Passed, State::Paused),
        (Stopping, Healthy, Passed, State::Draining),
        (Stopped, Healthy, Passed, State::Gone),
        (Restarting, None, Passed, State::Gone),
        (Created, None, Untried, State::Gone),
    ];
    for (run, health, probe, expected) in table {
        let signs = Signs { run, health, probe, ..RUNNING };
        assert_eq!(state(signs), expected, "{signs:?}");
        let drained = Signs { drained: true, ..signs };
        let expected = if run == Running { State::Draining } else { expected };
        assert_eq!(state(drained), expected, "{drained:?}");
    }
}

#[test]
fn only_who_has_been_ready_can_be_suspect_without_the_word_of_a_healthcheck() {
    for (health, checked) in [(Health::None, false), (Health::None, true), (Health::Starting, true)]
    {
        let failed = Signs { health, checked, probe: Probe::Failed, ..RUNNING };
        assert_eq!(state(failed), State::Starting, "{failed:?}");
        let ready_once = Signs { been_ready: true, ..failed };
        assert_eq!(state(ready_once), State::Suspect, "{ready_once:?}");
    }
}

#[test]
fn who_was_ready_before_a_pause_is_ready_after_it_and_is_asked_again() {
    for health in [Health::None, Health::Healthy] {
        let mut endpoint = Endpoint::ready(health);
        endpoint.hint(&Loss::Paused);
        assert_eq!(endpoint.state, State::Paused);
        endpoint.see(RunState::Running, health);
        assert_eq!((endpoint.state, endpoint.probe), (State::Ready, Probe::Untried), "{health:?}");
    }
}

#[test]
fn who_was_suspect_before_a_pause_is_suspect_after_it() {
    let mut endpoint = Endpoint::ready(Health::None);
    endpoint.probe(Probe::Failed);
    endpoint.hint(&Loss::Paused);
    endpoint.see(RunState::Running, Health::None);
    assert_eq!((endpoint.state, endpoint.probe), (State::Suspect, Probe::Failed));
}

#[test]
fn who_lives_on_after_a_stop_signal_must_answer_before_it_serves() {
    for health in [Health::None, Health::Healthy] {
        let mut endpoint = Endpoint::ready(health);
        endpoint.hint(&Loss::Stopping);
        assert_eq!(endpoint.state, State::Draining);
        endpoint.see(RunState::Running, health);
        assert_eq!((endpoint.state, endpoint.probe), (State::Suspect, Probe::Failed), "{health:?}");
        endpoint.probe(Probe::Passed);
        assert_eq!(endpoint.state, State::Ready);
    }
}

#[test]
fn a_stop_signal_lets_nobody_in_who_has_never_been_ready() {
    for (health, probe) in [(Health::None, Probe::Untried), (Health::Starting, Probe::Passed)] {
        let mut endpoint = Endpoint::new();
        endpoint.see(RunState::Running, health);
        endpoint.probe(probe);
        endpoint.hint(&Loss::Stopping);
        endpoint.see(RunState::Running, health);
        assert_eq!((endpoint.state, endpoint.probe), (State::Starting, Probe::Untried));
    }
}

#[test]
fn a_health_check_of_ours_is_a_gate_whatever_healthcheck_says() {
    use Health::{Healthy, None, Starting, Unhealthy};
    use Probe::{Failed, Passed, Unfit, Untried};
    let verdicts = [None, Starting, Healthy, Unhealthy];
    let by_verdict = |other| [other, other, other, State::Unhealthy];
    for (been_ready, probe, expected) in [
        (false, Untried, [State::Starting; 4]),
        (false, Failed, [State::Starting; 4]),
        (true, Untried, by_verdict(State::Ready)),
        (true, Passed, by_verdict(State::Ready)),
        (true, Failed, by_verdict(State::Suspect)),
        (true, Unfit, [State::Unhealthy; 4]),
    ] {
        for (health, expected) in verdicts.into_iter().zip(expected) {
            let signs = Signs { health, checked: true, probe, been_ready, ..RUNNING };
            assert_eq!(state(signs), expected, "{signs:?}");
        }
    }
}

#[test]
fn an_ejection_counts_after_what_is_worse_and_before_a_probe() {
    use Health::{Healthy, None, Unhealthy};
    use Probe::{Failed, Passed, Unfit, Untried};
    use RunState::{Paused, Running, Stopped, Stopping};
    for (run, health, probe, expected) in [
        (Running, None, Passed, State::Ejected),
        (Running, Healthy, Untried, State::Ejected),
        (Running, None, Failed, State::Ejected),
        (Running, Unhealthy, Passed, State::Unhealthy),
        (Running, None, Unfit, State::Unhealthy),
        (Paused, None, Passed, State::Paused),
        (Stopping, None, Passed, State::Draining),
        (Stopped, None, Passed, State::Gone),
    ] {
        let signs = Signs { run, health, probe, been_ready: true, ejected: true, ..RUNNING };
        assert_eq!(state(signs), expected, "{signs:?}");
    }
}

#[test]
fn who_was_ejected_before_a_drain_must_answer_a_probe_and_then_its_trial() {
    let mut endpoint = Endpoint::ready(Health::None);
    endpoint.go(&Step::Eject(true));
    endpoint.go(&Step::Drain(true));
    endpoint.go(&Step::Drain(false));
    assert_eq!((endpoint.state, endpoint.probe), (State::Ejected, Probe::Failed));
    endpoint.probe(Probe::Passed);
    assert_eq!(endpoint.state, State::Ejected);
    endpoint.go(&Step::Eject(false));
    assert_eq!(endpoint.state, State::Ready);
}

#[test]
fn a_state_survives_its_number() {
    for state in State::ALL {
        assert_eq!(State::from_u8(state as u8), state);
    }
    assert_eq!(State::from_u8(200), State::Gone);
}

proptest! {
    /// So a plan that follows a hint says what the hint said.
    #[test]
    fn a_hint_and_the_observation_that_shows_it_agree(signs in signs(), loss in loss()) {
        let seen = Signs { run: run_after(signs.run, &loss), ..signs };
        prop_assert_eq!(lose(state(signs), &loss), state(seen));
    }

    #[test]
    fn nothing_that_is_gone_paused_or_drains_serves(signs in signs()) {
        let judged = state(signs);
        let fit = signs.run == RunState::Running
            && !signs.drained
            && signs.health != Health::Unhealthy
            && (signs.health != Health::Starting || signs.checked)
            && !signs.ejected
            && matches!(signs.probe, Probe::Untried | Probe::Passed);
        prop_assert!(fit || !judged.serves(), "{:?}", judged);
    }

    #[test]
    fn hints_in_any_order_take_away_the_same(losses in vec(loss(), 0..6), signs in signs()) {
        let forth = losses.iter().fold(state(signs), lose);
        let back = losses.iter().rev().fold(state(signs), lose);
        prop_assert_eq!(forth, back);
        prop_assert!(losses.is_empty() || !forth.serves());
        prop_assert_eq!(losses.iter().fold(forth, lose), forth, "the second time is no news");
    }

    #[test]
    fn whatever_happens_an_endpoint_serves_only_by_its_signs(
        courses in vec(step(), 1..40),
        checked: bool,
    ) {
        let mut endpoint = Endpoint { checked, ..Endpoint::new() };
        let mut has_passed = false;
        for step in courses {
            has_passed |= matches!(step, Step::Probe(Probe::Passed));
            let (before, times) = (endpoint.state, endpoint.times_ready);
            endpoint.go(&step);
            let signs = endpoint.signs();
            prop_assert_eq!(endpoint.state, state(signs), "{:?}: {:?}", step, signs);
            match step {
                Step::Hint(_) => prop_assert!(!endpoint.state.serves()),
                Step::Drain(_) | Step::See(..) => prop_assert!(
                    before != State::Draining || !endpoint.state.serves(),
                    "it drained, and nobody has asked it since"
                ),
                Step::Eject(out) => prop_assert!(!out || !endpoint.state.serves()),
                Step::Probe(_) => {}
            }
            prop_assert!(endpoint.times_ready >= times);
            prop_assert!(!checked || has_passed || !endpoint.state.serves_at_last());
        }
    }

    #[test]
    fn who_drains_drains_until_that_is_lifted(
        courses in vec(step(), 0..20),
        probes in vec(probe(), 0..10),
    ) {
        let mut endpoint = Endpoint::new();
        courses.iter().for_each(|step| endpoint.go(step));
        endpoint.go(&Step::Drain(true));
        endpoint.see(RunState::Running, Health::Healthy);
        for probe in probes {
            endpoint.probe(probe);
            prop_assert_eq!(endpoint.state, State::Draining);
        }
    }
}

/// One thing that happens to an endpoint.
#[derive(Clone, Debug)]
enum Step {
    Hint(Loss),
    See(RunState, Health),
    Probe(Probe),
    Drain(bool),
    /// By requests that fail there, and back by one that does not.
    Eject(bool),
}

/// An endpoint as the table keeps it: what was seen, and what lives.
#[derive(Debug)]
struct Endpoint {
    run: RunState,
    health: Health,
    drained: bool,
    checked: bool,
    probe: Probe,
    state: State,
    times_ready: u32,
    ejected: bool,
}

impl Endpoint {
    fn new() -> Self {
        let (run, health) = (RunState::Running, Health::None);
        let (probe, state) = (Probe::Untried, State::Starting);
        let (drained, checked, ejected) = (false, false, false);
        Self { run, health, drained, checked, probe, state, times_ready: 0, ejected }
    }

    fn ready(health: Health) -> Self {
        let mut endpoint = Self::new();
        endpoint.see(RunState::Running, health);
        endpoint.probe(Probe::Passed);
        assert_eq!(endpoint.state, State::Ready);
        endpoint
    }

    fn go(&mut self, step: &Step) {
        match step {
            Step::Hint(loss) => self.hint(loss),
            Step::See(run, health) => self.see(*run, *health),
            Step::Probe(probe) => self.probe(*probe),
            Step::Drain(drained) => {
                self.drained = *drained;
                self.judge();
            }
            Step::Eject(ejected) => {
                // Only who serves can fail requests.
                self.ejected = *ejected && (self.ejected || self.state.serves_at_last());
                self.judge();
            }
        }
    }

    fn hint(&mut self, loss: &Loss) {
        self.state = lose(self.state, loss);
        self.run = run_after(self.run, loss);
    }

    fn see(&mut self, run: RunState, health: Health) {
        (self.run, self.health) = (run, health);
        self.judge();
    }

    fn probe(&mut self, probe: Probe) {
        self.probe = probe;
        self.judge();
    }

    fn judge(&mut self) {
        self.probe = probe_after(self.state, self.signs());
        let state = state(self.signs());
        self.times_ready += u32::from(state == State::Ready && self.state != State::Ready);
        self.state = state;
    }

    fn signs(&self) -> Signs {
        let been_ready = self.times_ready > 0;
        let Self { run, health, drained, checked, probe, ejected, .. } = *self;
        Signs { run, drained, health, checked, probe, been_ready, ejected }
    }
}

/// By the rule for a whole workload. Who left its network is taken for stopped.
fn run_after(run: RunState, loss: &Loss) -> RunState {
    let left = match loss {
        Loss::Stopping => RunState::Stopping,
        Loss::Paused => RunState::Paused,
        Loss::Stopped | Loss::Network(_) => RunState::Stopped,
    };
    if loss::run_lost(left) > loss::run_lost(run) { left } else { run }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        loss().prop_map(Step::Hint),
        (run(), health()).prop_map(|(run, health)| Step::See(run, health)),
        probe().prop_map(Step::Probe),
        any::<bool>().prop_map(Step::Drain),
        any::<bool>().prop_map(Step::Eject),
    ]
}

fn signs() -> impl Strategy<Value = Signs> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (run(), health(), probe(), flags).prop_map(
        |(run, health, probe, (drained, checked, been_ready, ejected))| Signs {
            run,
            drained,
            health,
            checked,
            probe,
            been_ready,
            ejected,
        },
    )
}

fn loss() -> impl Strategy<Value = Loss> {
    let network = Loss::Network("front".into());
    select(vec![Loss::Stopping, Loss::Stopped, Loss::Paused, network])
}

fn run() -> impl Strategy<Value = RunState> {
    use RunState::{Created, Paused, Restarting, Running, Stopped, Stopping};
    select(vec![Created, Running, Running, Paused, Stopping, Restarting, Stopped])
}

fn health() -> impl Strategy<Value = Health> {
    use Health::{Healthy, None, Starting, Unhealthy};
    select(vec![None, Starting, Healthy, Unhealthy])
}

fn probe() -> impl Strategy<Value = Probe> {
    select(vec![Probe::Untried, Probe::Passed, Probe::Failed, Probe::Unfit])
}
