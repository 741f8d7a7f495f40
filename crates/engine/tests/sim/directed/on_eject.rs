//! Servers whose keys stay with them while they are ejected, and the trial that brings them back.

use std::sync::Arc;

use engine::Event;
use engine::topology::{Ejection, OnEject, Pool};

use super::{DOWN, REFUSED, TIMED_OUT, ejections, get, hear, keeping_pool, still_down};
use crate::network::{Door, WireId};
use crate::rig::{Rig, bulk, command};

const READMITTED: Event = Event::Readmitted { pool: 0, server: 0 };

/// A rig whose first server is down and ejected until 1,000,000 µs, a client, and a key of that server.
fn ejected(on_eject: OnEject) -> (Rig, WireId, String) {
    let mut rig = Rig::new(keeping_pool(3, 1, on_eject));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1);
    (rig, client, key)
}

fn attempts(rig: &Rig) -> u64 {
    rig.worker.counts.total_connections.value()
}

#[test]
fn requests_for_an_ejected_server_fail_at_once_and_no_key_moves() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    let before = attempts(&rig);
    for _ in 0..5 {
        rig.send(client, get(&key) + &command(&["set", &key, "v"]));
        assert_eq!(rig.read(client), REFUSED.repeat(2));
    }
    assert_eq!(attempts(&rig), before);
    for shard in 1..3 {
        let other = rig.key(shard, 0);
        rig.send(client, get(&other));
        let server = rig.server(shard as u32);
        assert_eq!(rig.read(server), get(&other));
        rig.send(server, bulk("v"));
        assert_eq!(rig.read(client), bulk("v"));
    }
    assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), 1);
}

#[test]
fn with_miss_reads_find_nothing_and_writes_fail() {
    let (mut rig, client, key) = ejected(OnEject::Miss);
    let before = attempts(&rig);
    let forwarding_errors = rig.worker.counts.pools[0].forward_error.value();
    let misses = [
        (get(&key), "$-1\r\n"),
        (command(&["HGETALL", &key]), "*0\r\n"),
        (command(&["ttl", &key]), ":-2\r\n"),
        (command(&["type", &key]), "+none\r\n"),
        (command(&["mget", &key]), "*1\r\n$-1\r\n"),
        (command(&["exists", &key]), ":0\r\n"),
        (command(&["sunion", &key, &key]), "*0\r\n"),
    ];
    for (request, miss) in misses {
        rig.send(client, request);
        assert_eq!(rig.read(client), miss);
    }
    assert_eq!(rig.worker.counts.pools[0].forward_error.value(), forwarding_errors);
    let writes = [
        command(&["set", &key, "v"]),
        command(&["del", &key]),
        command(&["getdel", &key]),
        command(&["eval_ro", "return 1", "1", &key]),
    ];
    for request in writes {
        rig.send(client, request);
        assert_eq!(rig.read(client), REFUSED);
    }
    assert_eq!(rig.worker.counts.pools[0].forward_error.value(), forwarding_errors + 4);
    assert_eq!(attempts(&rig), before);
}

#[test]
fn with_miss_the_parts_of_a_split_read_that_are_out_of_reach_find_nothing() {
    let (mut rig, client, a) = ejected(OnEject::Miss);
    let (b, c) = (rig.key(1, 0), rig.key(0, 1));
    rig.send(client, command(&["mget", &a, &b, &c]));
    let server = rig.server(1);
    assert_eq!(rig.read(server), command(&["mget", &b]));
    rig.send(server, "*1\r\n$1\r\nb\r\n");
    assert_eq!(rig.read(client), "*3\r\n$-1\r\n$1\r\nb\r\n$-1\r\n");
    rig.send(client, command(&["touch", &a, &b]));
    assert_eq!(rig.read(server), command(&["touch", &b]));
    rig.send(server, ":1\r\n");
    assert_eq!(rig.read(client), ":1\r\n");
    rig.send(client, command(&["mget", &a, &c]));
    assert_eq!(rig.read(client), "*2\r\n$-1\r\n$-1\r\n");
    rig.send(client, command(&["del", &a, &b]));
    assert_eq!(rig.read(server), command(&["del", &b]));
    rig.send(server, ":1\r\n");
    assert_eq!(rig.read(client), REFUSED);
    rig.assert_at_rest();
}

