//! A request that is not answered in time fails alone; its late reply is swallowed; a connection that stays silent is
//! closed.

use engine::Event;

use super::{REFUSED, TIMED_OUT, ejecting_pool};
use crate::network::{Door, WireId};
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

fn get(key: &str) -> String {
    command(&["get", key])
}

#[test]
fn a_late_reply_is_swallowed_and_other_requests_get_theirs() {
    let mut rig = Rig::new(pool(1));
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.pass_ms(200);
    rig.send(b, get("b"));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get("a") + &get("b"));
    rig.pass(199_999);
    assert_eq!(rig.read(a), "");
    rig.pass(1);
    assert_eq!(rig.read(a), TIMED_OUT);
    rig.send(a, get("c"));
    rig.send(server, bulk("late a") + &bulk("b") + &bulk("c"));
    assert_eq!(rig.read(a), bulk("c"));
    assert_eq!(rig.read(b), bulk("b"));
    assert_eq!(rig.read(server), get("c"));
    assert!(!rig.is_closed(server));
    rig.assert_at_rest();
    let counts = &rig.worker.counts.pools[0].servers[0];
    assert_eq!((counts.server_timedout.value(), counts.responses.value()), (1, 2));
}

#[test]
fn a_connection_that_stays_silent_for_another_timeout_is_closed() {
    let mut rig = Rig::new(pool(1));
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    let server = rig.server(0);
    rig.pass_ms(600);
    rig.send(b, get("b"));
    rig.read(server);
    rig.pass(199_999);
    assert!(!rig.is_closed(server));
    assert_eq!(rig.read(b), "");
    rig.pass(1);
    assert!(rig.is_closed(server));
    assert_eq!(rig.read(a), TIMED_OUT);
    assert_eq!(rig.read(b), TIMED_OUT);
    let failed: Vec<_> =
        rig.worker.losses.iter().map(|loss| (loss.requests, loss.timed_out)).collect();
    assert_eq!(failed, [(0, 1)], "the one that waited, which is a timeout; not the one before");
    assert_eq!(rig.worker.counts.pools[0].servers[0].server_timedout.value(), 2);
    rig.send(a, get("again"));
    let server = rig.server(0);
    rig.send(server, bulk("yes"));
    assert_eq!(rig.read(a), bulk("yes"));
    rig.assert_at_rest();
}

#[test]
fn requests_that_time_out_as_their_connection_is_closed_are_told_with_it() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("first"));
    let server = rig.server(0);
    rig.pass_ms(400);
    rig.send(client, get("second") + &get("third"));
    rig.read(server);
    rig.pass_ms(400);
    assert!(rig.is_closed(server));
    assert_eq!(rig.read(client), TIMED_OUT.repeat(3));
    let [loss] = &rig.worker.losses[..] else { panic!("one connection") };
    assert_eq!((loss.requests, loss.timed_out), (0, 2));
}

#[test]
fn a_connection_that_answers_nothing_in_time_for_four_timeouts_is_closed() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("first"));
    let server = rig.server(0);
    rig.pass_ms(300);
    let mut rounds = 0;
    while !rig.is_closed(server) {
        rounds += 1;
        assert!(rounds < 20, "it stays open for ever");
        rig.send(client, get("next"));
        rig.pass_ms(300);
        rig.read(server);
        if !rig.is_closed(server) {
            rig.send(server, bulk("late"));
        }
    }
    // Late since 400 ms, closed at 2000.
    assert_eq!(rounds, 6);
    rig.read(client);
    rig.send(client, get("again"));
    let server = rig.server(0);
    rig.send(server, bulk("yes"));
    assert!(rig.read(client).ends_with(&bulk("yes")));
}

/// A server that answers each request 600 ms after it came, one every 300 ms, until `millis`. Returns client and server.
fn answer_late_until(rig: &mut Rig, millis: u64) -> (WireId, WireId) {
    let client = rig.client();
    rig.send(client, get("first"));
    let server = rig.server(0);
    rig.pass_ms(300);
    while rig.now < millis * 1000 {
        rig.send(client, get("next"));
        rig.pass_ms(300);
        rig.send(server, bulk("late"));
        assert_eq!(rig.read(client), TIMED_OUT);
    }
    rig.read(server);
    (client, server)
}

#[test]
fn a_connection_that_answers_late_but_steadily_stays_open_for_a_while() {
    let mut rig = Rig::new(pool(1));
    let (client, server) = answer_late_until(&mut rig, 1_800);
    assert!(!rig.is_closed(server));
    rig.send(client, get("in time"));
    rig.pass_ms(100);
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.send(server, bulk("late") + &bulk("fresh"));
    assert_eq!(rig.read(client), bulk("fresh"));
    rig.pass_ms(10_000);
    assert!(!rig.is_closed(server));
}

#[test]
fn a_connection_that_serves_nobody_in_time_for_four_timeouts_is_closed() {
    let mut rig = Rig::new(pool(1));
    // The first request timed out at 400 ms.
    let (client, server) = answer_late_until(&mut rig, 1_800);
    rig.send(client, get("next"));
    assert_eq!(rig.read(server), get("next"));
    rig.pass(199_999);
    assert!(!rig.is_closed(server));
    rig.pass(1);
    assert!(rig.is_closed(server));
    assert_eq!(rig.read(client), TIMED_OUT.repeat(2));
    rig.assert_at_rest();
}

