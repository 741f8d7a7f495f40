//! Ejection that moves no key and returns no stale one: what clients see while a server is away and when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{
    Client, FakeServer, Location, PATIENCE, Pool, Proxy, RealServer, Reply, WORKER_COUNTS,
    eventually, request, spread, unused_port,
};

/// A pool that ejects after `limit` failures for `retry_ms`, and does `on_eject` with the keys.
fn keeping(servers: &[RealServer], on_eject: &str, limit: u32, retry_ms: u32) -> Pool {
    Pool::redis(servers)
        .set("auto_eject_hosts", true)
        .set("on_eject", on_eject)
        .set("server_failure_limit", limit)
        .set("server_retry_timeout", retry_ms)
        .set("timeout", 5000)
}

const REFUSED: &str = "ERR Connection refused";

/// Sends `request` until its reply is `wanted`.
fn until(client: &mut Client, request: &[&str], wanted: &Reply) {
    eventually("the reply changes", || (client.call(request) == *wanted).then_some(()));
}

#[test]
fn what_another_server_took_meanwhile_is_found_again_only_where_keys_move() {
    let stale = |on_eject: &str| {
        let mut servers = RealServer::several(2);
        let proxy = Proxy::start(keeping(&servers, on_eject, 1, 700));
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 2).swap_remove(0);
        let (key, other) = (&keys[0], &keys[1]);
        assert_eq!(client.call(&["SET", key, "first"]), Reply::ok());
        servers[0].stop();
        eventually("the server is ejected", || {
            let reply = client.call(&["SET", key, "second"]);
            (proxy.stat(&["server_ejects"]) > 0 && (on_eject != "rehash" || reply == Reply::ok()))
                .then_some(())
        });
        servers[0].start_again();
        eventually("the server is back", || {
            let stored = client.call(&["SET", other, "v"]) == Reply::ok();
            (stored && servers[0].key_count() == 1).then_some(())
        });
        assert_eq!(client.call(&["SET", key, "third"]), Reply::ok());
        servers[0].stop();
        proxy.await_stat(&["server1", "server_connections"], 0);
        let before = proxy.stat(&["server_ejects"]);
        eventually("the server is ejected again", || {
            client.call(&["PERSIST", other]);
            (proxy.stat(&["server_ejects"]) > before).then_some(())
        });
        client.call(&["GET", key])
    };
    // As in twemproxy 0.5: the value of the first ejection, long overwritten.
    assert_eq!(stale("rehash"), Reply::bulk("second"));
    assert_eq!(stale("error").error(), REFUSED);
    assert_eq!(stale("miss"), Reply::Nil);
}

#[test]
fn with_one_of_five_servers_dead_the_others_keep_their_keys() {
    for distribution in ["modula", "ketama"] {
        let mut servers = RealServer::several(5);
        let pool = keeping(&servers, "error", 2, 60_000).set("distribution", distribution);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 3);
        servers[2].stop();
        proxy.await_stat(&["server3", "server_connections"], 0);
        for _ in 0..5 {
            for (n, keys) in keys.iter().enumerate() {
                for key in keys {
                    let reply = client.call(&["SET", key, "v"]);
                    if n == 2 {
                        assert_eq!(reply.error(), REFUSED);
                    } else {
                        assert_eq!(reply, Reply::ok());
                    }
                }
            }
        }
        for n in [0, 1, 3, 4] {
            let mut expected: Vec<_> = keys[n].iter().map(|key| key.clone().into_bytes()).collect();
            expected.sort();
            assert_eq!(servers[n].keys(), expected, "{distribution}: server {n}");
        }
        assert_eq!(proxy.stat(&["server_ejects"]), 1);
    }
}

#[test]
fn an_ejected_server_that_keeps_its_keys_is_not_asked_before_its_time() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several(2);
        let proxy = Proxy::with(keeping(&servers, "error", 1, 60_000)).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        eventually("all workers know", || {
            let attempts = proxy.stats()["total_connections"].as_i64();
            for client in &mut clients {
                client.send(&request(&["GET", &key]).repeat(20));
            }
            for client in &mut clients {
                let replies = client.replies(20);
                assert!(replies.iter().all(|reply| reply.error() == REFUSED));
            }
            let asked = proxy.stats()["total_connections"].as_i64() != attempts;
            (proxy.stat(&["server_ejects"]) >= 1 && !asked).then_some(())
        });
    }
}

