//! Which requests flow, in which order, and how fast.

use engine::topology::{Limits, Pool};

use super::{HELD_MAX, LARGE, assert_served, begun, get, head, limits, rest, rig};
use crate::network::Door;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

#[test]
fn a_large_request_flows_over_a_connection_of_its_own_and_nobody_waits_for_it() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    let other = rig.client();
    rig.send(other, get("b"));
    let shared = rig.server(0);
    assert_eq!(rig.read(shared), get("b"));
    rig.send(shared, bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    let counts = rig.worker.counts.pools[0].servers[0].clone();
    assert_eq!(counts.server_connections.value(), 2);
    rig.send(client, rest());
    assert_eq!(rig.read(private), rest());
    assert_eq!(rig.read(client), "");
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert!(rig.is_closed(private));
    assert_eq!(counts.server_connections.value(), 1);
    assert_eq!((counts.requests.value(), counts.responses.value()), (2, 2));
    let bytes = head("a", 5_000).len() + 5_002 + get("b").len();
    assert_eq!(counts.request_bytes.value(), bytes as u64);
    assert_eq!((counts.server_eof.value(), counts.server_err.value()), (0, 0));
    assert_eq!(rig.events(), []);
    assert_served(&mut rig, client, shared);
}

#[test]
fn its_queues_are_counted_while_it_flows() {
    let mut rig = Rig::with(pool(1), limits(), 100);
    let client = rig.client();
    rig.network.send(client, head("a", 5_000).as_bytes());
    rig.settle();
    let private = rig.server(0);
    rig.network.send(client, &[b'x'; 100]);
    rig.settle();
    let counts = rig.worker.counts.pools[0].servers[0].clone();
    let bytes = head("a", 5_000).len() as u64 + 100;
    assert_eq!((counts.in_queue.value(), counts.in_queue_bytes.value()), (1, bytes));
    assert_eq!(counts.out_queue.value(), 0);
    let mut left = 4_902;
    while left > 0 {
        left -= match left {
            0..=2 => rig.network.send(client, &b"\r\n"[2 - left..]),
            _ => rig.network.send(client, &[b'x'; 50][..50.min(left - 2)]),
        };
        rig.settle();
        rig.read(private);
    }
    rig.read(private);
    let bytes = head("a", 5_000).len() as u64 + 5_002;
    assert_eq!((counts.in_queue.value(), counts.in_queue_bytes.value()), (0, 0));
    assert_eq!((counts.out_queue.value(), counts.out_queue_bytes.value()), (1, bytes));
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_smaller_request_is_gathered() {
    let mut rig = rig(pool(1));
    let client = rig.client();
    let small = LARGE - head("a", 900).len() - 3;
    rig.send(client, head("a", small) + "begin");
    assert!(rig.nobody_connects_to(0));
    rig.send(client, "x".repeat(small - 5) + "\r\n");
    let server = rig.server(0);
    assert_eq!(rig.read(server).len(), LARGE - 1);
    rig.send(server, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn many_small_arguments_flow_once_they_are_large_together() {
    let mut rig = rig(pool(1));
    let client = rig.client();
    let push = command(&[&["rpush", "a"][..], &["0123456789"; 200]].concat());
    rig.send(client, &push[..LARGE - 20]);
    assert!(rig.nobody_connects_to(0));
    rig.send(client, &push[LARGE - 20..LARGE + 20]);
    let private = rig.server(0);
    for byte in push[LARGE + 20..].bytes() {
        rig.send(client, [byte]);
    }
    assert!(rig.read(private) == push);
    rig.send(private, ":200\r\n");
    assert_eq!(rig.read(client), ":200\r\n");
    rig.assert_at_rest();
}

#[test]
fn only_what_goes_to_one_server_whole_flows() {
    let value = "x".repeat(2 * LARGE);
    let flows =
        [&["append", "a", &value][..], &["hset", "a", "f", &value], &["getset", "a", &value]];
    let stays = [
        &["mset", "a", &value][..],
        &["get", &value],
        &["eval", &value, "1", "a"],
        &["sinterstore", "a", &value],
        &["echo", &value],
        &["set", &value],
        &["nonsense", "a", &value],
    ];
    let all =
        flows.iter().map(|words| (words, true)).chain(stays.iter().map(|words| (words, false)));
    for (words, does) in all {
        let mut rig = rig(pool(1));
        let client = rig.client();
        let bytes = command(words);
        rig.send(client, &bytes[..bytes.len() - 1]);
        assert_eq!(!rig.nobody_connects_to(0), does, "{}", words[0]);
    }
}

#[test]
fn who_has_not_authenticated_uploads_nothing() {
    let mut rig = rig(Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) });
    let client = rig.client();
    rig.send(client, head("a", 5_000) + "begin" + &rest());
    assert!(rig.nobody_connects_to(0));
    assert_eq!(rig.read(client), "-NOAUTH Authentication required\r\n");
}

#[test]
fn a_private_connection_is_greeted_like_any_other() {
    let mut rig = rig(Pool { redis_auth: Some(b"secret"[..].into()), redis_db: 3, ..pool(1) });
    let client = rig.client();
    rig.send(client, command(&["auth", "secret"]) + &head("a", 5_000) + "begin");
    let private = rig.server(0);
    assert_eq!(rig.read(private), command(&["AUTH", "secret"]) + &command(&["SELECT", "3"]));
    rig.send(client, "x");
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(private), "");
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(private), head("a", 5_000) + "beginx");
    rig.send(client, "x".repeat(4_994) + "\r\n");
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn what_was_asked_before_is_answered_before() {
    let mut rig = rig(pool(1));
    let client = rig.client();
    rig.send(client, get("b") + &head("a", 5_000) + "begin");
    let shared = rig.server(0);
    assert_eq!(rig.read(shared), get("b"));
    rig.send(client, "x".repeat(100));
    assert!(rig.nobody_connects_to(0));
    rig.send(shared, bulk("b"));
    assert_eq!(rig.read(client), bulk("b"));
    let private = rig.server(0);
    assert_eq!(rig.read(private), head("a", 5_000) + "begin" + &"x".repeat(100));
}

