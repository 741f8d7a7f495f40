//! Failing servers: when they leave the ring, when they return, and what clients are told meanwhile.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, FakeConnection, FakeServer, Location, PATIENCE, Pool, Proxy, RealServer, Reply,
    WORKER_COUNTS, eventually, request, spread, unused_port, within,
};

/// A pool that ejects after `limit` failures for `retry_ms`.
fn ejecting(servers: &[RealServer], limit: u32, retry_ms: u32) -> Pool {
    Pool::redis(servers)
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", limit)
        .set("server_retry_timeout", retry_ms)
        .set("timeout", 5000)
}

#[test]
fn the_limit_counts_failures_and_then_the_ring_shrinks() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several(2);
        let proxy = Proxy::with(ejecting(&servers, 2, 60_000)).workers(workers).start();
        let mut client = proxy.client();
        let key = spread(&mut client, &servers, 1)[1][0].clone();
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        assert!(client.call(&["SET", &key, "v"]).is_error());
        assert!(client.call(&["SET", &key, "v"]).is_error());
        assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
        assert_eq!(servers[0].keys(), [key.as_bytes()]);
        assert_eq!(proxy.stat(&["server_ejects"]), 1);
        assert!(proxy.stat(&["server2", "server_ejected_at"]) > 1_600_000_000_000_000);
    }
}

/// Clients of which each of two workers holds some.
fn clients_on_both_workers(proxy: &Proxy) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    let info = clients[0].call(&["INFO"]).text();
    for worker in 0..2 {
        assert!(info.contains(&format!("worker{worker}_clients:")), "no such worker: {info}");
        assert!(!info.contains(&format!("worker{worker}_clients:0\r")), "an idle worker: {info}");
    }
    clients
}

/// How many errors `clients`, asking in turn and one at a time, meet before the ring shrinks.
fn errors_until_ejected(clients: &mut [Client], key: &str) -> usize {
    let turns = (0..100).find(|turn| !clients[turn % 8].call(&["SET", key, "v"]).is_error());
    turns.expect("the server is ejected")
}

#[test]
fn clients_of_all_workers_share_one_count_of_failures() {
    for limit in [1, 2, 5] {
        let mut servers = RealServer::several(2);
        let proxy = Proxy::with(ejecting(&servers, limit, 60_000)).workers(2).start();
        let mut clients = clients_on_both_workers(&proxy);
        let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        assert_eq!(errors_until_ejected(&mut clients, &key), limit as usize);
        for client in clients.iter_mut().chain([&mut proxy.client()]) {
            assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok(), "ejected for all workers");
        }
    }
}

#[test]
fn workers_that_lose_a_server_in_the_same_instant_count_one_ejection() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::with(ejecting(&servers, 1, 100)).workers(2).start();
    let mut clients = clients_on_both_workers(&proxy);
    let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
    for outage in 1..=6 {
        for client in &mut clients {
            eventually("the server is in the ring", || {
                let set = client.call(&["SET", &key, "v"]) == Reply::ok();
                (set && servers[1].key_count() == 1).then_some(())
            });
        }
        servers[1].freeze();
        clients.iter_mut().for_each(|client| client.send(&request(&["GET", &key])));
        proxy.await_stat(&["server2", "out_queue"], clients.len() as i64);
        servers[1].stop();
        for client in &mut clients {
            assert!(client.reply().is_error());
        }
        assert_eq!(proxy.stat(&["server_ejects"]), outage);
        servers[1].start_again();
    }
}

#[test]
fn every_outage_costs_the_clients_of_all_workers_the_limit_once() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::with(ejecting(&servers, 2, 400)).workers(2).start();
    let mut clients = clients_on_both_workers(&proxy);
    let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
    for outage in 1..=3 {
        for client in &mut clients {
            eventually("the server is in the ring", || {
                let taken = client.call(&["SET", &key, "v"]) == Reply::ok();
                let here = servers[1].client().call(&["GETDEL", &key]) == Reply::bulk("v");
                (taken && here).then_some(())
            });
        }
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        assert_eq!(errors_until_ejected(&mut clients, &key), 2, "outage {outage}");
        servers[1].start_again();
    }
}

#[test]
fn requests_in_flight_on_all_workers_cost_no_more_than_themselves_and_the_limit() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::with(ejecting(&servers, 2, 60_000)).workers(2).start();
    let mut clients = clients_on_both_workers(&proxy);
    let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
    servers[1].freeze();
    for client in &mut clients {
        client.send(&request(&["GET", &key]).repeat(10));
    }
    eventually("the requests are in flight", || {
        (proxy.stat(&["server2", "in_queue"]) + proxy.stat(&["server2", "out_queue"]) == 80)
            .then_some(())
    });
    servers[1].stop();
    let lost = clients.iter_mut().flat_map(|client| client.replies(10));
    assert_eq!(lost.filter(Reply::is_error).count(), 80);
    let mut later = 0;
    for turn in 0..80 {
        let client = &mut clients[turn % 8];
        later += u32::from(client.call(&["SET", &key, "v"]).is_error());
    }
    assert!(later <= 2, "{later} more requests failed after those in flight");
    assert_eq!(clients[0].call(&["SET", &key, "v"]), Reply::ok());
}