#[test]
fn with_miss_a_cache_goes_cold_and_not_down() {
    let mut servers = RealServer::several(2);
    let proxy = Proxy::start(keeping(&servers, "miss", 1, 400));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 2);
    let (here, away) = (&keys[0][0], &keys[1]);
    assert_eq!(client.call(&["MSET", here, "h", &away[0], "a"]), Reply::ok());
    servers[1].freeze();
    servers[1].stop();
    until(&mut client, &["GET", &away[0]], &Reply::Nil);
    let keys = ["MGET", &away[0], here, &away[1]];
    let cold = Reply::Array(vec![Reply::Nil, Reply::bulk("h"), Reply::Nil]);
    // A trial may be under way.
    until(&mut client, &keys, &cold);
    until(&mut client, &["EXISTS", &away[0], here], &Reply::Integer(1));
    assert_eq!(client.call(&["SET", &away[0], "v"]).error(), REFUSED);
    servers[1].start_again();
    until(&mut client, &["SET", &away[0], "warm"], &Reply::ok());
    assert_eq!(client.call(&["GET", &away[0]]), Reply::bulk("warm"));
    assert!(proxy.log().contains("update pool 0 'alpha' to add 1 servers: '"));
}

#[test]
fn one_request_in_each_retry_time_pays_for_the_trial() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several(2);
        let proxy = Proxy::with(keeping(&servers, "miss", 1, 200)).workers(workers).start();
        let mut client = proxy.client();
        let key = spread(&mut client, &servers, 1)[1][0].clone();
        servers[1].stop();
        let trials = || proxy.log().matches("tries the deleted server").count();
        eventually("three trials", || {
            client.call(&["GET", &key]);
            (trials() >= 3).then_some(())
        });
        assert_eq!(proxy.stat(&["server_ejects"]), 1, "it was never back");
        let errors = proxy.stat(&["forward_error"]);
        let at_most = 1 + trials() as i64;
        assert!(errors <= at_most, "{errors} errors, at most {at_most} expected");
        servers[1].start_again();
        until(&mut client, &["SET", &key, "v"], &Reply::ok());
    }
}

/// A scrape.
fn metrics(proxy: &Proxy) -> String {
    let mut client = Client::connect(proxy.stats_address());
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    String::from_utf8_lossy(&client.drain(PATIENCE).0).into_owned()
}

/// How many probes and trials failed so far.
fn failed_probes(proxy: &Proxy) -> usize {
    proxy.log().matches(" stays deleted for next ").count()
}

#[test]
fn a_probed_server_that_stays_down_costs_clients_nothing_after_its_ejection() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several(2);
        let pool = keeping(&servers, "rehash", 3, 100).set("probe", true);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let key = spread(&mut clients[0], &servers, 1)[1][0].clone();
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        until(&mut clients[0], &["SET", &key, "v"], &Reply::ok());
        eventually("all workers know", || {
            let stored = clients.iter_mut().map(|client| client.call(&["SET", &key, "v"]));
            stored.collect::<Vec<_>>().iter().all(|reply| *reply == Reply::ok()).then_some(())
        });
        let requests = proxy.stat(&["server2", "requests"]);
        let errors = proxy.stat(&["forward_error"]);
        let ejections = proxy.stat(&["server_ejects"]);
        eventually("ten probes fail", || {
            for client in &mut clients {
                assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
            }
            (failed_probes(&proxy) >= 10).then_some(())
        });
        assert_eq!(proxy.stat(&["forward_error"]), errors);
        assert_eq!(proxy.stat(&["server2", "requests"]), requests, "probes are no requests");
        assert_eq!(proxy.stat(&["server_ejects"]), ejections, "and their failures no ejections");
        let scrape = metrics(&proxy);
        let held =
            format!("nutcracker_server_ejected{{pool=\"alpha\",server=\"server2\"}} {workers}");
        assert!(scrape.contains(&held), "no '{held}' in {scrape}");
        servers[1].start_again();
        eventually("it takes its keys again", || {
            for client in &mut clients {
                assert_eq!(client.call(&["SET", &key, "back"]), Reply::ok());
            }
            (servers[1].key_count() == 1).then_some(())
        });
        assert_eq!(proxy.stat(&["forward_error"]), errors);
    }
}

