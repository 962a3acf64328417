//! What is told, step by step, as lists, events and inspects come in.

use super::*;
use crate::discovery::docker::wire;
use serde_json::{Value, json};
use std::time::Duration;

const OWN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn only_our_containers_and_those_whose_network_they_use_are_told() {
    let (now, mut view) = (Instant::now(), view());
    let list = [
        container("api", "running", &json!({"lb.pool": "api"})),
        container("db", "running", &json!({"role": "db"})),
        container("vpn", "running", &json!({})),
        listed(json!({"Id": "app", "State": "running", "Labels": {"LB.port": "80"},
                      "HostConfig": {"NetworkMode": "container:vpn"}})),
    ];
    view.list(&entries(list), now, now);
    let ids: Vec<_> =
        view.observation(now).workloads.iter().map(|it| it.id.id.to_string()).collect();
    assert_eq!(ids, ["api", "app", "vpn"]);
}

#[test]
fn a_stop_is_told_before_any_list_and_stays_told_against_lists_that_lag() {
    let (now, mut view) = running();
    assert_eq!(view.hear(&event(Happening::Signalled(Some(15))), now).0, Wish::Nothing);
    assert_eq!(run(&view, now), RunState::Stopping);
    assert_eq!(view.hear(&event(Happening::Died), now + ms(20)).0, Wish::Nothing);
    assert_eq!((run(&view, now), address(&view, now)), (RunState::Stopped, None));
    view.list(&entries([web("running")]), now + ms(150), now + ms(152));
    assert_eq!((run(&view, now), address(&view, now)), (RunState::Stopped, None));
}

#[test]
fn only_the_container_s_own_stop_signal_or_kill_takes_traffic_away() {
    let table =
        [(Some(1), false), (Some(15), false), (Some(3), true), (Some(9), true), (None, true)];
    for (signal, stops) in table {
        let (now, mut view) = running();
        let ticket = view.next_to_inspect().unwrap();
        view.inspected(&ticket, inspected(json!({"Config": {"StopSignal": "SIGQUIT"}})));
        view.hear(&event(Happening::Signalled(signal)), now);
        assert_eq!(run(&view, now) == RunState::Stopping, stops, "{signal:?}");
    }
}

#[test]
fn a_label_named_signal_hides_the_signal_so_that_every_kill_counts() {
    let (now, mut view) = (Instant::now(), view());
    let labels = json!({"lb.pool": "web", "signal": "99"});
    view.list(&entries([container("web", "running", &labels)]), now, now);
    view.hear(&event(Happening::Signalled(Some(99))), now);
    assert_eq!(run(&view, now), RunState::Stopping);
}

#[test]
fn a_kill_that_stopped_nothing_is_over_after_the_container_s_own_stop_timeout() {
    let (now, mut view) = running();
    let ticket = view.next_to_inspect().unwrap();
    view.inspected(&ticket, inspected(json!({"Config": {"StopTimeout": 3}})));
    view.hear(&event(Happening::Signalled(Some(15))), now);
    assert_eq!(view.due(), Some(now + ms(4_000)));
    view.list(&entries([web("running")]), now + ms(3_999), now + ms(3_999));
    assert_eq!(run(&view, now), RunState::Stopping);
    view.list(&entries([web("running")]), now + ms(4_000), now + ms(4_000));
    assert_eq!(run(&view, now), RunState::Running);
}

#[test]
fn a_restart_is_another_life_that_runs_with_the_first_list_after_it() {
    let (now, mut view) = running();
    let life = |view: &View| view.observation(now).workloads[0].id.life;
    view.hear(&event(Happening::Died), now);
    assert_eq!(view.hear(&event(Happening::Started), now + ms(200)).0, Wish::List);
    assert_eq!((life(&view), run(&view, now)), (1, RunState::Stopped));
    view.list(&entries([web("running")]), now + ms(201), now + ms(203));
    assert_eq!((life(&view), run(&view, now)), (1, RunState::Running));
}

