//! Draining: by an operator, and no longer than its time.

use super::hints::two_ready;
use super::*;
use crate::domain::world::Loss;

#[tokio::test(start_paused = true)]
async fn an_operator_drains_one_replica_and_has_it_serve_again() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    let drained = running.order(Wish::Drain, "web").await.unwrap();
    assert!(drained.into_iter().eq([web.id.workload.clone()]));
    assert_eq!(web.vitals.state(), State::Draining, "it is in force with the answer");
    assert!(running.member("web").drained && !running.member("api").drained);
    assert_eq!(running.endpoint("api").vitals.state(), State::Ready);

    running.order(Wish::Undrain, "web").await.unwrap();
    assert_eq!((web.vitals.state(), web.vitals.probe()), (State::Suspect, Probe::Failed));
    web.vitals.set_probe(Probe::Passed);
    running.refresh().await;
    assert_eq!(web.vitals.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_same_order_again_changes_nothing() {
    let mut running = two_ready().await;
    running.order(Wish::Undrain, "web").await.unwrap();
    running.order(Wish::Drain, "web").await.unwrap();
    let generation = running.generation();
    running.order(Wish::Drain, "web").await.unwrap();
    assert_eq!(running.generation(), generation);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_drains_nothing() {
    let running = two_ready().await;
    let names = vec!["web".to_owned(), "wbe".to_owned()];
    let refused = running.operator.order(Wish::Drain, names).await.unwrap_err();
    assert!(refused.hint().starts_with("did you mean `web`?"), "{}", refused.hint());
    assert!(!running.member("web").drained);
}

#[tokio::test(start_paused = true)]
async fn a_drain_stands_over_observations_and_a_pause_and_ends_with_the_life() {
    let mut running = two_ready().await;
    running.order(Wish::Drain, "web").await.unwrap();
    let web = running.endpoint("web");
    let healthy = Workload { health: Health::Healthy, ..container("web", 2) };
    running.see(vec![healthy.clone(), container("api", 3)]).await;
    assert_eq!(web.vitals.state(), State::Draining);
    running.hint("web", Loss::Paused).await;
    running.see(vec![healthy.clone(), container("api", 3)]).await;
    assert_eq!(web.vitals.state(), State::Draining);

    let mut again = healthy;
    again.id.life = 1;
    running.see(vec![again, container("api", 3)]).await;
    assert_eq!(running.endpoint("web").vitals.state(), State::Ready);
    running.see(vec![container("web", 2), container("api", 3)]).await;
    assert!(!running.member("web").drained, "what ended is forgotten");
}

#[tokio::test(start_paused = true)]
async fn more_orders_than_may_wait_are_all_carried_out() {
    let running = two_ready().await;
    let orders = (0..40).map(|_| running.order(Wish::Drain, "web"));
    assert!(futures::future::join_all(orders).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn orders_after_the_end_are_refused() {
    let running = two_ready().await;
    let operator = running.operator.clone();
    drop(running);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let refused = operator.order(Wish::Drain, vec!["web".to_owned()]).await.unwrap_err();
    assert_eq!(refused, Refusal::Stopping);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_replica_is_cut_when_its_time_is_over_and_readers_are_told() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    running.hint("web", Loss::Stopping).await;
    running.reader.mark_seen();
    tokio::time::sleep(Duration::from_millis(29_998)).await;
    assert!(!web.vitals.is_cut());

    running.reader.changed().await.unwrap();
    assert!(web.vitals.is_cut());
    assert!(!running.endpoint("api").vitals.is_cut());
    assert_eq!(web.vitals.state(), State::Draining);
}

#[tokio::test(start_paused = true)]
async fn websockets_are_told_shortly_before_a_leaving_replica_is_killed() {
    for (stop_timeout, told_after) in [(10, 8_000), (2, 1_000), (60, 30_000)] {
        let mut running = two_ready().await;
        let stop_timeout = Some(Duration::from_secs(stop_timeout));
        let web = Workload { stop_timeout, ..container("web", 2) };
        running.see(vec![web, container("api", 3)]).await;
        let web = running.endpoint("web");
        let began = Instant::now();
        running.hint("web", Loss::Stopping).await;
        running.reader.mark_seen();
        running.reader.changed().await.unwrap();
        assert_eq!(began.elapsed().as_millis(), told_after, "{stop_timeout:?}");
        assert_eq!(web.vitals.says_goodbye(), told_after < 30_000);
        assert_eq!(web.vitals.is_cut(), told_after == 30_000, "no later than its requests");
        assert!(!running.endpoint("api").vitals.says_goodbye());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_to_leave_a_replica_that_an_operator_drains() {
    let mut running = two_ready().await;
    let stop_timeout = Some(Duration::from_secs(10));
    let web = Workload { stop_timeout, ..container("web", 2) };
    running.see(vec![web, container("api", 3)]).await;
    running.order(Wish::Drain, "web").await.unwrap();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(!running.endpoint("web").vitals.says_goodbye());
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_from_the_first_sign_and_over_every_new_table() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    let began = Instant::now();
    running.hint("web", Loss::Stopping).await;
    let stopping = |health| Workload { run: RunState::Stopping, health, ..container("web", 2) };
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.see(vec![stopping(Health::Unhealthy), container("api", 3)]).await;
    running.reader.mark_seen();
    running.reader.changed().await.unwrap();
    assert!(web.vitals.is_cut());
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn who_stays_after_all_is_not_cut_and_has_its_whole_time_the_next_time() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    running.order(Wish::Drain, "web").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    running.order(Wish::Undrain, "web").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!web.vitals.is_cut());

    running.order(Wish::Drain, "web").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!web.vitals.is_cut());
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(web.vitals.is_cut());
    running.order(Wish::Undrain, "web").await.unwrap();
    assert!(!web.vitals.is_cut());
}

#[tokio::test(start_paused = true)]
async fn who_ends_while_it_drains_is_not_waited_for() {
    let mut running = two_ready().await;
    let web = running.endpoint("web");
    running.hint("web", Loss::Stopping).await;
    running.hint("web", Loss::Stopped).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((web.vitals.state(), web.vitals.is_cut()), (State::Gone, false));
}

impl Running {
    async fn order(&self, wish: Wish, name: &str) -> Result<BTreeSet<WorkloadId>, Refusal> {
        self.operator.order(wish, vec![name.to_owned()]).await
    }

    fn member(&self, name: &str) -> crate::domain::plan::Member {
        let plan = Arc::clone(&self.overview.borrow().plan);
        let mut members = plan.pools.values().flat_map(|pool| &pool.members);
        members.find(|it| &*it.name == name).unwrap().clone()
    }
}
