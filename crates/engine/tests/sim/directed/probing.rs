//! Ejected servers that the proxy itself asks whether they are back.

use std::time::Duration;

use engine::Event;
use engine::topology::{Ejection, OnEject, Pool};

use super::{DOWN, REFUSED, ejections, get, hear, keeping_pool, still_down};
use crate::network::{Door, WireId};
use crate::rig::{Rig, bulk, command};

const MODES: [OnEject; 3] = [OnEject::Rehash, OnEject::Error, OnEject::Miss];
const READMITTED: Event = Event::Readmitted { pool: 0, server: 0 };
/// A probe is due after a second, give or take a tenth.
const EARLIEST: u64 = 900_000;
const LATEST: u64 = 1_100_000;

fn ping() -> String {
    command(&["PING"])
}

fn probing(pool: Pool) -> Pool {
    let probe = |ejection| Ejection { probe: true, ..ejection };
    Pool { ejection: pool.ejection.map(probe), ..pool }
}

fn probing_pool(servers: usize, failure_limit: u32, on_eject: OnEject) -> Pool {
    probing(keeping_pool(servers, failure_limit, on_eject))
}

/// A rig whose first server has just been ejected, a client, and a key of that server.
fn ejected_from(pool: Pool) -> (Rig, WireId, String) {
    let mut rig = Rig::new(pool);
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    let mut refused = 0;
    while ejections(&mut rig) == 0 {
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), REFUSED);
        refused += 1;
        assert!(refused < 10);
    }
    (rig, client, key)
}

fn ejected(on_eject: OnEject) -> (Rig, WireId, String) {
    ejected_from(probing_pool(2, 1, on_eject))
}

/// The next connection to the first server, within the time a probe must come.
#[track_caller]
fn arrival(rig: &mut Rig) -> WireId {
    let end = rig.now + LATEST;
    loop {
        rig.pass(100);
        if let Some(wire) = rig.network.accept(0, 0) {
            return wire;
        }
        assert!(rig.now <= end, "no probe comes");
    }
}

/// The connection of the probe that comes within the time it must, having read its question.
#[track_caller]
fn probe(rig: &mut Rig) -> WireId {
    rig.set_door(0, Door::Open(0));
    let probe = arrival(rig);
    assert_eq!(rig.read(probe), ping());
    probe
}

#[test]
fn a_probe_that_is_answered_brings_the_server_back_and_its_connection_is_used() {
    for on_eject in MODES {
        let (mut rig, client, key) = ejected(on_eject);
        let server = probe(&mut rig);
        assert_eq!(rig.events(), [], "nothing is known yet");
        rig.send(server, "+PONG\r\n");
        assert_eq!(rig.events(), [READMITTED]);
        rig.send(client, get(&key));
        assert_eq!(rig.read(server), get(&key), "over the connection of the probe");
        rig.send(server, bulk("v"));
        assert_eq!(rig.read(client), bulk("v"));
        assert!(rig.nobody_connects_to(0));
        let counts = &rig.worker.counts.pools[0].servers[0];
        let probes = (counts.probes.value(), counts.probes_failed.value());
        assert_eq!(probes, (1, 0));
        assert_eq!((counts.ejected.value(), counts.restores.value()), (0, 1));
        assert_eq!(counts.server_connections.value(), 1);
    }
}

#[test]
fn no_probe_comes_before_its_time_and_none_at_a_live_server() {
    let (mut rig, ..) = ejected(OnEject::Rehash);
    rig.set_door(0, Door::Open(0));
    let before = rig.worker.counts.total_connections.value();
    rig.pass(EARLIEST - 1);
    assert_eq!(rig.worker.counts.total_connections.value(), before);
    let server = probe(&mut rig);
    rig.send(server, "+PONG\r\n");
    rig.pass_ms(60_000);
    assert!(rig.nobody_connects_to(0));
    assert_eq!(rig.worker.wake_at(), None, "nothing to do");
}

