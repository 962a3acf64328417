//! What is told of a daemon that says what we want it to.

use std::time::Duration;

use evenkeel::domain::world::{Health, Hint, Loss, Place, Report, RunState, SourceHealth, Vantage};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::false_daemon::{FalseDaemon, container, event, id, in_state};
use super::watched::{Watched, address, names, workload};

#[tokio::test]
async fn the_first_observation_comes_with_the_stream_already_open() {
    let daemon = FalseDaemon::start();
    let other =
        json!({"Id": id("db"), "Names": ["/db"], "State": "running", "Labels": {"role": "db"}});
    daemon.set_containers([container("api-1", 2), container("api-2", 3), other]);
    let mut watched = Watched::start(daemon.address(), "lb");

    let Report::Health { health, .. } = watched.next().await else { panic!("health first") };
    assert_eq!(health, SourceHealth::Connected { peer: "Docker 28.0.0, API 1.48".to_owned() });
    let observation = watched.seen(|_| true).await;
    assert_eq!(names(&observation), ["api-1", "api-2"]);
    assert_eq!(observation.vantage, Vantage::Host);
    assert_eq!(address(&observation.workloads[0]), Some([172, 30, 0, 2].into()));

    let requests = daemon.requests();
    let asked: Vec<_> =
        requests.iter().take(4).map(|line| line.split(['?', ' ']).nth(1).unwrap()).collect();
    assert_eq!(asked, ["/_ping", "/version", "/v1.48/events", "/v1.48/containers/json"]);
}

#[tokio::test]
async fn a_replica_that_starts_is_seen_by_its_event() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    let began = Instant::now();
    daemon.say(&event("api-2", "start", 1));
    watched.runs("api-2", RunState::Running).await;
    assert!(began.elapsed() < Duration::from_secs(10), "long before the regular list");
}

#[tokio::test]
async fn a_death_is_told_before_the_list_agrees() {
    let (daemon, mut watched) = one_replica().await;
    let lists = daemon.count("/v1.48/containers/json");
    daemon.say(&event("api-1", "kill", 1));
    watched.runs("api-1", RunState::Stopping).await;
    daemon.say(&event("api-1", "die", 2));
    let dead = watched.runs("api-1", RunState::Stopped).await;
    assert_eq!(address(&dead), None);
    assert_eq!(daemon.count("/v1.48/containers/json"), lists, "no list was needed");

    daemon.say(&event("api-1", "start", 3));
    let alive = watched.runs("api-1", RunState::Running).await;
    assert_eq!((dead.id.life, alive.id.life), (0, 1));
}

#[tokio::test]
async fn what_an_event_takes_away_is_told_before_all_that_is_seen() {
    let (daemon, mut watched) = one_replica().await;
    let hint = |loss| Hint { id: id("api-1").into(), loss };
    let table = [
        ("pause", Loss::Paused, RunState::Paused),
        ("kill", Loss::Stopping, RunState::Stopping),
        ("die", Loss::Stopped, RunState::Stopped),
    ];
    for (at, (action, loss, run)) in (1..).zip(table) {
        daemon.say(&event("api-1", action, at * 10));
        assert_eq!(watched.hint().await, hint(loss));
        assert_eq!(watched.runs("api-1", run).await.run, run);
        if run == RunState::Paused {
            daemon.say(&event("api-1", "unpause", at * 10 + 1));
            watched.runs("api-1", RunState::Running).await;
        }
    }
    // The former life's end, once more and out of order, after its next start.
    daemon.say(&event("api-1", "start", 50));
    watched.runs("api-1", RunState::Running).await;
    daemon.say(&event("api-1", "die", 49));
    daemon.say(&event("api-1", "die", 51));
    assert_eq!(watched.hint().await, hint(Loss::Stopped));
    assert_eq!(daemon.count("/v1.48/events"), 1);
}

#[tokio::test]
async fn what_stops_beside_a_burst_of_starts_waits_for_none_of_them() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_lists_wait(Duration::from_secs(3));
    for at in 0..50 {
        daemon.say(&event(&format!("new-{at}"), "start", at));
    }
    daemon.say(&event("api-1", "kill", 60));
    let began = Instant::now();
    assert_eq!(watched.hint().await.loss, Loss::Stopping);
    watched.runs("api-1", RunState::Stopping).await;
    assert!(began.elapsed() < Duration::from_secs(2), "no list was waited for");
}

#[tokio::test]
async fn a_pause_and_its_end_are_told_at_once_with_the_verdict_from_before() {
    let daemon = FalseDaemon::start();
    let healthy = in_state(container("api-1", 2), "running", "Up 1 minute (healthy)");
    daemon.set_containers([healthy]);
    let mut watched = Watched::start(daemon.address(), "lb");
    assert_eq!(watched.runs("api-1", RunState::Running).await.health, Health::Healthy);
    daemon.say(&event("api-1", "pause", 1));
    assert_eq!(watched.runs("api-1", RunState::Paused).await.health, Health::Healthy);
    daemon.set_containers([in_state(container("api-1", 2), "running", "Up 1 minute (unhealthy)")]);
    daemon.say(&event("api-1", "unpause", 2));
    assert_eq!(watched.runs("api-1", RunState::Running).await.health, Health::Healthy);
    daemon.say(&event("api-1", "health_status: unhealthy", 3));
    watched.seen(|it| it.workloads[0].health == Health::Unhealthy).await;
}

