//! Each fault of the event loop by its name, on the real sessions and under a clock that moves only when told.

// The harness is everybody's in here, and no one else's.
#![allow(missing_debug_implementations, missing_docs, unreachable_pub)]

mod callbacks;
mod deadlines;
mod exchanges;
mod harness;
mod layers;
#[path = "../sim/mod.rs"]
mod sim;
mod streams;