#[test]
fn a_connection_that_has_caught_up_has_its_time_again() {
    let mut rig = Rig::new(pool(1));
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("slow"));
    let server = rig.server(0);
    rig.pass_ms(500);
    rig.send(server, bulk("late"));
    rig.pass_ms(10_000);
    rig.send(a, get("slow"));
    rig.pass_ms(200);
    rig.send(b, get("young"));
    rig.pass_ms(300);
    assert_eq!(rig.read(a), TIMED_OUT.repeat(2));
    assert_eq!(rig.read(b), "", "only the slow request fails");
    rig.send(server, bulk("late") + &bulk("young"));
    assert_eq!(rig.read(b), bulk("young"));
    rig.assert_at_rest();
}

#[test]
fn a_connection_that_owes_too_many_late_replies_is_closed() {
    for (clients, closes) in [(32, false), (33, true)] {
        let mut rig = Rig::new(pool(1));
        let clients: Vec<_> = (0..clients).map(|_| rig.client()).collect();
        for client in &clients {
            rig.send(*client, get("a").repeat(32));
        }
        let server = rig.server(0);
        rig.read(server);
        rig.pass_ms(400);
        for client in clients {
            assert_eq!(rig.read(client), TIMED_OUT.repeat(32));
        }
        assert_eq!(rig.is_closed(server), closes);
    }
}

#[test]
fn a_connect_that_hangs_fails_its_requests_after_the_timeout() {
    let mut rig = Rig::new(pool(1));
    rig.set_door(0, Door::Hangs);
    let client = rig.client();
    rig.send(client, get("a"));
    rig.pass_ms(100);
    rig.send(client, get("b"));
    rig.pass(299_999);
    assert_eq!(rig.read(client), "");
    rig.pass(1);
    assert_eq!(rig.read(client), TIMED_OUT.repeat(2));
    assert_eq!(rig.worker.connections(), 1, "only the client is left");
    rig.assert_at_rest();
}

#[test]
fn a_handshake_that_is_not_answered_fails_its_requests_after_the_timeout() {
    let mut rig = Rig::new(engine::topology::Pool { redis_db: 3, ..pool(1) });
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.pass_ms(400);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert_eq!(rig.read(server), command(&["SELECT", "3"]));
    assert!(rig.is_closed(server));
    rig.assert_at_rest();
}

#[test]
fn without_a_timeout_everything_waits() {
    let mut rig = Rig::new(engine::topology::Pool { timeout: None, ..pool(1) });
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.pass_ms(1_000_000);
    rig.send(server, bulk("at last"));
    assert_eq!(rig.read(client), bulk("at last"));
}

#[test]
fn the_timeouts_of_one_window_are_one_failure() {
    let mut rig = Rig::new(ejecting_pool(1, 2));
    let client = rig.client();
    rig.send(client, get("a").repeat(10));
    let server = rig.server(0);
    rig.pass_ms(100);
    rig.send(client, get("b").repeat(10));
    rig.pass_ms(400);
    assert_eq!(rig.read(client), TIMED_OUT.repeat(20));
    let failed = |event: &Event| matches!(event, Event::Failed { .. });
    assert_eq!(rig.events().iter().filter(|event| failed(event)).count(), 1);
    // Swallowed replies are no sign of health, but they keep the connection.
    rig.send(server, bulk("late").repeat(20));
    rig.send(client, get("c"));
    rig.pass_ms(400);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert!(matches!(rig.events()[..], [Event::Ejected { .. }]));
    rig.send(client, get("d"));
    assert_eq!(rig.read(client), REFUSED);
}

#[test]
fn the_requests_of_a_vanished_client_keep_their_place_and_their_timeout() {
    let mut rig = Rig::new(pool(1));
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let server = rig.server(0);
    rig.reset(a);
    rig.send(server, bulk("a") + &bulk("b"));
    assert_eq!(rig.read(b), bulk("b"));
    rig.send(b, get("c"));
    rig.reset(b);
    rig.pass_ms(400);
    let counts = &rig.worker.counts.pools[0];
    assert_eq!(counts.servers[0].server_timedout.value(), 1);
    assert_eq!(counts.servers[0].responses.value(), 1);
    assert_eq!(counts.forward_error.value(), 0);
    rig.pass_ms(400);
    rig.read(server);
    assert!(rig.is_closed(server));
    rig.assert_at_rest();
}

#[test]
fn a_connection_that_has_answered_since_has_its_whole_time_again() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.pass_ms(300);
    rig.send(client, get("b"));
    rig.pass_ms(100);
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.send(server, bulk("late") + &bulk("b"));
    assert_eq!(rig.read(client), bulk("b"));
    rig.send(client, get("c"));
    rig.pass_ms(400);
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.pass_ms(399);
    rig.read(server);
    assert!(!rig.is_closed(server), "it is late with one reply for less than a timeout");
    rig.pass_ms(1);
    assert!(rig.is_closed(server));
}