#[test]
fn the_start_of_a_container_that_was_listed_dead_is_another_life() {
    let (now, mut view) = (Instant::now(), view());
    view.list(&entries([web("exited")]), now, now);
    view.hear(&event(Happening::Started), now);
    assert_eq!(view.observation(now).workloads[0].id.life, 1);
}

#[test]
fn a_restart_in_a_gap_of_the_stream_is_found_by_the_inspect_after_it() {
    let (now, mut view) = running();
    let started = |at: &str| inspected(json!({"State": {"StartedAt": at}}));
    let ticket = view.next_to_inspect().unwrap();
    view.inspected(&ticket, started("2024-01-01T10:00:00Z"));
    view.hear(&at("2024-01-01T10:04:00Z", Happening::Signalled(Some(15))), now);
    assert_eq!(run(&view, now), RunState::Stopping);
    view.doubt();
    let ticket = view.next_to_inspect().unwrap();
    view.inspected(&ticket, started("2024-01-01T10:05:00Z"));
    let observation = view.observation(now);
    assert_eq!(observation.workloads[0].id.life, 1);
    assert_eq!(observation.workloads[0].run, RunState::Running);
}

#[test]
fn what_is_lost_is_told_once_and_only_where_there_was_something_to_lose() {
    let network = || Arc::<str>::from("n");
    let table = [
        (Happening::Signalled(Some(15)), Some(Loss::Stopping)),
        (Happening::Signalled(Some(9)), None),
        (Happening::Paused, Some(Loss::Paused)),
        (Happening::Unpaused, None),
        (Happening::Disconnected("other".into()), None),
        (Happening::Disconnected(network()), Some(Loss::Network(network()))),
        (Happening::Disconnected(network()), None),
        (Happening::Died, Some(Loss::Stopped)),
        (Happening::Stopped, None),
        (Happening::Destroyed, None),
    ];
    let (now, mut view) = running();
    for (happening, expected) in table {
        let (_, hint) = view.hear(&event(happening.clone()), now);
        let expected = expected.map(|loss| Hint { id: "web".into(), loss });
        assert_eq!(hint, expected, "{happening:?}");
    }
}

#[test]
fn each_way_to_die_is_told_as_a_death() {
    for happening in [Happening::Died, Happening::Stopped, Happening::Destroyed] {
        let (now, mut view) = running();
        let (_, hint) = view.hear(&event(happening), now);
        assert_eq!(hint, Some(Hint { id: "web".into(), loss: Loss::Stopped }));
    }
}

#[test]
fn a_container_that_no_list_has_shown_has_nothing_to_lose() {
    let (now, mut view) = running();
    let newcomer = |happening| Event {
        container: "newcomer".into(),
        happening,
        at: 0,
        attributes: [("lb.pool".to_owned(), "web".to_owned())].into(),
    };
    for happening in [Happening::Signalled(Some(15)), Happening::Died, Happening::Destroyed] {
        assert_eq!(view.hear(&newcomer(happening), now).1, None);
    }
    view.list(
        &entries([web("running"), container("newcomer", "running", &json!({"lb.pool": "web"}))]),
        now,
        now,
    );
    let observation = view.observation(now);
    assert_eq!(observation.workloads[0].run, RunState::Stopped, "the list lagged behind its death");
}

#[test]
fn the_end_of_a_former_life_takes_nothing_from_the_one_that_its_start_began() {
    let (now, mut view) = running();
    let heard = |view: &mut View, happening, at| view.hear(&Event { at, ..event(happening) }, now);
    heard(&mut view, Happening::Died, 10);
    heard(&mut view, Happening::Started, 20);
    view.list(&entries([web("running")]), now, now);
    for happening in [
        Happening::Died,
        Happening::Stopped,
        Happening::Signalled(Some(15)),
        Happening::Paused,
        Happening::Disconnected("n".into()),
        Happening::HealthChanged(Some(Health::Unhealthy)),
        Happening::Started,
    ] {
        let heard = heard(&mut view, happening.clone(), 19);
        assert_eq!(heard, (Wish::ListAgain, None), "{happening:?}");
        assert_eq!(run(&view, now), RunState::Running, "{happening:?}");
        assert_eq!(view.observation(now).workloads[0].id.life, 1);
    }
    assert!(heard(&mut view, Happening::Died, 21).1.is_some());
}

