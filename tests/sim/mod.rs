//! A simulated network and everything on it, decided by a seed.

// Each item serves the one test crate there is.
#![allow(missing_debug_implementations, missing_docs, unreachable_pub)]

pub mod app;
pub mod peer;
pub mod pipe;
pub mod rng;
pub mod world;
