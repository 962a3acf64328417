//! What the API says of pools and replicas.

use std::time::Duration;

use super::*;
use crate::domain::lifecycle::Fault;
use crate::domain::pool::{PoolSettings, PoolState, Retry, Routes, Tiers};
use crate::domain::rule::Rule;
use crate::domain::upstream::Scheme;
use crate::domain::world::WorkloadId;

#[test]
fn every_member_is_listed_with_its_state_and_why() {
    use Health::{Healthy, None as NoCheck, Starting, Unhealthy};
    use Probe::{Failed, Passed, Untried};
    use RunState::{Created, Paused, Restarting, Running, Stopped, Stopping};
    let table = [
        (Running, NoCheck, Untried, "starting", "it has not accepted a connection yet"),
        (Running, NoCheck, Passed, "ready", "it accepts connections"),
        (Running, Starting, Untried, "starting", "its HEALTHCHECK has not spoken yet"),
        (
            Running,
            Starting,
            Passed,
            "starting",
            "it accepts connections; its HEALTHCHECK has not spoken yet",
        ),
        (Running, Healthy, Passed, "ready", "its HEALTHCHECK says healthy"),
        (
            Running,
            Unhealthy,
            Passed,
            "unhealthy",
            "its HEALTHCHECK says unhealthy; it serves only when no other can",
        ),
        (
            Running,
            NoCheck,
            Failed,
            "suspect",
            "a connection to it failed; it is checked again and serves only when no other can",
        ),
        (Paused, NoCheck, Passed, "paused", "it is paused"),
        (Stopping, NoCheck, Passed, "draining", "it has its stop signal"),
        (Stopped, NoCheck, Passed, "gone", "it has stopped"),
        (Created, NoCheck, Untried, "gone", "it has not been started"),
        (
            Restarting,
            NoCheck,
            Untried,
            "gone",
            "it ended and waits for its restart policy to start it again",
        ),
    ];
    for (run, health, probe, state, reason) in table {
        let member = Member { run, health, ..member("web-1", 1) };
        let live = endpoint(&member);
        live.vitals.set_probe(probe);
        live.vitals.set_state(lifecycle::state(Signs {
            run,
            drained: false,
            health,
            checked: false,
            probe,
            been_ready: probe != Untried,
            ejected: false,
        }));
        let shown = replica(&member, Some(&live));
        assert_eq!((shown.state.as_str(), shown.reason.as_str()), (state, reason));
    }
}

#[test]
fn what_a_health_check_found_is_told() {
    use Fault::{Refused, Status};
    use Probe::{Failed, Passed, Unfit, Untried};
    let table = [
        (Untried, None, "its health check has not passed yet"),
        (Untried, Some(Status(503)), "its health check has not passed yet: it answered 503"),
        (Passed, None, "it passes its health check"),
        (Passed, Some(Status(500)), "it is ready; its last health check: it answered 500"),
        (
            Unfit,
            Some(Refused),
            "it fails its health check: it refused the connection; it serves only when no other can",
        ),
        (
            Failed,
            Some(Refused),
            "a connection to it failed; it is checked again and serves only when no other can",
        ),
    ];
    for (probe, fault, reason) in table {
        let member = member("web-1", 1);
        let live = Endpoint { check: Some(Arc::default()), ..endpoint(&member) };
        live.vitals.set_probe(probe);
        live.vitals.set_fault(fault);
        let Member { run, health, .. } = member;
        live.vitals.set_state(lifecycle::state(Signs {
            run,
            drained: false,
            health,
            checked: true,
            probe,
            been_ready: probe != Untried,
            ejected: false,
        }));
        assert_eq!(replica(&member, Some(&live)).reason, reason);
    }
}

#[test]
fn the_live_state_counts_where_it_is_newer_than_the_plan() {
    let member = member("web-1", 1);
    let live = endpoint(&member);
    live.vitals.set_state(State::Draining);
    live.tally.attempt();
    let request = live.vitals.begin();
    let shown = replica(&member, Some(&live));
    assert_eq!(shown.state, "draining");
    assert_eq!(shown.reason, "it has its stop signal; it finishes 1 request");
    assert_eq!((shown.in_flight, shown.requests, shown.run.as_str()), (1, 1, "running"));
    drop(request);
}

#[test]
fn a_member_that_runs_without_an_address_is_unreachable_and_a_stopped_one_is_not() {
    let running = Member { address: None, ..member("web-1", 1) };
    assert_eq!(replica(&running, None).state, "unreachable");
    let stopped = Member { run: RunState::Stopped, ..running };
    let shown = replica(&stopped, None);
    assert_eq!((shown.state.as_str(), shown.reason.as_str()), ("gone", "it has stopped"));
}

