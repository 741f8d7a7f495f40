//! Ejected memcached servers whose keys stay with them, what reads get meanwhile, and probes.

use super::{holds, set, spread, value};
use crate::harness::{Client, Pool, Proxy, RealServer, WORKER_COUNTS, eventually};

const REFUSED: &str = "SERVER_ERROR Connection refused";

/// A pool that ejects after `limit` failures for `retry_ms`, and does `on_eject` with the keys.
fn keeping(servers: &[RealServer], on_eject: &str, limit: u32, retry_ms: u32) -> Pool {
    Pool::memcached(servers)
        .set("auto_eject_hosts", true)
        .set("on_eject", on_eject)
        .set("server_failure_limit", limit)
        .set("server_retry_timeout", retry_ms)
        .set("timeout", 5000)
}

/// The first line of the reply to a `set`.
fn stored(client: &mut Client, key: &str) -> String {
    client.send(format!("set {key} 0 0 1\r\nv\r\n").as_bytes());
    client.text_line()
}

/// Kills a server and has requests for `key` fail until it is ejected.
fn eject(proxy: &Proxy, client: &mut Client, server: &mut RealServer, key: &str) {
    let before = proxy.stat(&["server_ejects"]);
    server.stop();
    eventually("the server is ejected", || {
        client.send(format!("touch {key} 0\r\n").as_bytes());
        client.text_line();
        (proxy.stat(&["server_ejects"]) > before).then_some(())
    });
}

#[test]
fn with_one_of_five_servers_dead_the_others_keep_their_keys() {
    for distribution in ["modula", "ketama"] {
        let mut servers = RealServer::several_memcached(5);
        let pool = keeping(&servers, "error", 2, 60_000).set("distribution", distribution);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 3);
        eject(&proxy, &mut client, &mut servers[2], &keys[2][0]);
        for (n, keys) in keys.iter().enumerate() {
            for key in keys {
                let line = stored(&mut client, key);
                assert_eq!(line, if n == 2 { REFUSED } else { "STORED" });
                assert!(n == 2 || holds(&servers[n], key), "{distribution}: {key} moved");
            }
        }
    }
}

#[test]
fn a_miss_is_what_memcached_answers_for_missing_items() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::start(keeping(&servers, "miss", 1, 60_000));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 2);
    let mut direct = servers[0].client();
    eject(&proxy, &mut client, &mut servers[1], &keys[1][0]);
    let (a, b) = (&keys[1][0], &keys[1][1]);
    let mut requests: Vec<String> = [
        "get A",
        "gets A",
        "get A B",
        "gats 0 A B",
        "gat 0 A",
        "mg A",
        "mg A v k Oabc t",
        "mg A O1 s k f",
        "me A",
        "mg A v q",
        "mg A s k q O1",
    ]
    .map(|request| request.replace('A', a).replace('B', b))
    .to_vec();
    // Some of these live on the dead server.
    for letter in 'A'..='Z' {
        requests.push(format!("mg QUJ{letter} b k v O1"));
        requests.push(format!("mg QUJ{letter} v O1 b"));
    }
    for request in requests {
        let request = format!("{request}\r\nmn\r\n");
        direct.send(request.as_bytes());
        let expected = direct.read_through(b"MN\r\n").expect("memcached answers");
        client.send(request.as_bytes());
        let got = client.read_through(b"MN\r\n").expect("the proxy answers");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected), "{request}");
    }
    assert_eq!(stored(&mut client, a), REFUSED);
}

#[test]
fn a_cache_goes_cold_and_warm_again() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::start(keeping(&servers, "miss", 1, 200).set("probe", true));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    let (here, away) = (&keys[0][0], &keys[1][0]);
    set(&mut client, here, "h");
    set(&mut client, away, "a");
    eject(&proxy, &mut client, &mut servers[1], away);
    client.ask(format!("get {away} {here}\r\n"), value(here, "h"));
    let errors = proxy.stat(&["forward_error"]);
    eventually("three probes fail", || {
        client.ask(format!("get {away}\r\n"), "END\r\n");
        (proxy.log().matches(" stays deleted for next ").count() >= 3).then_some(())
    });
    assert_eq!(proxy.stat(&["forward_error"]), errors);
    servers[1].start_again();
    eventually("the server is back", || (stored(&mut client, away) == "STORED").then_some(()));
    client.ask(
        format!("get {away} {here}\r\n"),
        format!("VALUE {away} 0 1\r\nv\r\n{}", value(here, "h")),
    );
}

#[test]
fn a_probed_server_that_stays_down_costs_clients_nothing_after_its_ejection() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several_memcached(2);
        let pool = keeping(&servers, "rehash", 2, 100).set("probe", true);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut client = proxy.client();
        let key = spread(&mut client, &servers, 1)[1][0].clone();
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        let mut failed = Vec::new();
        eventually("the other server takes over", || match stored(&mut client, &key) {
            line if line == "STORED" => Some(()),
            line => {
                failed.push(line);
                None
            }
        });
        assert_eq!(failed, [REFUSED; 2], "as many as the limit, and of one kind");
        eventually("five probes fail", || {
            assert_eq!(stored(&mut client, &key), "STORED");
            (proxy.log().matches(" stays deleted for next ").count() >= 5).then_some(())
        });
        servers[1].start_again();
        eventually("it takes its keys again", || {
            assert_eq!(stored(&mut client, &key), "STORED");
            holds(&servers[1], &key).then_some(())
        });
    }
}
