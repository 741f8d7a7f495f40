//! Large items, which flow to their clients while they arrive.

use engine::topology::Limits;

use super::{UNKNOWN, found, get, pool, set, set_noreply};
use crate::network::WireId;
use crate::rig::Rig;

/// Replies from 256 KiB flow.
fn limits() -> Limits {
    Limits { cut_through_bytes_min: 256 << 10, ..Limits::default() }
}

const MIB: usize = 1 << 20;

fn rig() -> Rig {
    Rig::with(pool(1), limits(), 64 << 20)
}

/// Sends `reply` to `client` in two halves, of which the first must have gone on before the second comes.
#[track_caller]
fn assert_flows(rig: &mut Rig, server: WireId, client: WireId, reply: &str) {
    let (first, second) = reply.split_at(reply.len() / 2);
    rig.send(server, first);
    assert_eq!(rig.read(client), first);
    rig.send(server, second);
    assert_eq!(rig.read(client), second);
}

#[test]
fn items_of_every_command_that_reads_one_flow() {
    let data = "v".repeat(2 * MIB);
    let values = found("a", &data);
    let with_cas = values.replacen("\r\n", " 77\r\n", 1);
    let meta = format!("VA {} t-1\r\n{data}\r\n", data.len());
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    assert_flows(&mut rig, server, client, &values);
    for (request, reply) in [
        ("gets a\r\n", &with_cas),
        ("gat 10 a\r\n", &values),
        ("gats 10 a\r\n", &with_cas),
        ("mg a v\r\n", &meta),
        ("mg a v q\r\n", &meta),
    ] {
        rig.send(client, request);
        assert_flows(&mut rig, server, client, reply);
    }
    rig.send(client, "mn\r\n");
    assert_eq!(rig.read(client), "MN\r\n");
    rig.assert_at_rest();
}

#[test]
fn items_of_several_servers_are_gathered_and_merged() {
    let mut rig = Rig::with(pool(2), limits(), 64 << 20);
    let client = rig.client();
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    rig.send(client, format!("get {a} {b}\r\n"));
    let data = "v".repeat(2 * MIB);
    let (first, second) = (rig.server(0), rig.server(1));
    rig.send(first, found(&a, &data));
    assert_eq!(rig.read(client), "");
    rig.send(second, found(&b, "b"));
    let all = found(&a, &data).replace("END\r\n", "") + &found(&b, "b");
    assert!(rig.read(client) == all);
    rig.assert_at_rest();
}

#[test]
fn an_item_that_is_none_after_all_closes_its_client() {
    let mut rig = rig();
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a"));
    rig.send(other, get("b"));
    let server = rig.server(0);
    let data = "v".repeat(MIB);
    rig.send(server, format!("VALUE a 0 {MIB}\r\n{data}"));
    rig.send(server, "xx");
    assert_eq!(rig.read(client).len(), format!("VALUE a 0 {MIB}\r\n").len() + MIB);
    assert!(rig.is_closed(client));
    assert_eq!(rig.read(other), super::INVALID);
    rig.assert_at_rest();
}

#[test]
fn a_connection_with_a_silent_request_under_way_keeps_its_lane() {
    let mut rig = rig();
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a"));
    rig.send(other, set_noreply("k", "1"));
    let server = rig.server(0);
    let reply = found("a", &"v".repeat(6 * MIB));
    let (first, second) = reply.split_at(MIB);
    rig.send(server, first);
    assert_eq!(rig.read(server), get("a") + &set_noreply("k", "1"));
    rig.send(other, get("k"));
    assert_eq!(rig.read(server), get("k"), "behind what it wrote");
    assert!(rig.nobody_connects_to(0));
    rig.send(server, second);
    rig.send(server, found("k", "1"));
    assert_eq!(rig.read(other), found("k", "1"));
    assert!(rig.read(client) == reply);
    rig.assert_at_rest();
}

#[test]
fn a_request_that_wants_no_reply_is_asked_for_one_where_the_lane_is_lost() {
    let mut rig = rig();
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a"));
    rig.send(other, get("k"));
    let server = rig.server(0);
    let reply = found("a", &"v".repeat(6 * MIB));
    let (first, second) = reply.split_at(MIB);
    rig.send(server, first);
    rig.read(server);
    rig.send(other, set_noreply("k", "1") + &get("k"));
    let blanked = set_noreply("k", "1").replace("noreply", "       ");
    assert_eq!(rig.read(server), blanked + &get("k"));
    assert!(rig.nobody_connects_to(0));
    rig.send(server, second);
    rig.send(server, found("k", "0") + "STORED\r\n" + &found("k", "1"));
    assert_eq!(rig.read(other), found("k", "0") + &found("k", "1"));
    assert!(rig.read(client) == reply);
    rig.send(other, set_noreply("k", "2"));
    assert_eq!(rig.read(server), set_noreply("k", "2"), "back in its lane");
    rig.assert_at_rest();
}

#[test]
fn an_item_behind_silent_requests_flows_and_an_error_there_is_looked_into() {
    let mut rig = rig();
    let client = rig.client();
    rig.send(client, set_noreply("k", "1") + &get("a"));
    let server = rig.server(0);
    assert_flows(&mut rig, server, client, &found("a", &"v".repeat(2 * MIB)));
    rig.send(client, set_noreply("k", "1") + &set("b", "2"));
    rig.read(server);
    // No value can be the answer to a set.
    rig.send(server, found("a", &"v".repeat(2 * MIB)));
    assert_eq!(rig.read(client), super::INVALID);
}

#[test]
fn an_item_that_a_server_does_not_finish_is_cut_and_a_small_one_is_an_error() {
    let limits = Limits { cut_through_bytes_min: 1_000, ..limits() };
    for (len, got) in [(2_000, "VALUE a 0 2000\r\nvvv"), (100, UNKNOWN)] {
        let mut rig = Rig::with(pool(1), limits, MIB);
        let client = rig.client();
        rig.send(client, get("a"));
        let server = rig.server(0);
        rig.send(server, format!("VALUE a 0 {len}\r\nvvv"));
        rig.close(server);
        assert_eq!(rig.read(client), got);
        assert_eq!(rig.is_closed(client), len == 2_000);
        rig.assert_at_rest();
    }
}
