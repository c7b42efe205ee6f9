//! A simulated network and everything on it, decided by a seed.

// Each test crate uses its own part of this.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

pub mod app;
pub mod peer;
pub mod pipe;
pub mod rng;
pub mod world;
