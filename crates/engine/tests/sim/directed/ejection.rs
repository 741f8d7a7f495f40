//! Servers that leave the ring and return.

use std::time::Duration;

use engine::Event;
use engine::topology::{Ejection, Pool};

use super::{DOWN, REFUSED, TIMED_OUT, ejecting_pool, ejections, get, hear};
use crate::network::Door;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// Of each server: whether it is ejected, and how often it returned.
fn standings(rig: &Rig) -> Vec<(u64, u64)> {
    let servers = rig.worker.counts.pools[0].servers.iter();
    servers.map(|server| (server.ejected.value(), server.restores.value())).collect()
}

#[test]
fn after_the_limit_of_failures_a_servers_keys_go_to_the_others() {
    let mut rig = Rig::new(ejecting_pool(2, 2));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 0);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1);
    rig.send(client, get(&key));
    let other = rig.server(1);
    assert_eq!(rig.read(other), get(&key));
    let counts = &rig.worker.counts.pools[0];
    assert_eq!(counts.server_ejects.value(), 1);
    assert!(counts.servers[0].server_ejected_at.value() > 0);
    assert_eq!(standings(&rig), [(1, 0), (0, 0)]);
}

#[test]
fn a_server_that_hangs_is_ejected_after_as_many_timeouts_as_the_limit_says() {
    for (limit, pause_ms) in [(1, 0), (2, 0), (2, 10), (2, 399), (2, 500), (3, 10), (3, 250)] {
        let mut rig = Rig::new(ejecting_pool(2, limit));
        let (client, key) = (rig.client(), rig.key(0, 0));
        let mut timeouts = 0;
        while ejections(&mut rig) == 0 {
            assert!(timeouts < limit, "not ejected by {limit} timeouts, {pause_ms} ms apart");
            rig.send(client, get(&key));
            while rig.read(client) != TIMED_OUT {
                rig.pass_ms(1);
            }
            timeouts += 1;
            rig.pass_ms(pause_ms);
        }
        let timed_out = rig.worker.counts.pools[0].servers[0].server_timedout.value();
        assert_eq!((timeouts, timed_out), (limit, u64::from(limit)), "{pause_ms} ms apart");
    }
}

#[test]
fn a_reply_resets_the_count_of_failures() {
    let mut rig = Rig::new(ejecting_pool(1, 2));
    let client = rig.client();
    for _ in 0..5 {
        rig.send(client, get("a") + &get("b"));
        let server = rig.server(0);
        rig.send(server, bulk("a"));
        rig.reset(server);
    }
    let events = rig.events();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Failed { .. })), 5);
    assert_eq!(count(|event| matches!(event, Event::Replied { .. })), 4);
    assert_eq!(count(|event| matches!(event, Event::Ejected { .. })), 0);
}

#[test]
fn a_failure_long_past_does_not_hide_the_next_one() {
    let mut rig = Rig::new(ejecting_pool(1, 2));
    let client = rig.client();
    rig.send(client, get("slow"));
    let server = rig.server(0);
    rig.pass_ms(400);
    rig.send(server, bulk("late"));
    rig.send(client, get("a"));
    rig.send(server, bulk("a"));
    rig.pass_ms(1_000_000);
    // The connection is older than the failure that a reply has forgiven.
    rig.send(client, get("b"));
    rig.reset(server);
    rig.set_door(0, DOWN);
    rig.send(client, get("c"));
    assert_eq!(ejections(&mut rig), 1);
}

#[test]
fn an_ejected_server_returns_with_the_first_request_after_its_time() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    rig.set_door(0, Door::Open(0));
    rig.pass_ms(1_000);
    rig.send(client, get(&key));
    let other = rig.server(1);
    assert_eq!(rig.read(other), get(&key));
    rig.events();
    rig.pass(1);
    assert_eq!(rig.events(), [], "nothing happens without a request");
    rig.send(client, get(&key));
    assert_eq!(rig.events(), [Event::Restored { pool: 0, servers: 1 }]);
    assert_eq!(standings(&rig), [(0, 1), (0, 0)]);
    let returned = rig.server(0);
    assert_eq!(rig.read(returned), get(&key));
}