#[test]
fn clients_see_no_error_for_as_long_as_the_server_is_down() {
    let (mut rig, client, key) = ejected(OnEject::Rehash);
    let server = {
        rig.send(client, get(&key));
        let other = rig.server(1);
        rig.read(other);
        rig.send(other, bulk("v"));
        rig.read(client);
        other
    };
    for _ in 0..600 {
        rig.pass_ms(1_000);
        rig.send(client, get(&key));
        assert_eq!(rig.read(server), get(&key));
        rig.send(server, bulk("v"));
        assert_eq!(rig.read(client), bulk("v"));
    }
    let counts = &rig.worker.counts.pools[0];
    assert_eq!(counts.server_ejects.value(), 1);
    assert_eq!(counts.forward_error.value(), 1, "the one that ejected it");
    let server = &counts.servers[0];
    assert!(server.probes.value() > 500, "{} probes", server.probes.value());
    assert_eq!(server.probes_failed.value(), server.probes.value());
    assert_eq!((server.requests.value(), server.server_err.value()), (1, 1), "probes are neither");
}

#[test]
fn whatever_is_no_proper_answer_leaves_the_server_out() {
    let answers = [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-ERR unknown command\r\n",
        "+OK\r\n",
        "$4\r\nPONG\r\n",
        "+PONGS\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    ];
    for answer in answers {
        let (mut rig, client, key) = ejected(OnEject::Error);
        let server = probe(&mut rig);
        rig.send(server, answer);
        assert!(rig.is_closed(server), "{answer}");
        let next = still_down(&rig.events());
        assert_eq!(next.len(), 1);
        let pause = next[0] - rig.now;
        assert!((EARLIEST..=LATEST).contains(&pause), "{pause}");
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), REFUSED);
        let counts = &rig.worker.counts.pools[0].servers[0];
        assert_eq!((counts.probes.value(), counts.probes_failed.value()), (1, 1));
        let server = probe(&mut rig);
        rig.send(server, "+PONG\r\n");
        assert_eq!(rig.events(), [READMITTED]);
    }
}

#[test]
fn a_probe_that_is_not_answered_in_time_is_given_up() {
    for (timeout, limit) in [(Some(Duration::from_millis(400)), 400_000), (None, 1_000_000)] {
        let (mut rig, ..) = ejected_from(Pool { timeout, ..probing_pool(1, 1, OnEject::Rehash) });
        let timed_out = rig.worker.counts.pools[0].servers[0].server_timedout.value();
        let server = probe(&mut rig);
        rig.pass(limit - 200);
        assert!(!rig.is_closed(server));
        assert_eq!(still_down(&rig.events()).len(), 0);
        rig.pass(200);
        assert!(rig.is_closed(server));
        assert_eq!(still_down(&rig.events()).len(), 1);
        let counts = &rig.worker.counts.pools[0].servers[0];
        assert_eq!(counts.server_timedout.value(), timed_out);
    }
}

#[test]
fn a_probe_that_cannot_connect_is_given_up_in_time() {
    let (mut rig, ..) = ejected(OnEject::Rehash);
    rig.set_door(0, Door::Hangs);
    rig.pass(LATEST);
    assert_eq!(still_down(&rig.events()).len(), 0);
    rig.pass_ms(400);
    assert_eq!(still_down(&rig.events()).len(), 1);
}

#[test]
fn a_probe_begins_with_the_password_and_the_database() {
    let pool = probing_pool(1, 1, OnEject::Rehash);
    let pool = Pool { redis_auth: Some(b"secret"[..].into()), redis_db: 3, ..pool };
    let mut rig = Rig::new(pool);
    let client = rig.client();
    rig.send(client, command(&["auth", "secret"]));
    rig.set_door(0, DOWN);
    rig.send(client, get("a"));
    rig.read(client);
    rig.set_door(0, Door::Open(0));
    let server = arrival(&mut rig);
    let handshake = command(&["AUTH", "secret"]) + &command(&["SELECT", "3"]) + &ping();
    assert_eq!(rig.read(server), handshake);
    rig.send(server, "+OK\r\n-ERR DB index is out of range\r\n+PONG\r\n");
    assert!(rig.is_closed(server), "it serves, but not the data that is wanted");
    let server = arrival(&mut rig);
    rig.events();
    rig.send(server, "+OK\r\n+OK\r\n+PONG\r\n");
    assert_eq!(rig.events(), [READMITTED]);
    rig.read(server);
    rig.send(client, get("a"));
    assert_eq!(rig.read(server), get("a"));
}

