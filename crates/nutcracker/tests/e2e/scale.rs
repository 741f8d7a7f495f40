//! Many keys, many clients and much traffic: what each costs.

use std::time::{Duration, Instant};

use crate::harness::{Client, Pool, Proxy, RealServer, Reply, eventually, request};

/// Sends MSET and MGET of `count` keys and checks every value; returns how long the MGET took.
fn round(client: &mut Client, count: usize) -> Duration {
    let names: Vec<String> = (0..count).map(|n| format!("key:{n}")).collect();
    let mut set = vec!["MSET"];
    for name in &names {
        set.extend([name.as_str(), name.as_str()]);
    }
    assert_eq!(client.call(&set), Reply::ok());
    let mut get = vec!["MGET"];
    get.extend(names.iter().map(String::as_str));
    let begun = Instant::now();
    let reply = client.call(&get);
    let took = begun.elapsed();
    let Reply::Array(values) = reply else { panic!("MGET of {count} keys gave {reply:?}") };
    assert_eq!(values.len(), count);
    for (value, name) in values.iter().zip(&names) {
        assert_eq!(*value, Reply::bulk(name));
    }
    took
}

#[test]
fn ten_thousand_keys_over_four_servers_cost_about_what_they_cost_directly() {
    let servers = RealServer::several(4);
    let alone = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&servers));
    let (mut through, mut direct) = (proxy.client(), alone.client());
    // The best of several, alternating: the machine has other things to do.
    let best = (0..7).map(|_| (round(&mut through, 10_000), round(&mut direct, 10_000)));
    let (through, direct) = best.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).expect("rounds");
    // A splitter that is quadratic in the keys takes a hundred times as long.
    assert!(through < direct * 8, "{through:?} through the proxy, {direct:?} directly");
}

#[test]
fn a_hundred_thousand_keys_complete_and_their_memory_comes_back() {
    let servers = RealServer::several(4);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    client.expect_usable();
    let before = proxy.resident_bytes();
    for _ in 0..3 {
        round(&mut client, 100_000);
    }
    eventually("memory comes back", || {
        (proxy.resident_bytes() < before + (24 << 20)).then_some(())
    });
}

#[test]
fn large_values_again_and_again_need_no_more_memory() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    let value = vec![b'v'; 1 << 20];
    let names: Vec<String> = (0..10).map(|n| format!("key:{n}")).collect();
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    for name in &names {
        words.extend([name.as_bytes(), &value]);
    }
    let mset = request(&words);
    let mut rounds = |count: usize| {
        for _ in 0..count {
            client.send(&mset);
            assert_eq!(client.reply(), Reply::ok());
        }
        proxy.resident_bytes()
    };
    let first = rounds(10);
    let last = rounds(40);
    assert!(last < first + (32 << 20), "{first} bytes after 10 rounds, {last} after 50");
}

#[test]
fn an_idle_client_costs_less_than_a_kibibyte() {
    const CLIENTS: usize = 3000;
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    // Whatever grows once has grown: the buffers of the pool, the tables of a first client.
    let mut warm: Vec<Client> = (0..64).map(|_| proxy.client()).collect();
    warm.iter_mut().for_each(Client::expect_usable);
    let before = proxy.resident_bytes();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["GET", "k"]), Reply::Nil);
    }
    let each = proxy.resident_bytes().saturating_sub(before) / CLIENTS as u64;
    assert!(each < 1024, "{each} bytes for each of {CLIENTS} idle clients");
}