#[test]
fn a_success_clears_the_count() {
    let healthy = FakeServer::answering(|_| b"+OK\r\n".to_vec());
    let flaky = FakeServer::start(|connection| {
        while let Some(words) = connection.request() {
            if words[0] == b"PERSIST" {
                return connection.reset();
            }
            connection.send(b"+OK\r\n");
        }
    });
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{}:1 server1", healthy.address()))
        .server(format!("{}:1 server2", flaky.address()))
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 3)
        .set("server_retry_timeout", 60_000);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let key = eventually("a key of the second server", || {
        let key = format!("key{}", healthy.received().len() + flaky.received().len());
        flaky.forget();
        client.call(&["GET", &key]);
        (!flaky.received().is_empty()).then_some(key)
    });
    for _ in 0..4 {
        for _ in 0..2 {
            assert!(client.call(&["PERSIST", &key]).is_error());
        }
        assert_eq!(client.call(&["GET", &key]), Reply::ok());
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    for _ in 0..3 {
        assert!(client.call(&["PERSIST", &key]).is_error());
    }
    proxy.await_stat(&["server_ejects"], 1);
}

#[test]
fn a_server_that_stays_down_fails_again_after_each_retry_time() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::start(ejecting(&servers, 2, 400));
    let mut client = proxy.client();
    let key = spread(&mut client, &servers, 1)[0][0].clone();
    servers[0].stop();
    proxy.await_stat(&["server1", "server_connections"], 0);
    for ejections in 1..=3 {
        let mut errors = 0;
        eventually("the server is ejected again", || {
            errors += i64::from(client.call(&["SET", &key, "v"]).is_error());
            (proxy.stat(&["server_ejects"]) >= ejections).then_some(())
        });
        assert_eq!(errors, 2, "the limit holds for every return");
    }
}

#[test]
fn a_server_that_returns_takes_its_keys_back() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::start(ejecting(&servers, 1, 300));
    let mut client = proxy.client();
    let key = spread(&mut client, &servers, 1)[0][0].clone();
    assert_eq!(client.call(&["SET", &key, "old"]), Reply::ok());
    servers[0].freeze();
    servers[0].stop();
    eventually("the other server takes over", || {
        (client.call(&["SET", &key, "new"]) == Reply::ok()).then_some(())
    });
    assert_eq!(servers[1].keys(), [key.as_bytes()]);
    servers[0].start_again();
    // As ever, what the other server took meanwhile is not seen any more: a cache goes cold, it does not go wrong.
    eventually("the server is back in the ring", || {
        (client.call(&["GET", &key]) == Reply::Nil).then_some(())
    });
    assert_eq!(client.call(&["SET", &key, "back"]), Reply::ok());
    assert_eq!(servers[0].keys(), [key.as_bytes()]);
}

#[test]
fn with_every_server_ejected_requests_fail_without_an_attempt() {
    let nobody: Vec<_> = (0..2).map(|_| format!("127.0.0.1:{}", unused_port())).collect();
    let pool = Pool::redis(&nobody)
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 1)
        .set("server_retry_timeout", 60_000);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    for n in 0..200 {
        client.send_request(&["GET", &format!("key{n}")]);
        client.expect(b"-ERR Connection refused\r\n");
    }
    proxy.await_stat(&["server_ejects"], 2);
    let attempts = proxy.stats()["total_connections"].as_i64();
    for n in 0..50 {
        client.send_request(&["GET", &format!("key{n}")]);
        client.expect(b"-ERR Connection refused\r\n");
    }
    assert_eq!(proxy.stats()["total_connections"].as_i64(), attempts);
}

#[test]
fn without_auto_eject_keys_never_move() {
    for distribution in ["modula", "ketama"] {
        let mut servers = RealServer::several(5);
        let pool = Pool::redis(&servers).set("distribution", distribution).set("timeout", 5000);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 3);
        servers[2].stop();
        proxy.await_stat(&["server3", "server_connections"], 0);
        for round in 0..3 {
            for (n, keys) in keys.iter().enumerate() {
                for key in keys {
                    let reply = client.call(&["SET", key, "v"]);
                    assert_eq!(
                        reply.is_error(),
                        n == 2,
                        "round {round}: {key} on server {n}: {reply:?}"
                    );
                }
            }
        }
        for n in [0, 1, 3, 4] {
            assert_eq!(servers[n].key_count(), 3);
        }
        assert_eq!(proxy.stat(&["server_ejects"]), 0);
    }
}

