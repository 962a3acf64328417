//! Watching replicas that are there, are not, or speak in vain.

mod replica;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::domain::lifecycle::{Fault, Question, State};
use crate::domain::names::PoolName;
use crate::domain::plan::{Member, Plan, PoolPlan};
use crate::domain::pool::{PoolSettings, Vitals};
use crate::domain::rule::{Access, Rule};
use crate::domain::upstream::Scheme;
use crate::domain::world::{Health, RunState, WorkloadId};
use crate::probe::ask::{self, Asked, CHECKS_MAX, CONNECTS_MAX};
use crate::probe::tests::replica::{Replica, speaking, speaking_on};

#[tokio::test]
async fn an_endpoint_passes_as_soon_as_it_listens() {
    let address = free_address().await;
    let mut watched = Watching::start(&[address], None);
    assert!(timeout(Duration::from_millis(60), watched.alarm.raised()).await.is_err());
    let _listener = TcpListener::bind(address).await.unwrap();
    watched.until(Probe::Passed).await;
    assert_eq!(watched.state(), State::Ready);
}

#[tokio::test]
async fn an_endpoint_that_left_is_no_longer_watched() {
    let mut watched = Watching::start(&[free_address().await], None);
    assert_eq!(watched.prober.watched.len(), 1);
    watched.prober.follow(&RoutingTable::default());
    assert!(watched.prober.watched.is_empty());
}

#[tokio::test]
async fn a_paused_endpoint_is_not_asked_since_its_backlog_accepts_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = plan(&[listener.local_addr().unwrap()], None);
    let paused = with_members(&plan, |member| member.run = RunState::Paused);
    let table = RoutingTable::build(&paused, &RoutingTable::default());
    let mut prober = Prober::new(Alarm::default());
    prober.follow(&table);
    assert!(prober.watched.is_empty());

    // Nor is one that is paused while it waits to be asked.
    let table = RoutingTable::build(&plan, &table);
    let vitals = vitals(&table);
    prober.follow(&table);
    vitals.set_state(State::Paused);
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    assert_eq!(vitals.probe(), Probe::Untried);
}

