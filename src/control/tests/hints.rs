//! What an event takes away is away before anything else happens.

use super::*;
use crate::domain::world::{Hint, Loss};

#[tokio::test(start_paused = true)]
async fn a_hint_is_in_force_without_an_observation_and_the_plan_agrees() {
    for (loss, state, run) in [
        (Loss::Stopping, State::Draining, RunState::Stopping),
        (Loss::Paused, State::Paused, RunState::Paused),
        (Loss::Stopped, State::Gone, RunState::Stopped),
    ] {
        let mut running = two_ready().await;
        let web = running.endpoint("web");
        running.hint("web", loss.clone()).await;
        assert_eq!(web.vitals.state(), state, "{loss:?}");
        let overview = running.overview.borrow().clone();
        let planned = overview.plan.pools.values().flat_map(|pool| &pool.members);
        let member = planned.into_iter().find(|it| &*it.name == "web").unwrap();
        assert_eq!(member.run, run);
        running.refresh().await;
        assert_eq!(web.vitals.state(), state, "{loss:?}: a refresh lifts nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_touches_no_other_container() {
    let mut running = two_ready().await;
    let api = running.endpoint("api");
    let pool = running.pool("api");
    for loss in [Loss::Stopping, Loss::Paused, Loss::Network("front".into()), Loss::Stopped] {
        running.hint("web", loss).await;
        assert_eq!((api.vitals.state(), api.vitals.times_ready()), (State::Ready, 1));
        assert!(Arc::ptr_eq(&pool, &running.pool("api")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observation_that_shows_what_a_hint_said_is_no_news() {
    let mut running = two_ready().await;
    running.hint("web", Loss::Stopping).await;
    let generation = running.generation();
    let stopping = Workload { run: RunState::Stopping, ..container("web", 2) };
    running.send(vec![stopping, container("api", 3)]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(running.generation(), generation);
}

#[tokio::test(start_paused = true)]
async fn a_hint_and_the_observation_in_one_tick_are_one_table() {
    let mut running = two_ready().await;
    let generation = running.generation();
    running.report(hint("web", Loss::Stopped)).await;
    let stopped = Workload { run: RunState::Stopped, ..container("web", 2) };
    running.send(vec![stopped, container("api", 3)]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(running.generation(), generation + 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_one_of_two_networks_is_reached_on_the_other() {
    let mut running = start(&[SourceName::docker()]);
    let mut web = container("web", 2);
    if let Place::Container { networks, .. } = &mut web.place {
        let address = Some([10, 1, 0, 2].into());
        networks.push(Attachment { name: "back".into(), network: "back".into(), address });
    }
    running.see(vec![web]).await;
    running.pass_probes().await;
    let by_back = running.endpoint("web");
    assert_eq!(by_back.id.address, ([10, 1, 0, 2], 80).into());

    running.hint("web", Loss::Network("front".into())).await;
    assert_eq!(by_back.vitals.state(), State::Ready, "its address is another network's");
    running.hint("web", Loss::Network("back".into())).await;
    assert_eq!(by_back.vitals.state(), State::Gone);
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_to_another_network_gets_another_endpoint() {
    let mut running = two_ready().await;
    let old = running.endpoint("web");
    running.hint("web", Loss::Network("front".into())).await;
    assert_eq!(old.vitals.state(), State::Gone);
    running.see(vec![container("web", 9), container("api", 3)]).await;
    let new = running.endpoint("web");
    assert_eq!(new.id.address, ([10, 0, 0, 9], 80).into());
    assert_eq!((old.vitals.state(), new.vitals.state()), (State::Gone, State::Starting));
}

#[tokio::test(start_paused = true)]
async fn hints_of_whom_nobody_knows_are_passed_over() {
    let mut running = two_ready().await;
    let generation = running.generation();
    for loss in [Loss::Stopping, Loss::Paused, Loss::Network("front".into()), Loss::Stopped] {
        running.hint("stranger", loss).await;
    }
    let report = Report::Hint {
        source: SourceName::settings(),
        hint: Hint { id: "web".into(), loss: Loss::Network("front".into()) },
    };
    running.report(report).await;
    running.settle().await;
    assert_eq!(running.generation(), generation);
    assert_eq!(running.endpoint("web").vitals.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_killed_nothing_ends_when_the_replica_answers() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    running.hint("web", Loss::Stopping).await;
    running.see(vec![container("web", 2), container("api", 3)]).await;
    assert_eq!((web.vitals.state(), web.vitals.probe()), (State::Suspect, Probe::Failed));

    web.vitals.set_probe(Probe::Passed);
    running.refresh().await;
    assert_eq!((web.vitals.state(), web.vitals.times_ready()), (State::Ready, 2));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_a_replica_is_as_ready_as_before_and_is_asked_again() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    running.hint("web", Loss::Paused).await;
    running.see(vec![container("web", 2), container("api", 3)]).await;
    assert_eq!((web.vitals.state(), web.vitals.probe()), (State::Ready, Probe::Untried));

    web.vitals.set_probe(Probe::Failed);
    running.refresh().await;
    assert_eq!(web.vitals.state(), State::Suspect);
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_one_tick_is_another_life_that_proves_itself() {
    let mut running = two_ready().await;
    let old = running.endpoint("web");
    running.report(hint("web", Loss::Stopping)).await;
    running.report(hint("web", Loss::Stopped)).await;
    let mut again = container("web", 2);
    again.id.life = 1;
    running.see(vec![again, container("api", 3)]).await;
    let new = running.endpoint("web");
    assert_eq!((old.vitals.state(), new.vitals.state()), (State::Gone, State::Starting));
}

/// `web` and `api`, each in a pool of its own, both ready.
pub(super) async fn two_ready() -> Running {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![container("web", 2), container("api", 3)]).await;
    running.pass_probes().await;
    running
}

fn hint(id: &str, loss: Loss) -> Report {
    Report::Hint { source: SourceName::docker(), hint: Hint { id: id.into(), loss } }
}

impl Running {
    pub(super) async fn hint(&mut self, id: &str, loss: Loss) {
        self.report(hint(id, loss)).await;
        self.settle().await;
    }

    pub(super) async fn report(&mut self, report: Report) {
        self.reports.send(report).await.unwrap();
    }

    /// Has the control loop look at the vitals.
    pub(super) async fn refresh(&mut self) {
        self.alarm.raise();
        self.settle().await;
    }

    /// Lets the control loop do all that it has to.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_nanos(1)).await;
    }
}
