//! Large replies, which flow to their clients while they arrive.

use engine::Event;
use engine::topology::{Limits, Pool};

use super::{TIMED_OUT, get};
use crate::network::WireId;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// What a pipe of these rigs holds: a client that does not read takes no more.
const ROOM: usize = 64 << 10;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Replies from 256 KiB flow.
fn limits() -> Limits {
    Limits { cut_through_bytes_min: 256 << 10, ..Limits::default() }
}

/// A rig whose clients are slow as soon as they have not taken `ROOM` and a mebibyte.
fn rig() -> Rig {
    Rig::with(pool(1), limits(), ROOM)
}

/// Sends all of `bytes`, as much at a time as the pipe takes, for as long as the worker reads; returns what was not taken.
fn send_on<'b>(rig: &mut Rig, server: WireId, mut bytes: &'b [u8]) -> &'b [u8] {
    loop {
        let sent = rig.network.send(server, bytes);
        bytes = &bytes[sent..];
        rig.settle();
        if sent == 0 || bytes.is_empty() {
            return bytes;
        }
    }
}

/// Lets `client` read and `server` send until neither has anything to do; returns what was read.
fn flow(rig: &mut Rig, server: WireId, mut bytes: &[u8], client: WireId) -> String {
    let mut read = String::new();
    loop {
        bytes = send_on(rig, server, bytes);
        let more = rig.read(client);
        if more.is_empty() {
            assert!(bytes.is_empty(), "{} bytes are stuck", bytes.len());
            return read;
        }
        read += &more;
    }
}

fn count(rig: &Rig, of: fn(&engine::counters::ServerCounts) -> &engine::counters::Count) -> u64 {
    of(&rig.worker.counts.pools[0].servers[0]).value()
}

#[test]
fn a_large_reply_goes_on_before_it_is_whole_and_costs_no_memory() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, get("a") + &get("b"));
    let server = rig.server(0);
    rig.read(server);
    rig.send(server, "$8000000\r\n".to_owned() + &"v".repeat(1_000));
    assert_eq!(rig.read(client).len(), 10 + 1_000);
    let piece = "v".repeat(63_000);
    for _ in 0..7_999_000 / 63_000 {
        rig.send(server, &piece);
        assert_eq!(rig.read(client).len(), piece.len());
        assert_eq!(rig.worker.engine.buffered_bytes(), 0);
    }
    rig.send(server, "v".repeat(7_999_000 % 63_000) + "\r");
    rig.read(client);
    assert_eq!(count(&rig, |server| &server.responses), 0);
    rig.send(server, "\n".to_owned() + &bulk("second"));
    assert_eq!(rig.read(client), "\r\n".to_owned() + &bulk("second"));
    assert_eq!(count(&rig, |server| &server.responses), 2);
    assert_eq!(count(&rig, |server| &server.response_bytes), 10 + 8_000_002 + 12);
    rig.assert_at_rest();
}

#[test]
fn a_reply_of_many_small_elements_flows_once_enough_of_it_has_come() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, command(&["lrange", "a", "0", "-1"]));
    let server = rig.server(0);
    let reply = "*200001\r\n".to_owned() + &"$5\r\nhello\r\n".repeat(200_000) + "+OK\r\n";
    rig.read(server);
    let (first, rest) = reply.as_bytes().split_at(255 * KIB);
    let rest_of_first = send_on(&mut rig, server, first);
    assert_eq!((rest_of_first.len(), rig.read(client).len()), (0, 0), "gathered");
    let read = flow(&mut rig, server, rest, client);
    assert!(read == reply);
    rig.assert_at_rest();
}

#[test]
fn a_reply_whose_turn_has_not_come_is_gathered_and_flows_when_it_has() {
    let mut rig = Rig::with(pool(2), limits(), ROOM);
    let client = rig.client();
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    rig.send(client, get(&a) + &get(&b) + &get(&b));
    let (first, second) = (rig.server(0), rig.server(1));
    let reply = bulk(&"v".repeat(2 * MIB));
    let (begun, rest) = reply.as_bytes().split_at(MIB);
    assert!(send_on(&mut rig, second, begun).is_empty(), "nobody is kept waiting");
    assert_eq!(rig.read(client), "");
    rig.send(first, bulk("first"));
    let mut read = flow(&mut rig, second, b"", client);
    assert_eq!(read.len(), bulk("first").len(), "its turn has come, more of it has not");
    read += &flow(&mut rig, second, rest, client);
    assert!(read == bulk("first") + &reply);
    rig.send(second, bulk("third"));
    assert_eq!(rig.read(client), bulk("third"));
    rig.assert_at_rest();
}

