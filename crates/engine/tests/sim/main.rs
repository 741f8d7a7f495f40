//! The whole core under a simulated network: engines driven by a simulated reactor, simulated clients and servers that
//! fail in every way they can, virtual time, and one seed that everything follows from. A run has a Redis pool, a memcached
//! pool, or one of each, by the remainder of its seed.
//!
//! ```text
//!   clients ══ network ══ reactor ── engine   (1..3 workers, which tell each other of failures)
//!                             ║
//!   servers ══════════════════╝               truth: what servers did, and whether a reply is right
//! ```
//!
//! A failing seed prints the command that replays it. `SIM_SEEDS=100000 cargo test -p engine --test sim every_seed` runs
//! many more than usual, `SIM_FIRST=100000` begins with another seed.

mod any_bytes;
mod client;
mod directed;
mod memcached;
mod network;
mod random;
mod reactor;
mod resp;
mod rig;
mod scenario;
mod server;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use reactor::Defect;
use scenario::KINDS;
use truth::Tally;

/// Seeds of a normal run.
const SEEDS: u64 = 1024;

#[test]
fn every_seed_ends_with_each_request_answered_once_in_order_and_right() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("SIM_SEED") {
        world::run(seed, None).unwrap_or_else(|what| panic!("{what}"));
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let mut tally = Tally::new();
    for seed in first..first + number("SIM_SEEDS").unwrap_or(SEEDS) {
        let replay =
            format!("replay with: SIM_SEED={seed} cargo test -p engine --test sim every_seed");
        let outcome = catch_unwind(AssertUnwindSafe(|| world::run(seed, None)));
        match outcome {
            Ok(Ok(kinds)) => {
                kinds.into_iter().for_each(|(kind, n)| *tally.entry(kind).or_default() += n);
            }
            Ok(Err(what)) => panic!("{what}\n{replay}"),
            Err(_) => panic!("seed {seed} panicked\n{replay}"),
        }
    }
    println!("{tally:#?}");
    assert_that_everything_happened(&tally);
}

/// A simulation in which something never happens says nothing about it.
fn assert_that_everything_happened(tally: &Tally) {
    let commands =
        ["get", "set", "incr", "hgetall", "lolwut", "sinter", "mget", "mset", "del", "exists"];
    let texts = [
        "Connection refused",
        "Connection timed out",
        "Connection reset by peer",
        "Host is down",
        "Invalid argument",
        "unknown",
    ];
    let others = [
        "server refused AUTH",
        "server refused SELECT",
        "local",
        "cross shard",
        "deviation",
        "stray",
        "shed",
        "miss",
        "a reload",
        "a reply cut off",
        "a connection left to a long reply",
    ];
    let events = [
        "an ejection",
        "a restoration",
        "an ejection prevented",
        "a trial lost",
        "a trial passed",
        "a needless password",
        "a malformed request",
    ];
    let memcached = [
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "cas",
        "incr",
        "touch",
        "delete",
        "mg",
        "ms",
        "md",
        "ma",
        "me",
        "version",
        "flush_all",
        "silence",
        "deviation",
        "stray",
        "shed",
        "miss",
    ];
    let of_servers = [
        "a silent request",
        "a silence broken",
        "a silent request that was asked for an answer",
        "a value refused early",
        "an upload",
        "gets joined",
        "a run whose silent requests all arrived",
    ];
    let kinds = [&commands[..], &texts, &others, &events, &of_servers].concat();
    let kinds = kinds.into_iter().map(str::to_owned);
    let of_memcached = memcached.iter().chain(&texts).map(|kind| format!("memcached {kind}"));
    for kind in kinds.chain(of_memcached) {
        assert!(tally.contains_key(&kind), "nothing of the kind {kind:?} in {tally:#?}");
    }
}

/// Asserts that a defect is noticed in at least one of the first seeds of each kind; none of them fails without it.
fn assert_noticed(defect: Defect) {
    for kind in 0..KINDS {
        let mut seeds = (0..64).map(|i| i * KINDS + kind);
        let is_noticed = seeds.any(|seed| world::run(seed, Some(defect)).is_err());
        assert!(is_noticed, "{defect:?} goes unnoticed where seed % {KINDS} == {kind}");
    }
}

#[test]
fn the_oracle_notices_a_reply_that_goes_to_another_client() {
    assert_noticed(Defect::CrossClients);
}

#[test]
fn the_oracle_notices_a_reply_that_comes_twice() {
    assert_noticed(Defect::RepeatWrite);
}

#[test]
fn the_oracle_notices_a_reply_that_never_comes() {
    assert_noticed(Defect::LoseWrite);
}

#[test]
fn the_oracle_notices_a_request_that_changes_on_its_way() {
    assert_noticed(Defect::CorruptRequest);
}

#[test]
fn the_oracle_notices_a_request_that_never_arrives() {
    assert_noticed(Defect::LoseRequest);
}

#[test]
fn the_oracle_notices_a_request_that_arrives_twice() {
    assert_noticed(Defect::RepeatRequest);
}