#[test]
fn an_answer_too_many_is_one_that_nobody_asked_for() {
    let pool = Pool { redis_db: 3, ..probing_pool(1, 1, OnEject::Rehash) };
    let (mut rig, ..) = ejected_from(pool);
    rig.set_door(0, Door::Open(0));
    let server = arrival(&mut rig);
    rig.events();
    rig.send(server, "+OK\r\n+PONG\r\n+PONG\r\n");
    assert!(rig.events().contains(&READMITTED));
    rig.read(server);
    assert!(rig.is_closed(server));
}

#[test]
fn one_failure_ejects_again_until_the_server_has_answered_a_request() {
    for has_answered in [false, true] {
        let (mut rig, client, key) = ejected_from(probing_pool(2, 3, OnEject::Error));
        let server = probe(&mut rig);
        rig.send(server, "+PONG\r\n");
        rig.send(client, get(&key));
        if has_answered {
            rig.send(server, bulk("v"));
            rig.read(client);
            rig.send(client, get(&key));
        }
        rig.events();
        rig.reset(server);
        assert_eq!(ejections(&mut rig), usize::from(!has_answered));
    }
}

#[test]
fn connections_left_over_from_before_are_closed_when_the_server_is_back() {
    let pool = Pool { server_connections: 2, ..probing_pool(1, 1, OnEject::Rehash) };
    let mut rig = Rig::new(pool);
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.read(second);
    rig.send(second, bulk("b"));
    rig.reset(first);
    assert_eq!(ejections(&mut rig), 1);
    let server = probe(&mut rig);
    assert!(!rig.is_closed(second));
    rig.send(server, "+PONG\r\n");
    assert!(rig.is_closed(second));
    // The client of the other connection gets a new one.
    rig.read(b);
    rig.send(b, get("b"));
    rig.send(a, get("a"));
    let fresh = rig.server(0);
    let seen = [rig.read(fresh), rig.read(server)];
    assert!(seen.contains(&get("a")) && seen.contains(&get("b")), "{seen:?}");
}

#[test]
fn a_busy_connection_from_before_may_break_without_harm_to_the_server() {
    let pool = Pool { timeout: None, server_connections: 2, ..probing_pool(1, 1, OnEject::Error) };
    let mut rig = Rig::new(pool);
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.reset(first);
    assert_eq!(ejections(&mut rig), 1);
    let server = probe(&mut rig);
    rig.send(server, "+PONG\r\n");
    rig.events();
    rig.reset(second);
    assert_eq!(ejections(&mut rig), 0);
}

#[test]
fn a_probe_that_is_answered_elsewhere_counts_here() {
    for on_eject in MODES {
        let (mut rig, client, key) = ejected(on_eject);
        rig.set_door(0, Door::Open(0));
        hear(&mut rig, &READMITTED);
        assert_eq!(rig.events(), [], "told already");
        rig.send(client, get(&key));
        let server = rig.server(0);
        assert_eq!(rig.read(server), get(&key));
        // The first failure tells that the server was not back after all.
        rig.reset(server);
        assert_eq!(ejections(&mut rig), 1);
    }
}

#[test]
fn a_probe_under_way_while_the_server_is_back_already_finds_its_place_or_goes() {
    for is_used in [false, true] {
        let (mut rig, client, key) = ejected(OnEject::Rehash);
        let probe = probe(&mut rig);
        hear(&mut rig, &READMITTED);
        if is_used {
            rig.send(client, get(&key));
            let server = rig.server(0);
            assert_eq!(rig.read(server), get(&key));
        }
        rig.send(probe, "+PONG\r\n");
        assert_eq!(rig.events(), []);
        assert_eq!(rig.is_closed(probe), is_used);
    }
}

#[test]
fn a_probe_that_fails_while_the_server_is_back_already_changes_nothing() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    let probe = probe(&mut rig);
    hear(&mut rig, &READMITTED);
    rig.reset(probe);
    assert_eq!(rig.events(), []);
    rig.send(client, get(&key));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&key));
}

