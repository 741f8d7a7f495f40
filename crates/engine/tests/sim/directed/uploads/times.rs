//! Whose time counts: the server's, never the client's.

use super::super::{TIMED_OUT, ejecting_pool, ejections};
use super::{begun, head, limits, rest, rig};
use crate::network::Door;
use crate::rig::{Rig, command};
use crate::scenario::pool;

#[test]
fn a_client_may_take_its_time() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.pass_ms(3_600_000);
    rig.send(client, "x".repeat(95));
    rig.pass_ms(3_600_000);
    rig.send(client, "x".repeat(4_900) + "\r\n");
    assert_eq!(rig.read(private), rest());
    rig.pass_ms(399);
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_reply_that_does_not_come_in_time_fails_it() {
    let mut rig = rig(ejecting_pool(1, 1));
    let (client, private) = begun(&mut rig);
    rig.pass_ms(1_000);
    rig.send(client, rest());
    rig.read(private);
    // A write just before the end still counts as progress.
    rig.pass_ms(399);
    assert_eq!(rig.read(client), "");
    rig.pass_ms(401);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert!(rig.is_closed(private));
    assert_eq!(ejections(&mut rig), 1);
    let counts = &rig.worker.counts.pools[0].servers[0];
    assert_eq!(counts.server_timedout.value(), 1);
    let losses: Vec<_> =
        rig.worker.losses.iter().map(|loss| (loss.requests, loss.timed_out)).collect();
    assert_eq!(losses, [(0, 1)]);
    rig.send(client, command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_server_that_stops_taking_it_has_failed_and_the_rest_is_dropped() {
    let mut rig = Rig::with(ejecting_pool(1, 1), limits(), 1_000);
    let client = rig.client();
    rig.send(client, head("a", 500_000));
    let private = rig.server(0);
    let mut sent = 0;
    for _ in 0..20 {
        // It takes some within each timeout.
        sent += rig.network.send(client, &[b'x'; 1_000]);
        rig.settle();
        rig.pass_ms(390);
        rig.read(private);
    }
    assert_eq!(ejections(&mut rig), 0);
    for _ in 0..20 {
        sent += rig.network.send(client, &[b'x'; 1_000]);
        rig.settle();
    }
    rig.pass_ms(800);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert_eq!(ejections(&mut rig), 1);
    while sent < 500_000 {
        sent += rig.network.send(client, &b"x".repeat(1_000)[..1_000.min(500_000 - sent)]);
        rig.settle();
    }
    rig.send(client, "\r\n".to_owned() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.read(private);
    rig.assert_at_rest();
}

#[test]
fn a_server_may_take_it_slowly_as_long_as_it_takes_some() {
    let mut rig = Rig::with(ejecting_pool(1, 1), limits(), 1_000);
    let client = rig.client();
    let request = head("a", 20_000) + &"x".repeat(20_000) + "\r\n";
    let (mut sent, mut taken) = (0, 0);
    let private = loop {
        sent += rig.network.send(client, &request.as_bytes()[sent..]);
        rig.settle();
        if let Some(private) = rig.network.accept(0, 0) {
            break private;
        }
    };
    // More than the server has taken is always there for it, and each bit of it takes nearly a timeout.
    while taken < request.len() {
        sent += rig.network.send(client, &request.as_bytes()[sent..]);
        rig.settle();
        rig.pass_ms(390);
        let read = rig.network.read(private, 700).len();
        assert!(read > 0, "{taken} of {} bytes", request.len());
        taken += read;
        rig.settle();
    }
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert_eq!(ejections(&mut rig), 0);
    rig.assert_at_rest();
}

#[test]
fn a_connect_that_takes_too_long_fails_it() {
    let mut rig = rig(ejecting_pool(1, 1));
    rig.set_door(0, Door::Hangs);
    let client = rig.client();
    rig.send(client, head("a", 5_000) + "begin");
    rig.pass_ms(399);
    assert_eq!(rig.read(client), "");
    rig.pass_ms(1);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert_eq!(ejections(&mut rig), 1);
    rig.send(client, rest() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.assert_at_rest();
}