#[tokio::test]
async fn a_suspicion_has_the_endpoint_asked_at_once_and_a_pass_lifts_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut watched = Watching::start(&[listener.local_addr().unwrap()], None);
    watched.until(Probe::Passed).await;
    assert!(watched.vitals().suspect());
    assert_eq!(watched.state(), State::Suspect);
    watched.follow();
    watched.until(Probe::Passed).await;
    assert_eq!(watched.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_of_which_nobody_told_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watched = Watching::start(&[listener.local_addr().unwrap()], None);
    while watched.vitals().probe() != Probe::Passed {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    watched.vitals().suspect();
    let began = Instant::now();
    while watched.vitals().probe() != Probe::Passed {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_ready_by_healthcheck_alone_and_refuses_is_suspect() {
    let mut plan = plan(&[free_address().await], None);
    plan = with_members(&plan, |member| member.health = Health::Healthy);
    let mut watched = Watching::of(plan);
    assert_eq!(watched.state(), State::Ready);
    watched.until(Probe::Failed).await;
    assert_eq!(watched.state(), State::Suspect);
}

#[tokio::test]
async fn connections_under_way_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alarm = Alarm::default();
    let prober = Prober::new(alarm.clone());
    let limits = Arc::clone(&prober.limits);
    let most = u32::try_from(CONNECTS_MAX).unwrap();
    let all = limits.connects.acquire_many(most).await.unwrap();
    let mut watched = Watching::by(prober, alarm, plan(&[listener.local_addr().unwrap()], None));
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    drop(all);
    watched.until(Probe::Passed).await;
}

#[tokio::test]
async fn checks_under_way_are_bounded_and_none_is_left_out() {
    let replica = Replica::start(200).await;
    replica.silent.send_replace(true);
    let check = HealthCheck { timeout: Duration::from_secs(20), ..check() };
    let addresses = vec![replica.address; CHECKS_MAX + 8];
    let mut watched = Watching::start(&addresses, Some(check));
    replica.until_open(CHECKS_MAX).await;
    assert!(timeout(Duration::from_millis(50), replica.until_open(CHECKS_MAX + 1)).await.is_err());
    replica.silent.send_replace(false);
    watched.until(Probe::Passed).await;
}

#[tokio::test]
async fn a_check_asks_for_its_path_and_host_over_a_connection_of_its_own() {
    let replica = Replica::start(204).await;
    let check = HealthCheck { host: Some("shop.example".into()), ..check() };
    let mut watched = Watching::start(&[replica.address], Some(check));
    watched.until(Probe::Passed).await;
    let asked = replica.asked.borrow().to_lowercase();
    assert!(asked.starts_with("get /up?deep=1 http/1.1\r\n"), "{asked}");
    for field in ["host: shop.example", "user-agent: evenkeel-health", "connection: close"] {
        assert!(asked.contains(&format!("\r\n{field}\r\n")), "{field} in {asked}");
    }
}

#[tokio::test]
async fn a_check_may_ask_another_port_and_names_the_address_without_a_host() {
    let (replica, served) = (Replica::start(200).await, free_address().await);
    let check = HealthCheck { port: Some(replica.address.port()), ..check() };
    let mut watched = Watching::start(&[served], Some(check));
    watched.until(Probe::Passed).await;
    let host = format!("\r\nhost: {}\r\n", replica.address);
    assert!(replica.asked.borrow().to_lowercase().contains(&host));
}

#[tokio::test]
async fn one_that_listens_and_fails_its_check_is_not_ready_until_it_passes() {
    let replica = Replica::start(503).await;
    let mut watched = Watching::start(&[replica.address], Some(check()));
    replica.until_answered(5).await;
    assert_eq!((watched.state(), watched.vitals().probe()), (State::Starting, Probe::Untried));
    assert_eq!(watched.vitals().fault(), Some(Fault::Status(503)));
    replica.status.send_replace(200);
    watched.until(Probe::Passed).await;
    assert_eq!((watched.state(), watched.vitals().fault()), (State::Ready, None));
}

#[tokio::test]
async fn one_that_fails_again_and_again_is_unhealthy_until_it_passes_again() {
    let replica = Replica::start(200).await;
    let mut watched = Watching::start(&[replica.address], Some(check()));
    watched.until(Probe::Passed).await;
    replica.status.send_replace(500);
    watched.until(Probe::Unfit).await;
    assert_eq!(watched.state(), State::Unhealthy);
    replica.status.send_replace(302);
    watched.until(Probe::Passed).await;
    assert_eq!(watched.state(), State::Ready);
}

#[tokio::test]
async fn a_check_that_began_before_a_suspicion_does_not_lift_it() {
    let replica = Replica::start(200).await;
    let slow_to_fall = HealthCheck { fall: 1000, ..check() };
    let mut watched = Watching::start(&[replica.address], Some(slow_to_fall));
    watched.until(Probe::Passed).await;
    replica.silent.send_replace(true);
    replica.until_open(1).await;
    watched.vitals().suspect();
    // The check under way will pass, and those after it will not.
    replica.status.send_replace(500);
    replica.silent.send_replace(false);
    replica.until_answered(replica.answered() + 3).await;
    assert_eq!(watched.vitals().probe(), Probe::Failed);
    replica.status.send_replace(200);
    watched.until(Probe::Passed).await;
}

#[tokio::test]
async fn who_comes_back_from_a_pause_serves_and_falls_if_it_answers_no_more() {
    let replica = Replica::start(200).await;
    let mut watched = Watching::start(&[replica.address], Some(check()));
    watched.until(Probe::Passed).await;
    for (status, held) in [(200, Probe::Passed), (500, Probe::Unfit)] {
        watched.change(|member| member.run = RunState::Paused);
        assert!(watched.prober.watched.is_empty());
        replica.status.send_replace(status);
        watched.change(|member| member.run = RunState::Running);
        assert_eq!((watched.state(), watched.vitals().probe()), (State::Ready, Probe::Untried));
        watched.until(held).await;
    }
    assert_eq!(watched.state(), State::Unhealthy);
}

#[tokio::test]
async fn who_drains_no_more_must_pass_its_check_again() {
    let replica = Replica::start(200).await;
    let mut watched = Watching::start(&[replica.address], Some(check()));
    watched.until(Probe::Passed).await;
    watched.change(|member| member.drained = true);
    assert!(watched.prober.watched.is_empty());
    watched.change(|member| member.drained = false);
    assert_eq!(watched.state(), State::Suspect);
    watched.until(Probe::Passed).await;
    assert_eq!(watched.state(), State::Ready);
}

#[tokio::test]
async fn what_is_no_answer_is_told_for_what_it_is() {
    let silence = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let short = HealthCheck { timeout: Duration::from_millis(20), ..check() };
    assert_eq!(found(silence.local_addr().unwrap(), &short).await, Some(Fault::TimedOut));
    assert_eq!(found(free_address().await, &check()).await, Some(Fault::Refused));
    let closes = speaking(b"").await;
    assert_eq!(found(closes, &check()).await, Some(Fault::Closed));
    let mail = speaking(b"220 mail.example ESMTP\r\n").await;
    assert_eq!(found(mail, &check()).await, Some(Fault::NotHttp));
    let endless = speaking(&[b'x'; 1 << 20]).await;
    assert_eq!(found(endless, &check()).await, Some(Fault::NotHttp));
    let long_head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 1 << 20]].concat();
    assert_eq!(found(speaking(&long_head).await, &check()).await, Some(Fault::NotHttp));
}

