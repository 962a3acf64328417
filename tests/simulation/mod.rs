//! The whole balancer in virtual time, before a model of an engine that does
//! everything engines do: one seed is one history, always the same.
//!
//! What is real: the observer of Docker, the control loop, the planner, the
//! routing table, lifecycle, the choice of an endpoint and the rules of retry.
//! What is modelled: the engine, its containers, the network, and the clients.
//!
//! `EVK_SEED=7 cargo test --test all simulation` runs one history and tells it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

mod chance;
mod checks;
mod client;
mod container;
mod engine;
mod history;
mod network;
mod operator;
mod prober;
mod watcher;

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use self::history::History;

#[test]
fn nothing_is_lost_in_any_of_many_histories() {
    if let Some(seed) = env::var_os("EVK_SEED") {
        let seed = seed.to_str().and_then(|seed| seed.parse().ok()).expect("EVK_SEED is a number");
        let history = History::play(seed);
        // Not `println!`, which the test runner keeps to itself.
        let _ = writeln!(io::stderr(), "{}", history.told());
        assert!(history.faults.is_empty(), "seed {seed}:\n{}", history.faults.join("\n"));
        return;
    }
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).min(THREADS_MAX) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let history = History::play(seed);
                    if !history.faults.is_empty() {
                        failed.lock().unwrap().push(history);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|history| history.seed);
    let told = failed.iter().take(TOLD_MAX).map(History::complaint);
    let told: Vec<_> = told.collect();
    assert!(failed.is_empty(), "{} of {SEEDS} seeds failed:\n{}", failed.len(), told.join("\n"));
}

#[test]
fn a_history_is_the_same_each_time() {
    for seed in 0..4 {
        let [first, second] = [seed, seed].map(|seed| History::play(seed).told());
        assert_eq!(first, second, "seed {seed}");
    }
}

const SEEDS: u64 = 256;

const THREADS_MAX: usize = 4;

/// Histories of which the faults are told.
const TOLD_MAX: usize = 8;