#[tokio::test]
async fn a_stream_that_is_cut_within_an_event_is_opened_again_and_everything_listed() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    daemon.cut(br#"{"Type":"container","Action":"sta"#);
    watched.seen(|it| names(it) == ["api-1", "api-2"]).await;
    assert_eq!(daemon.count("/v1.48/events"), 2);
    daemon.say(&event("api-2", "die", 7));
    watched.runs("api-2", RunState::Stopped).await;
}

#[tokio::test]
async fn what_a_stream_said_last_is_told_before_it_is_opened_again() {
    let daemon = FalseDaemon::start();
    daemon.set_containers([container("api-1", 2)]);
    let mut watched = Watched::start_with_room(daemon.address(), "lb", 1);
    watched.runs("api-1", RunState::Running).await;
    // Unread reports keep the watch busy, so that the event and the end of the
    // stream come together.
    for (action, at) in [("pause", 1), ("unpause", 2)] {
        daemon.say(&event("api-1", action, at));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.cut(format!("{}\n", event("api-1", "die", 3)).as_bytes());
    tokio::time::sleep(Duration::from_millis(50)).await;
    watched.runs("api-1", RunState::Stopped).await;
}

#[tokio::test]
async fn a_daemon_that_ends_every_stream_at_once_is_not_hammered() {
    let daemon = FalseDaemon::start();
    daemon.set_streams_end(true);
    let _watched = Watched::start(daemon.address(), "lb");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!((2..=4).contains(&daemon.count("/_ping")), "{}", daemon.count("/_ping"));
}

#[tokio::test]
async fn a_list_that_fails_keeps_the_last_world() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_list_failure(Some(500));
    daemon.set_containers([]);
    daemon.say(&event("api-1", "health_status: healthy", 1));
    let (message, _) = watched.away().await;
    assert!(message.contains("GET /containers/json was answered 500: out of order"), "{message}");
    assert!(!watched.sees_anything(Duration::from_millis(500)).await);

    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    daemon.set_list_failure(None);
    watched.seen(|it| names(it) == ["api-1", "api-2"]).await;
}

#[tokio::test]
async fn what_is_unknown_or_unreadable_harms_nothing_else() {
    let (daemon, mut watched) = one_replica().await;
    daemon.say(&json!({"Type": "moon", "Action": "rise", "Actor": {"ID": "x"}}));
    daemon.say(&json!({"Type": "container", "Action": "levitate", "Actor": null}));
    daemon.say_raw("this is no JSON");
    daemon.say(&json!({"Type": 5}));
    let odd = json!({"Id": id("odd"), "Names": "no list", "Labels": {"lb.pool": "api"}});
    let asleep = in_state(container("api-2", 3), "hibernating", "Asleep");
    daemon.set_containers([container("api-1", 2), asleep, odd]);
    daemon.say(&event("api-2", "create", 1));
    let observation = watched.seen(|it| it.workloads.len() == 2).await;
    assert_eq!(workload(&observation, "api-2").unwrap().run, RunState::Stopped);
    assert_eq!(daemon.count("/v1.48/events"), 1, "the stream went on");
}

#[tokio::test]
async fn a_daemon_outside_our_range_is_told_with_the_way_to_mend_it() {
    for (newest, oldest, said, remedy) in [
        ("1.40", "1.12", "too old", "upgrade Docker"),
        ("1.90", "1.80", "too new", "upgrade Evenkeel"),
    ] {
        let daemon = FalseDaemon::start();
        daemon.set_version(newest, oldest);
        let mut watched = Watched::start(daemon.address(), "lb");
        let (message, hint) = watched.away().await;
        assert!(message.contains(said) && message.contains("Docker 99.0"), "{message}");
        assert!(hint.contains(remedy), "{hint}");
        assert_eq!(daemon.count("/v1"), 0, "nothing else was asked");
    }
}

#[tokio::test]
async fn a_newer_daemon_is_spoken_to_in_the_newest_version_we_know() {
    let daemon = FalseDaemon::start();
    daemon.set_version("1.60", "1.44");
    let mut watched = Watched::start(daemon.address(), "lb");
    assert_eq!(watched.connected().await, "Docker 99.0, API 1.52");
    assert!(daemon.count("/v1.52/containers/json") > 0);
}

