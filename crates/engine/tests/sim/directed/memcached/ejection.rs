//! Servers that leave and return: keys that move, that fail or that are missing, and probes.

use std::time::Duration;

use engine::Event;
use engine::topology::{Ejection, OnEject, Pool};

use super::super::{DOWN, ejections};
use super::{Cache, REFUSED, TIMED_OUT, found, get, pool, set, set_noreply, value};
use crate::network::Door;
use crate::rig::Rig;

fn ejection() -> Ejection {
    Ejection { failure_limit: 1, retry_timeout: Duration::from_secs(1), ..Ejection::default() }
}

fn ejecting(servers: usize, ejection: Ejection) -> Pool {
    Pool { ejection: Some(ejection), ..pool(servers) }
}

/// A cache whose first server is down and ejected.
fn ejected(ejection: Ejection) -> Cache {
    let mut cache = Cache::of(ejecting(2, ejection));
    cache.rig.set_door(0, DOWN);
    cache.rig.close(cache.servers[0]);
    let key = cache.keys[0].clone();
    cache.ask(get(&key));
    assert_eq!(cache.got(), REFUSED);
    assert_eq!(ejections(&mut cache.rig), 1);
    cache
}

#[test]
fn after_the_limit_of_failures_keys_go_to_the_others_and_come_back_at_their_time() {
    let mut cache = Cache::of(ejecting(2, Ejection { failure_limit: 2, ..ejection() }));
    let key = cache.keys[0].clone();
    cache.rig.set_door(0, DOWN);
    cache.rig.close(cache.servers[0]);
    cache.ask(set(&key, "v"));
    cache.ask(set(&key, "v"));
    assert_eq!(cache.got(), REFUSED.repeat(2));
    cache.ask(set(&key, "v") + &get(&key));
    assert_eq!(cache.heard(1), set(&key, "v") + &get(&key), "the survivor takes it");
    cache.answer(1, "STORED\r\n".to_owned() + &found(&key, "v"));
    assert_eq!(cache.got(), "STORED\r\n".to_owned() + &found(&key, "v"));
    cache.rig.set_door(0, Door::Open(0));
    cache.rig.pass_ms(1_001);
    cache.ask(get(&key));
    cache.reconnect(0);
    cache.answer(0, "END\r\n");
    assert_eq!(cache.got(), "END\r\n");
    cache.assert_in_step();
}

#[test]
fn timeouts_and_silent_requests_to_a_dead_server_count_towards_ejection() {
    for is_silent in [true, false] {
        let mut cache = Cache::of(ejecting(2, ejection()));
        let key = cache.keys[0].clone();
        match is_silent {
            false => cache.ask(get(&key)),
            true => {
                cache.rig.set_door(0, DOWN);
                cache.rig.close(cache.servers[0]);
                cache.ask(set_noreply(&key, "v"));
            }
        }
        cache.rig.pass_ms(400);
        assert_eq!(cache.got(), if is_silent { "" } else { TIMED_OUT });
        assert_eq!(ejections(&mut cache.rig), 1);
        cache.ask(get(&key));
        assert_eq!(cache.heard(1), get(&key));
    }
}

#[test]
fn silent_requests_alone_that_a_server_does_not_take_are_its_failure() {
    for hangs in [true, false] {
        let mut cache = Cache::with(ejecting(2, ejection()), 60);
        let key = cache.keys[0].clone();
        cache.ask(set_noreply(&key, "v"));
        cache.ask(set_noreply(&key, "w"));
        cache.ask(set_noreply(&key, "x"));
        match hangs {
            true => cache.rig.pass_ms(400),
            false => cache.rig.reset(cache.servers[0]),
        }
        assert!(!cache.is_connected(0) || !hangs);
        let events = cache.rig.events();
        let lost = |event: &&Event| matches!(event, Event::LinkBroken { requests: 1, .. });
        assert_eq!(events.iter().filter(lost).count(), 1, "{events:?}");
        let ejected = |event: &&Event| matches!(event, Event::Ejected { server: 0, .. });
        assert_eq!(events.iter().filter(ejected).count(), 1, "{events:?}");
        assert_eq!(cache.got(), "");
        cache.rig.assert_at_rest();
    }
}