#[test]
fn the_end_of_a_life_before_the_one_that_an_inspect_showed_takes_nothing() {
    let (now, mut view) = running();
    let ticket = view.next_to_inspect().unwrap();
    let began = "2024-01-01T10:00:05Z";
    view.inspected(&ticket, inspected(json!({"State": {"StartedAt": began}})));
    assert_eq!(view.hear(&at("2024-01-01T10:00:04Z", Happening::Died), now).1, None);
    assert_eq!(run(&view, now), RunState::Running);
    assert!(view.hear(&at("2024-01-01T10:00:06Z", Happening::Died), now).1.is_some());
}

#[test]
fn a_start_that_is_heard_after_its_own_end_revives_nobody() {
    let (now, mut view) = running();
    view.hear(&Event { at: 30, ..event(Happening::Died) }, now);
    let wish = view.hear(&Event { at: 20, ..event(Happening::Started) }, now).0;
    assert_eq!(wish, Wish::ListAgain);
    view.list(&entries([web("running")]), now + ms(100), now + ms(100));
    assert_eq!(run(&view, now), RunState::Stopped);
}

#[test]
fn a_start_that_is_heard_after_the_stop_signal_of_its_life_does_not_undo_it() {
    let (now, mut view) = running();
    view.hear(&Event { at: 30, ..event(Happening::Signalled(Some(15))) }, now);
    view.hear(&Event { at: 20, ..event(Happening::Started) }, now);
    view.list(&entries([web("running")]), now + ms(600), now + ms(600));
    assert_eq!(run(&view, now), RunState::Stopping);
}

#[test]
fn a_start_without_the_end_before_it_ends_the_former_life() {
    let (now, mut view) = running();
    view.hear(&Event { at: 10, ..event(Happening::Started) }, now);
    view.list(&entries([web("running")]), now, now);
    let (_, hint) = view.hear(&Event { at: 20, ..event(Happening::Started) }, now + ms(1));
    assert_eq!(hint, Some(Hint { id: "web".into(), loss: Loss::Stopped }));
    assert_eq!(view.observation(now).workloads[0].id.life, 1);
    view.list(&entries([web("running")]), now + ms(1), now + ms(1));
    assert_eq!(run(&view, now), RunState::Running);
}

#[test]
fn a_container_listed_alive_after_it_was_listed_dead_is_inspected_anew() {
    let (now, mut view) = running();
    let ticket = view.next_to_inspect().unwrap();
    view.inspected(&ticket, Inspected::default());
    view.list(&entries([web("exited")]), now, now);
    assert!(view.next_to_inspect().is_none());
    view.list(&entries([web("running")]), now, now);
    assert!(view.next_to_inspect().is_some());
}

#[test]
fn an_inspect_adds_what_the_list_leaves_out() {
    let (now, mut view) = running();
    let ticket = view.next_to_inspect().unwrap();
    let response =
        json!({"Created": "1970-01-01T00:00:07.5Z", "Config": {"ExposedPorts": {"9000/tcp": {}}}});
    view.inspected(&ticket, inspected(response));
    let workload = view.observation(now).workloads.remove(0);
    assert_eq!(workload.created, 7_500_000_000);
    let Place::Container { exposed, .. } = workload.place else { panic!("no container") };
    assert_eq!(exposed, Some(vec![80, 9000]));
}

#[test]
fn a_pause_keeps_the_verdict_from_before_it() {
    let (now, mut view) = (Instant::now(), view());
    let healthy = |status: &str, state: &str| {
        listed(json!({"Id": "web", "State": state, "Status": status, "Labels": {"lb.pool": "web"}}))
    };
    let seen = |view: &View| {
        let workload = view.observation(now).workloads.remove(0);
        (workload.run, workload.health)
    };
    view.list(&entries([healthy("Up 1 minute (healthy)", "running")]), now, now);
    view.hear(&event(Happening::Paused), now);
    view.list(&entries([healthy("Up 1 minute (Paused)", "paused")]), now + ms(600), now + ms(600));
    assert_eq!(seen(&view), (RunState::Paused, Health::Healthy));
    assert_eq!(view.hear(&event(Happening::Unpaused), now + ms(700)).0, Wish::List);
    assert_eq!(seen(&view), (RunState::Running, Health::Healthy));
    view.list(
        &entries([healthy("Up 1 minute (unhealthy)", "running")]),
        now + ms(701),
        now + ms(701),
    );
    assert_eq!(seen(&view), (RunState::Running, Health::Healthy));
    view.hear(&event(Happening::HealthChanged(Some(Health::Unhealthy))), now + ms(900));
    assert_eq!(seen(&view), (RunState::Running, Health::Unhealthy));
}

