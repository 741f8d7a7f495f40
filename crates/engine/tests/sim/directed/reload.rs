//! A topology that follows another while clients are served.

use std::sync::Arc;
use std::time::Duration;

use engine::Event;
use engine::topology::{Address, Pool, Protocol, Server};

use super::{REFUSED, TIMED_OUT, ejecting_pool};
use crate::network::Door;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

const DOWN: Door = Door::Refuses(engine::fault::CONNECTION_REFUSED);

fn get(key: &str) -> String {
    command(&["get", key])
}

/// The server `name` at an address that nobody had before.
fn moved(server: &Server, host: &str) -> Server {
    let address = Address::Tcp { host: host.into(), port: 6379 };
    Server { address, ..server.clone() }
}

fn named(name: &str, pool: Pool) -> Pool {
    Pool { name: name.into(), ..pool }
}

/// A pool without time limits: what is owed stays owed.
fn patient(servers: usize) -> Pool {
    Pool { timeout: None, ..pool(servers) }
}

#[test]
fn an_unchanged_pool_keeps_clients_and_connections() {
    let mut rig = Rig::new(pool(2));
    let (client, key) = (rig.client(), rig.key(1, 0));
    rig.send(client, get(&key));
    let server = rig.server(1);
    rig.publish(vec![pool(2)]);
    assert_eq!(rig.read(server), get(&key));
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    rig.send(client, get(&key));
    assert_eq!(rig.read(server), get(&key));
    assert!(rig.nobody_connects_to(1), "the connection is still the same");
}

#[test]
fn a_server_that_joins_is_connected_to_at_once_if_the_pool_says_so() {
    let eager = |servers| Pool { preconnect: true, ..pool(servers) };
    let mut rig = Rig::new(eager(1));
    rig.settle();
    rig.server(0);
    let mut changed = eager(2);
    changed.servers[1] = moved(&changed.servers[1], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.server(1);
    assert!(rig.nobody_connects_to(0), "the one that stays keeps its connection");
}

#[test]
fn settings_apply_from_the_next_request() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    rig.publish(vec![Pool { timeout: Some(Duration::from_millis(50)), ..pool(1) }]);
    let server = rig.server(0);
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    rig.send(client, get("b"));
    rig.pass_ms(49);
    assert_eq!(rig.read(client), "");
    rig.pass_ms(1);
    assert_eq!(rig.read(client), TIMED_OUT);
}

#[test]
fn a_server_that_moves_keeps_its_keys_and_its_old_connection_delivers_what_it_owes() {
    let mut rig = Rig::new(pool(2));
    let (client, other) = (rig.client(), rig.client());
    let (key, next) = (rig.key(0, 0), rig.key(0, 1));
    rig.send(client, get(&key));
    let old = rig.server(0);
    let mut changed = pool(2);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.send(other, get(&next));
    let new = rig.server(2);
    assert_eq!(rig.read(new), get(&next));
    assert_eq!(rig.read(old), get(&key), "and nothing else");
    assert!(!rig.is_closed(old), "it still owes a reply");
    rig.send(old, bulk("from the old one"));
    rig.send(new, bulk("from the new one"));
    assert_eq!(rig.read(client), bulk("from the old one"));
    assert_eq!(rig.read(other), bulk("from the new one"));
    assert!(rig.is_closed(old));
    rig.assert_at_rest();
    assert_eq!(rig.worker.counts.pools[0].servers[0].requests.value(), 2, "of both addresses");
}

#[test]
fn an_idle_connection_to_where_a_server_was_closes_at_once() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let old = rig.server(0);
    rig.read(old);
    rig.send(old, bulk("a"));
    let mut changed = pool(1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    assert!(rig.is_closed(old));
    assert_eq!(rig.worker.counts.pools[0].servers[0].server_connections.value(), 0);
    assert!(rig.events().is_empty(), "nothing is worth a line");
}

#[test]
fn a_late_reply_from_where_a_server_was_is_swallowed() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let old = rig.server(0);
    let mut changed = pool(1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.pass_ms(400);
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.read(old);
    assert!(rig.is_closed(old), "nobody waits for it any more");
    rig.send(client, get("b"));
    let new = rig.server(1);
    rig.send(old, bulk("a"));
    rig.send(new, bulk("b"));
    assert_eq!(rig.read(client), bulk("b"));
    rig.assert_at_rest();
}