#[test]
fn a_server_is_left_out_until_it_has_loaded_its_data() {
    let other = RealServer::redis();
    let is_loading = Arc::new(AtomicBool::new(true));
    let loading = Arc::clone(&is_loading);
    let server = FakeServer::answering(move |words| {
        if loading.load(Ordering::SeqCst) {
            return b"-LOADING Redis is loading the dataset in memory\r\n".to_vec();
        }
        if words[0] == b"PING" { b"+PONG\r\n".to_vec() } else { b"+OK\r\n".to_vec() }
    });
    let pool = keeping(&[], "rehash", 1, 100)
        .server(format!("{}:1 loading", server.address()))
        .server(format!("{}:1 other", other.location()))
        .set("probe", true);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let key = (0..)
        .map(|n| format!("key{n}"))
        .find(|key| client.call(&["SET", key, "v"]).is_error())
        .expect("a key of the loading server");
    server.forget();
    eventually("five probes fail", || {
        assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
        (failed_probes(&proxy) >= 5).then_some(())
    });
    assert!(!has_set(&server), "only probes come");
    assert!(proxy.log().contains("secs: -LOADING Redis is loading the dataset in memory"));
    is_loading.store(false, Ordering::SeqCst);
    server.forget();
    eventually("requests come again", || {
        assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
        has_set(&server).then_some(())
    });
}

/// Whether a SET has come.
fn has_set(server: &FakeServer) -> bool {
    server.received().windows(5).any(|word| word == b"SET\r\n")
}

#[test]
fn a_replica_without_its_master_is_left_out_until_it_is_a_master_itself() {
    let lost = unused_port().to_string();
    let replica_of_nobody = ["--replicaof", "127.0.0.1", &lost, "--replica-serve-stale-data", "no"];
    let mut servers = [RealServer::redis_with(&replica_of_nobody), RealServer::redis()];
    let proxy = Proxy::start(keeping(&servers, "error", 1, 100).set("probe", true));
    let mut client = proxy.client();
    let key = (0..)
        .map(|n| format!("key{n}"))
        .find(|key| client.call(&["GET", key]).is_error())
        .expect("a key of the replica");
    // What the server itself says to clients is theirs to judge.
    assert!(client.call(&["GET", &key]).error().starts_with("MASTERDOWN "));
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    servers[0].stop();
    eventually("the server is ejected", || {
        client.call(&["GET", &key]);
        (proxy.stat(&["server_ejects"]) == 1).then_some(())
    });
    servers[0].start_again();
    eventually("a probe meets the lost master", || {
        assert_eq!(client.call(&["GET", &key]).error(), REFUSED);
        proxy.log().contains("secs: -MASTERDOWN Link with MASTER is down").then_some(())
    });
    assert_eq!(servers[0].client().call(&["REPLICAOF", "NO", "ONE"]), Reply::ok());
    until(&mut client, &["SET", &key, "v"], &Reply::ok());
}

#[test]
fn no_more_servers_are_ejected_than_the_share_allows() {
    let mut servers = RealServer::several(3);
    let pool = keeping(&servers, "rehash", 1, 60_000).set("max_ejected_percent", 34);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    for n in [0, 1] {
        servers[n].stop();
        proxy.await_stat(&[&format!("server{}", n + 1), "server_connections"], 0);
    }
    client.call(&["SET", &keys[0][0], "v"]);
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
    for _ in 0..20 {
        assert_eq!(client.call(&["SET", &keys[1][0], "v"]).error(), REFUSED);
    }
    assert_eq!(client.call(&["SET", &keys[2][0], "v"]), Reply::ok());
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
    assert_eq!(proxy.log().matches("keeps failing and is not deleted").count(), 1);
}
