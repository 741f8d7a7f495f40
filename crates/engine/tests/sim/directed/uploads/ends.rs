//! How uploads end early: by the client, by the server, by what was sent.

use engine::Event;
use engine::topology::OnEject;

use super::super::{
    DOWN, INVALID, REFUSED, RESET, UNKNOWN, ejecting_pool, ejections, keeping_pool,
};
use super::{assert_served, begun, get, head, rest, rig};
use crate::network::Door;
use crate::rig::{Rig, command};
use crate::scenario::pool;

#[test]
fn a_client_that_vanishes_takes_its_private_connection_along() {
    let ways: [fn(&mut Rig, usize); 3] = [Rig::reset, Rig::close, Rig::half_close];
    for end in ways {
        let mut rig = rig(ejecting_pool(1, 1));
        let (client, private) = begun(&mut rig);
        end(&mut rig, client);
        assert!(rig.is_closed(private));
        assert_eq!(ejections(&mut rig), 0);
        assert_eq!(rig.worker.counts.pools[0].client_connections.value(), 0);
        assert_eq!(rig.worker.counts.pools[0].forward_error.value(), 0);
        rig.assert_at_rest();
    }
}

#[test]
fn an_ejected_server_gets_none_until_one_is_the_trial() {
    let mut rig = rig(keeping_pool(1, 1, OnEject::Error));
    let client = rig.client();
    rig.set_door(0, DOWN);
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1);
    rig.set_door(0, Door::Open(0));
    rig.send(client, head("a", 5_000) + "begin" + &rest());
    assert_eq!(rig.read(client), REFUSED);
    assert!(rig.nobody_connects_to(0));
    rig.pass_ms(1_000);
    let (uploader, private) = begun(&mut rig);
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), REFUSED, "one trial at a time");
    rig.events();
    rig.send(uploader, rest());
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(uploader), "+OK\r\n");
    assert_eq!(rig.events(), [Event::Readmitted { pool: 0, server: 0 }]);
    rig.assert_at_rest();
}

#[test]
fn a_client_that_half_closes_behind_it_gets_its_reply() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(client, rest());
    rig.half_close(client);
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert!(rig.is_closed(client));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_vanishes_behind_it_leaves_it_to_the_server() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(client, rest());
    rig.reset(client);
    assert_eq!(rig.read(private), rest());
    assert!(!rig.is_closed(private));
    rig.send(private, "+OK\r\n");
    assert!(rig.is_closed(private));
    rig.assert_at_rest();
}

#[test]
fn an_unfinished_one_is_told_with_its_size() {
    let mut rig = rig(pool(1));
    let (client, _) = begun(&mut rig);
    rig.send(client, "x".repeat(1_000));
    rig.close(client);
    let bytes = rig.events().into_iter().find_map(|event| match event {
        Event::IncompleteRequest { bytes, .. } => Some(bytes as usize),
        _ => None,
    });
    assert_eq!(bytes, Some(head("a", 5_000).len() + 1_005));
}