#[test]
fn a_server_that_stays_down_is_ejected_again_and_again() {
    let mut rig = Rig::new(ejecting_pool(2, 2));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    for _ in 0..3 {
        for _ in 0..2 {
            rig.send(client, get(&key));
            assert_eq!(rig.read(client), REFUSED);
        }
        assert_eq!(ejections(&mut rig), 1);
        rig.pass(1_000_001);
    }
}

#[test]
fn with_every_server_ejected_requests_are_refused_without_an_attempt() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let client = rig.client();
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    rig.set_door(0, DOWN);
    rig.set_door(1, DOWN);
    rig.send(client, get(&a));
    rig.pass_ms(300);
    // The pool is down to its second server.
    rig.send(client, get(&a));
    assert_eq!(rig.read(client), REFUSED.repeat(2));
    assert_eq!(ejections(&mut rig), 2);
    let before = rig.worker.counts.total_connections.value();
    rig.pass_ms(700);
    rig.send(client, get(&b) + &command(&["mget", &a, &b]) + &command(&["lolwut"]));
    assert_eq!(rig.read(client), REFUSED.repeat(3));
    assert_eq!(rig.worker.counts.total_connections.value(), before);
    rig.send(client, command(&["ping"]));
    assert_eq!(rig.read(client), "+PONG\r\n");
    rig.set_door(0, Door::Open(0));
    rig.pass(1);
    rig.send(client, get(&b));
    let first = rig.server(0);
    assert_eq!(rig.read(first), get(&b), "only the first server's time has come");
}

#[test]
fn a_shortage_of_the_proxy_itself_ejects_no_server() {
    let texts = [
        engine::fault::TOO_MANY_FILES,
        engine::fault::TOO_MANY_FILES_IN_SYSTEM,
        engine::fault::NO_BUFFER_SPACE,
        engine::fault::NO_MEMORY,
    ];
    for text in texts {
        let mut rig = Rig::new(ejecting_pool(2, 1));
        let (client, key) = (rig.client(), rig.key(0, 0));
        rig.set_door(0, Door::Refuses(text));
        for _ in 0..3 {
            rig.send(client, get(&key));
            assert_eq!(rig.read(client), format!("-ERR {text}\r\n"));
        }
        assert_eq!(ejections(&mut rig), 0, "{text}");
        rig.set_door(0, Door::Open(0));
        rig.send(client, get(&key));
        let server = rig.server(0);
        assert_eq!(rig.read(server), get(&key), "its keys are where they were");
    }
}

#[test]
fn a_retry_timeout_of_zero_ejects_and_returns_at_once() {
    let ejection =
        Ejection { failure_limit: 1, retry_timeout: Duration::ZERO, ..Ejection::default() };
    let mut rig = Rig::new(Pool { ejection: Some(ejection), ..pool(2) });
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    for n in 1..4 {
        rig.send(client, get(&key));
        assert_eq!(rig.read(client), REFUSED);
        assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), n);
    }
}

#[test]
fn requests_under_way_at_an_ejected_server_complete() {
    let mut rig = Rig::new(Pool { server_connections: 2, ..ejecting_pool(2, 1) });
    let (a, b, key) = (rig.client(), rig.client(), rig.key(0, 0));
    rig.send(a, get(&key));
    rig.send(b, get(&key));
    let (first, second) = (rig.server(0), rig.server(0));
    rig.reset(first);
    assert_eq!(ejections(&mut rig), 1);
    rig.send(second, bulk("alive"));
    assert_eq!(rig.read(b), bulk("alive"));
    rig.send(b, get(&key));
    let other = rig.server(1);
    assert_eq!(rig.read(other), get(&key));
}

