//! Which server a key lives on, seen from outside: what twemproxy 0.5 does, no key moves.

use crate::harness::{Client, Location, Pool, Proxy, RealServer, Reply, request};

#[track_caller]
fn set_keys(client: &mut Client, count: usize) {
    for from in (0..count).step_by(2000) {
        let to = count.min(from + 2000);
        client.send(
            &(from..to)
                .flat_map(|n| request(&["SET", &format!("key-{n}"), "v"]))
                .collect::<Vec<_>>(),
        );
        client.expect(&b"+OK\r\n".repeat(to - from));
    }
}

#[test]
fn crc32_with_ketama_starves_all_but_one_and_crc32a_does_not() {
    let servers = RealServer::several(4);
    let pools = [
        Pool::redis(&servers).set("hash", "crc32"),
        Pool::redis(&servers).set("hash", "crc32a").named("beta").listen(1),
    ];
    let proxy = Proxy::start(pools.map(|pool| pool.to_string()).concat());
    for (n, expected) in [(0, [0, 0, 100_000, 0]), (1, [24_681, 26_138, 25_148, 24_033])] {
        set_keys(&mut proxy.client_of(n), 100_000);
        let held: Vec<i64> = servers.iter().map(RealServer::key_count).collect();
        assert_eq!(held, expected);
        servers.iter().for_each(RealServer::clear);
    }
}

#[test]
fn modula_counts_servers_by_length_and_bytes_of_their_names() {
    let servers = RealServer::several(3);
    let at = |n: usize| servers[n].location();
    // In the file: redis10, redis2, redis1. By index: redis1, redis2, redis10.
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{}:1 redis10", at(0)))
        .server(format!("{}:1 redis2", at(1)))
        .server(format!("{}:1 redis1", at(2)))
        .set("distribution", "modula");
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    // fnv1a_64 of each key, modulo three servers.
    for (key, hash) in [
        ("foo", 4_275_688_823_u64),
        ("bar", 322_520_602),
        ("key-1", 2_515_697_318),
        ("user:{1}", 3_519_647_327),
    ] {
        let by_index = [&servers[2], &servers[1], &servers[0]];
        assert_eq!(client.call(&["SET", key, "v"]), Reply::ok());
        let holder = by_index[usize::try_from(hash % 3).expect("a small number")];
        assert_eq!(holder.client().call(&["EXISTS", key]), Reply::Integer(1), "{key}");
    }
}

#[test]
fn bytes_above_127_are_hashed_as_signed() {
    let servers = RealServer::several(7);
    let proxy = Proxy::start(Pool::redis(&servers).set("distribution", "modula"));
    let mut client = proxy.client();
    for (key, hash) in [("user:é", 3_703_430_232_u64), ("キー", 1_364_815_027)] {
        assert_eq!(client.call(&["SET", key, "v"]), Reply::ok());
        let holder = &servers[usize::try_from(hash % 7).expect("a small number")];
        assert_eq!(holder.client().call(&["EXISTS", key]), Reply::Integer(1), "{key}");
    }
}

#[test]
fn names_of_servers_follow_the_rules_of_twemproxy() {
    let unix = RealServer::redis_on_a_unix_socket(&[]);
    let path = unix.dir().join("redis.sock").display().to_string();
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{path}:1"))
        .server("127.0.0.1:11211:1")
        .server("127.0.0.1:11212:1")
        .server("10.0.0.1:6379:1 \"shard01\"")
        .server("10.0.0.1:6379:1 shard01")
        .server("10.0.0.1:06379:1");
    let proxy = Proxy::start(pool);
    // Quotes belong to the name, and 0.5 does not escape them: read the text, not the JSON, for that one.
    let text = statistics_text(&proxy);
    for name in [&format!("{path}:"), "127.0.0.1", "127.0.0.1:11212", "shard01", "10.0.0.1:06379"] {
        assert!(text.contains(&format!("\"{name}\": {{")), "{name} in {text}");
    }
    assert!(text.contains("shard01\\\"\": {") || text.contains("shard01\"\": {"), "{text}");
}

fn statistics_text(proxy: &Proxy) -> String {
    let mut client = Client::connect(proxy.stats_address());
    let (bytes, _) = client.drain(crate::harness::PATIENCE);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn weights_share_the_keys_and_may_starve_a_server() {
    let servers = RealServer::several(3);
    let at = |n: usize| servers[n].location();
    let shares = [("ketama", 100_000, [0, 0, 10_000]), ("modula", 8, [1400, 345, 8255])];
    for (distribution, last_weight, expected) in shares {
        let pool = Pool::redis::<&str>(&[])
            .server(format!("{}:1 a", at(0)))
            .server(format!("{}:1 b", at(1)))
            .server(format!("{}:{last_weight} c", at(2)))
            .set("distribution", distribution);
        let proxy = Proxy::start(pool);
        set_keys(&mut proxy.client(), 10_000);
        let held: Vec<i64> = servers.iter().map(RealServer::key_count).collect();
        assert_eq!(held, expected, "{distribution}");
        servers.iter().for_each(RealServer::clear);
    }
}

#[test]
fn a_pool_of_one_server_sends_it_everything() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server])
        .set("hash", "crc32")
        .set("hash_tag", "\"{}\"")
        .set("distribution", "modula");
    let proxy = Proxy::start(pool);
    set_keys(&mut proxy.client(), 1000);
    assert_eq!(server.key_count(), 1000);
}

#[test]
fn tags_of_any_two_bytes_keep_keys_together() {
    let servers = RealServer::several(5);
    let pools = [
        Pool::redis(&servers).set("hash_tag", "\"{}\""),
        Pool::redis(&servers).set("hash_tag", "\"P:\"").named("beta").listen(1),
        Pool::redis(&servers).set("hash_tag", "\"$$\"").named("gamma").listen(2),
    ];
    let proxy = Proxy::start(pools.map(|pool| pool.to_string()).concat());
    let together = [
        ["{tag}1", "x{tag}2", "{tag}{other}", "a{tag}b}c", "tag"],
        ["Ptag:1", "xPtag:2", "Ptag:Pother:", "aPtag:b:c", "tag"],
        ["$tag$1", "x$tag$2", "$tag$other$", "a$tag$b$", "tag"],
    ];
    for (n, keys) in together.iter().enumerate() {
        let mut client = proxy.client_of(n);
        for key in keys {
            assert_eq!(client.call(&["SET", key, "v"]), Reply::ok());
        }
        let mut held: Vec<i64> = servers.iter().map(RealServer::key_count).collect();
        held.sort_unstable();
        assert_eq!(held, [0, 0, 0, 0, 5], "pool {n}");
        servers.iter().for_each(RealServer::clear);
    }
}