#[test]
fn two_clients_with_large_replies_of_two_servers_in_opposite_order_get_them() {
    let mut rig = Rig::with(pool(2), limits(), ROOM);
    let (one, other) = (rig.client(), rig.client());
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    rig.send(one, get(&a) + &get(&b));
    rig.send(other, get(&b) + &get(&a));
    let (first, second) = (rig.server(0), rig.server(1));
    let replies = bulk(&"v".repeat(3 * MIB)) + &bulk(&"w".repeat(3 * MIB));
    let mut rest = [replies.as_bytes(), replies.as_bytes()];
    let (mut got, mut also) = (String::new(), String::new());
    loop {
        rest = [send_on(&mut rig, first, rest[0]), send_on(&mut rig, second, rest[1])];
        let (more, too) = (rig.read(one), rig.read(other));
        if more.is_empty() && too.is_empty() {
            break;
        }
        got += &more;
        also += &too;
    }
    let (v, w) = replies.split_at(replies.len() / 2);
    assert!(got == v.repeat(2) && also == w.repeat(2));
    rig.assert_at_rest();
}

#[test]
fn a_server_is_read_no_faster_than_a_slow_client_takes_it_and_others_get_another_connection() {
    let mut rig = rig();
    let (slow, other) = (rig.client(), rig.client());
    rig.send(slow, get("a"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(12 * MIB));
    let rest = send_on(&mut rig, server, reply.as_bytes());
    let taken = reply.len() - rest.len();
    assert!((MIB..MIB + 4 * ROOM).contains(&taken), "{taken} bytes were taken");
    assert!(rig.worker.engine.buffered_bytes() < MIB + 2 * ROOM);
    rig.send(other, get("b"));
    let fresh = rig.server(0);
    assert_eq!(count(&rig, |server| &server.server_connections), 2);
    assert_eq!(rig.read(fresh), get("b"));
    rig.send(fresh, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    // No time passes while the client is the one who is waited for.
    rig.pass_ms(10_000);
    assert_eq!(rig.events(), []);
    let mut read = rig.read(slow);
    assert_eq!(read.len(), ROOM);
    assert_eq!(rig.network.look(server).to_engine.free(), 0, "not before half of it is gone");
    read += &flow(&mut rig, server, rest, slow);
    assert!(read == reply);
    rig.read(server);
    assert!(rig.is_closed(server), "the lane is taken");
    assert_eq!(count(&rig, |server| &server.server_connections), 1);
    assert_eq!(rig.events(), []);
    rig.assert_at_rest();
}

#[test]
fn where_no_open_file_is_free_a_large_reply_keeps_its_lane() {
    let mut rig = rig();
    rig.worker.surroundings.set_files(0);
    let (slow, other) = (rig.client(), rig.client());
    rig.send(slow, get("a"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(6 * MIB));
    let rest = send_on(&mut rig, server, reply.as_bytes());
    assert!(!rest.is_empty(), "it waits for its client");
    rig.send(other, get("b"));
    assert!(rig.nobody_connects_to(0));
    assert!(send_on(&mut rig, server, rest).is_empty(), "somebody else waits");
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    assert!(flow(&mut rig, server, b"", slow) == reply);
    rig.assert_at_rest();
}

#[test]
fn a_connection_goes_back_to_its_lane_when_nobody_took_it() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(12 * MIB));
    assert!(flow(&mut rig, server, reply.as_bytes(), client) == reply);
    rig.send(client, get("b"));
    assert_eq!(rig.read(server), get("a") + &get("b"));
    assert!(rig.nobody_connects_to(0));
}

#[test]
fn while_others_wait_behind_a_reply_its_server_is_read_whatever_its_client_takes() {
    let mut rig = rig();
    let (slow, other) = (rig.client(), rig.client());
    rig.send(slow, get("a"));
    rig.send(other, get("b"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(6 * MIB));
    assert!(send_on(&mut rig, server, reply.as_bytes()).is_empty());
    assert!(rig.worker.engine.buffered_bytes() > 5 * MIB);
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    assert!(flow(&mut rig, server, b"", slow) == reply);
    rig.assert_at_rest();
}

#[test]
fn a_request_of_somebody_else_sets_a_paused_connection_going() {
    let limits = Limits { cut_through_bytes_min: MIB, ..limits() };
    let mut rig = Rig::with(pool(1), limits, ROOM);
    let clients: Vec<WireId> = (0..6).map(|_| rig.client()).collect();
    let reply = bulk(&"v".repeat(8 * MIB));
    let mut slow = Vec::new();
    for client in &clients[..5] {
        rig.send(*client, get("a"));
        let server = rig.server(0);
        let rest = send_on(&mut rig, server, reply.as_bytes());
        assert!(!rest.is_empty());
        slow.push((server, *client, rest));
    }
    // Four have left their lane, the fifth may not.
    let (server, client, rest) = slow[4];
    rig.send(clients[5], get("b"));
    assert!(rig.nobody_connects_to(0));
    assert!(send_on(&mut rig, server, rest).is_empty());
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(clients[5]), bulk("b"));
    slow[4] = (server, client, b"");
    for (server, client, rest) in slow {
        assert!(flow(&mut rig, server, rest, client) == reply);
    }
    rig.assert_at_rest();
}

#[test]
fn what_waits_behind_its_own_slow_client_keeps_its_time() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, get("a") + &get("b"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(8 * MIB));
    rig.pass_ms(300);
    let rest = send_on(&mut rig, server, reply.as_bytes());
    rig.pass_ms(5_000);
    let read = flow(&mut rig, server, rest, client);
    assert!(read == reply);
    rig.pass_ms(99);
    assert_eq!(rig.read(client), "");
    rig.pass_ms(1);
    assert_eq!(rig.read(client), TIMED_OUT);
    assert_eq!(rig.read(server), get("a") + &get("b"));
}