#[test]
fn only_loading_counts_as_a_failure_and_every_error_is_forwarded() {
    let mut rig = Rig::new(ejecting_pool(2, 2));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.send(client, get(&key));
    let server = rig.server(0);
    rig.send(server, bulk("a"));
    rig.read(client);
    let errors = ["-OOM no\r\n", "-BUSY no\r\n", "-READONLY no\r\n", "-LOADINGS\r\n", "-x\r\n"];
    for line in errors {
        rig.send(client, get(&key));
        rig.send(server, line);
        assert_eq!(rig.read(client), line);
    }
    assert_eq!(rig.events(), []);
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    for failures in 1..=2 {
        rig.send(client, get(&key));
        rig.pass(1);
        rig.send(server, loading);
        assert_eq!(rig.read(client), loading);
        assert_eq!(ejections(&mut rig), failures / 2);
    }
    let counted = rig.worker.counts.pools[0].servers[0].error_replies.value();
    assert_eq!(counted, errors.len() as u64 + 2, "each is counted");
    assert!(!rig.is_closed(server));
}

#[test]
fn workers_heed_what_others_learn() {
    let mut rig = Rig::new(ejecting_pool(2, 2));
    let (client, key) = (rig.client(), rig.key(0, 0));
    let now = engine::Now { mono_us: rig.now, wall_us: 0 };
    rig.worker.engine.heed(&Event::Failed { pool: 0, server: 0, since: 0 }, now);
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(ejections(&mut rig), 1, "one failure here, one elsewhere");
    let elsewhere = Event::Ejected { pool: 0, server: 1, retry_at: 500_000 };
    rig.worker.engine.heed(&elsewhere, now);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), 1, "counted where it happened");
    rig.pass(500_001);
    rig.send(client, get(&key));
    let returned = rig.server(1);
    assert_eq!(rig.read(returned), get(&key));
}

#[test]
fn a_reply_to_another_worker_resets_the_count_of_failures() {
    let mut rig = Rig::new(ejecting_pool(1, 2));
    let client = rig.client();
    rig.set_door(0, DOWN);
    hear(&mut rig, &Event::Failed { pool: 0, server: 0, since: 0 });
    hear(&mut rig, &Event::Replied { pool: 0, server: 0 });
    rig.send(client, get("a"));
    assert_eq!(ejections(&mut rig), 0, "one failure since");
    rig.send(client, get("a"));
    assert_eq!(ejections(&mut rig), 1, "two");
}

#[test]
fn a_connection_breaks_in_an_outage_that_another_worker_told_of_without_another_failure() {
    let mut rig = Rig::new(ejecting_pool(1, 2));
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.pass_ms(10);
    hear(&mut rig, &Event::Failed { pool: 0, server: 0, since: 0 });
    rig.reset(server);
    assert_eq!(ejections(&mut rig), 0, "one failure");
    rig.set_door(0, DOWN);
    rig.send(client, get("a"));
    assert_eq!(ejections(&mut rig), 1, "two");
}

#[test]
fn a_server_that_fails_another_worker_again_stays_away_from_this_one_too() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    let told = |rig: &mut Rig, retry_at| {
        let now = engine::Now { mono_us: rig.now, wall_us: 0 };
        rig.worker.engine.heed(&Event::Ejected { pool: 0, server: 0, retry_at }, now);
    };
    told(&mut rig, 1_000_000);
    rig.pass(1_000_001);
    // The other worker tried it first, and it was still down.
    let until = rig.now + 1_000_000;
    told(&mut rig, until);
    told(&mut rig, 1_000_000);
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    let other = rig.server(1);
    assert_eq!(rig.read(other), get(&key), "no request here has to find out as well");
    rig.send(other, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    rig.pass(1_000_001);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED, "its time has come");
}

#[test]
fn an_outage_that_several_workers_meet_is_one_failure() {
    let mut rig = Rig::new(ejecting_pool(2, 3));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.send(client, get(&key));
    let server = rig.server(0);
    rig.pass_ms(10);
    rig.reset(server);
    let told = rig.events();
    assert!(told.contains(&Event::Failed { pool: 0, server: 0, since: 0 }), "{told:?}");
    rig.read(client);
    // Their connection is of the same age, and broke at the same moment.
    let now = engine::Now { mono_us: rig.now, wall_us: 0 };
    rig.worker.engine.heed(&Event::Failed { pool: 0, server: 0, since: 0 }, now);
    rig.set_door(0, DOWN);
    rig.pass_ms(1);
    rig.send(client, get(&key));
    assert_eq!(ejections(&mut rig), 0, "two failures");
    rig.pass_ms(1);
    rig.send(client, get(&key));
    assert_eq!(ejections(&mut rig), 1, "three");
}

