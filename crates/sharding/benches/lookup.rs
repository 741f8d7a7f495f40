//! What routing one key costs: each hash function by itself, then each distribution over small and large pools, and a
//! ketama ring searched by halving for comparison. Run with `cargo bench -p sharding`.
//!
//! Plain wall-clock loops, the best of several rounds: the figures are for comparing two versions on one machine.

use std::hint::black_box;
use std::time::Instant;

use sharding::{Distribution, Hash, Node, Sharder};

const ROUNDS: u32 = 15;
const KEYS: usize = 4096;

fn main() {
    let keys: Vec<Vec<u8>> =
        (0..KEYS).map(|number| format!("user:{:012}:name", number * 7919).into_bytes()).collect();
    for hash in Hash::ALL {
        report(&format!("{} of 22 bytes", hash.name()), || {
            keys.iter().map(|key| hash.of(key) as usize).sum()
        });
    }
    // Four-byte keys and a cheap hash, so that the table is what is measured; the hash alone is the baseline.
    let keys: Vec<[u8; 4]> =
        (0..KEYS as u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    report("murmur of 4 bytes", || keys.iter().map(|key| Hash::Murmur.of(key) as usize).sum());
    for servers in [3, 10, 30, 300] {
        let names: Vec<String> =
            (0..servers).map(|number| format!("10.0.0.1:{}", 10_000 + number)).collect();
        let nodes: Vec<_> =
            names.iter().map(|name| Node { name: name.as_bytes(), weight: 1 }).collect();
        for distribution in Distribution::ALL {
            let sharder = Sharder::new(Hash::Murmur, None, distribution, &nodes);
            let label = format!("murmur + {} of {servers} servers", distribution.name());
            report(&label, || {
                keys.iter().map(|key| sharder.shard(key, || u32::from_le_bytes(*key))).sum()
            });
        }
        let mut points: Vec<(u32, u32)> = (0..servers * 160)
            .map(|point: u32| (Hash::Murmur.of(&point.to_le_bytes()), point % servers))
            .collect();
        points.sort_unstable();
        report(&format!("murmur + search by halving of {servers} servers"), || {
            let halving = |hash| {
                points[points.partition_point(|point| point.0 < hash) % points.len()].1 as usize
            };
            keys.iter().map(|key| halving(Hash::Murmur.of(key))).sum()
        });
    }
}

/// Prints the nanoseconds per key of the fastest of several rounds over all keys.
fn report(label: &str, mut round: impl FnMut() -> usize) {
    let fastest = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        for _ in 0..16 {
            black_box(round());
        }
        start.elapsed()
    });
    let nanos = fastest.min().map_or(0.0, |elapsed| elapsed.as_nanos() as f64 / (16 * KEYS) as f64);
    println!("{label:44} {nanos:7.2} ns");
}
