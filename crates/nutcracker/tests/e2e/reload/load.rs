//! Many reloads while clients never cease: every request carries a token of its own, and every token must be stored once
//! and come back once, in its place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use super::yaml;
use crate::harness::{Client, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, request};

/// Reloads in a row; `NUTCRACKER_RELOADS` asks for another number.
const RELOADS: usize = 20;
const CLIENTS: usize = 6;
/// Requests in one write.
const DEPTH: usize = 16;
/// Lists of each client.
const LISTS: usize = 8;

/// Stores the token in a list and returns it.
const SCRIPT: &str = "redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]";

fn reloads() -> usize {
    let asked = std::env::var("NUTCRACKER_RELOADS").ok();
    asked.map_or(RELOADS, |text| text.parse().expect("a number of reloads"))
}

/// The configuration of each turn: servers come, go and move, pools come and go, and settings change.
fn turns(servers: &[RealServer]) -> Vec<String> {
    let (first, rest) = (&servers[..2], &servers[2..]);
    let stays = || Pool::redis(first).named("omega").listen(1);
    let beta = |n: usize| Pool::redis(rest).named("beta").listen(n);
    let moved = || Pool::redis(&[&servers[3], &servers[1], &servers[2]]);
    vec![
        yaml(&[Pool::redis(first).set("distribution", "ketama"), stays()]),
        yaml(&[Pool::redis(servers).set("preconnect", true), beta(2), stays()]),
        yaml(&[moved().set("server_connections", 3), beta(3), stays()]),
        yaml(&[moved().set("timeout", 30_000).set("redis_db", 3), stays()]),
        yaml(&[Pool::redis(rest).set("hash", "murmur"), beta(2), stays()]),
        yaml(&[Pool::redis(&servers[1..]).set("distribution", "random"), stays()]),
    ]
}

/// Sends requests until told to stop; returns how many. Every reply must be the token of its request.
fn work(number: usize, address: SocketAddr, over: &AtomicBool) -> u64 {
    let mut client = Client::connect(address);
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let batch: Vec<(String, String)> = (0..DEPTH as u64)
            .map(|n| {
                let token = sent + n;
                (format!("list:{number}:{}", token % LISTS as u64), format!("{number}:{token}"))
            })
            .collect();
        let bytes: Vec<u8> = batch
            .iter()
            .flat_map(|(key, token)| request(&["EVAL", SCRIPT, "1", key, token]))
            .collect();
        client.send(&bytes);
        for (_, token) in &batch {
            assert_eq!(client.reply(), Reply::bulk(token), "client {number}");
        }
        sent += DEPTH as u64;
    }
    client.expect_usable();
    sent
}

/// How often each token was stored, over all servers and databases.
fn stored(servers: &[RealServer]) -> HashMap<Vec<u8>, u32> {
    let mut found = HashMap::new();
    for server in servers {
        let mut client = server.client();
        for database in ["0", "3"] {
            assert_eq!(client.call(&["SELECT", database]), Reply::ok());
            for key in client.call(&["KEYS", "list:*"]).array() {
                let key = key.bytes();
                let list = client.call(&[b"LRANGE", &key[..], b"0", b"-1"]).array();
                for token in list {
                    *found.entry(token.bytes()).or_default() += 1;
                }
            }
        }
    }
    found
}

/// Reloads one turn after the other while clients `work`; returns how many requests each of them sent.
fn reload_under_load(
    proxy: &mut Proxy,
    turns: &[String],
    work: fn(usize, SocketAddr, &AtomicBool) -> u64,
) -> Vec<u64> {
    let over = AtomicBool::new(false);
    let addresses = [proxy.address(0), proxy.address(1)];
    thread::scope(|scope| {
        let start = |number: usize| {
            let (address, over) = (addresses[number % 2], &over);
            scope.spawn(move || work(number, address, over))
        };
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for round in 1..=reloads() {
                proxy.rewrite(&turns[round % turns.len()]);
                proxy.reload_by([Signal::USR1, Signal::HUP][round % 2]);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let sent = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        outcome.expect("the reloads");
        sent
    })
}

#[track_caller]
fn assert_that_nobody_was_cut_off(proxy: &Proxy) {
    for pool in ["alpha", "omega"] {
        let stats = proxy.stats();
        assert_eq!(stats[pool]["client_err"], 0, "{pool}");
        assert_eq!(stats[pool]["forward_error"], 0, "{pool}");
    }
}

#[test]
fn no_request_is_lost_doubled_or_misplaced_and_no_client_is_cut_off() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several(4);
        let turns = turns(&servers);
        let mut proxy = Proxy::with(&turns[0]).workers(workers).start();
        let sent = reload_under_load(&mut proxy, &turns, work);
        let found = stored(&servers);
        for (number, sent) in sent.iter().enumerate() {
            assert!(*sent > 0);
            for token in 0..*sent {
                let times = found.get(format!("{number}:{token}").as_bytes());
                assert_eq!(times, Some(&1), "token {token} of {sent} of client {number}");
            }
        }
        assert_eq!(found.len() as u64, sent.iter().sum::<u64>());
        assert_that_nobody_was_cut_off(&proxy);
    }
}

/// The configuration of each turn of a cache.
fn caches(servers: &[RealServer]) -> Vec<String> {
    let (first, rest) = (&servers[..2], &servers[2..]);
    let stays = || Pool::memcached(first).named("omega").listen(1);
    let beta = || Pool::memcached(rest).named("beta").listen(2);
    let moved = || Pool::memcached(&[&servers[3], &servers[1], &servers[2]]);
    vec![
        yaml(&[Pool::memcached(first), stays()]),
        yaml(&[Pool::memcached(servers).set("preconnect", true), beta(), stays()]),
        yaml(&[moved().set("server_connections", 3), stays()]),
        yaml(&[moved().set("timeout", 30_000), beta(), stays()]),
        yaml(&[Pool::memcached(&servers[1..]).set("distribution", "random"), stays()]),
    ]
}

/// The same with a cache, which gives back the token of a request: loud, quiet and silent requests, ended by `mn`.
fn work_with_cache(number: usize, address: SocketAddr, over: &AtomicBool) -> u64 {
    let mut client = Client::connect(address);
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let (mut requests, mut replies) = (String::new(), String::new());
        for n in 0..DEPTH as u64 {
            let (key, token) = (format!("key:{number}:{n}"), format!("{number}-{}", sent + n));
            match n % 4 {
                0 => requests += &format!("set {key} 0 0 1 noreply\r\ny\r\n"),
                1 => requests += &format!("ms {key} 1 q O{token}\r\nx\r\n"),
                2 => requests += &format!("mg never:{key} q O{token}\r\n"),
                _ => {
                    requests += &format!("ms {key} 1 k O{token}\r\nx\r\n");
                    replies += &format!("HD k{key} O{token}\r\n");
                }
            }
        }
        client.ask(&(requests + "mn\r\n"), &(replies + "MN\r\n"));
        sent += DEPTH as u64;
    }
    sent
}

#[test]
fn clients_of_a_cache_lose_nothing_either() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(4);
        let turns = caches(&servers);
        let mut proxy = Proxy::with(&turns[0]).workers(workers).start();
        let sent = reload_under_load(&mut proxy, &turns, work_with_cache);
        assert!(sent.iter().all(|sent| *sent > 0), "{sent:?}");
        assert_that_nobody_was_cut_off(&proxy);
    }
}
