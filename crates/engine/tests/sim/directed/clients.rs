//! Clients: framing, blank lines, inline requests, how connections end.

use engine::Event;
use engine::topology::{Pool, Protocol};

use super::UNKNOWN;
use crate::reactor::peer_of;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

fn get(key: &str) -> String {
    command(&["get", key])
}

#[test]
fn requests_may_be_cut_anywhere() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    let value = "x".repeat(10_000);
    let all = get("a") + &command(&["set", "b", &value]) + "ping\r\n" + &get("c");
    for cut in [1, 2, 3, 7, 4_096, 9_999] {
        for piece in all.as_bytes().chunks(cut) {
            rig.send(client, piece);
        }
        if cut == 1 {
            continue;
        }
        assert_eq!(rig.read(client), "");
    }
    let server = rig.server(0);
    let forwarded = get("a") + &command(&["set", "b", &value]) + &get("c");
    assert_eq!(rig.read(server), forwarded.repeat(6));
    rig.send(server, "$-1\r\n+OK\r\n$-1\r\n".repeat(6));
    assert_eq!(rig.read(client), "$-1\r\n+OK\r\n+PONG\r\n$-1\r\n".repeat(6));
    rig.assert_at_rest();
}

#[test]
fn replies_may_be_cut_anywhere() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("warm"));
    let server = rig.server(0);
    rig.send(server, "$-1\r\n");
    rig.read(client);
    let replies =
        bulk(&"y".repeat(20_000)) + "*2\r\n*1\r\n:1\r\n$-1\r\n" + "-ERR no\r\n" + &bulk("");
    for cut in [1, 2, 3, 5, 4_097] {
        rig.send(client, get("a").repeat(4));
        for piece in replies.as_bytes().chunks(cut) {
            rig.send(server, piece);
        }
        assert_eq!(rig.read(client), replies, "in pieces of {cut}");
    }
    rig.assert_at_rest();
}

#[test]
fn a_malformed_request_is_answered_after_the_earlier_replies_and_closes() {
    for malformed in
        ["*1\r\n+x\r\n", "*0\r\n", "*2\r\n$3\r\nGET\r\n$-1\r\n", "*1\r\n$1\r\nab\r\n", "a \"b\r\n"]
    {
        let mut rig = Rig::new(pool(1));
        let client = rig.client();
        rig.send(client, get("a") + malformed + &get("never read"));
        let server = rig.server(0);
        assert_eq!(rig.read(server), get("a"));
        assert_eq!(rig.read(client), "");
        rig.send(client, get("ignored"));
        rig.send(server, bulk("a"));
        let replies = rig.read(client);
        let error = replies.strip_prefix(&bulk("a")).unwrap_or_default();
        assert!(error.starts_with("-ERR Protocol error: "), "{malformed:?}: {replies:?}");
        assert!(error.ends_with("\r\n") && error.matches("\r\n").count() == 1);
        assert!(rig.is_closed(client));
        assert_eq!(rig.read(server), "");
        assert!(rig.events().iter().any(|event| matches!(event, Event::Malformed { .. })));
        assert_eq!(rig.worker.counts.pools[0].client_err.value(), 1);
        rig.assert_at_rest();
    }
}

#[test]
fn a_blank_line_is_skipped_except_where_the_first_request_should_be() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, "ping\r\n\r\n\n\r\nping\r\n\r\n");
    assert_eq!(rig.read(client), "+PONG\r\n+PONG\r\n");
    rig.send(client, "\r");
    rig.send(client, "\n*1\r\n$4\r\nping\r\n");
    assert_eq!(rig.read(client), "+PONG\r\n");
    let newcomer = rig.client();
    rig.send(newcomer, "\r\nping\r\n");
    assert!(rig.read(newcomer).starts_with("-ERR Protocol error: "));
    assert!(rig.is_closed(newcomer));
    assert!(!rig.is_closed(client));
}

#[test]
fn inline_requests_are_forwarded_as_arrays() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, "GET testkey:1234\r\nset  a \"b \\x41\"\n");
    let server = rig.server(0);
    assert_eq!(
        rig.read(server),
        command(&["GET", "testkey:1234"]) + &command(&["set", "a", "b A"])
    );
    rig.send(server, bulk("v") + "+OK\r\n");
    assert_eq!(rig.read(client), bulk("v") + "+OK\r\n");
    for byte in "get slow\r\n".bytes() {
        rig.send(client, [byte]);
    }
    assert_eq!(rig.read(server), get("slow"));
}

