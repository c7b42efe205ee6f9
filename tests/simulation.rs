//! The real sessions under a simulated network: short reads and writes, `WouldBlock` storms, ends and resets at any byte,
//! spurious, doubled, late and stale events, and an application that does everything at the wrong time.
//!
//! Every run is decided by a seed. `LOOPWIRE_SIM_SEEDS=1000` runs that many; a failing one is named with the command
//! that repeats it.

mod sim;

use std::panic::catch_unwind;

use sim::world::{Summary, World};

const SEEDS: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

#[test]
fn nothing_is_lost_doubled_or_left_behind_whatever_the_network_does() {
    if let Some(seed) = number("LOOPWIRE_SIM_SEED") {
        println!("{:?}", World::new(seed).run());
        return;
    }
    let seeds = number("LOOPWIRE_SIM_SEEDS").unwrap_or(SEEDS);
    let mut total = Summary::default();
    for seed in 0..seeds {
        let Ok(summary) = catch_unwind(|| World::new(seed).run()) else {
            panic!("seed {seed} fails; repeat it with\n  LOOPWIRE_SIM_SEED={seed} cargo test --test simulation");
        };
        total += summary;
    }
    println!("{seeds} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    if seeds >= SEEDS {
        let least = 20 * seeds as usize;
        assert!(total.connections > 5 * seeds as usize && total.received > least && total.sent > least, "{total:?}");
        assert!(total.panics > 0 && total.errors > 0, "{total:?}");
    }
}
