//! Where keys go: thousands of keys through every hash and distribution, compared by asking the servers.

use super::{Pair, reference};
use crate::harness::{Client, Location, Pool, Random, RealServer};

const HASHES: [&str; 12] = [
    "one_at_a_time",
    "md5",
    "crc16",
    "crc32",
    "crc32a",
    "fnv1_64",
    "fnv1a_64",
    "fnv1_32",
    "fnv1a_32",
    "hsieh",
    "murmur",
    "jenkins",
];

const KEYS: usize = 3000;

/// Keys as people use them and keys as nobody does, of all bytes a key may have.
fn random_keys() -> Vec<Vec<u8>> {
    let mut random = Random::seeded(43);
    let mut keys: Vec<Vec<u8>> = (0..KEYS)
        .map(|n| match n % 4 {
            0 => format!("user:{n}:profile").into_bytes(),
            1 => format!("{{{}}}:{n}", n % 97).into_bytes(),
            2 => {
                let length = 1 + random.below(250);
                let bytes = random.bytes(length);
                bytes
                    .into_iter()
                    .map(|byte| if byte <= b' ' || byte == 0x7f { b'_' } else { byte })
                    .collect()
            }
            _ => format!("k{}ü{{{}", n, if random.one_in(2) { "}x" } else { "" }).into_bytes(),
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

fn set_all(client: &mut Client, keys: &[Vec<u8>]) {
    let set = |key: &Vec<u8>| [b"set ", key.as_slice(), b" 0 0 1\r\nx\r\n"].concat();
    for chunk in keys.chunks(1000) {
        client.send(&chunk.iter().flat_map(set).collect::<Vec<_>>());
        client.expect(&b"STORED\r\n".repeat(chunk.len()));
    }
}

/// Which of `keys` a server holds, as lines that name them.
fn held(server: &RealServer, keys: &[Vec<u8>]) -> Vec<u8> {
    let mut client = server.client();
    let ask = |key: &Vec<u8>| [b"mg ", key.as_slice(), b" k q\r\n"].concat();
    let requests: Vec<u8> = keys.iter().flat_map(ask).chain(b"mn\r\n".iter().copied()).collect();
    let sending = client.send_in_background(requests);
    let held = client.read_through(b"MN\r\n").expect("the end of the answers");
    sending.join().expect("the sender");
    held
}

/// Weighted and plain, named because the names must not depend on ports.
fn pool(servers: &[RealServer], index: usize) -> Pool {
    let hash = HASHES[index % HASHES.len()];
    let distribution = if index < HASHES.len() { "ketama" } else { "modula" };
    let mut pool = Pool::memcached::<&str>(&[])
        .named(&format!("pool{index}"))
        .listen(index)
        .set("hash", hash)
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
    let servers = [RealServer::several_memcached(4), RealServer::several_memcached(4)];
    let pools = HASHES.len() * 2;
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        (0..pools).map(|index| pool(servers, index).to_string()).collect()
    });
    let keys = random_keys();
    for index in 0..pools {
        set_all(&mut pair.ours.client_of(index), &keys);
        set_all(&mut pair.theirs.client_of(index), &keys);
        let mut total = 0;
        for (n, (ours, theirs)) in servers[0].iter().zip(&servers[1]).enumerate() {
            let (ours, theirs) = (held(ours, &keys), held(theirs, &keys));
            assert!(ours == theirs, "pool {index}, server {n} holds other keys");
            total += ours.split(|&byte| byte == b'\n').count() - 1;
        }
        assert_eq!(total, keys.len());
        for server in servers.iter().flatten() {
            server.client().ask("flush_all\r\n", "OK\r\n");
        }
    }
}
