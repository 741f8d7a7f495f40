//! The same for memcached: values of storage commands.

use engine::topology::{Pool, Protocol};

use super::rig;
use crate::rig::Rig;
use crate::scenario;

fn pool() -> Pool {
    Pool { protocol: Protocol::Memcached, ..scenario::pool(1) }
}

fn value() -> String {
    "v".repeat(5_000) + "\r\n"
}

#[test]
fn every_storage_command_flows() {
    let lines = [
        ("set a 0 0 5000", "STORED"),
        ("add a 0 0 5000", "NOT_STORED"),
        ("replace a 0 0 5000", "STORED"),
        ("append a 0 0 5000", "STORED"),
        ("prepend a 0 0 5000", "STORED"),
        ("cas a 0 0 5000 7", "EXISTS"),
        ("ms a 5000 T0", "HD"),
        ("ms YQ== 5000 b", "HD"),
    ];
    for (line, reply) in lines {
        let mut rig = rig(pool());
        let client = rig.client();
        let request = format!("{line}\r\n{}", value());
        rig.send(client, &request[..100]);
        let private = rig.server(0);
        assert_eq!(rig.read(private), request[..100]);
        rig.send(client, request[100..].to_owned() + "mn\r\n");
        assert_eq!(rig.read(private), request[100..]);
        rig.send(private, format!("{reply}\r\n"));
        assert_eq!(rig.read(client), format!("{reply}\r\nMN\r\n"));
        assert!(rig.is_closed(private));
        rig.assert_at_rest();
    }
}

#[test]
fn who_wants_less_than_every_reply_is_gathered() {
    for line in ["set a 0 0 5000 noreply", "ms a 5000 q"] {
        let mut rig = rig(pool());
        let client = rig.client();
        rig.send(client, format!("{line}\r\nbegin"));
        assert!(rig.nobody_connects_to(0), "{line}");
    }
}

#[test]
fn a_value_does_not_overtake_what_wanted_no_reply() {
    let mut rig = rig(pool());
    let client = rig.client();
    let silent = "set a 0 0 1 noreply\r\n1\r\n";
    rig.send(client, silent);
    let shared = rig.server(0);
    assert_eq!(rig.read(shared), silent);
    let request = format!("set a 0 0 5000\r\n{}", value());
    rig.send(client, &request[..100]);
    assert!(rig.nobody_connects_to(0));
    rig.send(client, &request[100..]);
    assert_eq!(rig.read(shared), request);
    rig.send(shared, "STORED\r\n");
    assert_eq!(rig.read(client), "STORED\r\n");
    rig.send(client, &request[..100]);
    let private = rig.server(0);
    assert_eq!(rig.read(private), request[..100]);
}

#[test]
fn a_value_above_the_limit_is_refused_by_the_proxy() {
    let mut rig = rig(Pool { item_bytes_max: 4_000, ..pool() });
    let client = rig.client();
    rig.send(client, "set a 0 0 5000\r\nbegin");
    assert!(rig.nobody_connects_to(0));
    assert_eq!(rig.read(client), "SERVER_ERROR object too large for cache\r\n");
    rig.send(client, "v".repeat(4_995) + "\r\nmn\r\n");
    assert_eq!(rig.read(client), "MN\r\n");
}

fn begun(rig: &mut Rig) -> (usize, usize) {
    let client = rig.client();
    rig.send(client, "set a 0 0 5000\r\n");
    let private = rig.server(0);
    assert_eq!(rig.read(private), "set a 0 0 5000\r\n");
    (client, private)
}

#[test]
fn a_value_that_the_server_finds_too_large_is_dropped() {
    let mut rig = rig(pool());
    let (client, private) = begun(&mut rig);
    let refusal = "SERVER_ERROR object too large for cache\r\n";
    rig.send(private, refusal);
    assert_eq!(rig.read(client), refusal);
    assert!(rig.is_closed(private));
    rig.send(client, value() + "mn\r\n");
    assert_eq!(rig.read(client), "MN\r\n");
    rig.assert_at_rest();
}

#[test]
fn success_before_the_end_is_none() {
    let mut rig = rig(pool());
    let (client, private) = begun(&mut rig);
    rig.send(private, "STORED\r\n");
    assert_eq!(rig.read(client), "SERVER_ERROR Invalid argument\r\n");
    assert!(rig.is_closed(private));
}

#[test]
fn a_value_that_does_not_end_where_it_should_ends_the_client() {
    for (rest, pieces) in [("xx", 1), ("\rx", 1), ("xx", 2)] {
        let mut rig = rig(pool());
        let (client, private) = begun(&mut rig);
        rig.send(client, "v".repeat(5_000) + &rest[..pieces]);
        if pieces < rest.len() {
            rig.send(client, &rest[pieces..]);
        }
        assert_eq!(rig.read(client), "CLIENT_ERROR bad data chunk\r\n");
        assert!(rig.is_closed(client));
        rig.read(private);
        assert!(rig.is_closed(private));
        rig.assert_at_rest();
    }
}
