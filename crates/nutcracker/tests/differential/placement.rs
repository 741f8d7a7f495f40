//! Where keys go: ten thousand keys through every hash and distribution, compared by asking the servers.

use super::{Pair, reference};
use crate::harness::{Client, HASHES, Location, Pool, Random, RealServer, request};

const KEYS: usize = 10_000;

/// `count` keys as people use them and, by `odd`, as nobody does.
pub(super) fn random_keys(
    count: usize,
    seed: u64,
    odd: fn(&mut Random) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut random = Random::seeded(seed);
    let mut keys: Vec<Vec<u8>> = (0..count)
        .map(|n| match n % 4 {
            0 => format!("user:{n}:profile").into_bytes(),
            1 => format!("{{{}}}:{n}", n % 97).into_bytes(),
            2 => odd(&mut random),
            _ => format!("k{}ü{{{}", n, if random.one_in(2) { "}x" } else { "" }).into_bytes(),
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

fn set_all(client: &mut Client, keys: &[Vec<u8>]) {
    for chunk in keys.chunks(2000) {
        client.send(
            &chunk
                .iter()
                .flat_map(|key| request(&[b"SET".as_slice(), key, b"1"]))
                .collect::<Vec<_>>(),
        );
        client.expect(&b"+OK\r\n".repeat(chunk.len()));
    }
}

/// How many pools it takes to have every hash with every distribution that hashes.
pub(super) const POOLS: usize = HASHES.len() * 2;

/// One of [`POOLS`] on `pool`, weighted or plain, with hash tags or without. The names of servers must not depend on their
/// ports, so all are named.
pub(super) fn varied(pool: Pool, servers: &[RealServer], index: usize) -> Pool {
    let distribution = if index < HASHES.len() { "ketama" } else { "modula" };
    let mut pool = pool
        .named(&format!("pool{index}"))
        .listen(index)
        .set("hash", HASHES[index % HASHES.len()])
        .set("distribution", distribution);
    if index % 2 == 1 {
        pool = pool.set("hash_tag", "\"{}\"");
    }
    for (n, server) in servers.iter().enumerate() {
        let weight = if index % 3 == 2 { 1 + n * 3 } else { 1 };
        pool = pool.server(format!("{}:{weight} node{}", server.location(), (n * 7 + 3) % 11));
    }
    pool
}

#[test]
fn every_key_lives_where_0_5_puts_it() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several(5), RealServer::several(5)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        let pool = |index| varied(Pool::redis::<&str>(&[]), servers, index);
        (0..POOLS).map(|index| pool(index).to_string()).collect()
    });
    let keys = random_keys(KEYS, 42, |random| {
        let length = random.below(40);
        random.bytes(length)
    });
    for index in 0..POOLS {
        set_all(&mut pair.ours.client_of(index), &keys);
        set_all(&mut pair.theirs.client_of(index), &keys);
        let mut total = 0;
        for (n, (ours, theirs)) in servers[0].iter().zip(&servers[1]).enumerate() {
            let (ours, theirs) = (ours.keys(), theirs.keys());
            assert!(
                ours == theirs,
                "pool {index}, server {n}: {} and {} keys",
                ours.len(),
                theirs.len()
            );
            total += ours.len();
        }
        assert_eq!(total, keys.len());
        servers.iter().flatten().for_each(RealServer::clear);
    }
}

#[test]
fn random_uses_every_server_and_minds_no_weight() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several(3), RealServer::several(3)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        let pool = Pool::redis::<&str>(&[]).set("distribution", "random");
        servers
            .iter()
            .zip([1, 100, 1])
            .fold(pool, |pool, (server, weight)| {
                pool.server(format!(
                    "{}:{weight} w{weight}{}",
                    server.location(),
                    server.location()
                ))
            })
            .to_string()
    });
    let keys: Vec<Vec<u8>> = (0..3000).map(|n| format!("key{n}").into_bytes()).collect();
    for (proxy, servers) in [(&pair.ours, &servers[0]), (&pair.theirs, &servers[1])] {
        set_all(&mut proxy.client(), &keys);
        for server in servers {
            let held = server.key_count();
            // A thousand each is expected; being this far off has odds of one in many billions.
            assert!((750..1250).contains(&held), "{held} of 3000 keys");
        }
    }
}