#[test]
fn a_connection_to_a_server_that_another_worker_ejected_breaks_without_a_failure() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.send(client, get(&key));
    let server = rig.server(0);
    let now = engine::Now { mono_us: rig.now, wall_us: 0 };
    let elsewhere = Event::Ejected { pool: 0, server: 0, retry_at: 1_000_000 };
    rig.worker.engine.heed(&elsewhere, now);
    rig.reset(server);
    assert_eq!(ejections(&mut rig), 0);
    rig.pass(1_000_001);
    rig.send(client, get(&key));
    let returned = rig.server(0);
    assert_eq!(rig.read(returned), get(&key));
}

#[test]
fn events_about_servers_that_do_not_exist_are_ignored() {
    let mut rig = Rig::new(ejecting_pool(1, 1));
    let now = engine::Now { mono_us: 0, wall_us: 0 };
    for (pool, server) in [(0, 9), (9, 0)] {
        rig.worker.engine.heed(&Event::Failed { pool, server, since: 0 }, now);
        rig.worker.engine.heed(&Event::Replied { pool, server }, now);
        rig.worker.engine.heed(&Event::Ejected { pool, server, retry_at: 1 }, now);
    }
    let client = rig.client();
    rig.send(client, get("a"));
    rig.server(0);
}

#[test]
fn no_more_servers_are_ejected_than_allowed() {
    let mut pool = ejecting_pool(4, 1);
    let half = |ejection| Ejection { max_ejected_percent: 50, ..ejection };
    pool.ejection = pool.ejection.map(half);
    let mut rig = Rig::new(pool);
    let client = rig.client();
    // Whatever the ring: three servers refuse, and the keys find them one after the other.
    (0..3).for_each(|server| rig.set_door(server, DOWN));
    let requests: String = (0..60).map(|n| get(&format!("key{n}"))).collect();
    for _ in 0..3 {
        rig.send(client, &requests);
    }
    let told = rig.events();
    let count = |wanted: fn(&Event) -> bool| told.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Ejected { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::EjectionPrevented { .. })), 1, "told once");
    let counts = &rig.worker.counts.pools[0];
    assert_eq!(counts.server_ejects.value(), 2);
    assert_eq!(counts.ejects_prevented.value(), 1);
    assert_eq!(counts.servers.iter().map(|server| server.ejected.value()).sum::<u64>(), 2);
    // Once another is back the failing one makes room for it.
    let held = |event: &Event| match event {
        Event::EjectionPrevented { server, .. } => Some(*server),
        _ => None,
    };
    let held = told.iter().find_map(held).expect("one is held");
    (0..3).filter(|server| *server != held).for_each(|server| rig.set_door(server, Door::Open(0)));
    rig.pass_ms(1_001);
    for _ in 0..3 {
        rig.send(client, &requests);
    }
    let told = rig.events();
    assert!(
        told.iter().any(|e| matches!(e, Event::Ejected { server, .. } if *server == held)),
        "{told:?}"
    );
}

#[test]
fn with_a_share_of_zero_no_server_is_ever_ejected_and_each_outage_is_told() {
    let mut pool = ejecting_pool(1, 1);
    let none = |ejection| Ejection { max_ejected_percent: 0, ..ejection };
    pool.ejection = pool.ejection.map(none);
    let mut rig = Rig::new(pool);
    let client = rig.client();
    for outage in 1..=2 {
        rig.set_door(0, DOWN);
        for _ in 0..5 {
            rig.send(client, get("a"));
            assert_eq!(rig.read(client), REFUSED);
            rig.pass_ms(1);
        }
        assert_eq!(rig.worker.counts.pools[0].ejects_prevented.value(), outage);
        rig.set_door(0, Door::Open(0));
        rig.send(client, get("a"));
        let server = rig.server(0);
        rig.send(server, bulk("a"));
        assert_eq!(rig.read(client), bulk("a"));
        rig.close(server);
    }
    assert_eq!(rig.worker.counts.pools[0].server_ejects.value(), 0);
}