#[test]
fn what_is_asked_behind_it_waits_for_its_reply() {
    let mut rig = rig(pool(1));
    let (client, private) = begun(&mut rig);
    rig.send(client, rest() + &get("a") + &head("b", 3_000) + "b");
    assert_eq!(rig.read(private), rest());
    assert!(rig.nobody_connects_to(0));
    rig.send(private, "+OK\r\n");
    let shared = rig.server(0);
    assert_eq!(rig.read(shared), get("a"));
    assert!(rig.nobody_connects_to(0));
    rig.send(shared, bulk("a"));
    assert_eq!(rig.read(client), "+OK\r\n".to_owned() + &bulk("a"));
    let private = rig.server(0);
    assert_eq!(rig.read(private), head("b", 3_000) + "b");
    rig.send(client, "x".repeat(2_999) + "\r\n");
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    assert_served(&mut rig, client, shared);
}

#[test]
fn a_client_is_read_no_faster_than_its_server_takes() {
    const LEN: usize = 20 << 20;
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, limits(), 100_000);
    let client = rig.client();
    rig.send(client, head("a", LEN));
    let private = rig.server(0);
    let (mut sent, mut taken) = (0, 0);
    let value = "v".repeat(100_000);
    for _ in 0..100 {
        sent += rig.network.send(client, value.as_bytes());
        rig.settle();
    }
    assert!(sent < 1 << 20, "{sent} bytes were read although the server takes none");
    while sent < LEN {
        taken += rig.read(private).len();
        sent += rig.network.send(client, &value.as_bytes()[..value.len().min(LEN - sent)]);
        rig.settle();
        let held = rig.worker.engine.buffered_bytes();
        assert!(held < HELD_MAX, "{held} bytes are held");
    }
    rig.send(client, "\r\n");
    while taken < head("a", LEN).len() + LEN + 2 {
        let some = rig.read(private).len();
        assert_ne!(some, 0, "the rest never comes");
        taken += some;
    }
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(client), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_client_is_not_read_while_its_server_is_out_of_reach() {
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, limits(), 10_000);
    rig.set_door(0, Door::Hangs);
    let client = rig.client();
    let mut sent = rig.network.send(client, head("a", 1 << 20).as_bytes());
    for _ in 0..100 {
        sent += rig.network.send(client, &[b'v'; 10_000]);
        rig.settle();
    }
    assert!(sent < 100_000, "{sent} bytes were read although nobody takes them");
    assert!(rig.worker.engine.buffered_bytes() < 100_000);
}

