//! Servers of memcached pools that are ejected, and their way back.

use engine::Event;
use engine::topology::{Ejection, OnEject, Pool, Protocol};

use super::{DOWN, ejections, keeping_pool, still_down};
use crate::network::{Door, WireId};
use crate::rig::Rig;

const REFUSED: &str = "SERVER_ERROR Connection refused\r\n";
const READMITTED: Event = Event::Readmitted { pool: 0, server: 0 };

fn memcached_pool(servers: usize, on_eject: OnEject) -> Pool {
    Pool { protocol: Protocol::Memcached, ..keeping_pool(servers, 1, on_eject) }
}

/// A rig whose first server is down and ejected until 1,000,000 µs, a client, and a key of that server.
fn ejected(pool: Pool) -> (Rig, WireId, String) {
    let mut rig = Rig::new(pool);
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, format!("get {key}\r\n"));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1);
    (rig, client, key)
}

#[test]
fn requests_for_an_ejected_server_fail_at_once_and_those_that_want_no_reply_go_nowhere() {
    let (mut rig, client, key) = ejected(memcached_pool(2, OnEject::Error));
    let before = rig.worker.counts.total_connections.value();
    for line in ["get K\r\n", "gat 0 K\r\n", "set K 0 0 1\r\nv\r\n", "mg K v\r\n", "mg K q\r\n"] {
        rig.send(client, line.replace('K', &key));
        assert_eq!(rig.read(client), REFUSED, "{line}");
    }
    for line in ["set K 0 0 1 noreply\r\nv\r\n", "delete K noreply\r\n"] {
        rig.send(client, line.replace('K', &key));
        assert_eq!(rig.read(client), "", "{line}");
    }
    assert_eq!(rig.worker.counts.total_connections.value(), before);
    rig.assert_at_rest();
}

#[test]
fn with_miss_reads_find_nothing_and_everything_else_fails() {
    let (mut rig, client, key) = ejected(memcached_pool(2, OnEject::Miss));
    for (line, reply) in [
        ("get K\r\n", "END\r\n"),
        ("gets K\r\n", "END\r\n"),
        ("gat 0 K\r\n", "END\r\n"),
        ("gats 0 K\r\n", "END\r\n"),
        ("get K K\r\n", "END\r\n"),
        ("mg K v\r\n", "EN\r\n"),
        ("mg K k v O1\r\n", "EN kK O1\r\n"),
        ("mg K q v\r\nmn\r\n", "MN\r\n"),
        ("me K q\r\n", "EN\r\n"),
        ("set K 0 0 1\r\nv\r\n", REFUSED),
        ("touch K 0\r\n", REFUSED),
        ("md K\r\n", REFUSED),
        ("set K 0 0 1 noreply\r\nv\r\n", ""),
    ] {
        rig.send(client, line.replace('K', &key));
        assert_eq!(rig.read(client), reply.replace('K', &key), "{line}");
    }
    assert_eq!(rig.worker.counts.pools[0].missed.value(), 9);
    let other = rig.key(1, 0);
    rig.send(client, format!("get {key} {other} {key}\r\n"));
    let server = rig.server(1);
    assert_eq!(rig.read(server), format!("get {other} \r\n"));
    let value = format!("VALUE {other} 0 1\r\nv\r\n");
    rig.send(server, format!("{value}END\r\n"));
    assert_eq!(rig.read(client), format!("{value}END\r\n"));
    rig.assert_at_rest();
}

#[test]
fn a_request_that_wants_no_reply_is_a_trial_like_any_other() {
    let (mut rig, client, key) = ejected(memcached_pool(1, OnEject::Error));
    rig.set_door(0, Door::Open(0));
    rig.pass_ms(1_000);
    rig.send(client, format!("delete {key} noreply\r\n"));
    let server = rig.server(0);
    let blanked = rig.read(server);
    assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["delete", &key]);
    let other = rig.client();
    rig.send(other, format!("get {key}\r\n"));
    assert_eq!(rig.read(other), REFUSED, "one trial at a time");
    rig.events();
    rig.send(server, "NOT_FOUND\r\n");
    assert_eq!(rig.events(), [READMITTED]);
    assert_eq!(rig.read(client), "", "nobody wanted to know");
    rig.send(client, format!("get {key}\r\n"));
    assert_eq!(rig.read(server), format!("get {key}\r\n"));
}

#[test]
fn a_probe_asks_for_the_version() {
    for on_eject in [OnEject::Rehash, OnEject::Miss] {
        let mut pool = memcached_pool(1, on_eject);
        // A database in the file means nothing to memcached.
        pool.redis_db = 3;
        pool.ejection = pool.ejection.map(|ejection| Ejection { probe: true, ..ejection });
        let (mut rig, client, key) = ejected(pool);
        rig.set_door(0, Door::Open(0));
        for (answer, is_proper) in [("ERROR\r\n", false), ("VERSION 1.6.18\r\n", true)] {
            let mut server = None;
            for _ in 0..11_100 {
                rig.pass(100);
                server = server.or_else(|| rig.network.accept(0, 0));
                if server.is_some() {
                    break;
                }
            }
            let server = server.expect("a probe comes");
            assert_eq!(rig.read(server), "version\r\n");
            rig.events();
            rig.send(server, answer);
            let events = rig.events();
            assert_eq!(events.contains(&READMITTED), is_proper, "{answer}");
            assert_eq!(still_down(&events).len(), usize::from(!is_proper));
            assert_eq!(rig.is_closed(server), !is_proper);
            if is_proper {
                rig.send(client, format!("get {key}\r\n"));
                assert_eq!(rig.read(server), format!("get {key}\r\n"));
            }
        }
    }
}
