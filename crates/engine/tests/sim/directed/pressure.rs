//! Bounds: clients that ask more than they take, and the memory ceiling.

use engine::topology::{Limits, Pool};

use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

fn get(key: &str) -> String {
    command(&["get", key])
}

fn requests_in(text: &str) -> usize {
    text.matches("get\r\n").count()
}

#[test]
fn a_client_is_paused_at_4096_unanswered_requests_and_read_again_at_half() {
    let mut rig = Rig::new(pool(1));
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a").repeat(10_000));
    let server = rig.server(0);
    assert_eq!(requests_in(&rig.read(server)), 4096);
    rig.send(other, get("b"));
    assert_eq!(rig.read(server), get("b"), "others are served");
    rig.send(server, "$-1\r\n".repeat(2047));
    assert_eq!(rig.read(server), "");
    rig.send(server, "$-1\r\n");
    assert_eq!(requests_in(&rig.read(server)), 2048);
    rig.send(server, "$-1\r\n".repeat(2048) + &bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    let mut owed = 2048;
    while owed > 0 {
        owed += requests_in(&rig.read(server));
        rig.send(server, "$-1\r\n".repeat(owed));
        owed = requests_in(&rig.read(server));
    }
    assert!(rig.read(client) == "$-1\r\n".repeat(10_000));
    rig.assert_at_rest();
}

#[test]
fn a_client_is_paused_above_a_mebibyte_unsent_and_read_again_at_half() {
    let limits = Limits::default();
    let mut rig = Rig::with(pool(1), limits, 256 << 10);
    let client = rig.client();
    rig.send(client, get("a").repeat(50));
    let server = rig.server(0);
    assert_eq!(requests_in(&rig.read(server)), 50);
    let value = bulk(&"v".repeat(50_000));
    for _ in 0..50 {
        rig.send(server, &value);
    }
    // A quarter of a mebibyte is in the pipe to the client, much more than a whole one is held. One more request is
    // still read, since only then is there somebody to pause.
    rig.send(client, get("b").repeat(10));
    assert_eq!(requests_in(&rig.read(server)), 1);
    let total = 50 * value.len();
    let mut taken = 0;
    while total - taken - (256 << 10) > (512 << 10) {
        assert_eq!(rig.read(server), "");
        taken += rig.read(client).len();
    }
    assert_eq!(requests_in(&rig.read(server)), 9);
    rig.send(server, "$-1\r\n".repeat(10));
    while taken < total {
        taken += rig.read(client).len();
    }
    rig.read(client);
    rig.assert_at_rest();
}

#[test]
fn a_client_that_half_closes_while_paused_gets_every_reply() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a").repeat(6_000));
    rig.half_close(client);
    let server = rig.server(0);
    for _ in 0..10 {
        let asked = requests_in(&rig.read(server));
        rig.send(server, "$-1\r\n".repeat(asked));
    }
    assert_eq!(rig.read(client), "$-1\r\n".repeat(6_000));
    assert!(rig.is_closed(client));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_never_reads_costs_a_bounded_amount_of_memory() {
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, Limits::default(), 100_000);
    let client = rig.client();
    let echo = command(&["echo", &"e".repeat(900)]);
    for _ in 0..20_000 {
        rig.network.send(client, echo.as_bytes());
        rig.settle();
    }
    let held = rig.worker.engine.buffered_bytes();
    assert!(held > 1 << 20 && held < (1 << 20) + (256 << 10), "{held} bytes are held");
    rig.reset(client);
    rig.assert_at_rest();
}

#[test]
fn above_the_memory_ceiling_requests_are_refused_and_large_replies_dropped() {
    let limits = Limits { worker_memory_bytes_max: 100_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 10_000);
    let (reader, other) = (rig.client(), rig.client());
    for _ in 0..41 {
        rig.send(reader, get("a").repeat(5));
    }
    let server = rig.server(0);
    let value = bulk(&"v".repeat(1_000));
    for _ in 0..200 {
        rig.read(server);
        rig.send(server, &value);
    }
    assert!(rig.worker.engine.buffered_bytes() > 100_000);
    rig.send(other, get("b") + "ping\r\n");
    let shed = "-ERR max_memory of the proxy is reached, try again later\r\n";
    assert_eq!(rig.read(other), shed.to_owned() + "+PONG\r\n");
    rig.send(server, bulk(&"v".repeat(5_000)) + &value.repeat(4));
    let mut replies = rig.read(reader);
    while rig.worker.engine.buffered_bytes() > 0 {
        replies += &rig.read(reader);
    }
    replies += &rig.read(reader);
    let dropped = "-ERR max_memory of the proxy is reached, reply dropped\r\n";
    assert!(replies == value.repeat(200) + dropped + &value.repeat(4));
    assert_eq!(rig.worker.counts.shed.value(), 2);
    assert_eq!(rig.read(server), "");
    rig.send(other, get("b"));
    assert_eq!(rig.read(server), get("b"), "there is room again");
}

#[test]
fn above_the_memory_ceiling_an_endless_request_is_cut_off() {
    let limits = Limits { worker_memory_bytes_max: 100_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    let client = rig.client();
    rig.send(
        client,
        "*3\r\n$3\r\nset\r\n$1\r\na\r\n$500000000\r\n".to_owned() + &"x".repeat(300_000),
    );
    rig.send(client, "x".repeat(1_000));
    let shed = "-ERR max_memory of the proxy is reached, try again later\r\n";
    assert_eq!(rig.read(client), shed);
    assert!(rig.is_closed(client));
    assert!(rig.nobody_connects_to(0));
    rig.assert_at_rest();
}

#[test]
fn an_announced_size_is_not_reserved() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, "*3\r\n$3\r\nset\r\n$1\r\na\r\n$500000000\r\nx");
    assert!(rig.worker.engine.buffered_bytes() < 10_000);
    rig.send(client, "y");
    assert!(rig.worker.engine.buffered_bytes() < 10_000);
    let other = rig.client();
    rig.send(other, get("b"));
    let server = rig.server(0);
    rig.send(server, "$500000000\r\nx");
    rig.send(server, "y");
    assert!(rig.worker.engine.buffered_bytes() < 20_000);
}
