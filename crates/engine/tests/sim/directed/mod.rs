//! Exact behaviours, one by one: what the random runs allow in several ways is pinned here.

mod clients;
mod connections;
mod cross_shard;
mod ejection;
mod fragments;
mod local_commands;
mod pressure;
mod reload;
mod timeouts;

use std::time::Duration;

use engine::topology::{Ejection, Pool};

use crate::scenario::pool;

const REFUSED: &str = "-ERR Connection refused\r\n";
const TIMED_OUT: &str = "-ERR Connection timed out\r\n";
const INVALID: &str = "-ERR Invalid argument\r\n";
const UNKNOWN: &str = "-ERR unknown\r\n";
const RESET: &str = "-ERR Connection reset by peer\r\n";

/// A pool whose servers are ejected after `failure_limit` failures, for a second.
fn ejecting_pool(servers: usize, failure_limit: u32) -> Pool {
    let ejection = Ejection { failure_limit, retry_timeout: Duration::from_secs(1) };
    Pool { ejection: Some(ejection), ..pool(servers) }
}
