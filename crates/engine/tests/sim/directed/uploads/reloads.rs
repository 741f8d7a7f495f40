//! A topology that follows another while a request flows.

use engine::topology::{Address, Pool, Server};

use super::super::TIMED_OUT;
use super::{assert_served, begun, rest, rig};
use crate::rig::command;
use crate::scenario::pool;

/// The pool with its server elsewhere.
fn moved() -> Pool {
    let pool = pool(1);
    let address = Address::Tcp { host: "10.9.9.9".into(), port: 6379 };
    let servers = vec![Server { address, ..pool.servers[0].clone() }];
    Pool { servers, ..pool }
}

#[test]
fn an_upload_goes_on_where_its_server_stays() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.publish(vec![Pool { server_connections: 3, ..pool(1) }]);
    rig.send(client, rest());
    assert_eq!(rig.read(private), rest());
    rig.publish(vec![Pool { server_connections: 2, ..pool(1) }]);
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert!(rig.is_closed(private));
    rig.assert_at_rest();
}

#[test]
fn an_upload_ends_where_it_began_when_its_server_moves() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.publish(vec![moved()]);
    rig.send(client, rest());
    assert_eq!(rig.read(private), rest());
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert!(rig.is_closed(private));
    rig.send(client, command(&["get", "next"]));
    let elsewhere = rig.server(1);
    rig.read(elsewhere);
    rig.send(elsewhere, "$-1\r\n");
    assert_eq!(rig.read(client), "$-1\r\n");
    assert_served(&mut rig, client, elsewhere);
}

#[test]
fn an_upload_that_outlives_the_drain_time_is_cut() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.publish(vec![moved()]);
    rig.pass_ms(9_999);
    assert!(!rig.is_closed(private));
    rig.pass_ms(1);
    assert!(rig.is_closed(private));
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.send(client, rest() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.assert_at_rest();
}

#[test]
fn an_upload_to_a_pool_that_ends_is_given_up() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.publish(vec![Pool { name: "other".into(), ..pool(1) }]);
    assert!(rig.is_closed(client));
    assert!(rig.is_closed(private));
    rig.assert_at_rest();
}