#[test]
fn an_entry_that_cannot_be_read_is_told_and_stands_as_it_was_listed_before() {
    let (now, mut view) = running();
    let misread = |id: &str, labels: Value| json!({"Id": id, "Names": [format!("/{id}")], "Labels": labels, "State": 7});
    let ours = || json!({"lb.pool": "web"});
    let text = json!([
        misread("web", ours()),
        misread("new", ours()),
        misread("db", json!({})),
        misread("odd", json!(7))
    ]);
    view.list(&wire::list(text.to_string().as_bytes()).unwrap(), now, now);
    let Observation { workloads, problems, .. } = view.observation(now);
    assert_eq!(workloads.len(), 1);
    assert_eq!((&*workloads[0].id.id, workloads[0].run), ("web", RunState::Running));
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("container `web`") && told[0].contains("as before"), "{told:?}");
    assert!(told[1].contains("container `new`") && told[1].contains("no requests"), "{told:?}");
    view.list(&entries([web("running")]), now, now);
    assert!(view.observation(now).problems.is_empty(), "mended");
}

#[test]
fn leaving_a_network_takes_the_address_away_at_once() {
    let (now, mut view) = running();
    assert!(address(&view, now).is_some());
    view.hear(&event(Happening::Disconnected("n".into())), now);
    assert_eq!(address(&view, now), None);
}

#[test]
fn what_happens_to_other_people_s_containers_asks_for_nothing() {
    let (now, mut view) = running();
    let other = |happening, labels: Value| Event {
        container: "other".into(),
        happening,
        at: 0,
        attributes: serde_json::from_value(labels).unwrap(),
    };
    let network = || Arc::from("n");
    for happening in [
        Happening::Created,
        Happening::Started,
        Happening::HealthChanged(Some(Health::Healthy)),
        Happening::Died,
        Happening::Destroyed,
        Happening::Connected(network()),
        Happening::Disconnected(network()),
    ] {
        assert_eq!(
            view.hear(&other(happening.clone(), json!({"role": "db"})), now).0,
            Wish::Nothing
        );
    }
    assert_eq!(view.hear(&other(Happening::Created, json!({"lb.pool": "x"})), now).0, Wish::List);
    assert_eq!(view.due(), None);
}

#[test]
fn other_people_s_containers_are_known_by_name_image_and_state_and_ask_for_nothing() {
    let (now, mut view) = running();
    let other = |id: &str, happening| {
        let attributes =
            json!({"name": id, "image": "redis:8", "com.docker.compose.service": "db"});
        let attributes = serde_json::from_value(attributes).unwrap();
        Event { container: id.into(), happening, at: 0, attributes }
    };
    let known = |view: &View| -> Vec<(String, RunState)> {
        let seen = view.observation(now).bystanders;
        seen.iter().map(|it| (format!("{} {}", it.name, it.image), it.run)).collect()
    };
    assert_eq!(known(&view), []);
    for (happening, run) in [
        (Happening::Created, RunState::Created),
        (Happening::Started, RunState::Running),
        (Happening::Died, RunState::Stopped),
    ] {
        view.hear(&other("db", happening), now);
        assert_eq!(known(&view), [("db redis:8".to_owned(), run)]);
    }
    assert_eq!(view.observation(now).bystanders[0].service.as_deref(), Some("db"));
    view.hear(&other("db", Happening::Destroyed), now);
    assert_eq!(known(&view), []);

    let many = (0..BYSTANDERS_MAX + 1).map(|at| container(&format!("{at}"), "running", &json!({})));
    view.list(&entries(many.chain([web("running")]).collect::<Vec<_>>()), now, now);
    assert_eq!(known(&view).len(), BYSTANDERS_MAX);
    view.hear(&other("db", Happening::Created), now);
    assert_eq!(known(&view).len(), BYSTANDERS_MAX);
    assert_eq!(view.observation(now).workloads.len(), 1);
    view.list(&entries([web("running")]), now, now);
    assert_eq!(known(&view), [], "what is listed no more is gone");
}

