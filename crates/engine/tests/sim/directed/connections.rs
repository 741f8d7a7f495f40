//! Connections to servers: who shares which, what is said first, what their end means.

use std::time::Duration;

use engine::Event;
use engine::topology::Pool;

use super::{INVALID, REFUSED, RESET, UNKNOWN, ejecting_pool};
use crate::network::Door;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

fn get(key: &str) -> String {
    command(&["get", key])
}

#[test]
fn an_idle_connection_that_the_server_closes_is_no_failure() {
    let mut rig = Rig::new(ejecting_pool(1, 1));
    let client = rig.client();
    for _ in 0..3 {
        rig.send(client, get("a"));
        let server = rig.server(0);
        rig.send(server, bulk("a"));
        assert_eq!(rig.read(client), bulk("a"));
        rig.close(server);
    }
    assert_eq!(rig.events(), []);
    assert_eq!(rig.worker.counts.pools[0].servers[0].server_eof.value(), 3);
}

#[test]
fn connections_that_break_together_are_one_failure() {
    let mut rig = Rig::new(Pool { server_connections: 3, ..ejecting_pool(1, 2) });
    let clients = [rig.client(), rig.client(), rig.client()];
    for client in clients {
        rig.send(client, get("a"));
    }
    let servers = [rig.server(0), rig.server(0), rig.server(0)];
    for server in servers {
        rig.reset(server);
    }
    for client in clients {
        assert_eq!(rig.read(client), RESET);
    }
    let events = rig.events();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Failed { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Ejected { .. })), 0);
    assert_eq!(count(|event| matches!(event, Event::LinkBroken { requests: 1, .. })), 3);
    // The next failure is another outage.
    rig.send(clients[0], get("b"));
    let server = rig.server(0);
    rig.reset(server);
    assert!(rig.events().iter().any(|event| matches!(event, Event::Ejected { .. })));
}

#[test]
fn each_way_a_connection_ends_has_its_text() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    let fail_by = |rig: &mut Rig, end: fn(&mut Rig, usize)| {
        rig.send(client, get("a") + &get("b"));
        let server = rig.server(0);
        rig.send(server, bulk("a"));
        end(rig, server);
        rig.read(client)
    };
    assert_eq!(fail_by(&mut rig, Rig::close), bulk("a") + UNKNOWN);
    assert_eq!(fail_by(&mut rig, Rig::reset), bulk("a") + RESET);
    let garbage = |rig: &mut Rig, server| rig.send(server, "%oops\r\n");
    assert_eq!(fail_by(&mut rig, garbage), bulk("a") + INVALID);
    rig.set_door(0, Door::Refuses(engine::fault::HOST_IS_DOWN));
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), "-ERR Host is down\r\n");
    rig.assert_at_rest();
}

#[test]
fn however_a_malformed_reply_is_cut_it_ends_the_connection_with_the_same_text() {
    for garbage in ["%oops\r\n", "*2\r\n$3\r\nabc\r\n$3\r\nabcde", ":1\rx", "$3\r\nabcdef"] {
        for cut in 1..garbage.len() {
            let mut rig = Rig::new(pool(1));
            let client = rig.client();
            rig.send(client, get("a") + &get("b"));
            let server = rig.server(0);
            rig.read(server);
            rig.send(server, &garbage[..cut]);
            rig.network.send(server, &garbage.as_bytes()[cut..]);
            rig.settle();
            assert_eq!(rig.read(client), INVALID.repeat(2), "{garbage:?} cut at {cut}");
            assert!(rig.is_closed(server));
            rig.assert_at_rest();
        }
    }
}

#[test]
fn a_reply_that_nobody_asked_for_closes_the_connection_and_reaches_nobody() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.send(server, bulk("a") + &bulk("stray"));
    assert_eq!(rig.read(client), bulk("a"));
    rig.read(server);
    assert!(rig.is_closed(server));
    rig.send(client, get("b"));
    let server = rig.server(0);
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(client), bulk("b"));
}

#[test]
fn while_a_server_refuses_requests_fail_fast_with_the_same_text() {
    let mut rig = Rig::new(pool(1));
    rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    let client = rig.client();
    let total = |rig: &Rig| rig.worker.counts.total_connections.value();
    let first = total(&rig);
    // Pauses double: 10 ms, 20 ms, 40 ms.
    for (attempt, pause_ms) in [(1, 10), (2, 20), (3, 40)] {
        rig.send(client, get("a"));
        assert_eq!(rig.read(client), REFUSED);
        assert_eq!(total(&rig) - first, attempt);
        // Chance shortens a pause by a quarter at most.
        rig.pass(pause_ms * 750 - 1);
        rig.send(client, get("a").repeat(5));
        assert_eq!(rig.read(client), REFUSED.repeat(5));
        assert_eq!(total(&rig) - first, attempt, "no connect while backing off");
        rig.pass(pause_ms * 250 + 1);
    }
    rig.set_door(0, Door::Open(0));
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    rig.close(server);
    rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), REFUSED);
    rig.pass_ms(10);
    let before = total(&rig);
    rig.send(client, get("a"));
    assert_eq!(total(&rig), before + 1, "a success begins the pauses anew");
}

#[test]
fn no_pause_between_connects_is_longer_than_a_second_or_the_retry_timeout() {
    for (retry_timeout_ms, pause_ms) in [(30_000, 1_000), (50, 50)] {
        let retry_timeout = Duration::from_millis(retry_timeout_ms);
        let mut rig = Rig::new(Pool { retry_timeout, ..pool(1) });
        rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
        let client = rig.client();
        for _ in 0..40 {
            rig.send(client, get("a"));
            rig.pass_ms(pause_ms);
        }
        // The client and forty attempts.
        assert_eq!(rig.worker.counts.total_connections.value(), 41);
    }
}

