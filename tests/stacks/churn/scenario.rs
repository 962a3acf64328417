//! What is done to the replicas, as data.

use std::fmt;

use super::load::Asking;

/// One thing to live through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// What serves when it begins.
    pub(super) fleet: Size,
    pub(super) steps: &'static [Step],
    /// Whether another replica is ready whenever one leaves, so that none may
    /// get a request after it began to leave.
    pub(super) others: bool,
    pub(super) asking: Asking,
    pub(super) modes: &'static [Mode],
    /// In which modes it is part of `make test`.
    pub(super) short: &'static [Mode],
}

/// What happens on the balancer's way to the Engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    Plain,
    /// It is cut and mended.
    Cut,
    /// The daemon itself goes and comes back.
    Restarted,
}

/// How many replicas of which services.
pub(super) type Size = &'static [(&'static str, usize)];

/// What a replica does on SIGTERM.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Mode {
    Exit,
    Ignore,
    Drain,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Wait {
        ms: u64,
    },
    Scale(Size),
    /// Of one replica, by the name of a signal.
    Kill(&'static str),
    Stop,
    Pause,
    Unpause,
    Restart,
    RestartAll,
    RecreateAll,
    /// One exits with 137 by itself.
    Crash,
    /// Of one replica, from a network of the project.
    Disconnect(&'static str),
    Connect(&'static str),
    /// The balancer's way to the Engine.
    Cut,
    Mend,
    /// Runs the command that this variable holds; without it there is no such
    /// row.
    Run(&'static str),
    /// Things at random.
    Random {
        per_second: u32,
        seconds: u64,
    },
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::Exit, Self::Ignore, Self::Drain];

    /// As `whoami --on-term` calls it.
    pub(super) fn on_term(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Ignore => "ignore",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.on_term())
    }
}

impl Scenario {
    pub(super) fn engine(&self) -> Reach {
        let step = self.steps.iter().find(|step| matches!(step, Cut | Run(_)));
        match step {
            Some(Cut) => Reach::Cut,
            Some(_) => Reach::Restarted,
            None => Reach::Plain,
        }
    }

    /// The variables that it cannot be without.
    pub(super) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.steps.iter().filter_map(|step| if let Run(name) = step { Some(*name) } else { None })
    }
}

/// Every service of the compose file that has replicas.
pub(super) const SERVICES: [&str; 3] = ["api", "both", "flapping"];

const ONE: Size = &[("api", 1)];
const THREE: Size = &[("api", 3)];
const FIVE: Size = &[("api", 5)];

/// The least there is to say of a scenario.
const PLAIN: Scenario = Scenario {
    name: "",
    fleet: THREE,
    steps: &[],
    others: true,
    asking: Asking::Get,
    modes: &Mode::ALL,
    short: &[],
};

use Mode::{Drain, Exit, Ignore};
use Step::{
    Connect, Crash, Cut, Disconnect, Kill, Mend, Pause, Random, RecreateAll, Restart, RestartAll,
    Run, Scale, Stop, Unpause, Wait,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "scale 1 → 5", fleet: ONE, steps: &[Scale(FIVE)], short: &[Exit], ..PLAIN },
    Scenario {
        name: "scale 5 → 2",
        fleet: FIVE,
        steps: &[Scale(&[("api", 2)])],
        short: &[Exit, Drain],
        ..PLAIN
    },
    Scenario { name: "docker kill one", steps: &[Kill("KILL")], short: &[Exit], ..PLAIN },
    Scenario {
        name: OF_EACH_POOL,
        fleet: &[("api", 4)],
        steps: &[Kill("KILL"), Wait { ms: 300 }, Scale(&[("api", 2)])],
        modes: &[Exit],
        ..PLAIN
    },
    Scenario { name: "docker stop one", steps: &[Stop], ..PLAIN },
    Scenario {
        name: "pause one for 5 s",
        steps: &[Pause, Wait { ms: 5_000 }, Unpause],
        short: &[Ignore],
        ..PLAIN
    },
    Scenario { name: "restart one", steps: &[Restart], ..PLAIN },
    Scenario {
        name: "restart all at once",
        steps: &[RestartAll],
        others: false,
        short: &[Exit],
        ..PLAIN
    },
    Scenario {
        name: "docker kill -s TERM one",
        // Beyond the stop time-out and the second after it.
        steps: &[Kill("TERM"), Wait { ms: 4_000 }],
        short: &[Ignore],
        ..PLAIN
    },
    Scenario { name: "recreate all", steps: &[RecreateAll], others: false, ..PLAIN },
    Scenario {
        name: "recreate the only one",
        fleet: ONE,
        steps: &[RecreateAll],
        others: false,
        short: &[Drain],
        ..PLAIN
    },
    Scenario {
        name: "HEALTHCHECK flapping",
        fleet: &[("api", 2), ("flapping", 1)],
        steps: &[Wait { ms: 10_000 }],
        ..PLAIN
    },
    Scenario { name: "crash and restart policy", steps: &[Crash, Wait { ms: 1_000 }], ..PLAIN },
    Scenario {
        name: "network disconnect and connect",
        steps: &[Disconnect("inside"), Wait { ms: 2_000 }, Connect("inside")],
        short: &[Drain],
        ..PLAIN
    },
    Scenario {
        name: "one of two networks disconnected",
        fleet: &[("both", 3)],
        steps: &[Disconnect("inside"), Wait { ms: 2_000 }, Connect("inside")],
        // It stays, at its other address.
        others: false,
        ..PLAIN
    },
    Scenario {
        name: "20 events/s at random for 30 s",
        // As many as it takes for so much to happen at once.
        fleet: &[("api", 8)],
        steps: &[Random { per_second: 20, seconds: 30 }],
        ..PLAIN
    },
    Scenario {
        name: "daemon away during scale 5 → 2",
        fleet: FIVE,
        // That it has been heard again is shown by the one who comes last.
        steps: &[Cut, Scale(&[("api", 2)]), Wait { ms: 2_000 }, Mend, Scale(THREE)],
        // Nobody hears of their leaving.
        others: false,
        ..PLAIN
    },
    Scenario {
        name: "daemon stopped and started",
        steps: &[
            Run("EVK_CHURN_DAEMON_STOP"),
            Wait { ms: 3_000 },
            Run("EVK_CHURN_DAEMON_START"),
            Wait { ms: 3_000 },
            Kill("KILL"),
        ],
        modes: &[Exit],
        ..PLAIN
    },
    Scenario {
        name: "docker kill one, POST 1 KiB",
        steps: &[Kill("KILL")],
        short: &[Ignore],
        asking: Asking::Post(1 << 10),
        ..PLAIN
    },
    Scenario {
        name: "docker kill one, POST 200 KiB",
        steps: &[Kill("KILL")],
        asking: Asking::Post(200 << 10),
        ..PLAIN
    },
    Scenario {
        name: "restart all at once, POST 1 KiB",
        steps: &[RestartAll],
        others: false,
        asking: Asking::Post(1 << 10),
        ..PLAIN
    },
];

/// Lived through in `make test` with each kind of pool.
pub(super) const OF_EACH_POOL: &str = "docker kill one, then scale 4 → 2";