#[test]
fn a_connection_with_no_use_any_more_is_cut_after_the_drain_bound() {
    let mut rig = Rig::new(patient(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let old = rig.server(0);
    rig.read(old);
    rig.pass_ms(1);
    let mut changed = patient(1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.pass_ms(9_999);
    assert!(!rig.is_closed(old));
    rig.pass_ms(1);
    assert!(rig.is_closed(old));
    assert_eq!(rig.read(client), TIMED_OUT);
    let cut = |event: &Event| matches!(event, Event::LinkBroken { requests: 1, .. });
    assert_eq!(rig.events().iter().filter(|event| cut(event)).count(), 1);
    rig.assert_at_rest();
}

#[test]
fn a_connect_under_way_to_where_a_server_was_still_carries_what_waits_for_it() {
    let mut rig = Rig::new(pool(1));
    rig.set_door(0, Door::Open(5_000));
    let client = rig.client();
    rig.send(client, get("a"));
    let mut changed = pool(1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.pass_ms(5);
    let old = rig.server(0);
    assert_eq!(rig.read(old), get("a"));
    rig.send(old, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    assert!(rig.is_closed(old));
}

#[test]
fn a_connect_that_is_only_asked_for_goes_where_it_was_to_go() {
    let mut rig = Rig::new(pool(2));
    let (client, key) = (rig.client(), rig.key(1, 0));
    let now = engine::Now { mono_us: 0, wall_us: 0 };
    // The first slot is the client's.
    rig.worker.engine.received(0, get(&key).as_bytes(), now);
    let mut changed = pool(2);
    changed.servers[1] = moved(&changed.servers[1], "10.0.1.1");
    rig.publish(vec![named("a", pool(1)), changed]);
    let server = rig.server(1);
    assert_eq!(rig.read(server), get(&key));
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
}

#[test]
fn a_removed_servers_keys_go_to_the_others_and_what_it_owes_is_delivered() {
    let mut rig = Rig::new(pool(2));
    let (client, other) = (rig.client(), rig.client());
    let key = rig.key(1, 0);
    rig.send(client, get(&key));
    let removed = rig.server(1);
    rig.publish(vec![pool(1)]);
    rig.send(other, get(&key));
    let left = rig.server(0);
    assert_eq!(rig.read(left), get(&key));
    rig.read(removed);
    rig.send(removed, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    assert!(rig.is_closed(removed));
}

#[test]
fn an_added_server_gets_the_keys_that_are_its_own_now() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.publish(vec![pool(2)]);
    let (first, second) = (rig.key(0, 0), rig.key(1, 0));
    rig.send(client, get(&first) + &get(&second));
    let (old, new) = (rig.server(0), rig.server(1));
    assert_eq!((rig.read(old), rig.read(new)), (get(&first), get(&second)));
}

#[test]
fn a_server_whose_index_changes_keeps_its_connections_and_its_counts() {
    let mut rig = Rig::new(pool(3));
    let client = rig.client();
    let key = rig.key(2, 0);
    rig.send(client, get(&key));
    let last = rig.server(2);
    rig.read(last);
    let mut fewer = pool(3);
    fewer.servers.remove(0);
    rig.publish(vec![fewer]);
    rig.send(last, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    let key = rig.key(1, 0);
    rig.send(client, get(&key));
    assert_eq!(rig.read(last), get(&key), "over the same connection");
    assert_eq!(rig.worker.counts.pools[0].servers[1].requests.value(), 2);
    assert_eq!(rig.worker.counts.pools[0].servers[1].server_connections.value(), 1);
}

#[test]
fn a_change_of_password_greets_servers_anew() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let old = rig.server(0);
    rig.read(old);
    rig.send(old, bulk("a"));
    rig.read(client);
    rig.publish(vec![Pool { redis_db: 7, ..pool(1) }]);
    assert!(rig.is_closed(old));
    rig.send(client, get("b"));
    let new = rig.server(0);
    assert_eq!(rig.read(new), command(&["SELECT", "7"]));
}

#[test]
fn requests_of_a_client_do_not_overtake_each_other_when_their_way_changes() {
    let mut rig = Rig::new(Pool { server_connections: 1, ..pool(1) });
    // Of two clients, one changes to the second connection.
    let clients = [rig.client(), rig.client()];
    for client in clients {
        rig.send(client, command(&["set", "a", "1"]));
    }
    let first = rig.server(0);
    rig.publish(vec![Pool { server_connections: 2, ..pool(1) }]);
    for client in clients {
        rig.send(client, get("a"));
    }
    assert!(rig.nobody_connects_to(0), "what is under way comes first");
    assert_eq!(rig.read(first), command(&["set", "a", "1"]).repeat(2));
    rig.send(first, "+OK\r\n+OK\r\n");
    let second = rig.server(0);
    assert_eq!((rig.read(first), rig.read(second)), (get("a"), get("a")));
    rig.send(first, bulk("1"));
    rig.send(second, bulk("1"));
    for client in clients {
        assert_eq!(rig.read(client), "+OK\r\n".to_owned() + &bulk("1"));
    }
}

#[test]
fn fewer_connections_to_a_server_retire_the_surplus() {
    let mut rig = Rig::new(Pool { server_connections: 2, ..pool(1) });
    let clients = [rig.client(), rig.client()];
    for client in clients {
        rig.send(client, get("a"));
    }
    let servers = [rig.server(0), rig.server(0)];
    rig.publish(vec![pool(1)]);
    for server in servers {
        rig.read(server);
        rig.send(server, bulk("a"));
    }
    assert_eq!(clients.map(|client| rig.read(client)), [bulk("a"), bulk("a")]);
    let closed = servers.map(|server| rig.is_closed(server));
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 1, "{closed:?}");
}

#[test]
fn a_pool_that_is_gone_answers_what_is_in_flight_and_closes_its_clients() {
    let mut rig = Rig::new(pool(1));
    let (busy, idle) = (rig.client(), rig.client());
    rig.send(busy, get("a"));
    let server = rig.server(0);
    rig.publish(vec![named("other", pool(1))]);
    assert!(rig.is_closed(idle));
    rig.send(busy, get("b"));
    assert_eq!(rig.read(server), get("a"), "what came later is not served");
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(busy), bulk("a"));
    assert!(rig.is_closed(busy) && rig.is_closed(server));
    assert_eq!(rig.worker.connections(), 0);
    assert_eq!(rig.worker.counts.curr_connections.value(), 0);
    assert_eq!(rig.worker.counts.clients.value(), 0);
    assert_eq!(rig.worker.counts.pools[0].client_connections.value(), 0);
    rig.assert_at_rest();
}

#[test]
fn clients_of_a_pool_that_is_gone_are_cut_after_the_drain_bound() {
    let mut rig = Rig::new(patient(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    rig.publish(vec![named("other", pool(1))]);
    rig.pass_ms(10_000);
    assert_eq!(rig.read(client), TIMED_OUT);
    rig.read(server);
    assert!(rig.is_closed(client) && rig.is_closed(server));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_does_not_read_its_last_reply_is_closed_all_the_same() {
    let mut rig = Rig::with(patient(1), engine::topology::Limits::default(), 8);
    let client = rig.client();
    for byte in get("a").bytes() {
        rig.send(client, [byte]);
    }
    let server = rig.server(0);
    while !rig.read(server).is_empty() {}
    for byte in bulk(&"x".repeat(100)).bytes() {
        rig.send(server, [byte]);
    }
    rig.publish(vec![named("other", pool(1))]);
    rig.pass_ms(9_999);
    assert_eq!(rig.worker.engine.clients(), 1);
    rig.pass_ms(1_000);
    assert_eq!(rig.worker.engine.clients(), 0);
    rig.assert_at_rest();
}

#[test]
fn pools_that_change_places_keep_their_clients() {
    let (a, b) = (named("a", pool(1)), named("b", pool(2)));
    let mut rig = Rig::new(b.clone());
    let client = rig.client();
    let key = rig.key(1, 0);
    rig.send(client, get(&key));
    rig.publish(vec![a, b]);
    let server = rig.server(1);
    rig.read(server);
    rig.send(server, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    assert_eq!(rig.worker.counts.pools[1].client_connections.value(), 1);
    assert_eq!(rig.worker.counts.pools[1].servers[1].responses.value(), 1);
    rig.close(client);
    assert_eq!(rig.worker.counts.pools[1].client_connections.value(), 0);
}

#[test]
fn a_pool_that_changes_its_protocol_closes_its_clients() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.publish(vec![Pool { protocol: Protocol::Memcached, ..pool(1) }]);
    assert!(rig.is_closed(client));
    assert_eq!(rig.worker.counts.pools[0].client_connections.value(), 0);
}

#[test]
fn an_ejected_server_stays_out_when_something_else_changes() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    rig.publish(vec![Pool { timeout: None, ..ejecting_pool(3, 1) }]);
    let key = rig.key(0, 0);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), "", "another one is asked");
    rig.set_door(0, Door::Open(0));
    rig.pass_ms(1_001);
    let later = rig.client();
    rig.send(later, get(&key));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&key), "after its time it is back");
}

#[test]
fn an_ejected_server_that_moves_is_in_the_ring_at_once() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    let mut changed = ejecting_pool(2, 1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.send(client, get(&key));
    let server = rig.server(2);
    assert_eq!(rig.read(server), get(&key));
}

#[test]
fn with_other_rules_for_ejection_every_server_is_in_the_ring() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.set_door(0, DOWN);
    rig.send(client, get(&key));
    assert_eq!(rig.read(client), REFUSED);
    rig.set_door(0, Door::Open(0));
    rig.publish(vec![pool(2)]);
    rig.send(client, get(&key));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&key));
}

