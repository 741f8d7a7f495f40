//! What the proxy answers itself or sends to every server.

use engine::Event;
use engine::topology::{FlushAll, Pool};

use super::{Cache, INVALID, TIMED_OUT, found, get, pool, set_noreply};
use crate::network::Door;

const FLUSH_REFUSED: &str =
    "CLIENT_ERROR flush_all is not allowed in this pool, set allow_flush: true to allow it\r\n";

fn flushing(servers: usize) -> Cache {
    Cache::of(Pool { flush_all: FlushAll::Forward, ..pool(servers) })
}

#[test]
fn flush_all_reaches_every_server_where_the_pool_allows_it() {
    for line in ["flush_all\r\n", "flush_all 30\r\n", "flush_all  -1 \r\n"] {
        let mut cache = flushing(3);
        cache.ask(line);
        for shard in [1, 2, 0] {
            assert_eq!(cache.heard(shard), line);
            assert_eq!(cache.got(), "");
            cache.answer(shard, "OK\r\n");
        }
        assert_eq!(cache.got(), "OK\r\n");
        cache.assert_in_step();
    }
}

#[test]
fn a_flush_without_reply_reaches_every_server_and_is_not_answered() {
    let mut cache = flushing(3);
    cache.ask("flush_all noreply\r\nflush_all 5 noreply\r\n");
    for shard in 0..3 {
        assert_eq!(cache.heard(shard), "flush_all noreply\r\nflush_all 5 noreply\r\n");
    }
    cache.rig.pass_ms(10_000);
    assert_eq!(cache.got(), "");
    cache.assert_in_step();
}

#[test]
fn a_flush_without_reply_is_asked_for_answers_where_a_server_gives_them_anyway() {
    let mut cache = flushing(2);
    let key = cache.keys[0].clone();
    cache.ask(set_noreply(&key, "v"));
    cache.answer(0, "SERVER_ERROR out of memory storing object\r\n");
    cache.heard(0);
    cache.ask("flush_all noreply\r\n");
    assert_eq!(cache.heard(0), "flush_all        \r\n");
    assert_eq!(cache.heard(1), "flush_all noreply\r\n");
    cache.answer(0, "OK\r\n");
    assert_eq!(cache.got(), "");
    cache.assert_in_step();
}

#[test]
fn a_pool_that_does_not_allow_it_flushes_nothing() {
    let mut cache = Cache::new(2);
    cache.ask("flush_all\r\nflush_all 0 noreply\r\nflush_all 0\r\n");
    assert_eq!(cache.got(), FLUSH_REFUSED.repeat(2));
    assert_eq!(cache.heard(0) + &cache.heard(1), "");
    let told = |event: &Event| matches!(event, Event::UnsupportedCommand { command, .. } if command.as_str() == "flush_all");
    assert_eq!(
        cache.rig.events().iter().filter(|event| told(event)).count(),
        3,
        "the silent one too"
    );
    cache.assert_in_step();
}

#[test]
fn a_flush_that_one_server_misses_is_an_error() {
    let outcomes = [
        ("SERVER_ERROR busy\r\n", "SERVER_ERROR busy\r\n"),
        ("CLIENT_ERROR flush_all not allowed\r\n", "CLIENT_ERROR flush_all not allowed\r\n"),
        ("STORED\r\n", INVALID),
    ];
    for (answer, outcome) in outcomes {
        let mut cache = flushing(3);
        cache.ask("flush_all\r\n");
        cache.answer(0, "OK\r\n");
        cache.answer(1, answer);
        cache.answer(2, "OK\r\n");
        assert_eq!(cache.got(), outcome);
        cache.assert_in_step();
    }
    let mut cache = flushing(2);
    cache.ask("flush_all\r\n");
    cache.answer(0, "OK\r\n");
    cache.rig.pass_ms(400);
    assert_eq!(cache.got(), TIMED_OUT);
    cache.rig.close(cache.servers[1]);
    cache.rig.set_door(1, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    cache.heard(0);
    cache.ask("flush_all\r\nflush_all noreply\r\n");
    assert_eq!(cache.heard(0), "flush_all\r\nflush_all noreply\r\n");
    cache.answer(0, "OK\r\n");
    assert_eq!(cache.got(), super::REFUSED);
}

#[test]
fn stats_are_those_of_the_proxy_and_of_no_server() {
    let mut cache = Cache::new(2);
    cache.ask("stats\r\nstats items\r\nstats  reset \r\n");
    let refused = "CLIENT_ERROR the proxy has no such statistics, only plain stats; ask the server itself\r\n";
    assert_eq!(cache.got(), format!("STAT simulated 1\r\nEND\r\n{refused}{refused}"));
    assert_eq!(cache.heard(0) + &cache.heard(1), "");
    cache.assert_in_step();
}

#[test]
fn verbosity_is_accepted_and_changes_nothing() {
    let mut cache = Cache::new(1);
    cache.ask("verbosity 1\r\nverbosity 1 noreply\r\nverbosity\r\n");
    assert_eq!(cache.got(), "OK\r\nERROR\r\n");
    assert_eq!(cache.heard(0), "");
    cache.assert_in_step();
}

#[test]
fn the_version_is_that_of_a_server() {
    let mut cache = Cache::new(2);
    cache.ask("version\r\n");
    let shard = (0..2).find(|shard| cache.heard(*shard) == "version\r\n").expect("a server");
    cache.answer(shard, "VERSION 1.6.18\r\n");
    assert_eq!(cache.got(), "VERSION 1.6.18\r\n");
    cache.assert_in_step();
}

#[test]
fn what_concerns_a_single_server_is_refused_and_the_connection_stays() {
    let mut cache = Cache::new(1);
    let refused = |name: &str| {
        format!("CLIENT_ERROR command '{name}' is not supported through this proxy\r\n")
    };
    cache.ask("slabs reassign 1 2\r\nshutdown\r\nwatch fetchers\r\n");
    assert_eq!(cache.got(), ["slabs", "shutdown", "watch"].map(refused).concat());
    assert_eq!(cache.heard(0), "");
    cache.assert_in_step();
}

#[test]
fn quit_comes_after_earlier_replies_and_before_nothing() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    let other = cache.rig.client();
    cache.ask(get(&key) + "quit\r\n" + &get(&key));
    assert_eq!(cache.heard(0), get(&key));
    cache.answer(0, found(&key, "v"));
    assert_eq!(cache.got(), found(&key, "v"));
    assert!(cache.rig.is_closed(cache.client));
    cache.client = other;
    cache.assert_in_step();
}

#[test]
fn replies_made_here_wait_for_those_before_them() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(get(&key) + "stats\r\nbogus\r\nverbosity 1\r\nmn\r\n");
    assert_eq!(cache.got(), "");
    cache.answer(0, "END\r\n");
    assert_eq!(cache.got(), "END\r\nSTAT simulated 1\r\nEND\r\nERROR\r\nOK\r\nMN\r\n");
    cache.assert_in_step();
}