#[test]
fn errors_of_a_server_are_no_failures() {
    let mut cache = Cache::of(ejecting(1, ejection()));
    let key = cache.keys[0].clone();
    for error in
        ["SERVER_ERROR out of memory storing object\r\n", "ERROR\r\n", "CLIENT_ERROR x\r\n"]
    {
        cache.ask(get(&key));
        cache.answer(0, error);
        assert_eq!(cache.got(), error);
    }
    cache.ask(set_noreply(&key, "v"));
    cache.answer(0, "SERVER_ERROR out of memory storing object\r\n");
    assert_eq!(ejections(&mut cache.rig), 0);
}

#[test]
fn with_miss_reads_find_nothing_and_writes_fail() {
    let mut cache = ejected(Ejection { on_eject: OnEject::Miss, ..ejection() });
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    let reads = [
        ("get KEY", "END"),
        ("gets KEY", "END"),
        ("gat 5 KEY", "END"),
        ("gats 5 KEY KEY", "END"),
        ("mg KEY v", "EN"),
        ("mg KEY v Oabc k", "EN Oabc kKEY"),
        ("me KEY", "EN"),
    ];
    for (request, miss) in reads {
        cache.ask(request.replace("KEY", &a) + "\r\n");
        assert_eq!(cache.got(), miss.replace("KEY", &a) + "\r\n", "{request}");
    }
    let writes = [
        set(&a, "v"),
        format!("delete {a}\r\n"),
        format!("incr {a} 1\r\n"),
        format!("touch {a} 1\r\n"),
        format!("ms {a} 1\r\nv\r\n"),
        format!("ma {a} q\r\n"),
        format!("md {a} q\r\n"),
    ];
    for request in writes {
        cache.ask(&request);
        assert_eq!(cache.got(), REFUSED, "{request}");
    }
    cache.ask(set_noreply(&a, "v"));
    cache.ask(format!("get {a} {b} {a}\r\n"));
    assert_eq!(cache.heard(1), format!("get {b} \r\n"));
    cache.answer(1, value(&b, "v") + "END\r\n");
    assert_eq!(cache.got(), found(&b, "v"));
    assert!(cache.rig.nobody_connects_to(0));
}

#[test]
fn with_error_keys_stay_and_fail_at_once() {
    let mut cache = ejected(Ejection { on_eject: OnEject::Error, ..ejection() });
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(get(&a) + &set_noreply(&a, "v") + &format!("get {a} {b}\r\n"));
    cache.answer(1, found(&b, "v"));
    assert_eq!(cache.got(), REFUSED.repeat(2));
    assert_eq!(cache.heard(1), format!("get {b} \r\n"));
}

#[test]
fn a_trial_always_has_an_answer() {
    let trials =
        [set_noreply("KEY", "v"), "delete KEY noreply\r\n".to_owned(), "mg KEY q\r\n".to_owned()];
    for trial in trials {
        let mut cache = ejected(Ejection { on_eject: OnEject::Error, ..ejection() });
        let key = cache.keys[0].clone();
        cache.rig.set_door(0, Door::Open(0));
        cache.rig.pass_ms(1_000);
        let trial = trial.replace("KEY", &key);
        cache.ask(&trial);
        cache.reconnect(0);
        let asked = trial.replace("noreply", "       ").replace(" q\r\n", "  \r\n");
        assert_eq!(cache.heard(0), asked);
        let other = cache.rig.client();
        cache.rig.send(other, get(&key));
        assert_eq!(cache.rig.read(other), REFUSED, "until it is answered");
        cache.answer(0, if trial.starts_with("mg") { "EN\r\n" } else { "NOT_FOUND\r\n" });
        assert_eq!(cache.got(), "");
        cache.assert_in_step();
    }
}

