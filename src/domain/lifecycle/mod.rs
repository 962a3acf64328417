//! Whether an endpoint takes requests.

mod check;
mod ramp;
mod readiness;

pub use check::{Fault, HealthCheck, Streak};
pub use ramp::Share;
pub use readiness::{jittered, probe_pause};

use crate::domain::world::{Health, RunState};

/// Where an endpoint stands: `Starting` → `Ready` ⇄ `Unhealthy`, `Suspect`,
/// `Paused` → `Draining` → `Gone`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum State {
    /// Not seen to answer yet.
    Starting,
    Ready,
    /// Its HEALTHCHECK says so.
    Unhealthy,
    /// A connection to it failed; it is being re-checked.
    Suspect,
    Paused,
    /// It has its stop signal: it finishes what it has.
    Draining,
    Gone,
}

/// What our own connection attempts say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Probe {
    Untried,
    Passed,
    /// It may be gone.
    Failed,
    /// It is there and fails its health check, again and again.
    Unfit,
}

/// All that is known of an endpoint's fitness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signs {
    pub run: RunState,
    pub health: Health,
    /// It has a health check of ours (`lb.health.path`), which decides when it
    /// begins to serve.
    pub checked: bool,
    pub probe: Probe,
}

/// Judges an endpoint by its signs. What the engine says of the process counts
/// before its HEALTHCHECK, and that before our own probe; without a
/// HEALTHCHECK an accepted connection makes it ready. With a health check of
/// ours nothing else makes it ready, though HEALTHCHECK may still find it
/// unhealthy.
pub fn state(signs: Signs) -> State {
    match signs.run {
        RunState::Created | RunState::Restarting | RunState::Stopped => State::Gone,
        RunState::Paused => State::Paused,
        RunState::Stopping => State::Draining,
        RunState::Running => match (signs.health, signs.probe) {
            (_, Probe::Untried) if signs.checked => State::Starting,
            (Health::Unhealthy, _) | (_, Probe::Unfit) => State::Unhealthy,
            (Health::Starting, Probe::Passed) if signs.checked => State::Ready,
            (Health::Starting, Probe::Failed) if signs.checked => State::Suspect,
            (Health::Starting, _) | (Health::None, Probe::Untried) => State::Starting,
            (Health::Healthy | Health::None, Probe::Failed) => State::Suspect,
            (Health::Healthy, Probe::Untried | Probe::Passed) | (Health::None, Probe::Passed) => {
                State::Ready
            }
        },
    }
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::Unhealthy,
        Self::Suspect,
        Self::Paused,
        Self::Draining,
        Self::Gone,
    ];

    /// Whether new requests may go there.
    pub fn serves(self) -> bool {
        self == Self::Ready
    }

    /// Whether new requests may go there when no endpoint is ready.
    pub fn serves_at_last(self) -> bool {
        matches!(self, Self::Ready | Self::Unhealthy | Self::Suspect)
    }

    /// Whether it is worth asking if it can serve. A paused one is not: its
    /// backlog accepts for it.
    pub fn is_asked(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Unhealthy | Self::Suspect)
    }

    /// Whether idle connections to it are worth keeping.
    pub fn keeps_connections(self) -> bool {
        !matches!(self, Self::Draining | Self::Gone)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Suspect => "suspect",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }

    /// The state with this discriminant; an unknown one takes no requests.
    pub fn from_u8(value: u8) -> Self {
        Self::ALL.into_iter().find(|&state| state as u8 == value).unwrap_or(Self::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_judged_in_the_order_process_healthcheck_probe() {
        use Health::{Healthy, None, Starting, Unhealthy};
        use Probe::{Failed, Passed, Unfit, Untried};
        use RunState::{Created, Paused, Restarting, Running, Stopped, Stopping};
        let table = [
            (Running, None, Untried, State::Starting),
            (Running, None, Passed, State::Ready),
            (Running, None, Failed, State::Suspect),
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
            let signs = Signs { run, health, checked: false, probe };
            assert_eq!(state(signs), expected, "{signs:?}");
        }
    }

    #[test]
    fn a_health_check_of_ours_is_a_gate_whatever_healthcheck_says() {
        use Health::{Healthy, None, Starting, Unhealthy};
        use Probe::{Failed, Passed, Unfit, Untried};
        let verdicts = [None, Starting, Healthy, Unhealthy];
        for (probe, expected) in [
            (Untried, [State::Starting; 4]),
            (Passed, [State::Ready, State::Ready, State::Ready, State::Unhealthy]),
            (Failed, [State::Suspect, State::Suspect, State::Suspect, State::Unhealthy]),
            (Unfit, [State::Unhealthy; 4]),
        ] {
            for (health, expected) in verdicts.into_iter().zip(expected) {
                let signs = Signs { run: RunState::Running, health, checked: true, probe };
                assert_eq!(state(signs), expected, "{signs:?}");
            }
        }
    }

    #[test]
    fn a_state_survives_its_number() {
        for state in State::ALL {
            assert_eq!(State::from_u8(state as u8), state);
        }
        assert_eq!(State::from_u8(200), State::Gone);
    }
}
