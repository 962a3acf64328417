//! Things at random, the same ones on every run.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::site::Site;

/// Does so many things a second to replicas at random, and then brings back
/// those that are away. One replica is always left alone.
pub(super) fn churn(site: &Site, per_second: u32, seconds: u64) {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let all: Vec<_> = site.replicas().into_iter().collect();
    // The first one stays.
    let churned = &all[1..];
    let busy = Arc::new(Mutex::new(BTreeSet::new()));
    let mut away: Vec<Option<&'static str>> = vec![None; churned.len()];
    let mut running = Vec::new();
    let (begin, turn) = (Instant::now(), Duration::from_secs(1) / per_second);
    for number in 1.. {
        if begin.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let index = rng.usize(..churned.len());
        let (away, id) = (&mut away[index], churned[index].clone());
        if busy.lock().unwrap().insert(id.clone()) {
            let verb = away.take().unwrap_or_else(|| {
                let (verb, remedy) = HARM[rng.usize(..HARM.len())];
                *away = remedy;
                verb
            });
            let busy = Arc::clone(&busy);
            running.push(thread::spawn(move || {
                docker(verb, &id);
                busy.lock().unwrap().remove(&id);
            }));
        }
        thread::sleep((turn * number).saturating_sub(begin.elapsed()));
    }
    for one in running {
        one.join().unwrap();
    }
    for (id, remedy) in churned.iter().zip(away) {
        if let Some(remedy) = remedy {
            docker(remedy, id);
        }
    }
}

fn docker(verb: &str, id: &str) {
    let mut command = Command::new("docker");
    command.args(verb.split(' ')).arg(id).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "docker {verb} {id} failed");
}

/// What is done to a replica that runs, and what brings it back.
const HARM: [(&str, Option<&str>); 5] = [
    ("stop -t 1", Some("start")),
    ("kill", Some("start")),
    ("pause", Some("unpause")),
    ("restart -t 1", None),
    ("kill -s HUP", None),
];

const SEED: u64 = 0x0e5e_0ee1;
