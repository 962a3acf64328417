//! The proof that nothing is lost: load through the balancer while replicas come
//! and go in every way that we know of.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test stops where it fails")]
#![expect(clippy::disallowed_methods, reason = "the clock is compared with that of replicas")]

mod balancing;
mod clock;
mod cut;
mod events;
mod evidence;
mod goals;
mod leaving;
mod lines;
mod load;
mod random;
mod row;
mod scenario;
mod site;
mod steps;
mod table;
mod traefik;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use balancing::Balancing;
use goals::missed;
use lines::Speaks;
use row::{Pace, Row, live};
use scenario::{Mode, OF_EACH_POOL, SCENARIOS, Scenario};
use site::{Balancer, Site, Way};
use table::table;

use crate::support::engine::{Engine, set};

#[test]
fn nothing_is_lost_while_replicas_that_exit_at_once_come_and_go() {
    prove(Mode::Exit);
}

#[test]
fn nothing_is_lost_while_replicas_that_ignore_their_signal_come_and_go() {
    prove(Mode::Ignore);
}

#[test]
fn nothing_is_lost_while_replicas_that_drain_come_and_go() {
    prove(Mode::Drain);
}

#[test]
fn nothing_is_lost_in_pools_whose_clients_belong_to_replicas() {
    prove_pools(&[Balancing::Sticky, Balancing::Pin]);
}

#[test]
fn nothing_is_lost_in_pools_that_hash_or_count_requests() {
    prove_pools(&[Balancing::IpHash, Balancing::LeastRequest]);
}

#[test]
fn nothing_is_lost_by_clients_of_http2_over_tls() {
    prove_http2(Speaks::Http2, &BY_HTTP2);
}

#[test]
fn nothing_is_lost_where_replicas_speak_http2_too() {
    prove_http2(Speaks::Http2Throughout, &TO_HTTP2);
}

#[test]
#[ignore = "takes a quarter of an hour; `make churn` runs it"]
fn nothing_is_lost_in_any_row_of_the_table() {
    let Some(engine) = Engine::find() else { return };
    let only = set("EVK_CHURN_ROWS");
    let chosen = |scenario: &Scenario, mode: Mode| {
        let row = format!("{}, {mode}", scenario.name);
        only.as_ref().is_none_or(|only| only.split(';').any(|part| row.contains(part)))
    };
    let clients = Clients { balancing: Balancing::chosen(), speaks: Speaks::chosen() };
    let mut columns = Vec::new();
    for balancer in balancers() {
        columns.push((balancer, rows(&engine, balancer, clients, FULL, &chosen)));
    }
    let table = table(&columns);
    let _ = writeln!(io::stderr(), "{table}");
    if only.is_none() && clients.balancing == Balancing::RoundRobin {
        write(&table, clients.speaks);
    }
    hold_to_the_goals(&columns[0].1);
}

/// The rows of this mode that are short enough for `make test`.
fn prove(mode: Mode) {
    let Some(engine) = Engine::find() else { return };
    let chosen = |scenario: &Scenario, row| row == mode && scenario.short.contains(&mode);
    let rows =
        rows(&engine, Balancer::Evenkeel, Clients::of(Balancing::RoundRobin), SHORT, &chosen);

    hold_to_the_goals(&rows);
}

/// One row with each of these pools.
fn prove_pools(pools: &[Balancing]) {
    let Some(engine) = Engine::find() else { return };
    let chosen = |scenario: &Scenario, _| scenario.name == OF_EACH_POOL;
    let lived = |&pool| rows(&engine, Balancer::Evenkeel, Clients::of(pool), SHORT, &chosen);
    let rows: Vec<_> = pools.iter().flat_map(lived).collect();
    assert_eq!(rows.len(), pools.len());
    hold_to_the_goals(&rows);
}

/// Some rows in which connections outlive replicas, or the other way round.
fn prove_http2(speaks: Speaks, expected: &[(&str, Mode)]) {
    let Some(engine) = Engine::find() else { return };
    let chosen = |scenario: &Scenario, mode| expected.contains(&(scenario.name, mode));
    let clients = Clients { balancing: Balancing::RoundRobin, speaks };
    let rows = rows(&engine, Balancer::Evenkeel, clients, SHORT, &chosen);
    assert_eq!(rows.len(), expected.len());
    hold_to_the_goals(&rows);
}

