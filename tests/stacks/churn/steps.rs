//! Doing to replicas what a scenario says.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::random;
use super::scenario::Step;
use super::site::Site;
use crate::support::engine::{finish, set};
use crate::support::http::get;

/// Does these things, one after another; what is done to one replica is done to
/// the same one throughout.
pub(super) fn take(site: &Site, steps: &[Step]) {
    let one = site.replicas().pop_first().unwrap();
    for step in steps {
        step.take(site, &one);
    }
}

impl Step {
    fn take(self, site: &Site, one: &str) {
        let docker = |arguments: &[&str]| {
            site.engine.docker(arguments);
        };
        let network = |name| format!("{}_{name}", site.stack.project());
        match self {
            Self::Wait { ms } => thread::sleep(Duration::from_millis(ms)),
            Self::Scale(fleet) => site.scale(fleet),
            Self::Kill(signal) => docker(&["kill", "-s", signal, one]),
            Self::Stop => docker(&["stop", one]),
            Self::Pause => docker(&["pause", one]),
            Self::Unpause => docker(&["unpause", one]),
            Self::Restart => docker(&["restart", one]),
            Self::RestartAll => restart_all(site),
            Self::RecreateAll => {
                let mut up = site.stack.compose();
                let count = format!("api={}", site.replicas().len());
                finish(up.args([
                    "up",
                    "-d",
                    "--force-recreate",
                    "--no-deps",
                    "--scale",
                    &count,
                    "api",
                ]));
            }
            Self::Crash => crash(site, one),
            Self::Disconnect(name) => docker(&["network", "disconnect", &network(name), one]),
            Self::Connect(name) => docker(&["network", "connect", &network(name), one]),
            Self::Cut => site.cut.as_ref().unwrap().cut(),
            Self::Mend => site.cut.as_ref().unwrap().mend(),
            Self::Run(variable) => run(variable),
            Self::Random { per_second, seconds } => random::churn(site, per_second, seconds),
        }
    }
}

/// All in parallel, so that they may come back at each other's addresses.
fn restart_all(site: &Site) {
    let restart =
        |one| Command::new("docker").args(["restart", one]).stdout(Stdio::null()).spawn().unwrap();
    let replicas = site.replicas();
    let mut restarts: Vec<_> = replicas.iter().map(|one| restart(one.as_str())).collect();
    for restart in &mut restarts {
        assert!(restart.wait().unwrap().success(), "docker restart failed");
    }
}

fn run(variable: &str) {
    let command = set(variable).unwrap();
    finish(Command::new("sh").args(["-c", &command]));
}

/// Asked at its own address: the balancer is to know nothing of it.
fn crash(site: &Site, one: &str) {
    let networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = site.engine.docker(&["inspect", "-f", networks, one]);
    let address = addresses.split_whitespace().next().unwrap();
    let asked = get((address.parse::<std::net::IpAddr>().unwrap(), 80).into(), "/crash", &[]);
    assert!(asked.is_err(), "it answers instead of crashing: {asked:?}");
}
