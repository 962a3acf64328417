//! Written servers as workloads, and names that come and go.

use super::*;
use crate::domain::names::PoolName;
use crate::domain::world::Vantage;

#[tokio::test(start_paused = true)]
async fn an_address_is_a_workload_that_carries_the_pool_as_labels() {
    let pool = StaticPool {
        labels: [("host".to_owned(), "shop.example".to_owned())].into(),
        ..pool("web", &[("10.0.0.1", 80), ("[fd00::1]", 81)])
    };
    let (reports, mut heard) = mpsc::channel(8);
    let watching = tokio::spawn(watch(vec![pool], "lb".into(), reports));

    let Some(Report::Health { health: SourceHealth::Connected { peer }, .. }) = heard.recv().await
    else {
        panic!("connected");
    };
    assert_eq!(peer, "2 servers");
    let Some(Report::Seen { source, observation, event_at: None }) = heard.recv().await else {
        panic!("seen");
    };
    assert_eq!(source, SourceName::settings());
    assert_eq!(observation.vantage, Vantage::Host);
    let seen: Vec<_> =
        observation.workloads.iter().map(|it| (&*it.id.id, &*it.name, it.place.clone())).collect();
    let fixed = |address: &str| Place::Fixed(address.parse().unwrap());
    assert_eq!(
        seen,
        [
            ("web/10.0.0.1:80/10.0.0.1:80", "10.0.0.1:80", fixed("10.0.0.1:80")),
            ("web/[fd00::1]:81/[fd00::1]:81", "[fd00::1]:81", fixed("[fd00::1]:81")),
        ]
    );
    for workload in &observation.workloads {
        assert_eq!((workload.run, workload.health), (RunState::Running, Health::None));
        let labels: Vec<_> =
            workload.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(labels, [("lb.host", "shop.example"), ("lb.pool", "web")]);
    }

    // The next round changes nothing, so only the health is told.
    assert!(matches!(heard.recv().await, Some(Report::Health { .. })));
    drop(heard);
    watching.await.unwrap();
}

#[test]
fn a_server_written_twice_is_one_workload_and_one_in_two_pools_is_two() {
    let pools = [pool("a", &[("10.0.0.1", 80), ("10.0.0.1", 80)]), pool("b", &[("10.0.0.1", 80)])];
    let names = Names::of(&pools);
    let observation = observation(&pools, "lb", &names);
    let ids: Vec<_> = observation.workloads.iter().map(|it| &*it.id.id).collect();
    assert_eq!(ids, ["a/10.0.0.1:80/10.0.0.1:80", "b/10.0.0.1:80/10.0.0.1:80"]);
}

#[test]
fn a_failed_lookup_keeps_the_last_addresses_and_says_what_failed() {
    let pools = [pool("web", &[("web.internal", 80)])];
    let mut names = Names::of(&pools);
    let learn = |names: &mut Names, answer| {
        let (server, known) = names
            .known
            .first_key_value()
            .map(|(it, _)| it.clone())
            .map(|server| {
                let known = names.known.get_mut(&server).unwrap();
                (server, known)
            })
            .unwrap();
        known.learn(&server, answer);
    };
    let address = "10.0.0.7:80".parse().unwrap();
    learn(&mut names, Ok([address].into()));
    learn(&mut names, Err(io::Error::other("no such name")));
    assert_eq!(observation(&pools, "lb", &names).workloads[0].place, Place::Fixed(address));
    let SourceHealth::Away { message, hint, .. } = names.health() else { panic!("away") };
    assert_eq!(message, "cannot resolve the server `web.internal`: no such name");
    assert!(!hint.is_empty());
    learn(&mut names, Ok(["10.0.0.8:80".parse().unwrap()].into()));
    assert!(matches!(names.health(), SourceHealth::Connected { .. }));
}

#[test]
fn after_a_failure_names_are_tried_sooner_and_then_ever_later() {
    let mut names = Names::of(&[]);
    let pauses: Vec<_> = (0..8)
        .map(|failures| {
            names.failures = failures;
            names.pause().as_secs()
        })
        .collect();
    assert_eq!(pauses, [30, 1, 2, 4, 8, 16, 30, 30]);
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let server = Server { host: "localhost".into(), port: 80 };
    let found = lookup(&server).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}

#[tokio::test]
async fn a_name_that_cannot_be_is_a_fault() {
    let server = Server { host: "no such host".into(), port: 80 };
    assert!(lookup(&server).await.is_err());
}

fn pool(name: &str, servers: &[(&str, u16)]) -> StaticPool {
    StaticPool {
        name: PoolName::new(None, name).unwrap(),
        servers: servers.iter().map(|&(host, port)| Server { host: host.into(), port }).collect(),
        labels: BTreeMap::new(),
    }
}