#[test]
fn workers_that_hear_of_an_ejection_probe_on_their_own_and_not_at_one_moment() {
    let mut due = Vec::new();
    for seed in 1..=8 {
        let mut rig = Rig::seeded(probing_pool(2, 1, OnEject::Rehash), 2 * seed + 1);
        rig.settle();
        hear(&mut rig, &Event::Ejected { pool: 0, server: 0, retry_at: 1_000_000 });
        let at = rig.worker.wake_at().expect("a probe is planned");
        assert!((EARLIEST..=LATEST).contains(&at), "{at}");
        due.push(at);
    }
    due.sort_unstable();
    due.dedup();
    assert_eq!(due.len(), 8, "{due:?}");
}

#[test]
fn with_every_server_ejected_probes_bring_the_pool_back() {
    let (mut rig, client, _) = ejected_from(probing_pool(1, 1, OnEject::Rehash));
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), REFUSED);
    rig.pass(EARLIEST);
    assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), 1);
    let server = probe(&mut rig);
    rig.send(client, get("a"));
    assert_eq!(rig.read(client), REFUSED, "not before the answer");
    rig.send(server, "+PONG\r\n");
    rig.send(client, get("a"));
    assert_eq!(rig.read(server), get("a"));
}

#[test]
fn without_a_pause_probes_still_have_one() {
    let mut pool = probing_pool(1, 1, OnEject::Rehash);
    let at_once = |ejection| Ejection { retry_timeout: Duration::ZERO, ..ejection };
    pool.ejection = pool.ejection.map(at_once);
    let (mut rig, ..) = ejected_from(pool);
    rig.pass_ms(10_000);
    let probes = rig.worker.counts.pools[0].servers[0].probes.value();
    assert!((90..=112).contains(&probes), "{probes} probes in ten seconds");
}

#[test]
fn nobody_is_probed_while_the_process_ends() {
    let (mut rig, ..) = ejected(OnEject::Rehash);
    rig.worker.drain(&mut rig.network, rig.now);
    rig.pass_ms(10_000);
    assert_eq!(rig.worker.counts.pools[0].servers[0].probes.value(), 0);
    assert_eq!(rig.worker.wake_at(), None);
}

#[test]
fn a_newer_topology_does_not_bring_an_ejected_server_back_unless_its_rules_are_others() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    let cut_off = probe(&mut rig);
    let mut next = probing_pool(2, 1, OnEject::Error);
    next.timeout = Some(Duration::from_millis(300));
    rig.publish(vec![next]);
    assert!(rig.is_closed(cut_off));
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    let server = probe(&mut rig);
    rig.events();
    rig.send(server, "-LOADING a while\r\n");
    assert_eq!(still_down(&rig.events()).len(), 1);
    let gauge = |rig: &Rig| rig.worker.counts.pools[0].servers[0].ejected.value();
    assert_eq!(gauge(&rig), 1);
    rig.publish(vec![keeping_pool(2, 3, OnEject::Error)]);
    assert_eq!(gauge(&rig), 0);
    rig.send(client, get(&key));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&key));
    rig.pass_ms(10_000);
    assert_eq!(rig.worker.counts.pools[0].servers[0].probes.value(), 2, "nobody asks any more");
}

#[test]
fn a_server_that_goes_down_again_is_asked_again() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    for round in 1..4 {
        let server = probe(&mut rig);
        rig.send(server, "+PONG\r\n");
        assert_eq!(rig.events(), [READMITTED], "round {round}");
        rig.set_door(0, DOWN);
        rig.send(client, get(&key));
        rig.reset(server);
        rig.read(client);
        assert_eq!(ejections(&mut rig), 1, "round {round}");
    }
}

#[test]
fn each_server_is_asked_at_its_own_time() {
    let (mut rig, client, _) = ejected(OnEject::Error);
    rig.pass_ms(500);
    rig.set_door(1, DOWN);
    let other = rig.key(1, 0);
    rig.send(client, get(&other));
    assert_eq!(ejections(&mut rig), 1);
    rig.set_door(1, Door::Open(1));
    let server = probe(&mut rig);
    rig.send(server, "+PONG\r\n");
    assert_eq!(rig.events(), [READMITTED]);
    rig.pass(500_000 + EARLIEST - 1 - rig.now);
    assert!(rig.nobody_connects_to(1));
    rig.pass(LATEST - EARLIEST + 1);
    rig.server(1);
}
