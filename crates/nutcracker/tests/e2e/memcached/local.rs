//! What the proxy answers itself, and commands that concern every server.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::{Client, Pool, Proxy, RealServer, WORKER_COUNTS};

use super::{echo, held, holds, set, spread, value};

/// The lines of `stats` by name.
#[track_caller]
fn stats(client: &mut Client) -> BTreeMap<String, String> {
    client.send(b"stats\r\n");
    let mut found = BTreeMap::new();
    loop {
        let line = client.text_line();
        if line == "END" {
            return found;
        }
        let mut words = line.splitn(3, ' ');
        assert_eq!(words.next(), Some("STAT"), "{line}");
        let (Some(name), Some(value)) = (words.next(), words.next()) else { panic!("{line}") };
        assert!(found.insert(name.to_owned(), value.to_owned()).is_none(), "{name} comes twice");
    }
}

#[test]
fn stats_are_those_of_the_proxy() {
    for workers in WORKER_COUNTS {
        let server = RealServer::memcached();
        let mut proxy = Proxy::with(Pool::memcached(&[&server])).workers(workers).start();
        let id = proxy.process().id();
        let mut client = proxy.client();
        set(&mut client, "a", "b");
        let told = stats(&mut client);
        assert_eq!(told.get("pid"), Some(&id.to_string()), "{told:?}");
        for name in ["uptime", "time", "curr_connections", "total_connections"] {
            let number = told.get(name).and_then(|value| value.parse::<u64>().ok());
            assert!(number.is_some(), "no number {name} in {told:?}");
        }
        assert!(told.contains_key("version"), "{told:?}");
        client.ask("get a\r\n", value("a", "b"));
    }
}

/// Clients take the reply for the version of a memcached and choose what they send by it.
#[test]
fn the_version_is_that_of_a_server() {
    let servers = RealServer::several_memcached(3);
    let proxy = Proxy::start(Pool::memcached(&servers));
    let version = |client: &mut Client| {
        client.send(b"version\r\n");
        client.text_line()
    };
    let told = version(&mut proxy.client());
    assert_eq!(told, version(&mut servers[0].client()));
    assert!(told.starts_with("VERSION 1."), "{told}");
    let mut client = proxy.client();
    client.send(b"get a\r\nversion\r\nmn\r\nget a\r\n");
    client.expect(format!("END\r\n{told}\r\nMN\r\nEND\r\n").as_bytes());
}

#[test]
fn what_needs_no_server_works_without_one() {
    let proxy = Proxy::start(Pool::memcached(&["127.0.0.1:1"]));
    let mut client = proxy.client();
    client.ask("mn\r\nverbosity 1\r\nverbosity 0 noreply\r\nmn\r\n", "MN\r\nOK\r\nMN\r\n");
    assert!(!stats(&mut client).is_empty());
    client.send(b"version\r\n");
    assert!(client.text_line().starts_with("SERVER_ERROR "));
    client.ask("mn\r\n", "MN\r\n");
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/keepalived/check-nutcracker");
    let port = proxy.address(0).port().to_string();
    let checked = Command::new(check).args(["-m", "-t", "30", "127.0.0.1", &port]).output();
    let checked = checked.expect("bash runs the check");
    assert!(checked.status.success(), "{checked:?}: another proxy would have no server either");
}

#[test]
fn flush_all_reaches_every_server_where_the_pool_allows_it() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let pool = Pool::memcached(&servers).set("allow_flush", true);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 2).concat();
        let store = |client: &mut Client| keys.iter().for_each(|key| set(client, key, "x"));
        let held = || servers.iter().map(|server| held(server, &keys).len()).sum::<usize>();
        store(&mut client);
        assert_eq!(held(), keys.len());
        client.ask("flush_all\r\n", "OK\r\n");
        assert_eq!(held(), 0);
        store(&mut client);
        client.ask("flush_all 0\r\n", "OK\r\n");
        assert_eq!(held(), 0);
        store(&mut client);
        client.send(b"flush_all 1000\r\nget ");
        client.ask(format!("{}\r\n", keys[0]), format!("OK\r\n{}", value(&keys[0], "x")));
        assert_eq!(held(), keys.len(), "a thousand seconds are not over");
        client.ask("flush_all noreply\r\nmn\r\n", "MN\r\n");
        crate::harness::eventually("everything is gone", || (held() == 0).then_some(()));
    }
}

#[test]
fn a_flush_that_a_server_misses_is_an_error() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::start(Pool::memcached(&servers).set("allow_flush", true));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    set(&mut client, &keys[0][0], "x");
    servers[1].stop();
    client.send(b"flush_all\r\n");
    assert!(client.text_line().starts_with("SERVER_ERROR "));
    assert!(!holds(&servers[0], &keys[0][0]), "the other one has carried it out");
    client.ask(format!("get {}\r\n", keys[0][0]), "END\r\n");
}

#[test]
fn a_pool_that_does_not_allow_it_flushes_nothing() {
    let servers = RealServer::several_memcached(2);
    for pool in [Pool::memcached(&servers), Pool::memcached(&servers).set("allow_flush", false)] {
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        let key = spread(&mut client, &servers, 1)[0][0].clone();
        set(&mut client, &key, "x");
        for request in ["flush_all\r\n", "flush_all 0\r\n", "flush_all 5\r\n"] {
            client.send(request.as_bytes());
            assert!(client.text_line().starts_with("CLIENT_ERROR "), "{request:?}");
        }
        client.ask("flush_all noreply\r\nmn\r\n", "MN\r\n");
        assert!(holds(&servers[0], &key));
    }
}

/// Requests that differ in nothing but the protocol do not meet.
#[test]
fn pools_of_both_protocols_live_beside_each_other() {
    let (redis, memcached) = (RealServer::redis(), RealServer::memcached());
    let first = Pool::redis(&[&redis]);
    let second = Pool::memcached(&[&memcached]).named("beta").listen(1);
    let proxy = Proxy::with(format!("{first}{second}")).workers(2).start();
    let (mut one, mut other) = (proxy.client_of(0), proxy.client_of(1));
    assert_eq!(one.call(&["SET", "a", "redis"]), crate::harness::Reply::ok());
    set(&mut other, "a", "memcached");
    assert_eq!(one.call(&["GET", "a"]), crate::harness::Reply::bulk("redis"));
    other.ask("get a\r\n", value("a", "memcached"));
}

#[test]
fn servers_on_unix_sockets_work() {
    let server = RealServer::memcached_on_a_unix_socket();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    set(&mut client, "a", "b");
    client.ask("get a c\r\n", value("a", "b"));
}

#[test]
fn commands_of_redis_are_no_commands_of_memcached() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    client.send(b"*1\r\n");
    client.expect(b"ERROR\r\n");
    client.ask("PING\r\nget a\r\n", format!("ERROR\r\n{}", value("a", "a")));
}
