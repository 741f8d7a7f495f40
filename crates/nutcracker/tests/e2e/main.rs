//! End-to-end tests: the proxy as a process between real clients and real or scripted servers.
//!
//! One binary for all of them, so that the harness is built and linked once; the comparison with twemproxy 0.5 lives
//! in `tests/differential` and is part of it for the same reason. `NUTCRACKER_UNDER_TEST` runs the tests against
//! another binary.
#![forbid(unsafe_code)]

mod harness;

#[path = "../differential/mod.rs"]
mod differential;

#[path = "../stats/mod.rs"]
mod stats;

mod auth;
mod buffers;
mod config;
mod ejection;
mod health;
mod idle;
mod keepalived;
mod large_replies;
mod lifecycle;
mod local;
mod memcached;
mod memory;
mod network;
mod parser;
mod placement;
mod process;
mod proxy_protocol;
mod reload;
mod replies;
mod resolver;
mod routing;
mod scale;
mod split;
mod starts;
mod tutorials;
mod uploads;
