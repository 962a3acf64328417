//! `evenkeel drain` and `undrain`: taking single replicas of a running balancer
//! out of service and back.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::ArgMatches;
use http::StatusCode;
use tokio::time::Instant;

use crate::admin::view::{self, Order, Ordered, OrderedReplica, Status};
use crate::cli::fetch::{Answer, Balancer};
use crate::cli::status::{self, Refused};
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::{arguments, finding, print};
use crate::config;

#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Drain,
    Undrain,
}

pub(super) fn main(wish: Wish, matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let flags = arguments::flags(matches);
    let client = match config::load_client(&flags, &around.env, &surroundings::read_file) {
        Ok(client) => client,
        Err(mistakes) => return finding::refuse(mistakes),
    };
    let balancer = Balancer { admin: client.admin, token: client.token.as_ref(), within: WITHIN };
    let replicas = matches.get_many("names").into_iter().flatten().cloned().collect();
    let wait = match wish {
        Wish::Drain => matches.get_one::<Duration>("wait").copied(),
        Wish::Undrain => None,
    };
    let done = order(balancer, wish, &Order { replicas }).and_then(|ordered| {
        for replica in &ordered.replicas {
            print::say(line(replica));
        }
        wait.map_or(Ok(()), |wait| finished(balancer, &ordered, wait))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((message, hint)) => print::refuse(&message, &hint),
    }
}

fn order(balancer: Balancer<'_>, wish: Wish, order: &Order) -> Result<Ordered, Refused> {
    let (path, command) = match wish {
        Wish::Drain => ("/api/v1/drain", "drain NAME"),
        Wish::Undrain => ("/api/v1/undrain", "undrain NAME"),
    };
    let json = serde_json::to_vec(order).map_err(|error| (error.to_string(), String::new()))?;
    let answer =
        balancer.post(path, json).map_err(|error| (error.to_string(), error.hint().to_owned()))?;
    if answer.status != StatusCode::OK {
        return Err(refused(&answer, &balancer.url(path), command));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        let hint = "see that --admin names the admin port of a balancer, not a port that it serves";
        (format!("{} did not answer as a balancer would", balancer.url(path)), hint.to_owned())
    })
}

/// What the balancer says itself, else what its status means.
fn refused(answer: &Answer, url: &str, command: &str) -> Refused {
    match serde_json::from_slice::<view::Refused>(&answer.body) {
        Ok(refused) if !refused.message.is_empty() => (refused.message, refused.hint),
        Ok(_) | Err(_) => (format!("{url} answered {}", answer.status), answer.hint(command)),
    }
}

fn line(replica: &OrderedReplica) -> String {
    let OrderedReplica { pool, name, state, .. } = replica;
    let in_flight = finding::counted(replica.in_flight as usize, "request");
    print::clean(&format!("{name} of pool {pool}: {state}, {in_flight} in flight"))
}

/// Waits until none of `ordered` has a request in flight, telling each change.
fn finished(balancer: Balancer<'_>, ordered: &Ordered, wait: Duration) -> Result<(), Refused> {
    let until = Instant::now() + wait;
    let mut told = None;
    loop {
        let left = in_flight(ordered, &status::current(balancer)?);
        if left == 0 {
            print::say("Nothing is in flight any more.");
            return Ok(());
        }
        let shown = finding::counted(left as usize, "request");
        if Instant::now() >= until {
            let wait = humantime::format_duration(wait);
            let hint = "they go on until the pool's `lb.drain` is over; wait longer, or `undrain`";
            return Err((format!("{shown} still in flight after {wait}"), hint.to_owned()));
        }
        if told.replace(left) != Some(left) {
            print::say(format_args!("Waiting for {shown} in flight."));
        }
        sleep(STEP);
    }
}

/// How many requests the ordered replicas have in flight now. One that does not
/// drain any more has none of which to wait for; one that is in two pools counts
/// once.
fn in_flight(ordered: &Ordered, now: &Status) -> u32 {
    let meant: BTreeSet<_> = ordered.replicas.iter().map(|it| (&it.id, &it.address)).collect();
    let replicas = now.pools.iter().flat_map(|pool| &pool.replicas);
    let draining = replicas.filter(|it| it.state == DRAINING);
    let counts = draining.map(|it| ((&it.id, &it.address), it.in_flight));
    let counts: BTreeMap<_, _> = counts.filter(|(key, _)| meant.contains(key)).collect();
    counts.into_values().sum()
}

/// As the view spells it.
const DRAINING: &str = "draining";

const WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at what is in flight.
const STEP: Duration = Duration::from_millis(100);

/// Longer than any `lb.drain` that people use.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::{Pool, Replica};

    #[test]
    fn only_the_replicas_that_were_ordered_and_still_drain_are_waited_for() {
        let replica = |id: &str, port: u16, state: &str, in_flight| Replica {
            id: id.to_owned(),
            address: Some(format!("10.0.0.1:{port}")),
            state: state.to_owned(),
            in_flight,
            ..Replica::default()
        };
        let ordered = |port: u16| OrderedReplica {
            id: "a".to_owned(),
            address: Some(format!("10.0.0.1:{port}")),
            ..OrderedReplica::default()
        };
        let ordered = Ordered { replicas: vec![ordered(80), ordered(81)] };
        let web = vec![replica("a", 80, DRAINING, 2), replica("b", 80, DRAINING, 7)];
        let admin = vec![replica("a", 81, "ready", 9), replica("a", 80, DRAINING, 2)];
        let pools = [web, admin].map(|replicas| Pool { replicas, ..Pool::default() });
        let status = Status { pools: pools.to_vec(), ..Status::default() };
        assert_eq!(in_flight(&ordered, &status), 2);
        assert_eq!(in_flight(&ordered, &Status::default()), 0);
    }
}
