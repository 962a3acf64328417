//! A daemon that fails: traffic goes on, and on its return all is as it says.

use std::time::Duration;

use evenkeel::domain::world::{Loss, Report, RunState, SourceHealth};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::false_daemon::{FalseDaemon, container, event, id};
use super::watched::{Watched, names};

#[tokio::test(start_paused = true)]
async fn an_idle_daemon_is_asked_for_a_sign_of_life_every_ten_seconds() {
    let (daemon, mut watched) = one_replica().await;
    let pings = daemon.count("/_ping");
    assert!(!watched.goes_away(Duration::from_secs(300)).await);
    // Lists are signs of life too: there is one every 30 s.
    let more = daemon.count("/_ping") - pings;
    assert!((18..=31).contains(&more), "{more} pings");
    assert_eq!(daemon.count("/v1.48/events"), 1, "the stream is still the first");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_falls_silent_for_ever_is_given_up_after_a_ping_and_found_again() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_silent(true);
    let began = Instant::now();
    let (message, hint) = watched.away().await;
    assert!(message.contains("GET /_ping was not answered within 10s"), "{message}");
    assert!(hint.contains("does not answer"), "{hint}");
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    daemon.set_silent(false);
    watched.seen(|it| names(it) == ["api-1", "api-2"]).await;
    assert_eq!(daemon.count("/v1.48/events"), 2, "another stream");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_ten_seconds_is_waited_for_and_what_stops_meanwhile_is_told() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_containers([container("api-1", 2), container("api-2", 3)]);
    daemon.set_lists_wait(Duration::from_secs(10));
    let began = Instant::now();
    daemon.say(&event("api-2", "start", 1));
    sleep(Duration::from_secs(5)).await;
    daemon.say(&event("api-1", "die", 2));
    assert_eq!(watched.hint().await.loss, Loss::Stopped);
    watched.runs("api-1", RunState::Stopped).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    // That list began before the death, and says that it runs.
    let observation = watched.seen(|it| it.workloads.len() == 2).await;
    assert_eq!(observation.workloads[0].run, RunState::Stopped);
    assert!(!watched.goes_away(Duration::from_secs(60)).await);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_never_answered_costs_no_hint_and_is_told() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_containers([container("api-2", 3)]);
    daemon.set_lists_wait(Duration::from_secs(3600));
    daemon.say(&event("api-2", "start", 1));
    sleep(Duration::from_secs(1)).await;
    daemon.say(&event("api-1", "kill", 2));
    assert_eq!(watched.hint().await.loss, Loss::Stopping);
    let (message, _) = watched.away().await;
    assert!(message.contains("GET /containers/json was not answered within 30s"), "{message}");
    // The next connection has brought no list yet, but it hears.
    wait_for(&daemon, "/v1.48/events", 2).await;
    daemon.say(&event("api-1", "die", 3));
    assert_eq!(watched.next_hint().await.loss, Loss::Stopped);
    daemon.set_lists_wait(Duration::ZERO);
    watched.seen(|it| names(it) == ["api-2"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_event_told_of_is_in_the_next_regular_list() {
    let (daemon, mut watched) = one_replica().await;
    daemon.set_containers([container("api-2", 3)]);
    let began = Instant::now();
    watched.seen(|it| names(it) == ["api-2"]).await;
    assert!(began.elapsed() <= Duration::from_secs(31), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn events_that_were_dropped_since_nobody_took_them_cost_only_a_list() {
    let (daemon, mut watched) = one_replica_with_room(1).await;
    // Reports that nobody reads hold the watch up while all of these come in.
    daemon.say(&event("api-1", "kill", 1));
    for at in 0..5000 {
        let mut other = event("db", "rename", at);
        other["Actor"]["Attributes"] = json!({"role": "db"});
        daemon.say(&other);
        if at % 500 == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    daemon.set_containers([container("api-2", 3)]);
    daemon.say(&event("api-1", "die", 5001));
    daemon.say(&event("api-2", "start", 5002));
    sleep(Duration::from_millis(10)).await;
    let began = Instant::now();
    watched.seen(|it| names(it) == ["api-2"]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(daemon.count("/v1.48/events"), 1, "the stream went on");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_away_takes_nothing_along() {
    let (mut daemon, mut watched) = one_replica().await;
    daemon.stop();
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut retries = Vec::new();
    while Instant::now() < deadline {
        match watched.next().await {
            Report::Health { health: SourceHealth::Away { retry_in, .. }, .. } => {
                retries.push(retry_in);
            }
            other @ (Report::Seen { .. }
            | Report::Hint { .. }
            | Report::Health { .. }
            | Report::Noted { .. }) => panic!("nobody said {other:#?}"),
        }
    }
    assert!(retries.len() > 100, "it is tried for ever");
    assert_eq!(retries.last(), Some(&Duration::from_secs(5)));
    daemon.set_containers([container("api-2", 3)]);
    daemon.listen();
    watched.connected().await;
    assert_eq!(names(&watched.seen(|_| true).await), ["api-2"], "all is as it is now");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_restarts_brings_back_what_still_runs() {
    let (mut daemon, mut watched) = one_replica().await;
    for _ in 0..3 {
        daemon.stop();
        watched.away().await;
        daemon.listen();
        watched.connected().await;
        let observation = watched.seen(|_| true).await;
        assert_eq!(names(&observation), ["api-1"]);
        assert_eq!(observation.workloads[0].id.life, 0, "it is the same life");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_is_a_problem_and_harms_nothing_else() {
    let (daemon, mut watched) = one_replica().await;
    let odd = json!({"Id": id("odd"), "Names": ["/odd"], "State": 5, "Labels": {"lb.pool": "api"}});
    daemon.set_containers([container("api-1", 2), odd]);
    daemon.say(&event("odd", "start", 1));
    let observation = watched.seen(|it| !it.problems.is_empty()).await;
    assert_eq!(names(&observation), ["api-1"]);
    let told = observation.problems[0].to_string();
    assert!(told.starts_with("container `odd`: what Docker lists of it cannot be read"), "{told}");
    daemon.set_containers([container("api-1", 2)]);
    daemon.say(&event("odd", "destroy", 2));
    watched.seen(|it| it.problems.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_cut_off_and_costs_only_itself() {
    let daemon = FalseDaemon::start();
    let mut replica = container("api-1", 2);
    replica["Inspect"] =
        json!({"Created": "2024-01-01T00:00:00.5Z", "Mounts": "x".repeat(5 << 20)});
    daemon.set_containers([replica, small("api-2")]);
    let mut watched = Watched::start(daemon.address(), "lb");
    let exact = |created: i64| created % 1_000_000_000 != 0;
    let observation = watched.seen(|it| it.workloads.iter().any(|it| exact(it.created))).await;
    let created = observation.workloads.iter().map(|it| exact(it.created));
    assert_eq!(created.collect::<Vec<_>>(), [false, true]);
    assert!(!watched.goes_away(Duration::from_secs(60)).await);
}

fn small(name: &str) -> Value {
    let mut replica = container(name, 3);
    replica["Inspect"] = json!({"Created": "2024-01-01T00:00:00.5Z"});
    replica
}

/// A daemon with one replica that has been seen.
async fn one_replica() -> (FalseDaemon, Watched) {
    one_replica_with_room(64).await
}

async fn one_replica_with_room(room: usize) -> (FalseDaemon, Watched) {
    let daemon = FalseDaemon::start();
    daemon.set_containers([container("api-1", 2)]);
    let mut watched = Watched::start_with_room(daemon.address(), "lb", room);
    watched.runs("api-1", RunState::Running).await;
    wait_for(&daemon, &format!("/v1.48/containers/{}/json", id("api-1")), 1).await;
    (daemon, watched)
}

/// Waits until a path that begins so was asked for so many times.
async fn wait_for(daemon: &FalseDaemon, path: &str, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while daemon.count(path) < times {
        assert!(Instant::now() < deadline, "{path} is asked for {times} times");
        sleep(Duration::from_millis(1)).await;
    }
}