/// How clients come, and to what kind of pool.
#[derive(Clone, Copy, Debug)]
struct Clients {
    balancing: Balancing,
    speaks: Speaks,
}

impl Clients {
    fn of(balancing: Balancing) -> Self {
        Self { balancing, speaks: Speaks::Http1 }
    }
}

/// Ours, and the peer that is asked for.
fn balancers() -> Vec<Balancer> {
    match set("EVK_PEER").as_deref() {
        None => vec![Balancer::Evenkeel],
        Some("traefik") if Speaks::chosen() != Speaks::Http1 => {
            panic!("EVK_PEER=traefik has no TLS; leave out EVK_CHURN_PROTO")
        }
        Some("traefik") => vec![Balancer::Evenkeel, Balancer::Traefik],
        Some(other) => panic!("EVK_PEER is `{other}`; it may be `traefik`"),
    }
}

/// Lives through every scenario in every mode that is chosen.
fn rows(
    engine: &Engine,
    balancer: Balancer,
    clients: Clients,
    pace: Pace,
    chosen: &dyn Fn(&Scenario, Mode) -> bool,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for mode in Mode::ALL {
        let mut current: Option<(Way, Site)> = None;
        let possible = SCENARIOS.iter().filter(|scenario| {
            let mut variables = scenario.variables();
            scenario.modes.contains(&mode) && variables.all(|variable| set(variable).is_some())
        });
        for scenario in possible.filter(|scenario| chosen(scenario, mode)) {
            let Clients { balancing, speaks } = clients;
            let way = Way { mode, engine: scenario.engine(), balancing, speaks };
            let site = match current.take() {
                Some((same, site)) if same == way => site,
                // The old one goes before another comes.
                other => {
                    drop(other);
                    Site::up(engine, balancer, way)
                }
            };
            site.settle(scenario.fleet).unwrap();
            let mut row = live(&site, *scenario, mode, &format!("row-{}", rows.len()), pace);
            // What it has done must not last; if it does, the next has a site of its own.
            match site.settled() {
                Ok(()) => current = Some((way, site)),
                Err(why) => row.unsettled = Some(why),
            }
            row.tell();
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| SCENARIOS.iter().position(|it| it.name == row.scenario.name));
    rows
}

fn hold_to_the_goals(rows: &[Row]) {
    let missed = missed(rows);
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}

/// Each protocol has a table of its own on the page.
fn write(table: &str, speaks: Speaks) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CHURN.md");
    let page = fs::read_to_string(&path).unwrap();
    let protocol = speaks.as_str();
    let (begin, end) = (format!("<!-- {protocol} -->"), format!("<!-- end of {protocol} -->"));
    let (before, rest) = page.split_once(&begin).expect("docs/CHURN.md marks its tables");
    let (_, after) = rest.split_once(&end).expect("docs/CHURN.md marks the ends of its tables");
    fs::write(&path, format!("{before}{begin}\n{table}{end}{after}")).unwrap();
}

const FULL: Pace = Pace {
    per_second: 400,
    before: Duration::from_millis(1_500),
    after: Duration::from_millis(2_500),
};

/// Other tests run beside it.
const SHORT: Pace = Pace {
    per_second: 200,
    before: Duration::from_millis(500),
    after: Duration::from_millis(1_000),
};

/// The rows of `make test` in which a connection outlives many replicas.
const BY_HTTP2: [(&str, Mode); 5] = [
    ("scale 1 → 5", Mode::Exit),
    ("scale 5 → 2", Mode::Exit),
    ("docker kill one", Mode::Exit),
    ("restart all at once", Mode::Exit),
    ("docker kill one, POST 1 KiB", Mode::Exit),
];

/// The rows of `make test` in which replicas end connections that many requests
/// share: by a reset, by a GOAWAY, and by nothing at all.
const TO_HTTP2: [(&str, Mode); 6] = [
    ("scale 1 → 5", Mode::Exit),
    ("scale 5 → 2", Mode::Drain),
    ("docker kill one", Mode::Exit),
    ("pause one for 5 s", Mode::Ignore),
    ("restart all at once", Mode::Exit),
    ("docker kill one, POST 1 KiB", Mode::Exit),
];