#[tokio::test]
async fn inspects_hold_nothing_up_and_add_what_they_tell_when_they_come() {
    let daemon = FalseDaemon::start();
    let mut replica = container("api-1", 2);
    replica["Ports"] = json!([]);
    replica["Inspect"] = json!({
        "Id": id("api-1"), "Created": "2024-01-02T03:04:05.123456789Z",
        "State": {"Status": "running", "StartedAt": "2024-01-02T03:04:06Z"},
        "Config": {"StopSignal": "SIGQUIT", "ExposedPorts": {"9000/tcp": {}}},
    });
    daemon.set_containers([replica]);
    daemon.set_inspects_wait(Duration::from_millis(800));
    let mut watched = Watched::start(daemon.address(), "lb");
    let ports = |place: &Place| match place {
        Place::Container { exposed, .. } => exposed.clone(),
        Place::Fixed(_) => panic!("a container"),
    };
    let first = watched.runs("api-1", RunState::Running).await;
    assert_eq!((ports(&first.place), first.created), (None, 1_700_000_000_000_000_000));
    let later = watched.seen(|it| it.workloads[0].created != first.created).await;
    assert_eq!(ports(&later.workloads[0].place), Some(vec![9000]));
    assert_eq!(later.workloads[0].created, 1_704_164_645_123_456_789);

    // Its own stop signal is SIGQUIT, so TERM is just a signal.
    daemon.say(&event("api-1", "kill", 1));
    let mut quit = event("api-1", "kill", 2);
    quit["Actor"]["Attributes"]["signal"] = "3".into();
    daemon.say(&quit);
    let stopping = watched.seen(|it| it.workloads[0].run != RunState::Running).await;
    assert_eq!(stopping.workloads[0].run, RunState::Stopping);
    assert_eq!(daemon.count(&format!("/v1.48/containers/{}/json", id("api-1"))), 1);
}

#[tokio::test]
async fn what_many_inspects_add_is_told_in_few_observations() {
    let daemon = FalseDaemon::start();
    daemon.set_containers((0..200).map(|number| {
        let mut replica = container(&format!("api-{number}"), 2);
        replica["Inspect"] = json!({"Created": "2024-01-01T00:00:00.5Z"});
        replica
    }));
    let mut watched = Watched::start(daemon.address(), "lb");
    let exact = |created: i64| created % 1_000_000_000 != 0;
    let mut observations = 0;
    loop {
        let observation = watched.seen(|_| true).await;
        observations += 1;
        if observation.workloads.iter().all(|it| exact(it.created)) {
            break;
        }
    }
    assert!(observations < 50, "{observations} observations");
}

#[tokio::test]
async fn a_restart_while_the_stream_was_down_is_another_life() {
    let daemon = FalseDaemon::start();
    let started = |at: &str| {
        let mut replica = container("api-1", 2);
        replica["Inspect"] = json!({"Created": "2024-01-01T00:00:00Z", "State": {"StartedAt": at}});
        replica
    };
    daemon.set_containers([started("2024-01-01T10:00:00Z")]);
    let mut watched = Watched::start(daemon.address(), "lb");
    // The exact time of its making tells that the inspect has come.
    let inspected = |workload_created: i64| workload_created == 1_704_067_200_000_000_000;
    watched.seen(|it| inspected(it.workloads[0].created)).await;
    daemon.set_containers([started("2024-01-01T10:05:00Z")]);
    daemon.cut(b"");
    let observation = watched.seen(|it| it.workloads[0].id.life > 0).await;
    assert_eq!(observation.workloads[0].id.life, 1);
}

#[tokio::test]
async fn an_idle_daemon_is_listed_only_now_and_then() {
    let (daemon, mut watched) = one_replica().await;
    let lists = daemon.count("/v1.48/containers/json");
    let noise: Vec<Value> = (0..50)
        .flat_map(|at| {
            [event("db", "exec_start: check", at), event("db", "health_status: healthy", at)]
        })
        .map(|mut event| {
            event["Actor"]["Attributes"] = json!({"role": "db"});
            event
        })
        .collect();
    noise.iter().for_each(|event| daemon.say(event));
    assert!(!watched.sees_anything(Duration::from_millis(700)).await);
    assert_eq!(daemon.count("/v1.48/containers/json"), lists);
}

#[tokio::test]
async fn a_flood_of_events_ends_in_the_truth() {
    let (daemon, mut watched) = one_replica().await;
    for at in 0..6000 {
        daemon.say(&event("api-1", "rename", at));
        if at % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    daemon.say(&event("api-2", "start", 9000));
    watched.runs("api-2", RunState::Running).await;
}

#[tokio::test]
async fn the_watch_ends_when_nobody_listens() {
    let daemon = FalseDaemon::start();
    let (sender, reports) = tokio::sync::mpsc::channel(1);
    drop(reports);
    let watching = evenkeel::discovery::docker::watch(daemon.address(), "lb".into(), sender);
    tokio::time::timeout(Duration::from_secs(20), watching).await.expect("it ends");
}

/// A daemon with one replica that has been seen.
async fn one_replica() -> (FalseDaemon, Watched) {
    let daemon = FalseDaemon::start();
    daemon.set_containers([container("api-1", 2)]);
    let mut watched = Watched::start(daemon.address(), "lb");
    watched.runs("api-1", RunState::Running).await;
    // Its inspect tells nothing new, but is under way.
    let inspect = format!("/v1.48/containers/{}/json", id("api-1"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while daemon.count(&inspect) == 0 {
        assert!(Instant::now() < deadline, "it is inspected");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (daemon, watched)
}
