//! Exact behaviours, one by one: what the random runs allow in several ways is pinned here.

mod clients;
mod connections;
mod cross_shard;
mod ejected_memcached;
mod ejection;
mod fragments;
mod gathered;
mod holding;
mod large_replies;
mod local_commands;
mod memcached;
mod on_eject;
mod pressure;
mod probing;
mod reload;
mod timeouts;
mod uploads;

use std::time::Duration;

use engine::topology::{Ejection, OnEject, Pool};

use engine::Event;

use crate::network::Door;
use crate::rig::{Rig, command};
use crate::scenario::pool;

const REFUSED: &str = "-ERR Connection refused\r\n";
const TIMED_OUT: &str = "-ERR Connection timed out\r\n";
const INVALID: &str = "-ERR Invalid argument\r\n";
const UNKNOWN: &str = "-ERR unknown\r\n";
const RESET: &str = "-ERR Connection reset by peer\r\n";

/// A pool whose servers are ejected after `failure_limit` failures, for a second.
fn ejecting_pool(servers: usize, failure_limit: u32) -> Pool {
    let ejection =
        Ejection { failure_limit, retry_timeout: Duration::from_secs(1), ..Ejection::default() };
    Pool { ejection: Some(ejection), ..pool(servers) }
}

/// The same, with keys that stay where they are.
fn keeping_pool(servers: usize, failure_limit: u32, on_eject: OnEject) -> Pool {
    let mut pool = ejecting_pool(servers, failure_limit);
    pool.ejection = pool.ejection.map(|ejection| Ejection { on_eject, ..ejection });
    pool
}

/// A server that nobody reaches.
const DOWN: Door = Door::Refuses(engine::fault::CONNECTION_REFUSED);

fn get(key: &str) -> String {
    command(&["get", key])
}

fn ejections(rig: &mut Rig) -> usize {
    rig.events().iter().filter(|event| matches!(event, Event::Ejected { .. })).count()
}

/// An event of another worker arrives.
fn hear(rig: &mut Rig, event: &Event) {
    let now = engine::Now { mono_us: rig.now, wall_us: 0 };
    rig.worker.engine.heed(event, now);
    rig.settle();
}

/// When an ejected server is tried again, for each failure since the last look.
fn still_down(events: &[Event]) -> Vec<u64> {
    let retry_at = |event: &Event| match event {
        Event::StillDown { retry_at, .. } => Some(*retry_at),
        _ => None,
    };
    events.iter().filter_map(retry_at).collect()
}