#[test]
fn a_client_with_requests_on_a_connection_stays_there_until_they_are_answered() {
    let mut rig = rig();
    let (slow, other) = (rig.client(), rig.client());
    rig.send(slow, get("a"));
    rig.send(other, get("b"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(6 * MIB));
    let rest = send_on(&mut rig, server, &reply.as_bytes()[..5 * MIB]);
    assert!(rest.is_empty());
    rig.read(server);
    // The connection has left its lane, but `other` waits for it.
    rig.send(other, get("c"));
    assert_eq!(rig.read(server), get("c"));
    assert!(rig.nobody_connects_to(0));
    rig.send(slow, get("d"));
    let fresh = rig.server(0);
    assert_eq!(rig.read(fresh), get("d"), "what flows has been carried out");
    assert!(send_on(&mut rig, server, &reply.as_bytes()[5 * MIB..]).is_empty());
    rig.send(server, bulk("b") + &bulk("c"));
    assert_eq!(rig.read(other), bulk("b") + &bulk("c"));
    assert!(rig.is_closed(server));
    rig.send(other, get("e"));
    assert_eq!(rig.read(fresh), get("e"));
    rig.send(fresh, bulk("d") + &bulk("e"));
    assert_eq!(rig.read(other), bulk("e"));
    assert!(flow(&mut rig, fresh, b"", slow) == reply + &bulk("d"));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_goes_takes_a_connection_with_it_that_only_it_needed() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.send(server, "$8000000\r\n".to_owned() + &"v".repeat(1_000));
    rig.reset(client);
    rig.read(server);
    assert!(rig.is_closed(server));
    assert_eq!(rig.events(), []);
    rig.assert_at_rest();
    assert_eq!(count(&rig, |server| &server.server_connections), 0);
}

#[test]
fn what_a_client_that_goes_leaves_behind_is_swallowed_while_others_wait() {
    let mut rig = rig();
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a"));
    rig.send(other, get("b"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(6 * MIB));
    let rest = send_on(&mut rig, server, &reply.as_bytes()[..MIB]);
    assert!(rest.is_empty());
    rig.reset(client);
    assert!(send_on(&mut rig, server, &reply.as_bytes()[MIB..]).is_empty());
    assert!(rig.worker.engine.buffered_bytes() < ROOM);
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    assert_eq!(count(&rig, |server| &server.responses), 1);
    rig.assert_at_rest();
}

#[test]
fn a_late_reply_is_swallowed_without_being_kept() {
    let mut rig = rig();
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a"));
    rig.pass_ms(200);
    rig.send(other, get("b"));
    rig.pass_ms(200);
    assert_eq!(rig.read(client), TIMED_OUT);
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(2 * MIB));
    assert!(send_on(&mut rig, server, &reply.as_bytes()[..MIB]).is_empty());
    assert!(rig.worker.engine.buffered_bytes() < ROOM);
    assert!(send_on(&mut rig, server, &reply.as_bytes()[MIB..]).is_empty());
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    rig.assert_at_rest();
}

/// A client in the middle of a large reply, another one behind it, and the server.
fn within_a_reply(rig: &mut Rig) -> (WireId, WireId, WireId) {
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a") + &get("b"));
    rig.send(other, get("c"));
    let server = rig.server(0);
    rig.send(server, "$1000000\r\nvvvv");
    (client, other, server)
}

#[test]
fn a_client_whose_server_fails_within_a_reply_is_closed_behind_what_it_got() {
    type Fate = (fn(&mut Rig, WireId), &'static str);
    let fates: [Fate; 4] = [
        (Rig::close, "unknown"),
        (Rig::reset, "Connection reset by peer"),
        (|rig, server| rig.send(server, "v".repeat(999_996) + "xx"), "Invalid argument"),
        (|rig, _| rig.pass_ms(401), "Connection timed out"),
    ];
    for (fail, text) in fates {
        let mut rig = Rig::with(pool(1), limits(), 64 << 20);
        let (client, other, server) = within_a_reply(&mut rig);
        fail(&mut rig, server);
        let got = rig.read(client);
        assert!(got.starts_with("$1000000\r\nvvvv"));
        assert!(got.len() < 1_000_012 && !got.contains("ERR"), "{text}: nothing completes it");
        assert!(rig.is_closed(client), "{text}");
        assert_eq!(rig.read(other), format!("-ERR {text}\r\n"));
        let lost = |event: &Event| matches!(event, Event::LinkBroken { requests: 1.., .. });
        assert!(rig.events().iter().any(lost), "{text}");
        rig.assert_at_rest();
        rig.send(other, get("d"));
        let fresh = rig.server(0);
        assert_eq!(rig.read(fresh), get("d"));
    }
}

#[test]
fn a_reply_that_goes_on_slowly_is_in_time_and_what_waits_behind_it_is_not() {
    let mut rig = Rig::with(pool(1), limits(), 64 << 20);
    let (client, other, server) = within_a_reply(&mut rig);
    for _ in 0..40 {
        rig.pass_ms(399);
        rig.send(server, "v");
    }
    assert_eq!(rig.read(other), TIMED_OUT);
    assert_eq!(rig.read(client).len(), 14 + 40);
    rig.send(server, "v".repeat(999_956) + "\r\n" + &bulk("b") + &bulk("c"));
    let got = rig.read(client);
    assert!(got.ends_with(&("v\r\n".to_owned() + TIMED_OUT)), "{} bytes", got.len());
    assert!(!rig.is_closed(client));
    rig.assert_at_rest();
}

#[test]
fn above_the_memory_ceiling_a_slow_client_is_closed_and_others_are_answered() {
    let limits = Limits { worker_memory_bytes_max: 3 * MIB, ..limits() };
    let mut rig = Rig::with(pool(1), limits, ROOM);
    let (slow, other) = (rig.client(), rig.client());
    rig.send(slow, get("a"));
    rig.send(other, get("b"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(6 * MIB));
    assert!(send_on(&mut rig, server, reply.as_bytes()).is_empty());
    assert!(rig.worker.engine.buffered_bytes() < ROOM);
    rig.read(slow);
    assert!(rig.is_closed(slow));
    rig.send(server, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    assert_eq!(rig.worker.counts.shed.value(), 1);
    rig.assert_at_rest();
}

/// A worker that may hold 3 MiB, of a pool of two servers.
fn tight(servers: usize) -> Rig {
    let limits = Limits { worker_memory_bytes_max: 3 * MIB, ..limits() };
    Rig::with(Pool { timeout: None, ..pool(servers) }, limits, ROOM)
}

const DROPPED: &str = "-ERR max_memory of the proxy is reached, reply dropped\r\n";

#[test]
fn above_the_memory_ceiling_a_reply_whose_turn_has_not_come_is_dropped_and_not_gathered() {
    let mut rig = tight(2);
    let (client, other) = (rig.client(), rig.client());
    let keys = [rig.key(0, 0), rig.key(1, 0)];
    rig.send(client, get(&keys[0]) + &get(&keys[1]));
    let (first, second) = (rig.server(0), rig.server(1));
    rig.send(other, get(&keys[1]));
    rig.read(second);
    let reply = bulk(&"v".repeat(16 * MIB));
    assert!(send_on(&mut rig, second, reply.as_bytes()).is_empty());
    assert!(rig.worker.engine.buffered_bytes() < 64 * KIB, "nothing of it is left");
    rig.send(second, bulk("o"));
    assert_eq!(rig.read(other), bulk("o"), "what is behind it is well");
    rig.send(first, bulk("a"));
    assert_eq!(rig.read(client), bulk("a") + DROPPED);
    assert_eq!(rig.worker.counts.shed.value(), 1);
    rig.assert_at_rest();
}

#[test]
fn above_the_memory_ceiling_a_part_of_a_reply_is_dropped_and_not_gathered() {
    let mut rig = tight(2);
    let client = rig.client();
    let keys = [rig.key(0, 0), rig.key(1, 0)];
    rig.send(client, command(&["mget", &keys[0], &keys[1]]));
    let (first, second) = (rig.server(0), rig.server(1));
    let reply = "*1\r\n".to_owned() + &bulk(&"v".repeat(16 * MIB));
    send_on(&mut rig, second, reply.as_bytes());
    rig.read(second);
    assert!(rig.is_closed(second), "nobody waits for the rest of it");
    assert!(rig.worker.engine.buffered_bytes() < 64 * KIB);
    rig.send(first, "*1\r\n".to_owned() + &bulk("a"));
    assert_eq!(rig.read(client), DROPPED);
    rig.assert_at_rest();
}

#[test]
fn a_client_that_ends_its_side_gets_all_of_a_large_reply_and_a_drain_waits_for_it() {
    let mut rig = rig();
    let (one, other) = (rig.client(), rig.client());
    rig.send(one, get("a"));
    let server = rig.server(0);
    let reply = bulk(&"v".repeat(8 * MIB));
    let rest = send_on(&mut rig, server, reply.as_bytes());
    rig.half_close(one);
    rig.send(other, get("b"));
    let fresh = rig.server(0);
    rig.worker.drain(&mut rig.network, rig.now);
    rig.settle();
    assert!(flow(&mut rig, server, rest, one) == reply);
    assert!(rig.is_closed(one));
    assert!(flow(&mut rig, fresh, reply.as_bytes(), other) == reply);
    assert!(rig.is_closed(other));
    rig.assert_at_rest();
}

#[test]
fn a_reload_keeps_what_flows_and_cuts_it_only_when_it_takes_too_long() {
    for keeps in [true, false] {
        let mut rig = rig();
        let client = rig.client();
        rig.send(client, get("a"));
        let server = rig.server(0);
        let reply = bulk(&"v".repeat(8 * MIB));
        let rest = send_on(&mut rig, server, reply.as_bytes());
        // With another password no connection stays in use.
        let redis_auth = (!keeps).then(|| b"secret"[..].into());
        rig.publish(vec![Pool { redis_auth, preconnect: false, timeout: None, ..pool(1) }]);
        rig.pass_ms(9_999);
        if keeps {
            assert!(flow(&mut rig, server, rest, client) == reply);
            rig.send(client, get("b"));
            assert_eq!(rig.read(server), get("a") + &get("b"));
            continue;
        }
        assert!(!rig.is_closed(server));
        rig.pass_ms(1_001);
        rig.read(server);
        assert!(rig.is_closed(server));
        while !rig.read(client).is_empty() {}
        assert!(rig.is_closed(client), "behind a part of a reply");
        assert_eq!(rig.worker.engine.buffered_bytes(), 0);
    }
}

#[test]
fn fragments_and_errors_are_gathered() {
    let mut rig = Rig::with(pool(1), limits(), 64 << 20);
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.send(server, "-".to_owned() + &"e".repeat(300 * KIB));
    assert_eq!(rig.read(client), "");
    rig.close(server);
    assert_eq!(rig.read(client), super::UNKNOWN, "nothing of it had gone");
    let mut rig = Rig::with(pool(2), limits(), 64 << 20);
    let client = rig.client();
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    rig.send(client, command(&["mget", &a, &b]));
    let first = rig.server(0);
    rig.send(first, "*1\r\n".to_owned() + &bulk(&"v".repeat(2 * MIB))[..MIB]);
    assert_eq!(rig.read(client), "");
    rig.close(first);
    let second = rig.server(1);
    rig.send(second, "*1\r\n".to_owned() + &bulk("b"));
    assert_eq!(rig.read(client), super::UNKNOWN);
}
