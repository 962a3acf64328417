//! What clients that mean harm cost: the balancer's memory, and the time of a
//! well-behaved client beside them; and what connections cost that do nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test stops where it fails")]

mod army;
mod attack;
mod calm;
mod frames;
mod idle;
mod victim;

use std::io::{self, Write};
use std::time::Duration;

use army::Army;
use attack::Attack;
use calm::Calm;
use idle::Idle;
use victim::{MIB, Victim};

/// How many come, and for how long.
#[derive(Clone, Copy, Debug)]
struct Siege {
    hostile: usize,
    time: Duration,
    memory_max: u64,
    /// Of the well-behaved client, beyond what the load itself is late.
    p99_max: Duration,
}

#[test]
fn a_thousand_hostile_connections_neither_fill_the_memory_nor_delay_others() {
    // Other tests run beside it, and the build is not an optimised one: what
    // others do not feel at all is for the larger one to show.
    withstand(Siege {
        hostile: 1_000,
        time: Duration::from_secs(5),
        memory_max: 128 * MIB,
        p99_max: Duration::from_secs(3),
    });
}

#[test]
#[ignore = "needs a release build and a machine of its own; `make hostile` runs it"]
fn ten_thousand_hostile_connections_neither_fill_the_memory_nor_delay_others() {
    withstand(Siege {
        hostile: 10_000,
        time: Duration::from_secs(30),
        memory_max: 256 * MIB,
        p99_max: Duration::from_millis(50),
    });
}

#[test]
#[ignore = "needs a machine of its own; `make hostile` runs the larger one"]
fn a_thousand_connections_that_rest_need_little_memory() {
    for idle in Idle::ALL {
        let cost = idle.cost(1_000);
        say(&format!("1,000 {idle}: {cost}"));
        assert!(cost.per_connection() < idle.most_per_connection(), "{idle}: {cost}");
    }
}

#[test]
#[ignore = "needs a release build; `make hostile` runs it"]
fn ten_thousand_connections_that_rest_need_little_memory() {
    for idle in Idle::ALL {
        let cost = idle.cost(10_000);
        say(&format!("10,000 {idle}: {cost}"));
        assert!(cost.whole < idle.whole_max(), "{idle}: {cost}");
    }
}

/// Holds a balancer under siege to what it may use.
fn withstand(siege: Siege) {
    let victim = Victim::start(siege.hostile);
    let before = victim.memory();
    let calm = Calm::start(&victim);
    let army = Army::march(&victim, siege.hostile);
    army.wait_until_there(siege.hostile);
    std::thread::sleep(siege.time);
    let peak = victim.memory_peak();
    let calm = calm.finish();
    let told = army.finish();

    say(&format!(
        "{} hostile connections for {:?}: {} MiB at rest, {} MiB at the most; {calm}; {told}",
        siege.hostile,
        siege.time,
        before / MIB,
        peak / MIB,
    ));
    assert!(peak < siege.memory_max, "{} MiB", peak / MIB);
    assert_eq!(calm.failed, 0, "{calm}");
    assert!(calm.p99 < siege.p99_max + calm.noise, "{calm}");
    for attack in Attack::ALL {
        assert!(told.waves(attack) > 0, "nobody came with {attack:?}: {told}");
    }
}

/// Not by `eprintln!`, which the test runner keeps to itself.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