#[test]
fn auth_then_select_go_first_and_requests_wait_for_both_answers() {
    let auth = Some(b"secret"[..].into());
    let mut rig = Rig::new(Pool { redis_auth: auth, redis_db: 5, preconnect: true, ..pool(1) });
    let client = rig.client();
    rig.send(client, command(&["auth", "secret"]));
    assert_eq!(rig.read(client), "+OK\r\n");
    for _ in 0..3 {
        rig.send(client, get("a"));
        let server = rig.server(0);
        assert_eq!(rig.read(server), command(&["AUTH", "secret"]) + &command(&["SELECT", "5"]));
        rig.send(server, "+OK\r\n");
        assert_eq!(rig.read(server), "");
        rig.send(server, "+OK\r\n");
        assert_eq!(rig.read(server), get("a"));
        rig.send(server, bulk("a"));
        assert_eq!(rig.read(client), bulk("a"));
        // The same again after a reconnect.
        rig.close(server);
    }
    let counts = &rig.worker.counts.pools[0].servers[0];
    assert_eq!(counts.requests.value(), 3, "the handshake is not counted");
}

#[test]
fn a_refused_handshake_fails_the_requests_and_nothing_is_sent() {
    let auth = Some(b"secret"[..].into());
    let mut rig = Rig::new(Pool { redis_auth: auth, redis_db: 5, ..pool(1) });
    let client = rig.client();
    rig.send(client, command(&["auth", "secret"]));
    rig.read(client);
    for (answers, text) in [
        ("-WRONGPASS no\r\n-NOAUTH no\r\n", "-ERR server refused AUTH\r\n"),
        ("+OK\r\n-ERR DB index is out of range\r\n", "-ERR server refused SELECT\r\n"),
    ] {
        rig.send(client, get("a"));
        let server = rig.server(0);
        rig.send(server, answers);
        assert_eq!(rig.read(client), text);
        assert!(!rig.read(server).contains("get"));
        assert!(rig.is_closed(server));
        let refused = |event: &Event| matches!(event, Event::HandshakeRefused { .. });
        assert!(rig.events().iter().any(refused));
        rig.pass_ms(1_000);
    }
    rig.assert_at_rest();
}

#[test]
fn a_server_without_a_password_is_used_without() {
    for words in [
        "-ERR Client sent AUTH, but no password is set\r\n",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?\r\n",
    ] {
        let mut rig = Rig::new(Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) });
        let client = rig.client();
        rig.send(client, command(&["auth", "secret"]) + &get("a"));
        let server = rig.server(0);
        rig.send(server, words);
        rig.send(server, bulk("a"));
        assert_eq!(rig.read(client), "+OK\r\n".to_owned() + &bulk("a"));
        assert_eq!(rig.events(), [Event::PasswordNotNeeded { pool: 0, server: 0 }]);
    }
}

#[test]
fn an_answer_to_a_handshake_that_was_not_sent_closes_the_connection() {
    let mut rig =
        Rig::with(Pool { redis_db: 5, ..pool(1) }, engine::topology::Limits::default(), 8);
    let client = rig.network.connect();
    rig.worker.accept(0, client);
    for piece in get("a").as_bytes().chunks(8) {
        rig.send(client, piece);
    }
    let server = rig.server(0);
    rig.send(server, "+OK\r\n");
    assert_eq!(rig.read(client), "-ERR Inv");
    assert_eq!(rig.read(server), "*2\r\n$6\r\n", "the pipe held no more");
    assert!(rig.is_closed(server));
    rig.read(client);
    rig.read(client);
    rig.assert_at_rest();
}

#[test]
fn one_clients_requests_share_a_connection_and_clients_spread_over_all() {
    let mut rig = Rig::new(Pool { server_connections: 2, ..pool(1) });
    let (a, b, c) = (rig.client(), rig.client(), rig.client());
    for round in 0..5 {
        for (client, name) in [(a, "a"), (b, "b"), (c, "c")] {
            rig.send(client, get(&format!("{name}{round}")));
        }
    }
    let (first, second) = (rig.server(0), rig.server(0));
    assert!(rig.nobody_connects_to(0));
    let (first, second) = (rig.read(first), rig.read(second));
    let of = |name: &str| (0..5).map(|n| get(&format!("{name}{n}"))).collect::<String>();
    assert_eq!(second, of("b"));
    let shared = (0..5).map(|n| get(&format!("a{n}")) + &get(&format!("c{n}")));
    assert_eq!(first, shared.collect::<String>());
}

#[test]
fn a_request_that_is_still_being_written_can_be_refused() {
    let limits = engine::topology::Limits::default();
    let mut rig = Rig::with(pool(1), limits, 1000);
    let client = rig.client();
    let set = command(&["set", "a", &"x".repeat(5000)]);
    for piece in set.as_bytes().chunks(1000) {
        rig.send(client, piece);
    }
    let server = rig.server(0);
    rig.send(server, "-ERR too large\r\n");
    assert_eq!(rig.read(client), "-ERR too large\r\n");
    let mut rest = String::new();
    for _ in 0..set.len() {
        rest += &rig.read(server);
    }
    assert_eq!(rest, set, "the server gets the rest nevertheless");
    rig.send(client, get("b"));
    assert_eq!(rig.read(server), get("b"));
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(client), bulk("b"));
    rig.assert_at_rest();
}
