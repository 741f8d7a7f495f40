//! Memcached servers that fail: when they leave the ring, where their keys go meanwhile, and how they return.

use std::time::Duration;

use crate::harness::{
    Client, FakeConnection, FakeServer, Pool, Proxy, RealServer, WORKER_COUNTS, eventually, within,
};

use super::{holds, set, spread, value};

fn ejecting(servers: &[RealServer], limit: u32, retry_ms: u32) -> Pool {
    Pool::memcached(servers)
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", limit)
        .set("server_retry_timeout", retry_ms)
        .set("timeout", 5000)
}

/// The line that answers a `set`.
#[track_caller]
fn try_set(client: &mut Client, key: &str) -> String {
    client.send(format!("set {key} 0 0 1\r\nx\r\n").as_bytes());
    client.text_line()
}

#[test]
fn after_the_limit_of_errors_every_set_succeeds_on_the_survivor() {
    for limit in [1, 3] {
        for workers in WORKER_COUNTS {
            let mut servers = RealServer::several_memcached(2);
            let proxy = Proxy::with(ejecting(&servers, limit, 60_000)).workers(workers).start();
            let mut client = proxy.client();
            let keys = spread(&mut client, &servers, 3);
            servers[1].stop();
            proxy.await_stat(&["server2", "server_connections"], 0);
            for _ in 0..limit {
                let line = try_set(&mut client, &keys[1][0]);
                assert_eq!(line, "SERVER_ERROR Connection refused");
            }
            for key in keys.iter().flatten() {
                assert_eq!(try_set(&mut client, key), "STORED");
                assert!(holds(&servers[0], key));
            }
            assert_eq!(proxy.stat(&["server_ejects"]), 1);
        }
    }
}

#[test]
fn a_server_that_returns_takes_its_keys_again() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::with(ejecting(&servers, 1, 300)).workers(2).start();
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 3);
    servers[1].stop();
    eventually("the set goes to the survivor", || {
        (try_set(&mut client, &keys[1][0]) == "STORED" && holds(&servers[0], &keys[1][0]))
            .then_some(())
    });
    servers[1].start_again();
    eventually("the server is in the ring again", || {
        (try_set(&mut client, &keys[1][1]) == "STORED" && holds(&servers[1], &keys[1][1]))
            .then_some(())
    });
    for key in &keys[1] {
        assert_eq!(try_set(&mut client, key), "STORED");
        assert!(holds(&servers[1], key));
    }
}

#[test]
fn every_way_to_fail_has_its_own_words() {
    let silent = FakeServer::start(FakeConnection::never_answer);
    let closing = FakeServer::start(|connection| {
        let _read = connection.text_request();
    });
    let reset = FakeServer::start(|connection| {
        let _read = connection.text_request();
        connection.reset();
    });
    // Only who waits for the timeout gets a short one: the others may be late on a busy machine.
    for (server, timeout, words) in [
        (silent.address().to_string(), 200, "SERVER_ERROR Connection timed out"),
        ("127.0.0.1:1".into(), 10_000, "SERVER_ERROR Connection refused"),
        ("no.such.host.invalid:1".into(), 10_000, "SERVER_ERROR Host is down"),
        (reset.address().to_string(), 10_000, "SERVER_ERROR Connection reset by peer"),
    ] {
        let proxy = Proxy::start(Pool::memcached(&[server]).set("timeout", timeout));
        let mut client = proxy.client();
        for request in
            ["get a\r\n", "get a b\r\n", "set a 0 0 1\r\nx\r\n", "mg a v q\r\n", "incr a 1\r\n"]
        {
            client.send(request.as_bytes());
            assert_eq!(client.text_line(), words, "{request:?}");
        }
        client.ask("mn\r\n", "MN\r\n");
    }
    let proxy = Proxy::start(Pool::memcached(&[&closing]).set("timeout", 5000));
    let mut client = proxy.client();
    client.send(b"get a\r\n");
    assert!(client.text_line().starts_with("SERVER_ERROR "));
}

#[test]
fn an_outage_counts_once_per_timeout_and_not_once_per_request() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::start(ejecting(&servers, 2, 60_000).set("timeout", 300));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    servers[1].freeze();
    client.send(format!("get {}\r\n", keys[1][0]).repeat(50).as_bytes());
    for _ in 0..50 {
        assert_eq!(client.text_line(), "SERVER_ERROR Connection timed out");
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0, "one outage so far");
    servers[1].thaw();
}

#[test]
fn with_every_server_ejected_there_are_errors_until_one_returns() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::with(ejecting(&servers, 1, 200)).workers(2).start();
    let mut client = proxy.client();
    servers.iter_mut().for_each(RealServer::stop);
    within(Duration::from_millis(300), || {
        let line = try_set(&mut client, "a");
        assert!(line.starts_with("SERVER_ERROR Connection "), "{line}");
        client.send(b"get a b c d e f\r\nset a 0 0 1 noreply\r\nx\r\n");
        let line = client.text_line();
        assert!(line.starts_with("SERVER_ERROR Connection "), "{line}");
        false
    });
    servers[0].start_again();
    eventually("a set is stored", || (try_set(&mut client, "a") == "STORED").then_some(()));
    set(&mut client, "a", "b");
    client.ask("get a\r\n", value("a", "b"));
}

#[test]
fn preconnect_connects_before_the_first_request() {
    for preconnect in [true, false] {
        let servers = RealServer::several_memcached(2);
        let pool = Pool::memcached(&servers).set("preconnect", preconnect);
        let proxy = Proxy::with(pool).workers(2).start();
        if preconnect {
            proxy.await_stat(&["server1", "server_connections"], 2);
            proxy.await_stat(&["server2", "server_connections"], 2);
        } else {
            assert_eq!(proxy.stat(&["server1", "server_connections"]), 0);
        }
        set(&mut proxy.client(), "a", "b");
    }
}
