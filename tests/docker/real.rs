//! What is told of real containers on a real Docker Engine.

use evenkeel::domain::world::{Health, Place, RunState};

use super::engine::Engine;
use super::watched::{Watched, address, workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_followed_from_its_making_to_its_end() {
    let Some(engine) = Engine::find() else { return };
    let mut watched = Watched::start(engine.address(), engine.label_prefix());
    assert!(watched.connected().await.starts_with("Docker "));
    assert!(watched.seen(|_| true).await.workloads.is_empty(), "other containers are not seen");

    let name = engine.container("web");
    engine.create("web", &["--stop-timeout", "1"]);
    let created = watched.runs(&name, RunState::Created).await;
    assert_eq!((created.id.life, address(&created)), (0, None));

    engine.tell("web", &["start"]);
    let running = watched.runs(&name, RunState::Running).await;
    assert!(address(&running).is_some());
    assert_eq!((running.id.life, running.health), (0, Health::None));
    let Place::Container { exposed, .. } = &running.place else { panic!("a container") };
    assert_eq!(exposed, &Some(vec![8080]));

    engine.tell("web", &["pause"]);
    watched.runs(&name, RunState::Paused).await;
    engine.tell("web", &["unpause"]);
    watched.runs(&name, RunState::Running).await;

    // It ignores the signal, so that its time to finish can be seen.
    engine.tell("web", &["stop"]);
    watched.runs(&name, RunState::Stopping).await;
    let stopped = watched.runs(&name, RunState::Stopped).await;
    assert_eq!(address(&stopped), None);

    engine.tell("web", &["start"]);
    assert_eq!(watched.runs(&name, RunState::Running).await.id.life, 1);
    engine.tell("web", &["rm", "-f"]);
    watched.seen(|it| it.workloads.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_is_told_and_a_restart_is_another_life() {
    let Some(engine) = Engine::find() else { return };
    let name = engine.container("web");
    engine.create("web", &[]);
    engine.tell("web", &["start"]);
    let mut watched = Watched::start(engine.address(), engine.label_prefix());
    watched.runs(&name, RunState::Running).await;

    engine.tell("web", &["restart", "-t", "0"]);
    let again = watched
        .seen(|it| {
            workload(it, &name).is_some_and(|it| it.run == RunState::Running && it.id.life > 0)
        })
        .await;
    assert_eq!(workload(&again, &name).unwrap().id.life, 1);

    engine.tell("web", &["kill"]);
    watched.runs(&name, RunState::Stopped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_stops_nothing_takes_traffic_away_only_for_a_while() {
    let Some(engine) = Engine::find() else { return };
    let name = engine.container("web");
    engine.create("web", &["--stop-timeout", "1"]);
    engine.tell("web", &["start"]);
    let mut watched = Watched::start(engine.address(), engine.label_prefix());
    // Once inspected, its own stop time-out is known.
    let whole_seconds = |created: i64| created % 1_000_000_000 == 0;
    watched.seen(|it| workload(it, &name).is_some_and(|it| !whole_seconds(it.created))).await;

    engine.tell("web", &["kill", "-s", "HUP"]);
    engine.tell("web", &["kill", "-s", "TERM"]);
    watched.runs(&name, RunState::Stopping).await;
    watched.runs(&name, RunState::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_outlives_a_pause() {
    let Some(engine) = Engine::find() else { return };
    let name = engine.container("web");
    engine.create("web", &["--health-cmd", "/idle", "--health-interval", "1h"]);
    engine.tell("web", &["start"]);
    let mut watched = Watched::start(engine.address(), engine.label_prefix());
    assert_eq!(watched.runs(&name, RunState::Running).await.health, Health::Starting);
    engine.tell("web", &["pause"]);
    assert_eq!(watched.runs(&name, RunState::Paused).await.health, Health::Starting);
    engine.tell("web", &["unpause"]);
    assert_eq!(watched.runs(&name, RunState::Running).await.health, Health::Starting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_joined_and_left_shows_in_the_addresses() {
    let Some(engine) = Engine::find() else { return };
    let (name, network) = (engine.container("web"), engine.container("net"));
    engine.docker(&["network", "create", &network]);
    engine.create("web", &[]);
    engine.tell("web", &["start"]);
    let mut watched = Watched::start(engine.address(), engine.label_prefix());
    watched.runs(&name, RunState::Running).await;

    let address_on = |it: &evenkeel::domain::world::Workload| match &it.place {
        Place::Container { networks, .. } => {
            networks.iter().find(|joined| *joined.name == *network).and_then(|it| it.address)
        }
        Place::Fixed(_) => None,
    };
    engine.tell("web", &["network", "connect", &network]);
    watched.seen(|it| workload(it, &name).and_then(address_on).is_some()).await;
    engine.tell("web", &["network", "disconnect", &network]);
    watched.seen(|it| workload(it, &name).is_some_and(|it| address_on(it).is_none())).await;
}