#[tokio::test]
async fn a_body_that_never_ends_changes_no_verdict() {
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 1 << 20]].concat();
    assert_eq!(found(speaking(&endless).await, &check()).await, None);
    let stalls = speaking_on(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", true).await;
    assert_eq!(found(stalls, &check()).await, None);
}

/// What one check finds.
async fn found(address: SocketAddr, check: &HealthCheck) -> Option<Fault> {
    let clients = Clients::default();
    let asked = Asked { address, scheme: Scheme::Http, clients: &clients };
    ask::check(asked, check, &Limits::default()).await.err()
}

fn check() -> HealthCheck {
    HealthCheck {
        asks: Question::Path("/up?deep=1".into()),
        interval: Duration::from_millis(10),
        ..HealthCheck::default()
    }
}

/// A prober and a table that follow each other as under the control loop.
struct Watching {
    prober: Prober,
    alarm: Alarm,
    plan: Plan,
    table: RoutingTable,
}

impl Watching {
    fn start(addresses: &[SocketAddr], check: Option<HealthCheck>) -> Self {
        Self::of(plan(addresses, check))
    }

    fn of(plan: Plan) -> Self {
        let alarm = Alarm::default();
        Self::by(Prober::new(alarm.clone()), alarm, plan)
    }

    fn by(prober: Prober, alarm: Alarm, plan: Plan) -> Self {
        let table = RoutingTable::build(&plan, &RoutingTable::default());
        let mut watching = Self { prober, alarm, plan, table };
        watching.follow();
        watching
    }

    fn follow(&mut self) {
        self.table = RoutingTable::build(&self.plan, &self.table);
        self.prober.follow(&self.table);
    }

    fn change(&mut self, change: impl Fn(&mut Member)) {
        self.plan = with_members(&self.plan, change);
        self.follow();
    }

    /// Follows the alarm until this is held of every endpoint.
    async fn until(&mut self, held: Probe) {
        let all = |table: &RoutingTable| {
            let mut endpoints = table.pools().flat_map(|pool| &pool.endpoints);
            endpoints.all(|endpoint| endpoint.vitals.probe() == held)
        };
        while !all(&self.table) {
            timeout(Duration::from_secs(10), self.alarm.raised()).await.unwrap();
            self.follow();
        }
        self.follow();
    }

    fn vitals(&self) -> Arc<Vitals> {
        vitals(&self.table)
    }

    fn state(&self) -> State {
        self.vitals().state()
    }
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn vitals(table: &RoutingTable) -> Arc<Vitals> {
    Arc::clone(&table.pools().next().unwrap().endpoints[0].vitals)
}

fn with_members(plan: &Plan, change: impl Fn(&mut Member)) -> Plan {
    let mut plan = plan.clone();
    plan.pools.values_mut().flat_map(|pool| &mut pool.members).for_each(change);
    plan
}

fn plan(addresses: &[SocketAddr], check: Option<HealthCheck>) -> Plan {
    let members = addresses.iter().zip(0..).map(|(address, life)| Member {
        workload: WorkloadId { id: "one".into(), life },
        name: "one".into(),
        service: None,
        host_name: None,
        run: RunState::Running,
        drained: false,
        health: Health::None,
        address: Some(*address),
        scheme: Scheme::Http,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
    });
    let pool = PoolPlan {
        access: Access::Open(Rule::default()),
        settings: PoolSettings { health: check.map(Arc::new), ..PoolSettings::default() },
        members: members.collect(),
    };
    let pools = [(PoolName::new(None, "shop").unwrap(), pool)];
    Plan { pools: pools.into(), complete: true, ..Plan::default() }
}
