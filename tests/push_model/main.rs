//! The hub against a model of it: thousands of random histories of clients that come and go, publications with and without
//! keys, stores that are slow, fail and are cut off by a crash, times that pass and configurations that change.
//!
//! What is checked is what subscribers and publishers see:
//! nothing that was never published, or was refused, is delivered · nothing twice · nothing is left out, unless that is
//! said · all see the same order, over restarts too · `recovered` is true exactly if nothing is missing · what was
//! acknowledged as durable is there · nothing follows an unsubscription · who may not see does not · presence is who is there.
//!
//! Every run is decided by a seed. `LOOPWIRE_MODEL_SEEDS=100000` runs that many; a failing one is named with the command
//! that repeats it.

// A test has no users of its own to document for.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]

mod checker;
mod checks;
mod disk;
mod restart;
#[path = "../sim/rng.rs"]
#[allow(dead_code)]
mod rng;
mod world;

use std::panic::catch_unwind;

use world::{Summary, World};

const SEEDS: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

#[test]
fn subscribers_see_what_they_are_promised_whatever_happens() {
    if let Some(seed) = number("LOOPWIRE_MODEL_SEED") {
        println!("{:?}", World::new(seed).run());
        return;
    }
    let seeds = number("LOOPWIRE_MODEL_SEEDS").unwrap_or(SEEDS);
    let mut total = Summary::default();
    for seed in 0..seeds {
        let Ok(summary) = catch_unwind(|| World::new(seed).run()) else {
            panic!("seed {seed} fails; repeat it with\n  LOOPWIRE_MODEL_SEED={seed} cargo test --test push_model");
        };
        total += summary;
    }
    println!("{seeds} seeds: {total:?}");
    // Histories in which nothing happens prove nothing.
    if seeds >= SEEDS {
        let Summary { received, recovered, unrecovered, refused, deduplicated, crashes, stops, lost, gone } = total;
        let least = usize::try_from(seeds).unwrap();
        assert!(received > 20 * least && recovered > least / 2 && unrecovered > least / 2, "{total:?}");
        assert!(refused > least && deduplicated > least && lost > least && gone > least / 4, "{total:?}");
        assert!(crashes > least / 2 && stops > least / 2, "{total:?}");
    }
}