#[test]
fn a_failure_where_a_server_was_does_not_eject_it() {
    let mut rig = Rig::new(ejecting_pool(2, 1));
    let (client, key) = (rig.client(), rig.key(0, 0));
    rig.send(client, get(&key));
    let old = rig.server(0);
    let mut changed = ejecting_pool(2, 1);
    changed.servers[0] = moved(&changed.servers[0], "10.0.1.0");
    rig.publish(vec![changed]);
    rig.reset(old);
    assert_eq!(rig.read(client), super::RESET);
    let events = rig.events();
    assert!(!events.iter().any(|event| matches!(event, Event::Ejected { .. })), "{events:?}");
    rig.send(client, get(&key));
    let new = rig.server(2);
    assert_eq!(rig.read(new), get(&key));
}

#[test]
fn what_a_worker_with_another_topology_tells_is_about_the_same_server_or_ignored() {
    let event = Event::Ejected { pool: 0, server: 0, retry_at: 1_000_000 };
    let here = named("z", ejecting_pool(2, 1));
    let there = named("z", ejecting_pool(3, 1));
    let now = engine::Now { mono_us: 1, wall_us: 1 };
    let mut rig = Rig::new(here.clone());
    rig.publish(vec![named("a", pool(1)), here]);
    let (client, key) = (rig.client_of(1), "any");
    let mut strangers = named("z", ejecting_pool(2, 1));
    strangers.servers[0] = moved(&strangers.servers[0], "10.0.1.0");
    for (pool, server) in [(strangers, 0), (there.clone(), 2), (named("y", there.clone()), 0)] {
        let event = Event::Ejected { pool: 7, server, retry_at: 1_000_000 };
        rig.worker.engine.heed_from(&Arc::new(pool), &event, now);
    }
    rig.send(client, command(&["mget", "0", "1", "2", "3", "4", "5"]));
    assert!(!rig.nobody_connects_to(0) && !rig.nobody_connects_to(1), "nobody is ejected");
    rig.worker.engine.heed_from(&there, &event, now);
    let other = rig.client_of(1);
    rig.send(other, get(key));
    rig.send(other, get("0") + &get("1") + &get("2") + &get("3"));
    rig.pass_ms(400);
    let ejected = &rig.worker.counts.pools[1].servers[0];
    assert_eq!(ejected.requests.value(), 1, "the fragment from before");
}

#[test]
fn a_remnant_of_a_remnant_is_carried_over_several_publications() {
    let mut rig = Rig::new(patient(1));
    let client = rig.client();
    rig.send(client, get("a"));
    let first = rig.server(0);
    for round in 1..=20 {
        let mut changed = patient(1);
        changed.servers[0] = moved(&changed.servers[0], &format!("10.0.1.{round}"));
        let others = (0..round % 3).map(|n| named(&format!("a{n}"), pool(1)));
        let pools = others.chain([changed]).collect();
        rig.publish(pools);
    }
    rig.read(first);
    rig.send(first, bulk("a"));
    assert_eq!(rig.read(client), bulk("a"));
    assert!(rig.is_closed(first));
    rig.assert_at_rest();
    assert_eq!(rig.worker.counts.curr_connections.value(), 1, "the client");
}