#[test]
fn quit_is_answered_last_and_what_follows_is_not_read() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a") + &command(&["QUIT"]) + &get("never"));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get("a"));
    assert!(!rig.is_closed(client));
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a") + "+OK\r\n");
    assert!(rig.is_closed(client));
    let counts = &rig.worker.counts.pools[0];
    assert_eq!((counts.client_eof.value(), counts.client_err.value()), (1, 0));
    let healthcheck = rig.client();
    rig.send(healthcheck, "PING\r\nQUIT\r\n");
    assert_eq!(rig.read(healthcheck), "+PONG\r\n+OK\r\n");
    assert!(rig.is_closed(healthcheck));
}

#[test]
fn a_command_of_memcached_that_is_not_served_is_told_with_its_name() {
    let mut rig = Rig::new(Pool { protocol: Protocol::Memcached, ..pool(1) });
    let client = rig.client();
    let slabs = "CLIENT_ERROR command 'slabs' is not supported through this proxy\r\n";
    for (line, name, answer) in [
        ("nonsense a b\r\n", "nonsense", "ERROR\r\n"),
        ("nonsense\r\n", "nonsense", "ERROR\r\n"),
        ("\r\n", "", "ERROR\r\n"),
        ("slabs automove 1\r\n", "slabs", slabs),
    ] {
        rig.send(client, line);
        assert_eq!(rig.read(client), answer);
        let events = rig.events();
        let [Event::UnsupportedCommand { peer, command, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((*peer, command.as_str()), (Some(peer_of(client)), name));
    }
}

#[test]
fn quit_of_memcached_closes_in_silence_wherever_it_stands() {
    let mut rig = Rig::new(Pool { protocol: Protocol::Memcached, ..pool(1) });
    for bytes in ["quit\r\n", "quit\r\nget never\r\n", "verbosity 1 noreply\r\nquit\r\nquit\r\n"] {
        let client = rig.client();
        rig.send(client, bytes);
        assert_eq!(rig.read(client), "");
        assert!(rig.is_closed(client), "{bytes}");
    }
    let client = rig.client();
    for byte in "get a\r\nquit\r\nget never\r\n".bytes() {
        rig.send(client, [byte]);
    }
    let server = rig.server(0);
    assert_eq!(rig.read(server), "get a\r\n");
    assert!(!rig.is_closed(client));
    rig.send(server, "END\r\n");
    assert_eq!(rig.read(client), "END\r\n");
    assert!(rig.is_closed(client));
}

#[test]
fn what_is_told_of_a_client_names_the_address_it_was_found_to_have() {
    let real = "[2001:db8::1]:6379".parse().ok();
    let mut rig = Rig::new(pool(1));
    let clients = [rig.client(), rig.client(), rig.client()];
    rig.worker.relabel(clients[1], real);
    rig.worker.relabel(clients[2], None);
    for (client, peer) in clients.into_iter().zip([Some(peer_of(clients[0])), real, None]) {
        rig.send(client, "NONSENSE\r\n*1\r\n$x\r\n");
        let events = rig.events();
        assert!(matches!(events[0], Event::UnsupportedCommand { peer: told, .. } if told == peer));
        assert!(matches!(events[1], Event::Malformed { peer: told, .. } if told == peer));
    }
}

#[test]
fn a_client_that_is_turned_away_gets_the_words_there_are_and_is_closed() {
    for words in ["-ERR not like this\r\n", ""] {
        let mut rig = Rig::new(pool(1));
        let (stays, goes) = (rig.client(), rig.client());
        rig.worker.turn_away(goes, words.as_bytes(), &mut rig.network);
        rig.send(stays, "ping\r\n");
        assert_eq!(rig.read(stays), "+PONG\r\n");
        assert_eq!(rig.read(goes), words);
        assert!(rig.is_closed(goes));
        assert_eq!(rig.worker.counts.pools[0].client_err.value(), 1);
    }
}

#[test]
fn a_client_that_half_closes_gets_every_reply_and_then_the_end() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a") + &get("b") + "*2\r\n$3\r\nget");
    rig.half_close(client);
    assert!(!rig.is_closed(client));
    let peer = Some(peer_of(client));
    assert_eq!(rig.events(), [Event::IncompleteRequest { pool: 0, peer, bytes: 11 }]);
    let server = rig.server(0);
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    assert!(!rig.is_closed(client));
    rig.close(server);
    assert_eq!(rig.read(client), UNKNOWN);
    assert!(rig.is_closed(client));
    assert_eq!(rig.worker.counts.pools[0].client_eof.value(), 1);
    rig.assert_at_rest();
}

#[test]
fn an_idle_client_that_half_closes_is_closed_at_once() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.half_close(client);
    assert!(rig.is_closed(client));
    assert_eq!(rig.worker.engine.clients(), 0);
}

