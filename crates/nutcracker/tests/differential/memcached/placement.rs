//! Where keys go: thousands of keys through every hash and distribution, compared by asking the servers.

use super::super::placement::{POOLS, random_keys, varied};
use super::{Pair, reference};
use crate::harness::{Client, Pool, Random, RealServer};

const KEYS: usize = 3000;

/// Any bytes that a key may have.
fn odd_key(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(250);
    let allowed = |byte| if byte <= b' ' || byte == 0x7f { b'_' } else { byte };
    random.bytes(length).into_iter().map(allowed).collect()
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

#[test]
fn every_key_lives_where_0_5_puts_it() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several_memcached(4), RealServer::several_memcached(4)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        let pool = |index| varied(Pool::memcached::<&str>(&[]), servers, index);
        (0..POOLS).map(|index| pool(index).to_string()).collect()
    });
    let keys = random_keys(KEYS, 43, odd_key);
    for index in 0..POOLS {
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
