//! What is counted of memcached pools: the same as twemproxy 0.5 counted, and gauges that come back to zero.

use crate::harness::{
    Client, PATIENCE, Pool, Proxy, RealServer, WORKER_COUNTS, reference_binary, within,
};

const GAUGES: [&str; 4] = ["in_queue", "in_queue_bytes", "out_queue", "out_queue_bytes"];

/// The counts of a server that follow from what is sent, and from nothing else.
const COUNTS: [&str; 4] = ["requests", "request_bytes", "responses", "response_bytes"];

/// Requests of each kind, over three servers, with the last reply of each.
fn work(client: &mut Client) {
    for n in 0..20 {
        client.ask(format!("set key{n} 0 0 5\r\nvalue\r\n"), "STORED\r\n");
        client.send(format!("set quiet{n} 0 0 5 noreply\r\nvalue\r\n").as_bytes());
    }
    let keys: Vec<String> = (0..20).map(|n| format!("key{n}")).collect();
    client.send(format!("get {}\r\n", keys.join(" ")).as_bytes());
    client.read_through(b"END\r\n").expect("the values");
    client.ask("get key1\r\n", "VALUE key1 0 5\r\nvalue\r\nEND\r\n");
    client
        .ask("incr key1 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    client.ask("delete key1\r\ndelete key1\r\n", "DELETED\r\nNOT_FOUND\r\n");
    client.ask("delete key2 noreply\r\nget key2 key3\r\n", "VALUE key3 0 5\r\nvalue\r\nEND\r\n");
    client.ask("touch key3 0\r\n", "TOUCHED\r\n");
}

fn pool(servers: &[RealServer]) -> Pool {
    Pool::memcached(servers).set("hash", "murmur")
}

/// What is counted of each server once nothing is under way.
fn counted(proxy: &Proxy) -> Vec<Vec<i64>> {
    let servers = ["server1", "server2", "server3"];
    for server in servers {
        for gauge in GAUGES {
            proxy.await_stat(&[server, gauge], 0);
        }
    }
    let stats = proxy.stats();
    let of = |server: &str| -> Vec<i64> {
        let count = |key: &str| stats["alpha"][server][key].as_i64().expect("a number");
        COUNTS.iter().map(|key| count(key)).collect()
    };
    servers.iter().map(|server| of(server)).collect()
}

#[test]
fn requests_and_replies_are_counted_as_twemproxy_counts_them() {
    let Some(reference) = reference_binary() else { return };
    let servers = RealServer::several_memcached(3);
    let ours = Proxy::with(pool(&servers)).workers(1).start();
    let theirs = Proxy::with(pool(&servers)).reference(&reference).start();
    work(&mut ours.client());
    let ours = counted(&ours);
    servers.iter().for_each(|server| server.client().ask("flush_all\r\n", "OK\r\n"));
    work(&mut theirs.client());
    // Its numbers lag behind.
    let mut last = Vec::new();
    within(PATIENCE, || {
        last = counted(&theirs);
        last == ours
    });
    assert_eq!(ours, last);
}

#[test]
fn fragments_are_counted_once_for_each_part() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(pool(&servers)).workers(workers).start();
        let mut client = proxy.client();
        client.ask("get key1\r\n", "END\r\n");
        assert_eq!(proxy.stat(&["fragments"]), 0);
        let keys: Vec<String> = (0..50).map(|n| format!("key{n}")).collect();
        client.ask(format!("get {}\r\n", keys.join(" ")), "END\r\n");
        assert_eq!(proxy.stat(&["fragments"]), 3, "every server has some of fifty keys");
    }
}

#[test]
fn gauges_come_back_to_zero_after_a_server_is_killed() {
    for workers in WORKER_COUNTS {
        let mut server = RealServer::memcached();
        let proxy = Proxy::with(Pool::memcached(&[&server])).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        server.freeze();
        for client in &mut clients {
            client.send(b"set a 0 0 1 noreply\r\nx\r\nget a\r\nget b c\r\nmg d v q\r\n");
        }
        proxy.await_stat(&["server1", "out_queue"], 12);
        server.stop();
        for client in &mut clients {
            for _ in 0..3 {
                assert!(client.text_line().starts_with("SERVER_ERROR "));
            }
        }
        drop(clients);
        proxy.await_stat(&["client_connections"], 0);
        for gauge in GAUGES.iter().chain(&["server_connections"]) {
            proxy.await_stat(&["server1", gauge], 0);
        }
        assert_eq!(proxy.stat(&["forward_error"]), 12);
    }
}

#[test]
fn what_the_proxy_answers_itself_touches_no_server() {
    let server = RealServer::memcached();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    client.ask("mn\r\nverbosity 1\r\nbogus\r\nget\r\n", "MN\r\nOK\r\nERROR\r\nERROR\r\n");
    client.send(b"stats\r\n");
    client.read_through(b"END\r\n").expect("the statistics");
    let stats = proxy.stats();
    let numbers = stats["alpha"]["server1"].as_object().expect("a server");
    assert!(numbers.values().all(|value| value.as_u64() == Some(0)), "{stats}");
    assert_eq!(stats["alpha"]["forward_error"], 0, "{stats}");
}