#[test]
fn with_error_a_split_command_over_an_ejected_server_fails_as_a_whole() {
    let (mut rig, client, a) = ejected(OnEject::Error);
    let b = rig.key(1, 0);
    rig.send(client, command(&["mget", &a, &b]));
    let server = rig.server(1);
    rig.send(server, "*1\r\n$1\r\nb\r\n");
    assert_eq!(rig.read(client), REFUSED);
}

#[test]
fn at_its_time_one_request_is_the_trial_and_the_others_go_on_failing() {
    for on_eject in [OnEject::Error, OnEject::Miss] {
        let (mut rig, client, key) = ejected(on_eject);
        let answer = if on_eject == OnEject::Miss { "$-1\r\n" } else { REFUSED };
        let other = rig.client();
        rig.set_door(0, Door::Open(0));
        rig.pass(999_999);
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), answer);
        rig.pass(1);
        rig.send(client, get(&key));
        rig.send(other, get(&key));
        assert_eq!(rig.read(other), answer, "one trial at a time");
        assert_eq!(rig.events(), [Event::Trial { pool: 0, server: 0, until: 2_000_000 }]);
        let server = rig.server(0);
        assert_eq!(rig.read(server), get(&key));
        let counts = Arc::clone(&rig.worker.counts.pools[0].servers[0]);
        assert_eq!((counts.ejected.value(), counts.restores.value()), (1, 0));
        rig.send(server, bulk("v"));
        assert_eq!(rig.events(), [READMITTED]);
        assert_eq!((counts.ejected.value(), counts.restores.value()), (0, 1));
        assert_eq!((counts.probes.value(), counts.probes_failed.value()), (1, 0));
        assert_eq!(rig.read(client), bulk("v"));
        rig.send(other, get(&key));
        assert_eq!(rig.read(server), get(&key));
    }
}

#[test]
fn a_trial_that_fails_keeps_the_server_out_for_another_retry_time() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    for round in 1..4 {
        rig.pass(1_000_000);
        rig.events();
        let before = attempts(&rig);
        rig.send(client, get(&key).repeat(3));
        assert_eq!(rig.read(client), REFUSED.repeat(3));
        assert_eq!(attempts(&rig), before + 1, "round {round}");
        let told = rig.events();
        let retry_at = rig.now + 1_000_000;
        assert_eq!(still_down(&told), [retry_at], "{told:?}");
    }
    assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), 1, "it never came back");
    let counts = &rig.worker.counts.pools[0].servers[0];
    assert_eq!((counts.probes.value(), counts.probes_failed.value()), (3, 3));
}

#[test]
fn a_trial_that_times_out_or_is_answered_with_loading_fails() {
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    for is_silent in [true, false] {
        let (mut rig, client, key) = ejected(OnEject::Error);
        rig.set_door(0, Door::Open(0));
        rig.pass(1_000_000);
        rig.send(client, get(&key));
        let server = rig.server(0);
        if is_silent {
            rig.pass_ms(400);
            assert_eq!(rig.read(client), TIMED_OUT);
        } else {
            rig.send(server, loading);
            assert_eq!(rig.read(client), loading);
        }
        let told = rig.events();
        assert_eq!(still_down(&told).len(), 1, "{told:?}");
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), REFUSED);
    }
}

#[test]
fn a_trial_whose_client_has_gone_still_tells() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    rig.set_door(0, Door::Open(0));
    rig.pass(1_000_000);
    rig.send(client, get(&key));
    rig.reset(client);
    let server = rig.server(0);
    rig.events();
    rig.send(server, bulk("v"));
    assert_eq!(rig.events(), [READMITTED]);
}

#[test]
fn without_a_timeout_another_trial_follows_one_that_is_never_answered() {
    let pool = Pool { timeout: None, ..keeping_pool(1, 1, OnEject::Error) };
    let mut rig = Rig::new(pool);
    let (a, b) = (rig.client(), rig.client());
    rig.set_door(0, DOWN);
    rig.send(a, get("a"));
    rig.set_door(0, Door::Open(0));
    rig.pass(1_000_000);
    rig.send(a, get("a"));
    let server = rig.server(0);
    rig.pass(999_999);
    rig.send(b, get("b"));
    assert_eq!(rig.read(b), REFUSED);
    rig.pass(1);
    rig.send(b, get("b"));
    assert_eq!(rig.read(server), get("a") + &get("b"));
}