#[test]
fn replies_leave_in_the_order_of_requests_whatever_server_answers_first() {
    let mut rig = Rig::new(pool(3));
    let client = rig.client();
    let keys = [rig.key(2, 0), rig.key(0, 0), rig.key(1, 0), rig.key(0, 1)];
    let pipeline: String = keys.iter().map(|key| get(key)).collect();
    rig.send(client, pipeline + "ping\r\n");
    let servers = [rig.server(0), rig.server(1), rig.server(2)];
    let big = "z".repeat(9_000);
    rig.send(servers[0], bulk("1") + &bulk("3"));
    rig.send(servers[1], bulk(&big));
    assert_eq!(rig.read(client), "");
    rig.send(servers[2], bulk("0"));
    let all = bulk("0") + &bulk("1") + &bulk(&big) + &bulk("3") + "+PONG\r\n";
    assert_eq!(rig.read(client), all);
    rig.assert_at_rest();
}

#[test]
fn early_replies_of_a_client_that_never_stops_are_kept_without_those_that_have_left() {
    let mut rig = Rig::new(pool(2));
    let client = rig.client();
    let (late, early) = (rig.key(0, 0), rig.key(1, 0));
    let reply = |n: usize| bulk(&format!("{n:0>1000}"));
    let ask = |rig: &mut Rig, early_ones: usize| {
        rig.send(client, get(&late) + &get(&early).repeat(early_ones));
    };
    ask(&mut rig, 15);
    ask(&mut rig, 5);
    let servers = [rig.server(0), rig.server(1)];
    rig.send(servers[1], (0..20).map(reply).collect::<String>());
    rig.send(servers[0], bulk("first"));
    let gone: String = (0..15).map(reply).collect();
    assert_eq!(rig.read(client), bulk("first") + &gone);
    let held = rig.worker.engine.buffered_bytes();
    rig.send(client, get(&early).repeat(2));
    rig.send(servers[1], reply(20));
    let held_since = rig.worker.engine.buffered_bytes();
    assert!(held_since + 8_000 < held, "{held_since} bytes of {held} are held");
    rig.send(servers[1], reply(21));
    assert_eq!(rig.read(client), "");
    rig.send(servers[0], bulk("second"));
    let rest: String = (15..22).map(reply).collect();
    assert_eq!(rig.read(client), bulk("second") + &rest);
    rig.assert_at_rest();
}

#[test]
fn keys_and_values_may_hold_any_byte_and_a_key_may_be_empty() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    let odd = command(&["set", "a b\r\n\0$1", "\r\n*1\r\n"]) + &get("");
    rig.send(client, &odd);
    let server = rig.server(0);
    assert_eq!(rig.read(server), odd);
}

#[test]
fn a_draining_worker_answers_what_is_in_flight_and_closes() {
    let mut rig = Rig::new(pool(1));
    let (busy, idle) = (rig.client(), rig.client());
    rig.send(busy, get("a"));
    let server = rig.server(0);
    rig.worker.drain(&mut rig.network, rig.now);
    assert!(rig.is_closed(idle));
    rig.send(busy, get("not read any more"));
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(busy), bulk("a"));
    assert!(rig.is_closed(busy));
    assert_eq!(rig.read(server), get("a"));
    assert_eq!(rig.worker.engine.clients(), 0);
    let late = rig.client();
    rig.send(late, "ping\r\n");
    assert_eq!(rig.read(late), "");
    assert!(rig.is_closed(late));
}
