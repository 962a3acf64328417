//! What holds over any course of hints, observations, probes and orders.

use super::*;
use crate::domain::world::{Hint, Loss};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::sync::oneshot;

proptest! {
    #[test]
    fn the_live_states_are_those_of_the_last_world_and_nothing_that_left_serves(
        ticks in vec(tick(), 1..30),
    ) {
        let (mut control, mut reader) = control();
        let mut proven = BTreeSet::new();
        for tick in ticks {
            control.go(tick);
            let table = reader.current();
            prop_assert!(!table.is_stale());
            for endpoint in table.endpoints() {
                let id = &endpoint.id.workload;
                let seen = control.world.values().flat_map(|seen| &seen.workloads);
                let workload = seen.into_iter().find(|it| it.id == *id).unwrap();
                let runs = workload.run == RunState::Running && !control.drained.contains(id);
                prop_assert!(runs || !endpoint.vitals.state().serves(), "{}", id.id);
                let serial = endpoint.vitals.serial();
                if endpoint.vitals.state().serves() {
                    let passed = endpoint.vitals.probe() == Probe::Passed;
                    if passed || workload.health == Health::Healthy {
                        proven.insert(serial);
                    }
                    prop_assert!(proven.contains(&serial), "{} was never ready", id.id);
                }
            }
            prop_assert!(control.drained.len() <= IDS.len() && control.been_ready.len() <= IDS.len());
        }
    }
}

/// What reaches the control loop in one go.
#[derive(Clone, Debug)]
enum Tick {
    Reports(Vec<Said>),
    Probed(usize, Probe),
    Ordered(Wish, &'static str),
}

#[derive(Clone, Debug)]
enum Said {
    Hint(&'static str, Loss),
    Seen(Vec<Workload>),
}

impl Control {
    fn go(&mut self, tick: Tick) {
        let follow = &mut |_: &RoutingTable| ();
        match tick {
            Tick::Reports(said) => {
                let mut reports: Vec<_> = said.into_iter().map(Said::report).collect();
                self.heed(&reports);
                if self.take_in(&mut reports) {
                    self.apply(follow);
                }
            }
            Tick::Probed(place, probe) => {
                let table = self.publisher.current();
                if let Some(endpoint) = table.endpoints().nth(place) {
                    endpoint.vitals.set_probe(probe);
                }
                self.refresh(follow);
            }
            Tick::Ordered(wish, name) => {
                let (reply, _answer) = oneshot::channel();
                self.obey(Order { wish, names: vec![name.to_owned()], reply }, follow);
            }
        }
    }
}

impl Said {
    fn report(self) -> Report {
        let source = SourceName::docker();
        match self {
            Self::Hint(id, loss) => Report::Hint { source, hint: Hint { id: id.into(), loss } },
            Self::Seen(workloads) => {
                let observation =
                    Observation { workloads, vantage: Vantage::Host, ..Observation::default() };
                Report::Seen { source, observation, event_at: None }
            }
        }
    }
}

fn control() -> (Control, Reader) {
    let (publisher, reader) = live::channel(RoutingTable::default());
    let sources = [SourceName::docker()];
    let (control, _) =
        Control::new(LabelSettings::default(), &sources, Vec::new(), publisher, Alarm::default());
    (control, reader)
}

fn tick() -> impl Strategy<Value = Tick> {
    let probe = select(vec![Probe::Passed, Probe::Passed, Probe::Failed]);
    prop_oneof![
        3 => vec(said(), 1..4).prop_map(Tick::Reports),
        3 => (0..IDS.len(), probe).prop_map(|(place, probe)| Tick::Probed(place, probe)),
        1 => (select(vec![Wish::Drain, Wish::Undrain]), id())
            .prop_map(|(wish, id)| Tick::Ordered(wish, id)),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let network = |id: &str| Loss::Network(id.into());
    let losses = [Loss::Stopping, Loss::Stopped, Loss::Paused, network("front"), network("back")];
    prop_oneof![
        (id(), select(losses.to_vec())).prop_map(|(id, loss)| Said::Hint(id, loss)),
        btree_set(id(), 0..=IDS.len()).prop_flat_map(|ids| {
            ids.into_iter().map(workload).collect::<Vec<_>>().prop_map(Said::Seen)
        }),
    ]
}

/// Addresses are shared at times, as engines re-use them.
fn workload(id: &'static str) -> impl Strategy<Value = Workload> {
    use RunState::{Created, Paused, Restarting, Running, Stopped, Stopping};
    let runs = vec![Running, Running, Running, Created, Paused, Stopping, Restarting, Stopped];
    let health =
        vec![Health::None, Health::None, Health::Starting, Health::Healthy, Health::Unhealthy];
    (select(runs), select(health), 0..2_u32, 2..4_u8, any::<bool>()).prop_map(
        move |(run, health, life, address, has_address)| {
            let mut workload = Workload { run, health, ..container(id, address) };
            workload.id.life = life;
            if let Place::Container { networks, .. } = &mut workload.place
                && !has_address
            {
                networks.iter_mut().for_each(|network| network.address = None);
            }
            workload
        },
    )
}

fn id() -> impl Strategy<Value = &'static str> {
    select(IDS.to_vec())
}

const IDS: [&str; 3] = ["web", "api", "db"];
