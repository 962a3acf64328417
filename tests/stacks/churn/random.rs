//! Things at random, the same ones on every run.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::site::Site;

/// One that things are done to.
#[derive(Clone, Debug)]
enum Slot {
    /// Of the compose file, by its id.
    Replica(String),
    /// One more, that comes and goes; how it is started.
    Further(Vec<String>),
}

/// What is done next, and what brings the replica back after it.
type Deed = (Vec<String>, Option<Vec<String>>);

/// Does so many things a second to replicas at random, and then brings back
/// those that are away. One replica is always left alone.
pub(super) fn churn(site: &Site, per_second: u32, seconds: u64) {
    let mut rng = fastrand::Rng::with_seed(SEED);
    // The first one stays.
    let mut slots: Vec<_> = site.replicas().into_iter().skip(1).map(Slot::Replica).collect();
    slots.extend((0..FURTHER).map(|number| Slot::Further(site.one_more(number))));
    let mut remedies: Vec<Option<Vec<String>>> = vec![None; slots.len()];
    let busy = Arc::new(Mutex::new(BTreeSet::new()));
    let mut running = Vec::new();
    let (begin, turn) = (Instant::now(), Duration::from_secs(1) / per_second);
    let mut number = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let index = rng.usize(..slots.len());
        // One thing at a time; where all are at it, the turn is lost.
        if busy.lock().unwrap().insert(index) {
            let deed = match remedies[index].take() {
                Some(remedy) => remedy,
                None => {
                    let (deed, remedy) = slots[index].harm(&mut rng);
                    remedies[index] = remedy;
                    deed
                }
            };
            let busy = Arc::clone(&busy);
            running.push(thread::spawn(move || {
                docker(&deed);
                busy.lock().unwrap().remove(&index);
            }));
        }
        number += 1;
        thread::sleep((turn * number).saturating_sub(begin.elapsed()));
    }
    for one in running {
        one.join().unwrap();
    }
    for remedy in remedies.into_iter().flatten() {
        docker(&remedy);
    }
}

impl Slot {
    fn harm(&self, rng: &mut fastrand::Rng) -> Deed {
        match self {
            Self::Replica(id) => {
                let (verb, remedy) = HARM[rng.usize(..HARM.len())];
                (words(verb, id), remedy.map(|remedy| words(remedy, id)))
            }
            Self::Further(run) => {
                let name = &run[run.iter().position(|word| word == "--name").unwrap() + 1];
                (run.clone(), Some(words("rm -f", name)))
            }
        }
    }
}

fn words(verb: &str, id: &str) -> Vec<String> {
    verb.split(' ').chain([id]).map(str::to_owned).collect()
}

fn docker(words: &[String]) {
    let status = Command::new("docker").args(words).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "docker {words:?} failed");
}

/// What is done to a replica that runs, and what brings it back.
const HARM: [(&str, Option<&str>); 5] = [
    ("stop -t 1", Some("start")),
    ("kill", Some("start")),
    ("pause", Some("unpause")),
    ("restart -t 1", None),
    // No stop.
    ("kill -s HUP", None),
];

/// Replicas that are made and removed.
const FURTHER: usize = 2;
const SEED: u64 = 0x0e5e_0ee1;
