//! The control loop in virtual time.

mod course;
mod drain;
mod hints;
mod survival;

use super::*;
use crate::domain::lifecycle::Probe;
use crate::domain::pool::{Endpoint, Histogram};
use crate::domain::routing::Asked;
use crate::domain::world::{
    Attachment, Bystander, Health, NetworkMode, Observation, Place, RunState, Workload,
};
use crate::live::{self, Reader};
use std::net::Ipv4Addr;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_route_comes_with_its_container_and_leaves_a_hold_after_it() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80")]).await;
    assert!(running.has_route());

    running.see(vec![]).await;
    assert!(running.has_route(), "requests are held for it");

    running.reader.changed().await.unwrap();
    assert!(!running.has_route());
}

#[tokio::test(start_paused = true)]
async fn a_replica_takes_requests_once_its_probe_has_passed() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80")]).await;
    let pool = running.reader.current().pools().next().unwrap().clone();
    assert!(!pool.is_ready());

    pool.endpoints[0].vitals.set_probe(Probe::Passed);
    running.alarm.raise();
    running.reader.changed().await.unwrap();

    assert!(running.reader.current().pools().next().unwrap().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_newer_replica_decides_the_settings_once_it_is_ready() {
    let mut running = start(&[SourceName::docker()]);
    let (older, newer) = (shop("1"), newer(Health::None));
    running.see(vec![older.clone()]).await;
    running.pass_probes().await;
    running.see(vec![older, newer]).await;
    assert_eq!(running.hold(), Duration::from_secs(10));

    running.pass_probes().await;
    while running.hold() != Duration::from_secs(3) {
        running.reader.changed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_replica_that_is_found_healthy_decides_the_settings_at_once() {
    let mut running = start(&[SourceName::docker()]);
    let (older, newer) = (shop("1"), newer(Health::Healthy));
    running.see(vec![older.clone()]).await;
    running.pass_probes().await;
    running.see(vec![older, newer]).await;
    assert_eq!(running.hold(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn without_any_source_the_empty_world_is_the_whole_one() {
    let mut running = start(&[]);
    running.reader.changed().await.unwrap();
    assert!(running.reader.current().is_complete());
}

#[tokio::test(start_paused = true)]
async fn the_same_observation_again_changes_nothing() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80")]).await;
    let generation = running.reader.current().generation();
    running.send(vec![shop("80")]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(running.reader.current().generation(), generation);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_late_until_the_table_has_what_it_changed() {
    let mut running = start(&[SourceName::docker()]);
    let pace = Arc::clone(&running.pace);
    let count = |histogram: &Histogram| histogram.counts().iter().sum::<u64>();
    running.see(vec![shop("80")]).await;
    assert_eq!((count(&pace.build), count(&pace.lag)), (1, 0), "no event told of it");
    // In 1970, which is more than 10 s ago.
    running.send_after(Some(5), vec![shop("81")]).await;
    running.reader.changed().await.unwrap();
    running.send_after(Some(6), vec![shop("81")]).await;
    tokio::task::yield_now().await;
    assert_eq!((count(&pace.build), count(&pace.lag)), (2, 1), "nothing was news");
    assert_eq!(pace.lag.counts().last(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn the_first_world_counts_even_when_it_is_empty() {
    let mut running = start(&[SourceName::docker()]);
    assert!(!running.overview.borrow().has_first_world());
    running.see(vec![]).await;
    assert!(running.overview.borrow().has_first_world());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_away_is_a_problem_and_costs_no_route() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80")]).await;
    let health = SourceHealth::Away {
        message: "cannot open the socket".to_owned(),
        hint: "mount it".to_owned(),
        retry_in: Duration::from_secs(1),
    };
    let report = Report::Health { source: SourceName::docker(), health };
    running.reports.send(report).await.unwrap();
    running.overview.changed().await.unwrap();
    running.overview.wait_for(|overview| !overview.problems.is_empty()).await.unwrap();
    assert!(running.has_route());
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_of_a_topic_replaces_what_was_noted_of_it_before() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80")]).await;
    let generation = running.generation();
    running.overview.mark_unchanged();
    for (topic, messages, told) in [
        ("certificates", &["no key", "expired"][..], &["no key", "expired"][..]),
        ("authority", &["no answer"], &["no answer", "no key", "expired"]),
        ("certificates", &["expired"], &["no answer", "expired"]),
        ("certificates", &[], &["no answer"]),
    ] {
        let problem = |message: &&str| Problem::new(Subject::Setting, *message, "");
        let problems = messages.iter().map(problem).collect();
        running.reports.send(Report::Noted { topic, problems }).await.unwrap();
        running.overview.changed().await.unwrap();
        let overview = running.overview.borrow_and_update();
        let shown: Vec<_> = overview.problems.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(shown, told);
    }
    assert_eq!(running.generation(), generation, "routing has nothing to do with it");
}

#[tokio::test(start_paused = true)]
async fn a_label_that_cannot_be_read_is_told_in_the_overview() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("80a")]).await;
    let problems = running.overview.borrow().problems.clone();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key.as_deref(), Some("lb.weight"));
}

#[tokio::test(start_paused = true)]
async fn a_container_beside_ours_is_told_of_and_is_no_reason_to_plan_anew() {
    let mut running = start(&[SourceName::docker()]);
    running.see(vec![shop("1")]).await;
    let before = running.generation();
    let bystander = Bystander {
        id: "db".into(),
        name: "db".into(),
        image: "redis".into(),
        project: None,
        service: None,
        run: RunState::Running,
    };
    let observation = Observation {
        workloads: vec![shop("1")],
        bystanders: vec![bystander],
        ..Observation::default()
    };
    let report = Report::Seen { source: SourceName::docker(), observation, event_at: None };
    running.reports.send(report).await.unwrap();
    let knows =
        |overview: &Arc<Overview>| overview.world.values().any(|it| !it.bystanders.is_empty());
    running.overview.wait_for(knows).await.unwrap();
    assert_eq!(running.generation(), before);
}

#[tokio::test(start_paused = true)]
async fn the_overview_tells_that_we_are_stopping() {
    let mut running = start(&[]);
    running.stop.send_replace(true);
    running.overview.wait_for(|overview| overview.stopping).await.unwrap();
}

struct Running {
    reports: mpsc::Sender<Report>,
    overview: watch::Receiver<Arc<Overview>>,
    reader: Reader,
    alarm: Alarm,
    stop: watch::Sender<bool>,
    operator: Operator,
    pace: Arc<Pace>,
}

impl Running {
    async fn see(&mut self, workloads: Vec<Workload>) {
        self.send(workloads).await;
        self.reader.changed().await.unwrap();
        tokio::task::yield_now().await;
    }

    async fn send(&mut self, workloads: Vec<Workload>) {
        self.send_after(None, workloads).await;
    }

    async fn send_after(&mut self, event_at: Option<i64>, workloads: Vec<Workload>) {
        let observation = Observation { workloads, ..Observation::default() };
        let source = SourceName::docker();
        let report = Report::Seen { source, observation, event_at };
        self.reports.send(report).await.unwrap();
    }

    /// Every endpoint accepts connections from now on.
    async fn pass_probes(&mut self) {
        for pool in self.reader.current().pools() {
            pool.endpoints.iter().for_each(|it| it.vitals.set_probe(Probe::Passed));
        }
        self.alarm.raise();
        self.reader.changed().await.unwrap();
    }

    /// The endpoint of the container with this id.
    fn endpoint(&mut self, id: &str) -> Endpoint {
        let table = self.reader.current();
        table.endpoints().find(|it| *it.id.workload.id == *id).unwrap().clone()
    }

    fn generation(&mut self) -> u64 {
        self.reader.current().generation()
    }

    fn hold(&mut self) -> Duration {
        self.reader.current().pools().next().unwrap().settings.hold
    }

    fn has_route(&mut self) -> bool {
        let client = Ipv4Addr::LOCALHOST.into();
        self.reader.current().route(Asked::get("x", "/", client)).is_some()
    }
}

fn start(sources: &[SourceName]) -> Running {
    let (publisher, reader) = live::channel(RoutingTable::default());
    let alarm = Alarm::default();
    let (control, overview) =
        Control::new(LabelSettings::default(), sources, Vec::new(), publisher, alarm.clone());
    let (operator, pace) = (control.operator(), Arc::<Pace>::default());
    let control = control.paced(Arc::clone(&pace));
    let (reports, received) = mpsc::channel(4);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(control.run(received, stopping, |_| ()));
    Running { reports, overview, reader, alarm, stop, operator, pace }
}

/// Asks for another hold than [`shop`] does.
fn newer(health: Health) -> Workload {
    let mut newer = Workload { created: 1, health, ..shop("1") };
    newer.id.id = "newer".into();
    newer.place = Place::Fixed(([10, 0, 0, 3], 8080).into());
    newer.labels.insert("lb.hold".to_owned(), "3s".to_owned());
    newer
}

fn shop(weight: &str) -> Workload {
    let labels = [("lb.pool", "shop"), ("lb.weight", weight)];
    Workload {
        id: WorkloadId { id: "shop".into(), life: 0 },
        name: "shop".into(),
        project: None,
        service: None,
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place: Place::Fixed(([10, 0, 0, 2], 8080).into()),
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

/// A container of the pool of its own name.
fn container(id: &str, address: u8) -> Workload {
    Workload {
        id: WorkloadId { id: id.into(), life: 0 },
        name: id.into(),
        labels: [("lb.pool".to_owned(), id.to_owned())].into(),
        place: Place::Container {
            mode: NetworkMode::Own,
            networks: vec![Attachment {
                name: "front".into(),
                network: "front".into(),
                address: Some([10, 0, 0, address].into()),
            }],
            exposed: Some(vec![80]),
        },
        ..shop("1")
    }
}