#[test]
fn a_flush_without_reply_is_a_trial_with_an_answer() {
    let mut cache = {
        let ejection = Ejection { on_eject: OnEject::Error, ..ejection() };
        let flush_all = engine::topology::FlushAll::Forward;
        let mut cache = Cache::of(Pool { flush_all, ..ejecting(1, ejection) });
        cache.rig.set_door(0, DOWN);
        cache.rig.close(cache.servers[0]);
        let key = cache.keys[0].clone();
        cache.ask(get(&key));
        cache.got();
        cache
    };
    cache.rig.set_door(0, Door::Open(0));
    cache.rig.pass_ms(1_000);
    cache.ask("flush_all noreply\r\n");
    cache.reconnect(0);
    assert_eq!(cache.heard(0), "flush_all        \r\n");
    cache.answer(0, "OK\r\n");
    assert_eq!(cache.got(), "");
    cache.assert_in_step();
}

#[test]
fn an_ejected_server_is_probed_with_version_and_returns_when_it_has_one() {
    let answers = [
        ("VERSION 1.6.18\r\n", true),
        ("ERROR\r\n", false),
        ("SERVER_ERROR starting\r\n", false),
        ("+PONG\r\n", false),
    ];
    for (answer, is_proof) in answers {
        let mut cache = ejected(Ejection { probe: true, ..ejection() });
        cache.rig.set_door(0, Door::Open(0));
        let mut waited_ms = 0;
        let probe = loop {
            if let Some(probe) = cache.rig.network.accept(0, 0) {
                break probe;
            }
            assert!(waited_ms < 1_200, "no probe comes");
            cache.rig.pass_ms(10);
            waited_ms += 10;
        };
        assert!(waited_ms >= 850, "after {waited_ms} ms");
        assert_eq!(cache.rig.read(probe), "version\r\n");
        cache.rig.send(probe, answer);
        let is_back = |event: &Event| matches!(event, Event::Readmitted { .. });
        assert_eq!(cache.rig.events().iter().any(is_back), is_proof, "{answer}");
        let key = cache.keys[0].clone();
        cache.ask(get(&key));
        if is_proof {
            assert_eq!(cache.rig.read(probe), get(&key), "over the connection of the probe");
        } else {
            assert_eq!(cache.heard(1), get(&key));
        }
    }
}

#[test]
fn with_every_server_ejected_only_who_wants_a_reply_gets_an_error() {
    let mut rig = Rig::new(ejecting(1, ejection()));
    let client = rig.client();
    rig.set_door(0, DOWN);
    rig.send(client, set_noreply("a", "v") + &get("a") + "mg a q\r\nget a b\r\nversion\r\nmn\r\n");
    assert_eq!(rig.read(client), REFUSED.repeat(4) + "MN\r\n");
    rig.assert_at_rest();
}

#[test]
fn with_every_server_ejected_requests_are_refused_and_silent_ones_dropped() {
    let mut cache = ejected(ejection());
    cache.rig.set_door(1, DOWN);
    cache.rig.close(cache.servers[1]);
    let key = cache.keys[0].clone();
    cache.ask(get(&key));
    assert_eq!(cache.got(), REFUSED);
    assert_eq!(ejections(&mut cache.rig), 1);
    let attempts = cache.rig.worker.counts.total_connections.value();
    let errors = cache.rig.worker.counts.pools[0].forward_error.value();
    cache.ask(get(&key) + &set(&key, "v") + &set_noreply(&key, "v") + &format!("get {key} b\r\n"));
    assert_eq!(cache.got(), REFUSED.repeat(3));
    assert_eq!(cache.rig.worker.counts.total_connections.value(), attempts);
    assert_eq!(cache.rig.worker.counts.pools[0].forward_error.value(), errors + 3);
    cache.rig.assert_at_rest();
}
