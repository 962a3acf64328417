//! Containers as real daemons list them.

use super::*;
use serde_json::{Value, json};

#[test]
fn a_compose_replica_is_read_whole() {
    let listed = listed(json!({
        "Id": "c1", "Names": ["/other/alias", "/shop-api-1"], "Created": 1_700_000_000,
        "State": "running", "Status": "Up 3 minutes (healthy)",
        "Labels": {"lb.pool": "api", "com.docker.compose.project": "shop",
                   "com.docker.compose.service": "api", "com.docker.compose.oneoff": "False"},
        "Ports": [{"PrivatePort": 9000, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"},
                  {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                  {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "shop_default"},
        "NetworkSettings": {"Networks": {"shop_default":
            {"NetworkID": "n1", "IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}}},
    }));
    let expected = Workload {
        id: WorkloadId { id: "c1".into(), life: 0 },
        name: "shop-api-1".into(),
        project: Some("shop".into()),
        service: Some("api".into()),
        labels: listed.labels.clone(),
        run: RunState::Running,
        health: Health::Healthy,
        created: 1_700_000_000_000_000_000,
        place: Place::Container {
            mode: NetworkMode::Own,
            networks: vec![Attachment {
                name: "shop_default".into(),
                network: "n1".into(),
                address: Some("172.18.0.2".parse().unwrap()),
            }],
            exposed: Some(vec![80, 9000]),
        },
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    };
    assert_eq!(workload(&listed, &[]), expected);
}

#[test]
fn every_state_of_every_engine_has_a_word_of_ours() {
    use RunState::*;
    let table = [
        ("created", Created),
        ("configured", Created),
        ("running", Running),
        ("paused", Paused),
        ("stopping", Stopping),
        ("restarting", Restarting),
        ("exited", Stopped),
        ("dead", Stopped),
        ("removing", Stopped),
        ("hibernating", Stopped),
        ("", Stopped),
    ];
    for (state, expected) in table {
        assert_eq!(read(json!({"State": state})).run, expected, "{state}");
    }
}

#[test]
fn health_is_read_from_the_field_or_from_the_text_for_people() {
    let table = [
        ("Up 3 minutes", "", Health::None),
        ("Up 3 minutes (healthy)", "", Health::Healthy),
        ("Up 3 minutes (unhealthy)", "", Health::Unhealthy),
        ("Up 1 second (health: starting)", "", Health::Starting),
        ("Up 3 minutes (Paused)", "", Health::None),
        ("Exited (0) 2 minutes ago", "", Health::None),
        ("Up 3 minutes", "starting", Health::Starting),
        ("Up 3 minutes (healthy)", "none", Health::Healthy),
        ("Up 3 minutes", "none", Health::None),
    ];
    for (status, field, expected) in table {
        let read = read(json!({"State": "running", "Status": status, "Health": {"Status": field}}));
        assert_eq!(read.health, expected, "{status} / {field}");
    }
}

#[test]
fn only_a_container_that_runs_owns_the_address_it_lists() {
    for (state, owned) in [("running", true), ("paused", true), ("exited", false), ("dead", false)]
    {
        let read = read(json!({"State": state, "NetworkSettings": {"Networks":
            {"net": {"NetworkID": "n", "IPAddress": "172.17.0.2"}}}}));
        let Place::Container { networks, .. } = read.place else { panic!("no container") };
        assert_eq!(networks[0].address.is_some(), owned, "{state}");
    }
}

#[test]
fn an_ipv6_network_gives_its_address() {
    let read = read(json!({"State": "running", "NetworkSettings": {"Networks":
        {"net": {"NetworkID": "", "IPAddress": "", "GlobalIPv6Address": "fd00::2"}, "gone": null}}}));
    let Place::Container { networks, .. } = read.place else { panic!("no container") };
    let seen: Vec<_> = networks.iter().map(|net| (&*net.network, net.address)).collect();
    assert_eq!(seen, [("gone", None), ("net", Some("fd00::2".parse().unwrap()))]);
}

#[test]
fn network_modes_are_told_apart_and_a_peer_gets_its_full_id() {
    let peer = "ab".repeat(32);
    let all = [listed(json!({"Id": peer, "Names": ["/app"]}))];
    let peers = || NetworkMode::Container(peer.as_str().into());
    let table = [
        ("default", NetworkMode::Own),
        ("bridge", NetworkMode::Own),
        ("shop_default", NetworkMode::Own),
        ("host", NetworkMode::Host),
        ("none", NetworkMode::None),
        (&format!("container:{peer}"), peers()),
        ("container:app", peers()),
        (&format!("container:{}", &peer[..12]), peers()),
        ("container:ab", NetworkMode::Container("ab".into())),
    ];
    for (mode, expected) in table {
        let container = listed(json!({"Id": "c", "HostConfig": {"NetworkMode": mode}}));
        assert_eq!(network_mode(&container, &all), expected, "{mode}");
    }
}

#[test]
fn one_label_with_the_prefix_makes_a_container_ours() {
    for (label, ours) in
        [("lb.pool", true), ("LB.Port", true), ("lb", false), ("lbx.pool", false), ("é", false)]
    {
        let container = listed(json!({"Id": "c", "Labels": {"other": "1", label: "x"}}));
        assert_eq!(has_labels_of(&container, "lb."), ours, "{label}");
    }
}

#[test]
fn a_compose_run_container_is_a_one_off() {
    assert!(read(json!({"Labels": {"com.docker.compose.oneoff": "True"}})).oneoff);
    assert!(!read(json!({})).oneoff);
}

#[test]
fn a_container_without_a_name_goes_by_its_short_id() {
    assert_eq!(
        &*name(&listed(json!({"Id": "0123456789abcdef", "Names": ["/a/b"]}))),
        "0123456789ab"
    );
}

fn read(mut entry: Value) -> Workload {
    entry["Id"] = "c".into();
    workload(&listed(entry), &[])
}

fn listed(entry: Value) -> Listed {
    serde_json::from_value(entry).unwrap()
}
