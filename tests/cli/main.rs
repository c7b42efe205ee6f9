//! The `loopwire` command as its users meet it: the real binary, real sockets, real signals.

mod autobahn;
mod bench;
mod bench_push;
mod connect;
mod diff;
mod explain;
mod frame;
mod learn;
mod lint;
mod peer;
mod process;
mod recordings;
mod replay;
mod serve;
mod servers;
mod settings;
mod tap;
mod tools;
mod violate;
