//! Messages that had to be gathered and are not passed on: what they held is given back, or a worker would come to its
//! memory ceiling for nothing.

use engine::topology::{CrossShard, Limits, OnEject, Pool};

use super::{DOWN, REFUSED, TIMED_OUT, keeping_pool};
use crate::network::{Door, WireId};
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// Beyond what is copied rather than moved.
const LONG: usize = 9_000;

fn long() -> String {
    "x".repeat(LONG)
}

fn send_in_pieces(rig: &mut Rig, wire: WireId, message: &str) {
    message.as_bytes().chunks(4_000).for_each(|piece| rig.send(wire, piece));
}

/// Sends a request in pieces to which the proxy has an answer of its own.
#[track_caller]
fn assert_answered(rig: &mut Rig, words: &[&str], answer: &str) {
    let client = rig.client();
    send_in_pieces(rig, client, &command(words));
    let read = rig.read(client);
    assert!(read.starts_with(answer), "{read:.100} to {:?}", words[0]);
    rig.assert_at_rest();
}

#[test]
fn requests_that_are_refused_or_answered_here() {
    let long = long();
    let mut rig = Rig::new(Pool { cross_shard: CrossShard::Error, ..pool(2) });
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    for (words, answer) in [
        (&["nonsense", &long][..], "-ERR unknown command 'nonsense'"),
        (&["get", "a", &long], "-ERR wrong number of arguments"),
        (&["publish", "a", &long], "-ERR command 'publish' is not supported"),
        (&["sinter", &a, &b, &long], "-CROSSSLOT"),
        (&["zunionstore", &a, "9", &long], "-ERR syntax error"),
        (&["echo", &long], "$9000\r\nxxx"),
        (&["command", "getkeys", "get", &long], "*1\r\n$9000\r\n"),
    ] {
        assert_answered(&mut rig, words, answer);
    }
    let mut rig = Rig::new(Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) });
    assert_answered(&mut rig, &["set", "a", &long], "-NOAUTH");
    assert_answered(&mut rig, &["auth", &long], "-ERR invalid password");
    let limits = Limits { worker_memory_bytes_max: LONG / 2, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    assert_answered(&mut rig, &["set", "a", &long], "-ERR max_memory");
}

#[test]
fn requests_for_servers_out_of_reach() {
    let long = long();
    let mut rig = Rig::new(pool(1));
    rig.set_door(0, DOWN);
    for _ in 0..2 {
        assert_answered(&mut rig, &["set", "a", &long], REFUSED);
        assert_answered(&mut rig, &["mset", "a", &long, "b", &long], REFUSED);
    }
    for (on_eject, answer) in [(OnEject::Rehash, REFUSED), (OnEject::Miss, "$-1\r\n")] {
        let mut rig = Rig::new(keeping_pool(1, 1, on_eject));
        rig.set_door(0, DOWN);
        assert_answered(&mut rig, &["get", &long], REFUSED);
        assert_answered(&mut rig, &["get", &long], answer);
        assert_answered(&mut rig, &["set", "a", &long], REFUSED);
    }
}

#[test]
fn replies_that_nobody_waits_for() {
    for answered in [false, true] {
        let mut rig = Rig::new(pool(1));
        let (client, goes) = (rig.client(), rig.client());
        rig.send(goes, command(&["get", "a"]));
        let server = rig.server(0);
        rig.reset(goes);
        send_in_pieces(&mut rig, server, &bulk(&long()));
        rig.assert_at_rest();
        rig.send(client, command(&["get", "b"]));
        if answered {
            rig.send(server, bulk("b"));
            rig.read(client);
            // A stray one.
            send_in_pieces(&mut rig, server, &bulk(&long()));
        } else {
            rig.pass_ms(400);
            assert_eq!(rig.read(client), TIMED_OUT);
            send_in_pieces(&mut rig, server, &bulk(&long()));
        }
        rig.assert_at_rest();
    }
}

#[test]
fn replies_to_what_the_proxy_asked_itself() {
    let mut rig = Rig::new(Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) });
    let client = rig.client();
    for reply in [bulk(&long()), format!("-ERR {}\r\n", long())] {
        rig.send(client, command(&["auth", "secret"]) + &command(&["get", "a"]));
        let server = rig.server(0);
        send_in_pieces(&mut rig, server, &reply);
        rig.read(client);
        rig.pass_ms(1_000);
        rig.assert_at_rest();
    }
    let pool = keeping_pool(1, 1, OnEject::Error);
    let ejection =
        pool.ejection.map(|ejection| engine::topology::Ejection { probe: true, ..ejection });
    let mut rig = Rig::new(Pool { ejection, ..pool });
    let client = rig.client();
    rig.set_door(0, DOWN);
    rig.send(client, command(&["get", "a"]));
    rig.set_door(0, Door::Open(0));
    rig.pass_ms(1_200);
    let probe = rig.server(0);
    send_in_pieces(&mut rig, probe, &bulk(&long()));
    rig.read(client);
    assert_eq!(rig.worker.counts.pools[0].servers[0].probes_failed.value(), 1);
    rig.assert_at_rest();
}