#[test]
fn a_refusal_reaches_the_client_and_the_rest_is_dropped() {
    let mut rig = rig(ejecting_pool(1, 1));
    let (client, private) = begun(&mut rig);
    rig.send(private, "-OOM command not allowed\r\n");
    assert_eq!(rig.read(client), "-OOM command not allowed\r\n");
    assert!(rig.is_closed(private));
    rig.send(client, "x".repeat(4_995) + "\r");
    rig.send(client, "\n".to_owned() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    assert_eq!(ejections(&mut rig), 0);
    rig.send(client, get("next"));
    let shared = rig.server(0);
    rig.read(shared);
    rig.send(shared, "$-1\r\n");
    assert_eq!(rig.read(client), "$-1\r\n");
    assert_served(&mut rig, client, shared);
}

#[test]
fn success_before_the_end_is_none() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), INVALID);
    assert!(rig.is_closed(private));
    rig.send(client, rest() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_server_that_breaks_off_fails_the_request_and_the_rest_is_dropped() {
    for text in [UNKNOWN, RESET] {
        let mut rig = rig(pool(1));
        let (client, private) = begun(&mut rig);
        match text {
            UNKNOWN => rig.close(private),
            _ => rig.reset(private),
        }
        assert_eq!(rig.read(client), text);
        rig.send(client, rest() + &command(&["ping"]));
        assert_eq!(rig.read(client), "+PONG\r\n");
        assert_eq!(rig.worker.counts.pools[0].forward_error.value(), 1);
        let broken = rig.events();
        assert!(matches!(broken[..], [Event::LinkBroken { requests: 1, .. }]), "{broken:?}");
        rig.assert_at_rest();
    }
}

#[test]
fn a_server_that_tires_of_a_slow_client_has_not_failed() {
    let mut rig = rig(ejecting_pool(1, 1));
    let (client, private) = begun(&mut rig);
    rig.pass_ms(60_000);
    rig.close(private);
    assert_eq!(rig.read(client), UNKNOWN);
    assert_eq!(ejections(&mut rig), 0);
}

#[test]
fn a_server_that_breaks_off_with_the_request_in_its_hands_has_failed() {
    let mut rig = rig(ejecting_pool(1, 1));
    let (client, private) = begun(&mut rig);
    rig.send(client, rest());
    rig.close(private);
    assert_eq!(rig.read(client), UNKNOWN);
    assert_eq!(ejections(&mut rig), 1);
}

#[test]
fn a_server_that_refuses_connections_fails_it_and_counts() {
    let mut rig = rig(ejecting_pool(1, 1));
    rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    let client = rig.client();
    rig.send(client, head("a", 5_000) + "begin");
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1);
    rig.send(client, rest() + &head("a", 5_000) + "begin");
    assert_eq!(rig.read(client), REFUSED, "nobody is asked any more");
    rig.send(client, rest() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.assert_at_rest();
}

#[test]
fn while_connects_are_held_back_so_is_an_upload() {
    let mut rig = rig(pool(1));
    rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    let client = rig.client();
    for _ in 0..2 {
        rig.send(client, head("a", 5_000) + "begin" + &rest());
        assert_eq!(rig.read(client), REFUSED);
    }
    assert_eq!(rig.worker.counts.total_connections.value(), 2, "a client and one attempt");
}

#[test]
fn broken_framing_ends_the_client_and_its_private_connection() {
    let breaks = [
        ("x".repeat(4_995) + "xx", "-ERR Protocol error: "),
        ("x".repeat(4_995) + "\rx", "-ERR Protocol error: "),
    ];
    for (rest, words) in breaks {
        for pieces in [1, 4_995, 4_996, rest.len()] {
            let mut rig = rig(ejecting_pool(1, 1));
            let (client, private) = begun(&mut rig);
            rig.send(client, &rest[..pieces]);
            rig.send(client, &rest[pieces..]);
            let reply = rig.read(client);
            assert!(reply.starts_with(words), "{reply}");
            assert!(rig.is_closed(client));
            assert!(rest.starts_with(&rig.read(private)), "nothing malformed is sent on");
            assert!(rig.is_closed(private));
            assert_eq!(ejections(&mut rig), 0);
            rig.assert_at_rest();
        }
    }
}

#[test]
fn broken_framing_in_a_rest_that_is_dropped_is_not_answered_again() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(private, "-ERR no\r\n");
    rig.send(client, "x".repeat(4_995) + "xx");
    assert_eq!(rig.read(client), "-ERR no\r\n");
    assert!(rig.is_closed(client));
    assert!(rig.events().iter().any(|event| matches!(event, Event::Malformed { .. })));
    rig.assert_at_rest();
}

#[test]
fn a_line_end_that_comes_in_halves_is_passed_on_whole() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(client, "x".repeat(4_995) + "\r");
    rig.send(client, "\n");
    assert_eq!(rig.read(private), rest());
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_drain_gives_up_what_is_unfinished_and_waits_for_what_is_not() {
    let mut rig = rig(pool(1));
    let (unfinished, theirs) = begun(&mut rig);
    let (finished, private) = begun(&mut rig);
    rig.send(finished, rest());
    rig.worker.drain(&mut rig.network, rig.now);
    rig.settle();
    assert!(rig.is_closed(unfinished));
    assert!(rig.is_closed(theirs));
    assert_eq!(rig.read(finished), "");
    assert!(!rig.is_closed(finished));
    rig.read(private);
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(finished), "+OK\r\n");
    assert!(rig.is_closed(finished));
    rig.assert_at_rest();
}