#[test]
fn a_loading_server_counts_as_failing_and_other_errors_do_not() {
    let other = RealServer::redis();
    let loading = FakeServer::answering(|words| match words[0].as_slice() {
        b"GET" => b"-OOM command not allowed\r\n".to_vec(),
        b"SET" => b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
        _ => b"-BUSY Redis is busy\r\n".to_vec(),
    });
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{}:1 loading", loading.address()))
        .server(format!("{}:1 other", other.location()))
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 2)
        .set("server_retry_timeout", 60_000);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let key = (0..)
        .map(|n| format!("key{n}"))
        .find(|key| client.call(&["TTL", key]).is_error())
        .expect("a key of the loading server");
    for _ in 0..5 {
        assert_eq!(client.call(&["GET", &key]).error(), "OOM command not allowed");
        assert_eq!(client.call(&["TTL", &key]).error(), "BUSY Redis is busy");
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    for _ in 0..2 {
        assert_eq!(
            client.call(&["SET", &key, "v"]).error(),
            "LOADING Redis is loading the dataset in memory"
        );
    }
    proxy.await_stat(&["server_ejects"], 1);
    assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
}

#[test]
fn one_dead_server_of_two_costs_each_client_only_the_limit() {
    let mut servers = RealServer::several(2);
    servers[1].stop();
    let proxy = Proxy::start(ejecting(&servers, 2, 60_000));
    let mut client = proxy.client();
    let mut errors = 0;
    for n in 0..300 {
        match client.call(&["SET", &format!("key{n}"), "v"]) {
            Reply::Error(text) => {
                assert_eq!(text, "ERR Connection refused");
                errors += 1;
            }
            reply => assert_eq!(reply, Reply::ok()),
        }
    }
    assert_eq!(errors, 2);
}

#[test]
fn random_sends_nothing_to_an_ejected_server() {
    let mut servers = RealServer::several(3);
    servers[1].stop();
    let proxy = Proxy::start(ejecting(&servers, 1, 60_000).set("distribution", "random"));
    let mut client = proxy.client();
    eventually("the dead server is ejected", || {
        client.call(&["GET", "k"]);
        (proxy.stat(&["server_ejects"]) == 1).then_some(())
    });
    let ejected_at = proxy.stat(&["server2", "server_ejected_at"]);
    let requests = proxy.stat(&["server2", "requests"]);
    for _ in 0..200 {
        assert_eq!(client.call(&["GET", "k"]), Reply::Nil);
    }
    assert_eq!(proxy.stat(&["server2", "requests"]), requests);
    assert_eq!(proxy.stat(&["server2", "server_ejected_at"]), ejected_at);
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
}

#[test]
fn an_outage_counts_once_per_timeout_and_not_once_per_request() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::start(ejecting(&servers, 3, 60_000).set("timeout", 300));
    let mut client = proxy.client();
    let key = spread(&mut client, &servers, 1)[0][0].clone();
    servers[0].freeze();
    let mut waiting: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send_request(&["GET", &key]);
    }
    for client in &mut waiting {
        client.expect(b"-ERR Connection timed out\r\n");
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0, "20 requests of one outage are one failure");
    assert!(within(PATIENCE, || {
        client.call(&["GET", &key]);
        proxy.stat(&["server_ejects"]) == 1
    }));
    servers[0].thaw();
}

/// A listener whose queue is full, so that the kernel drops further attempts to connect.
fn unreachable_listener() -> (Socket, Vec<TcpStream>, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address = eventually("a free port", || {
        let address = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
        socket.bind(&address.into()).ok().map(|()| address)
    });
    socket.listen(0).expect("listen");
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(150)) {
        queue.push(stream);
    }
    (socket, queue, address.to_string())
}

#[test]
fn every_way_to_fail_has_a_text_of_its_own() {
    let (_listener, _queue, unreachable) = unreachable_listener();
    let refused = format!("127.0.0.1:{}", unused_port());
    let resetting = FakeServer::start(|connection| {
        connection.request();
        connection.reset();
    });
    let closing = FakeServer::start(|connection| {
        connection.request();
    });
    let half_closing = FakeServer::start(|connection| {
        connection.request();
        connection.half_close();
        connection.never_answer();
    });
    let silent = FakeServer::start(FakeConnection::never_answer);
    let missing = "/no/such/folder/redis.sock".to_owned();
    // Only who waits for the timeout gets a short one: the others' threads may be late on a busy machine.
    let cases: [(String, u32, &[&str]); 7] = [
        (unreachable, 300, &["Connection timed out"]),
        (refused, 10_000, &["Connection refused"]),
        (resetting.address().to_string(), 10_000, &["Connection reset by peer"]),
        (closing.address().to_string(), 10_000, &["Connection reset by peer", "unknown"]),
        (half_closing.address().to_string(), 10_000, &["Connection reset by peer", "unknown"]),
        (silent.address().to_string(), 300, &["Connection timed out"]),
        (missing, 10_000, &["No such file or directory"]),
    ];
    for (server, timeout, texts) in cases {
        let proxy = Proxy::start(Pool::redis(&[&server]).set("timeout", timeout));
        let mut client = proxy.client();
        let reply = client.call(&["GET", "a"]);
        let text = reply.error().strip_prefix("ERR ").unwrap_or_default();
        assert!(texts.iter().any(|expected| text.starts_with(expected)), "{server}: {text}");
        client.expect_usable();
    }
}