#[test]
fn the_exit_code_of_what_has_ended_is_read_from_the_text_for_people() {
    let (now, mut view) = (Instant::now(), view());
    for (state, status, code) in [
        ("exited", "Exited (137) 3 minutes ago", Some(137)),
        ("restarting", "Restarting (1) 5 seconds ago", Some(1)),
        ("exited", "Exited", None),
        ("running", "Up 3 minutes (healthy)", None),
        ("running", "Exited (1) 3 minutes ago", None),
    ] {
        let entry =
            json!({"Id": "web", "State": state, "Status": status, "Labels": {"lb.pool": "a"}});
        view.list(&entries([listed(entry)]), now, now);
        assert_eq!(view.observation(now).workloads[0].exit_code, code, "{status}");
    }
}

#[test]
fn our_own_networks_are_read_with_every_list_and_asked_for_when_they_change() {
    let (now, mut view) = (Instant::now(), view());
    let own = |networks: Value| {
        listed(json!({"Id": OWN, "Names": ["/lb"], "State": "running",
                                              "NetworkSettings": {"Networks": networks}}))
    };
    view.list(&entries([own(json!({}))]), now, now);
    for happening in [Happening::Started, Happening::Connected("n".into())] {
        let moved = Event { container: OWN.into(), ..event(happening) };
        assert_eq!(view.hear(&moved, now).0, Wish::ListAgain);
    }
    view.list(&entries([own(json!({"net": {"NetworkID": "n"}}))]), now, now);
    let Vantage::Container { networks, .. } = view.observation(now).vantage else {
        panic!("in a container");
    };
    assert_eq!(&*networks[0].network, "n");
}

fn view() -> View {
    let candidates = Candidates::parse("", &format!("0::/docker/{OWN}"), "");
    View::new("lb", candidates)
}

fn running() -> (Instant, View) {
    let (now, mut view) = (Instant::now(), view());
    view.list(&entries([web("running")]), now, now);
    (now, view)
}

fn web(state: &str) -> Listed {
    container("web", state, &json!({"lb.pool": "web"}))
}

fn container(id: &str, state: &str, labels: &Value) -> Listed {
    listed(json!({"Id": id, "Names": [format!("/{id}")], "State": state, "Labels": labels,
                  "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
                  "NetworkSettings": {"Networks": {"net": {"NetworkID": "n", "IPAddress": "172.17.0.2"}}}}))
}

fn entries(entries: impl Into<Vec<Listed>>) -> List {
    List { entries: entries.into(), ..List::default() }
}

fn listed(entry: Value) -> Listed {
    serde_json::from_value(entry).unwrap()
}

fn inspected(response: Value) -> Inspected {
    Inspected::from(
        serde_json::from_value::<bollard::models::ContainerInspectResponse>(response).unwrap(),
    )
}

fn event(happening: Happening) -> Event {
    Event { container: "web".into(), happening, at: 0, attributes: BTreeMap::new() }
}

fn at(time: &str, happening: Happening) -> Event {
    let since = humantime::parse_rfc3339(time).unwrap().duration_since(std::time::UNIX_EPOCH);
    Event { at: since.unwrap().as_nanos() as i64, ..event(happening) }
}

fn run(view: &View, now: Instant) -> RunState {
    view.observation(now).workloads[0].run
}

fn address(view: &View, now: Instant) -> Option<std::net::IpAddr> {
    let workload = view.observation(now).workloads.remove(0);
    let Place::Container { networks, .. } = workload.place else { panic!("no container") };
    networks[0].address
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
