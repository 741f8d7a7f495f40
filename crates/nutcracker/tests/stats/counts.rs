//! What the numbers say: counts of every worker together, and gauges that come back to zero.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::PATIENCE;
use crate::harness::{
    Client, FakeServer, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, eventually, within,
};

const GAUGES: [&str; 4] = ["in_queue", "in_queue_bytes", "out_queue", "out_queue_bytes"];

/// Waits until nothing is queued at any server of the first pool and no client is connected, and checks on the way
/// that no gauge ever falls below zero.
#[track_caller]
fn await_rest(proxy: &Proxy) {
    let mut last = Value::Null;
    let rested = within(PATIENCE, || {
        last = proxy.stats();
        let pool = last["alpha"].as_object().expect("a pool");
        let servers = pool.values().filter(|value| value.is_object());
        let gauges = servers.flat_map(|server| GAUGES.map(|gauge| &server[gauge]));
        let all: Vec<i64> = gauges
            .chain([&pool["client_connections"]])
            .map(|value| value.as_i64().expect("a number that fits"))
            .collect();
        assert!(all.iter().all(|&value| value >= 0), "below zero: {last}");
        all.iter().all(|&value| value == 0)
    });
    assert!(rested, "{last}");
}

#[test]
fn requests_and_replies_are_counted_with_their_bytes_over_all_workers() {
    for workers in WORKER_COUNTS {
        let server = RealServer::redis();
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.call(&["SET", "key", "value"]), Reply::ok());
            assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
        }
        proxy.await_stat(&["client_connections"], 8);
        let stats = proxy.stats();
        let server = &stats["alpha"]["server1"];
        assert_eq!(server["requests"], 8, "{stats}");
        assert_eq!(server["request_bytes"], 8 * 33, "{stats}");
        assert_eq!(server["responses"], 8, "{stats}");
        assert_eq!(server["response_bytes"], 8 * 5, "{stats}");
        assert_eq!(
            server["server_connections"].as_i64().map(|n| n >= 1 && n <= i64::from(workers)),
            Some(true)
        );
        drop(clients);
        await_rest(&proxy);
    }
}

#[test]
fn open_connections_are_those_of_listeners_clients_and_servers() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    assert_eq!(client.call(&["SET", "key", "value"]), Reply::ok());
    proxy.await_stat(&["client_connections"], 1);
    let total = |stats: &Value| stats["total_connections"].as_i64().expect("a number");
    let before = proxy.stats();
    assert_eq!(before["curr_connections"], 3, "{before}");
    let second = proxy.client();
    proxy.await_stat(&["client_connections"], 2);
    let during = proxy.stats();
    assert_eq!(during["curr_connections"], 4, "{during}");
    assert_eq!(total(&during), total(&before) + 1, "{during}");
    drop(second);
    proxy.await_stat(&["client_connections"], 1);
    let after = proxy.stats();
    assert_eq!(after["curr_connections"], 3, "{after}");
    assert_eq!(total(&after), total(&during), "{after}");
}

#[test]
fn gauges_come_back_to_zero_after_load() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several(2);
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let mut client = proxy.client();
                scope.spawn(move || load(&mut client, n));
            }
            await_sane(&proxy);
        });
        await_rest(&proxy);
        let stats = proxy.stats();
        let sum = |key: &str| {
            ["server1", "server2"]
                .map(|server| stats["alpha"][server][key].as_i64())
                .iter()
                .flatten()
                .sum::<i64>()
        };
        assert_eq!(sum("requests"), sum("responses"), "{stats}");
        assert_eq!(sum("server_err") + sum("server_timedout") + sum("server_eof"), 0, "{stats}");
    }
}

/// Reads while the load is on: a gauge is never seen below zero.
fn await_sane(proxy: &Proxy) {
    for _ in 0..5 {
        let stats = proxy.stats();
        for server in ["server1", "server2"] {
            for gauge in GAUGES {
                let value = stats["alpha"][server][gauge].as_i64();
                assert!(value.is_some_and(|value| value >= 0), "{gauge} in {stats}");
            }
        }
    }
}

fn load(client: &mut Client, n: usize) {
    for round in 0..20 {
        let keys: Vec<String> = (0..20).map(|key| format!("key:{n}:{round}:{key}")).collect();
        for key in &keys {
            client.send_request(&["SET", key, "value"]);
        }
        client.send_request(&[&["MGET".to_owned()], &keys[..]].concat());
        for _ in &keys {
            assert_eq!(client.reply(), Reply::ok());
        }
        assert_eq!(client.reply().array().len(), keys.len());
    }
}

#[test]
fn gauges_come_back_to_zero_after_a_server_is_killed() {
    for workers in WORKER_COUNTS {
        let mut server = RealServer::redis();
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        server.freeze();
        let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send_request(&["GET", "key"]);
            client.send_request(&["GET", "other"]);
        }
        proxy.await_stat(&["server1", "out_queue"], 12);
        assert_eq!(proxy.stat(&["server1", "out_queue_bytes"]), 6 * (22 + 24));
        server.stop();
        for client in &mut clients {
            for _ in 0..2 {
                assert!(client.reply().is_error());
            }
        }
        proxy.await_stat(&["forward_error"], 12);
        drop(clients);
        await_rest(&proxy);
        proxy.await_stat(&["server1", "server_connections"], 0);
        let ended = proxy.stat(&["server1", "server_eof"]) + proxy.stat(&["server1", "server_err"]);
        assert!(ended >= 1, "{}", proxy.stats());
    }
}

#[test]
fn clients_that_vanish_leave_no_gauge_behind() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    for _ in 0..10 {
        let mut client = proxy.client();
        client.send_request(&["SET", "key", "value"]);
        client.reset();
    }
    await_rest(&proxy);
}

#[test]
fn requests_that_wait_for_a_connection_are_queued() {
    let fake = FakeServer::start(|connection| connection.never_answer());
    let proxy = Proxy::start(Pool::redis(&[&fake]).set("timeout", 300));
    let mut client = proxy.client();
    client.send_request(&["GET", "key"]);
    assert!(client.reply().is_error());
    eventually("a timeout is counted", || {
        (proxy.stat(&["server1", "server_timedout"]) >= 1).then_some(())
    });
    drop(client);
    await_rest(&proxy);
}

#[test]
fn the_time_of_an_ejection_is_told_in_microseconds() {
    let proxy = Proxy::with(
        Pool::redis(&["127.0.0.1:1", "127.0.0.1:2"])
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            .set("server_retry_timeout", 600_000),
    )
    .workers(2)
    .start();
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.expect("after 1970").as_micros()).expect("in range")
    };
    let before = now();
    let mut client = proxy.client();
    let at = eventually("a server is ejected", || {
        client.send_request(&["GET", "key"]);
        assert!(client.reply().is_error());
        let times = ["server1", "server2"].map(|server| proxy.stat(&[server, "server_ejected_at"]));
        times.into_iter().max().filter(|&time| time > 0)
    });
    assert!((before..=now()).contains(&at), "{at} is not between {before} and now");
    let mut proxy = proxy;
    proxy.signal(Signal::TERM);
    proxy.wait_for_end();
}