#[test]
fn beyond_sixteen_to_a_server_requests_are_gathered() {
    let mut rig = rig(pool(1));
    let uploads: Vec<_> = (0..16).map(|_| begun(&mut rig)).collect();
    let one_more = rig.client();
    rig.send(one_more, head("b", 5_000) + "begin");
    assert!(rig.nobody_connects_to(0));
    rig.send(uploads[0].0, rest());
    rig.send(uploads[0].1, "+OK\r\n");
    assert!(rig.is_closed(uploads[0].1) || !rig.read(uploads[0].1).is_empty());
    rig.send(one_more, "x");
    let private = rig.server(0);
    assert_eq!(rig.read(private), head("b", 5_000) + "beginx", "as soon as there is room");
}

#[test]
fn where_no_open_file_is_free_requests_are_gathered_until_there_is_one() {
    let mut rig = rig(pool(1));
    rig.worker.surroundings.set_files(1);
    let (first, private) = begun(&mut rig);
    let second = rig.client();
    rig.send(second, head("b", 5_000) + "begin");
    assert!(rig.nobody_connects_to(0));
    rig.send(first, rest());
    rig.send(private, "+OK\r\n");
    assert_eq!(rig.read(first), "+OK\r\n");
    rig.send(second, "x");
    let private = rig.server(0);
    assert_eq!(rig.read(private), head("b", 5_000) + "beginx", "the one that was given back");
    rig.reset(second);
    let third = rig.client();
    rig.worker.surroundings.set_files(0);
    rig.send(third, head("c", 5_000) + "begin" + &rest());
    let shared = rig.server(0);
    assert_eq!(rig.read(shared), head("c", 5_000) + "begin" + &rest(), "as any other request");
    rig.send(shared, "+OK\r\n");
    assert_eq!(rig.read(third), "+OK\r\n");
    rig.assert_at_rest();
}

#[test]
fn over_the_memory_ceiling_it_is_refused_and_its_rest_dropped() {
    let limits = Limits { worker_memory_bytes_max: 20_000, ..limits() };
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, limits, 64 << 20);
    let (client, hog) = (rig.client(), rig.client());
    rig.send(hog, get("b").repeat(20));
    let shared = rig.server(0);
    rig.read(shared);
    for _ in 0..19 {
        rig.network.send(shared, bulk(&"v".repeat(3_000)).as_bytes());
    }
    rig.network.wire(hog).to_peer.push(&vec![b'?'; 64 << 20]);
    rig.settle();
    assert!(rig.worker.engine.buffered_bytes() > 20_000);
    rig.send(client, head("a", 5_000) + "begin");
    let shed = "-ERR max_memory of the proxy is reached, try again later\r\n";
    assert_eq!(rig.read(client), shed);
    rig.send(client, rest() + &command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    assert_eq!(rig.worker.counts.shed.value(), 1);
    assert!(rig.nobody_connects_to(0));
}

#[test]
fn a_large_reply_to_it_flows_back_and_ends_its_connection() {
    let limits = Limits { cut_through_bytes_min: 1_000, ..limits() };
    let whole = bulk(&"o".repeat(300_000));
    for is_there in [true, false] {
        let mut rig = Rig::with(pool(1), limits, 64 << 20);
        let client = rig.client();
        let swap = command(&["getset", "a", &"n".repeat(5_000)]);
        rig.send(client, &swap[..2_000]);
        rig.send(client, swap[2_000..].to_owned() + &get("b"));
        let private = rig.server(0);
        assert!(rig.read(private) == swap);
        rig.send(private, &whole[..200_000]);
        assert!(rig.read(client) == whole[..200_000]);
        assert!(!rig.is_closed(private));
        if !is_there {
            rig.reset(client);
            assert!(rig.is_closed(private));
            rig.assert_at_rest();
            continue;
        }
        assert!(rig.nobody_connects_to(0));
        rig.send(private, &whole[200_000..]);
        assert!(rig.read(client) == whole[200_000..]);
        assert!(rig.is_closed(private));
        let shared = rig.server(0);
        assert_eq!(rig.read(shared), get("b"));
        rig.send(shared, "$-1\r\n");
        assert_eq!(rig.read(client), "$-1\r\n");
        assert_served(&mut rig, client, shared);
    }
}
