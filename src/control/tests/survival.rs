//! What happens to one pool resets nothing of another.

use super::hints::two_ready;
use super::*;
use crate::domain::names::PoolName;
use crate::domain::pool::{Draw, Pool, Retry, StatusClass, Tried, Wanted};
use crate::domain::world::Loss;

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_one_pool_another_stays_the_very_same() {
    let mut running = two_ready().await;
    let pool = running.pool("api");
    let api = running.endpoint("api");
    let _request = api.vitals.begin();
    let _waiting = pool.state.wait(1);
    pool.state.tally.record(200, Duration::from_millis(1));
    pool.state.efforts.retry(Retry::Left);
    api.tally.attempt();

    running.hint("web", Loss::Stopping).await;
    running.hint("web", Loss::Stopped).await;
    let mut again = container("web", 9);
    again.id.life = 1;
    again.labels.insert("lb.hold".to_owned(), "3s".to_owned());
    running.see(vec![again.clone(), container("api", 3)]).await;
    again.labels.insert("lb.host".to_owned(), "not a host".to_owned());
    running.see(vec![again, container("api", 3)]).await;
    running.operator.order(Wish::Drain, vec!["web".to_owned()]).await.unwrap();
    running.see(vec![container("api", 3)]).await;

    let after = running.pool("api");
    assert!(Arc::ptr_eq(&pool, &after));
    let vitals = &running.endpoint("api").vitals;
    assert!(Arc::ptr_eq(&api.vitals, vitals));
    let attempts = running.endpoint("api").tally.attempts();
    assert_eq!((vitals.in_flight(), attempts, vitals.times_ready()), (1, 1, 1));
    assert_eq!(after.state.waiting(), 1);
    assert_eq!(
        (after.state.tally.requests(StatusClass::Success), after.state.efforts.retries_in_all()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_pools_own_settings_keeps_its_vitals_tallies_and_turns() {
    let mut running = start(&[SourceName::docker()]);
    let web = |hold: &str| {
        let mut all = [container("web-1", 2), container("web-2", 3), container("web-3", 4)];
        for workload in &mut all {
            let labels = [("lb.pool", "web"), ("lb.hold", hold)];
            workload.labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        }
        all.to_vec()
    };
    running.see(web("1s")).await;
    running.pass_probes().await;
    let mut chosen = BTreeSet::new();
    for hold in ["1s", "2s", "3s"] {
        if hold != "1s" {
            running.see(web(hold)).await;
        }
        let pool = running.pool("web");
        assert_eq!(format!("{:?}", pool.settings.hold), hold);
        pool.state.tally.record(200, Duration::from_millis(1));
        let now = Instant::now().into_std();
        let (client, wanted) = (Ipv4Addr::LOCALHOST.into(), Wanted::default());
        let draw = Draw { random: 0, client, now, wanted };
        chosen.insert(pool.pick(draw, &Tried::default()).unwrap().vitals.serial());
    }
    assert_eq!(chosen.len(), 3, "round robin goes on where it was");
    assert_eq!(running.pool("web").state.tally.requests(StatusClass::Success), 3);
    for id in ["web-1", "web-2", "web-3"] {
        assert_eq!(running.endpoint(id).vitals.times_ready(), 1, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_made_anew_with_other_labels_never_loses_its_route() {
    let mut running = start(&[SourceName::docker()]);
    let web = |id: &str, address, host: &str, created| {
        let mut workload = Workload { created, ..container(id, address) };
        workload.labels = [("lb.pool", "web"), ("lb.host", host)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        workload
    };
    let old = web("old", 2, "old.example", 1);
    running.see(vec![old.clone()]).await;
    running.pass_probes().await;

    let new = web("new", 3, "new.example", 2);
    running.see(vec![old.clone(), new.clone()]).await;
    assert_eq!(running.routed(), [true, false], "the newcomer has not been ready");
    let problems = running.overview.borrow().problems.clone();
    assert!(problems[0].message.contains("`new` asks for something else"), "{problems:?}");
    let stopped = Workload { run: RunState::Stopped, ..old };
    running.see(vec![stopped, new.clone()]).await;
    assert_eq!(running.routed(), [true, false], "nor is it now");
    running.endpoint("new").vitals.set_probe(Probe::Passed);
    running.refresh().await;
    assert_eq!(running.routed(), [false, true], "the newest that has been ready decides");
    running.see(vec![new]).await;
    assert_eq!(running.routed(), [false, true]);
}

impl Running {
    pub(super) fn pool(&mut self, name: &str) -> Arc<Pool> {
        let name = PoolName::new(None, name).unwrap();
        Arc::clone(self.reader.current().pool(&name).unwrap())
    }

    /// Whether `old.example` and `new.example` have a route.
    fn routed(&mut self) -> [bool; 2] {
        let client = Ipv4Addr::LOCALHOST.into();
        ["old.example", "new.example"]
            .map(|host| self.reader.current().route(Asked::get(host, "/", client)).is_some())
    }
}
