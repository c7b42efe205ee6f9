//! The push server over real sockets: what its clients and its application see, told as conversations.

#![cfg(feature = "gateway")]
// A claim is written as a value.
#![allow(clippy::assigning_clones)]

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../support/mod.rs"]
mod support;

mod backends;
mod channels;
mod connections;
mod durable;
mod limits;
mod protobuf;
mod raw;
mod talk;
mod tokens;