#[test]
fn a_connection_left_over_from_before_is_not_trusted_with_the_trial() {
    let mut rig = Rig::new(Pool { server_connections: 2, ..keeping_pool(1, 1, OnEject::Error) });
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.send(second, bulk("b"));
    rig.reset(first);
    assert_eq!(ejections(&mut rig), 1);
    rig.pass(1_000_000);
    rig.read(b);
    rig.read(second);
    rig.send(b, get("b"));
    assert!(rig.is_closed(second));
    let fresh = rig.server(0);
    assert_eq!(rig.read(fresh), get("b"));
    rig.send(fresh, bulk("b"));
    assert_eq!(rig.read(b), bulk("b"));
    assert_eq!(rig.worker.counts.pools[0].servers[0].server_eof.value(), 0);
}

#[test]
fn the_end_of_a_busy_connection_that_carries_the_trial_fails_it() {
    let pool = Pool { timeout: None, server_connections: 2, ..keeping_pool(1, 1, OnEject::Error) };
    let mut rig = Rig::new(pool);
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.reset(first);
    rig.pass(1_000_000);
    rig.send(b, get("b"));
    assert_eq!(rig.read(second), get("b").repeat(2));
    rig.events();
    rig.reset(second);
    let told = rig.events();
    assert_eq!(still_down(&told), [2_000_000], "{told:?}");
}

#[test]
fn one_trial_of_several_workers_speaks_for_all() {
    let (mut rig, client, key) = ejected(OnEject::Error);
    rig.set_door(0, Door::Open(0));
    rig.pass(999_999);
    hear(&mut rig, &Event::Trial { pool: 0, server: 0, until: 1_900_000 });
    rig.pass(1);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED, "another worker tries");
    hear(&mut rig, &READMITTED);
    rig.send(client, get(&key));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&key));
    assert_eq!(rig.events(), [], "told already");
    // For a server that is live it means nothing.
    hear(&mut rig, &READMITTED);
    hear(&mut rig, &Event::Trial { pool: 0, server: 0, until: 9_000_000 });
    rig.send(client, get(&key));
    assert_eq!(rig.read(server), get(&key));
}

#[test]
fn an_ejection_elsewhere_counts_here_too() {
    for (on_eject, answer) in [(OnEject::Error, REFUSED), (OnEject::Miss, "$-1\r\n")] {
        let mut rig = Rig::new(keeping_pool(2, 3, on_eject));
        let (client, key) = (rig.client(), rig.key(1, 0));
        hear(&mut rig, &Event::Ejected { pool: 0, server: 1, retry_at: 500_000 });
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), answer);
        rig.pass(500_000);
        rig.send(client, get(&key));
        let server = rig.server(1);
        assert_eq!(rig.read(server), get(&key));
    }
}

#[test]
fn requests_under_way_when_a_server_is_ejected_complete_and_prove_nothing() {
    let mut rig = Rig::new(Pool { server_connections: 2, ..keeping_pool(1, 1, OnEject::Error) });
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.reset(first);
    assert_eq!(ejections(&mut rig), 1);
    rig.send(second, bulk("b"));
    assert_eq!(rig.read(b), bulk("b"));
    rig.send(b, get("b"));
    assert_eq!(rig.read(b), REFUSED);
}

#[test]
fn a_retry_timeout_of_zero_tries_one_request_at_a_time() {
    let mut pool = keeping_pool(1, 1, OnEject::Error);
    pool.ejection = pool
        .ejection
        .map(|ejection| Ejection { retry_timeout: std::time::Duration::ZERO, ..ejection });
    let mut rig = Rig::new(pool);
    let (a, b) = (rig.client(), rig.client());
    rig.set_door(0, DOWN);
    rig.send(a, get("a").repeat(3));
    assert_eq!(rig.read(a), REFUSED.repeat(3));
    rig.set_door(0, Door::Open(0));
    rig.send(a, get("a"));
    rig.send(b, get("b"));
    assert_eq!(rig.read(b), REFUSED);
    let server = rig.server(0);
    rig.send(server, bulk("a"));
    rig.send(b, get("b"));
    assert_eq!(rig.read(server), get("a") + &get("b"));
}
