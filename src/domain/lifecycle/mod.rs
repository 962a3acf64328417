//! Whether an endpoint takes requests.

mod check;
mod ejection;
pub mod grpc;
mod loss;
mod ramp;
mod readiness;

pub use check::{Fault, HealthCheck, Question, Streak};
pub use ejection::{Outliers, Record, Trouble};
pub use loss::{lose, take_away};
pub use ramp::Share;
pub use readiness::{jittered, probe_pause};

use crate::domain::world::{Health, RunState};

/// Where an endpoint stands: `Starting` → `Ready` ⇄ `Unhealthy`, `Suspect`,
/// `Ejected`, `Paused` → `Draining` → `Gone`.
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
    /// It failed too many requests.
    Ejected,
    Paused,
    /// It has its stop signal, or an operator drains it: it finishes what it has.
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
    /// An operator wants it to finish what it has.
    pub drained: bool,
    pub health: Health,
    /// It has a health check of ours (`lb.health.path`), which decides when it
    /// begins to serve.
    pub checked: bool,
    pub probe: Probe,
    /// It has been ready before, in this life and at this address.
    pub been_ready: bool,
    /// It failed too many requests, and none has been answered since.
    pub ejected: bool,
}

/// Judges an endpoint by its signs. What the engine says of the process counts
/// before an operator's word, that before its HEALTHCHECK, and that before our
/// own probe; without a HEALTHCHECK an accepted connection makes it ready. With
/// a health check of ours nothing else makes it ready, though HEALTHCHECK may
/// still find it unhealthy. Who would be in service by all this, and is ejected,
/// is not.
pub fn state(signs: Signs) -> State {
    let fit = fitness(signs);
    let would_serve = matches!(fit, State::Ready | State::Suspect);
    if signs.ejected && would_serve { State::Ejected } else { fit }
}

fn fitness(signs: Signs) -> State {
    match signs.run {
        RunState::Created | RunState::Restarting | RunState::Stopped => State::Gone,
        RunState::Paused => State::Paused,
        RunState::Stopping => State::Draining,
        RunState::Running if signs.drained => State::Draining,
        RunState::Running if signs.is_shut() => State::Starting,
        RunState::Running => match (signs.health, signs.probe) {
            (Health::Unhealthy, _) | (_, Probe::Unfit) => State::Unhealthy,
            (Health::Starting, Probe::Untried | Probe::Passed) if signs.checked => State::Ready,
            (Health::Starting, Probe::Failed) if signs.checked => State::Suspect,
            (Health::None, Probe::Untried) if signs.been_ready => State::Ready,
            // Who leaves and stays after all may never have answered before.
            (Health::None, Probe::Failed) if !signs.been_ready => State::Starting,
            (Health::Starting, _) | (Health::None, Probe::Untried) => State::Starting,
            (Health::Healthy | Health::None, Probe::Failed) => State::Suspect,
            (Health::Healthy, Probe::Untried | Probe::Passed) | (Health::None, Probe::Passed) => {
                State::Ready
            }
        },
    }
}

impl Signs {
    /// Whether its health check has yet to pass for the first time.
    fn is_shut(&self) -> bool {
        self.checked && !self.been_ready && self.probe != Probe::Passed
    }
}

/// What our last probe still says of an endpoint that was in state `before`,
/// now that it has these signs.
///
/// A stop signal may have closed the listener of a process that lives on, so
/// who no longer drains must answer first; who was not ready even before is
/// where it was. A pause takes nothing from a process:
/// it is as ready as before, but is asked again.
pub fn probe_after(before: State, signs: Signs) -> Probe {
    if signs.run != RunState::Running || signs.drained {
        return signs.probe;
    }
    match (before, signs.probe) {
        (State::Draining, _) => match state(Signs { probe: Probe::Untried, ..signs }) {
            State::Starting => Probe::Untried,
            State::Ready
            | State::Unhealthy
            | State::Suspect
            | State::Ejected
            | State::Paused
            | State::Draining
            | State::Gone => Probe::Failed,
        },
        (State::Paused, Probe::Passed) => Probe::Untried,
        (
            State::Starting
            | State::Ready
            | State::Unhealthy
            | State::Suspect
            | State::Ejected
            | State::Paused
            | State::Gone,
            probe,
        ) => probe,
    }
}

impl State {
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Ready,
        Self::Unhealthy,
        Self::Suspect,
        Self::Ejected,
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
        matches!(self, Self::Ready | Self::Unhealthy | Self::Suspect | Self::Ejected)
    }

    /// Whether it goes, or may not come back: a failure there is to be expected.
    pub fn leaves(self) -> bool {
        matches!(self, Self::Draining | Self::Paused | Self::Gone)
    }

    /// Whether it was ready, takes no requests for now, and may do so again in a
    /// moment with all that it knew.
    pub fn may_return(self) -> bool {
        matches!(self, Self::Suspect | Self::Paused)
    }

    /// Whether it is worth asking if it can serve. A paused one is not: its
    /// backlog accepts for it.
    pub fn is_asked(self) -> bool {
        !self.leaves()
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
            Self::Ejected => "ejected",
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
mod tests;