#[test]
fn members_are_joined_with_their_own_endpoint_and_those_that_leave_come_last() {
    let members = vec![member("old", 1), Member { run: RunState::Stopped, ..member("off", 2) }];
    let mine = endpoint(&members[0]);
    mine.tally.fail();
    // The same container in another life shares nothing.
    let removed = endpoint(&member("old", 7));
    let _request = removed.vitals.begin();
    let live = live(None, "web", vec![removed, mine]);
    let planned = plan(members, Access::Open(Rule::default()));
    let shown = replicas(Some(&planned), Some(&live));
    let names: Vec<_> = shown.iter().map(|it| (it.name.as_str(), it.run.as_str())).collect();
    assert_eq!(names, [("old", "running"), ("off", "stopped"), ("old", "removed")]);
    assert_eq!(shown.iter().map(|it| it.failures).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(shown[2].reason, "its container was removed; it finishes what it has");
    assert_eq!(shown[0].address.as_deref(), Some("10.0.0.1:8080"));
}

#[test]
fn weight_and_backup_are_told_of_a_ready_replica() {
    for (weight, backup, ending) in [
        (0, false, "; with weight 0 it gets no requests"),
        (1, true, "; as a backup it serves when no other is ready"),
        (1, false, "it accepts connections"),
    ] {
        let member = Member { weight, backup, ..member("web-1", 1) };
        let live = endpoint(&member);
        live.vitals.set_state(State::Ready);
        let shown = replica(&member, Some(&live));
        assert!(shown.reason.ends_with(ending), "{}", shown.reason);
    }
}

#[test]
fn pools_of_plan_and_table_are_listed_once_each() {
    let name = |project, name| PoolName::new(project, name).unwrap();
    let open = || plan(vec![member("web-1", 1)], Access::Open(Rule::default()));
    let mut wanted = Plan::default();
    wanted.pools.insert(name(Some("shop"), "web"), open());
    wanted.pools.insert(name(None, "new"), open());
    let ready = endpoint(&member("web-1", 1));
    ready.vitals.set_state(State::Ready);
    let both = Arc::new(live(Some("shop"), "web", vec![ready]));
    both.state.tally.record(204, Duration::from_millis(1));
    both.state.efforts.retry(Retry::Left);
    let _waiting = both.state.wait(5);
    let left = Arc::new(live(Some("shop"), "left", Vec::new()));
    let shown = pools(&wanted, [&both, &left].into_iter());
    let states: Vec<_> =
        shown.iter().map(|it| (it.label.as_str(), it.state.as_str(), it.waiting)).collect();
    assert_eq!(
        states,
        [("new", "not_ready", 0), ("shop/left", "not_ready", 0), ("shop/web", "ready", 1)]
    );
    assert!(shown[1].rule.text.starts_with("its last container was removed"));
    let web = &shown[2];
    assert_eq!((web.name.as_str(), web.project.as_deref()), ("web", Some("shop")));
    assert_eq!((web.requests["2xx"], web.requests["5xx"], web.retries), (1, 0, 1));
    assert_eq!((web.policy.as_str(), web.hold_seconds, web.hold_max), ("round_robin", 10.0, 16384));
}

#[test]
fn a_closed_pool_says_so_even_if_a_replica_is_ready() {
    let member = member("web-1", 1);
    let ready = endpoint(&member);
    ready.vitals.set_state(State::Ready);
    let planned = plan(vec![member], Access::Closed(Rule::default()));
    let live = live(None, "web", vec![ready]);
    let shown = pool(&live.name, Some(&planned), Some(&live));
    assert_eq!(shown.state, "closed");
    assert!(shown.rule.text.starts_with("answered 503"), "{}", shown.rule.text);
}

#[test]
fn a_status_of_another_version_can_be_read() {
    let read: view::Status =
        serde_json::from_str(r#"{"version":"9","pools":[{"name":"web","later":1}],"x":{}}"#)
            .unwrap();
    assert_eq!((read.version.as_str(), read.pools[0].name.as_str()), ("9", "web"));
}

fn plan(members: Vec<Member>, access: Access) -> PoolPlan {
    PoolPlan { access, settings: PoolSettings::default(), members }
}

fn member(name: &str, life: u32) -> Member {
    Member {
        workload: WorkloadId { id: name.into(), life },
        name: name.into(),
        service: Some("web".into()),
        host_name: None,
        run: RunState::Running,
        drained: false,
        health: Health::None,
        address: Some(([10, 0, 0, 1], 8080).into()),
        scheme: Scheme::Http,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
    }
}

fn endpoint(member: &Member) -> Endpoint {
    Endpoint {
        id: EndpointId {
            workload: member.workload.clone(),
            address: member.address.unwrap(),
            scheme: member.scheme,
        },
        name: Arc::clone(&member.name),
        service: member.service.clone(),
        weight: member.weight,
        backup: member.backup,
        max_conns: None,
        seed: 0,
        check: None,
        vitals: Arc::new(Vitals::new(u64::from(member.workload.life))),
        tally: Arc::default(),
    }
}

fn live(project: Option<&str>, name: &str, endpoints: Vec<Endpoint>) -> Pool {
    let name = PoolName::new(project, name).unwrap();
    Pool {
        label: name.to_string().into(),
        name,
        settings: PoolSettings::default(),
        tiers: Tiers::build(&endpoints, &[]),
        endpoints,
        names: None,
        sessions: None,
        routes: Routes::default(),
        state: Arc::new(PoolState::default()),
    }
}
