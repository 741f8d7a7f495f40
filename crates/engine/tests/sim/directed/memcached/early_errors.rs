//! A server may refuse a value while it is still being sent to it.

use super::{Cache, TOO_LARGE, UNKNOWN, found, get, gets, pool, set};
use crate::network::WireId;

/// A pipe much smaller than a value.
const PIPE: usize = 1000;

/// A cache whose client is half way through a large value, and what its server has received of it.
fn half_way(value: &str) -> (Cache, String, String) {
    let mut cache = Cache::with(pool(1), PIPE);
    let key = cache.keys[0].clone();
    let request = set(&key, value);
    pour(&mut cache, &request);
    let heard = cache.heard(0);
    (cache, request, heard)
}

/// The client sends in pieces that its pipe holds.
fn pour(cache: &mut Cache, bytes: &str) {
    bytes.as_bytes().chunks(PIPE / 2).for_each(|piece| cache.ask(piece));
}

/// The server reads until `wanted` bytes have come.
fn drain(cache: &mut Cache, heard: &mut String, wanted: usize) {
    while heard.len() < wanted {
        let more = cache.heard(0);
        assert!(!more.is_empty(), "{} of {wanted} bytes", heard.len());
        heard.push_str(&more);
    }
}

fn ask_as(cache: &mut Cache, client: WireId, request: &str) {
    cache.rig.send(client, request);
}

#[test]
fn an_early_refusal_is_the_setters_and_the_others_see_nothing() {
    let (mut cache, request, mut heard) = half_way(&"x".repeat(20_000));
    let others: Vec<_> = (0..5).map(|_| cache.rig.client()).collect();
    let key = cache.keys[0].clone();
    let behind = gets(&key);
    others.iter().for_each(|other| ask_as(&mut cache, *other, &behind));
    assert!(heard.len() < request.len());
    cache.answer(0, TOO_LARGE);
    assert_eq!(cache.got(), TOO_LARGE, "at once");
    // The body is still sent, since the server reads it, and the requests behind it are answered.
    drain(&mut cache, &mut heard, request.len() + others.len() * behind.len());
    assert_eq!(heard, request + &behind.repeat(others.len()));
    cache.answer(0, found(&key, "v").repeat(others.len()));
    for other in others {
        assert_eq!(cache.rig.read(other), found(&key, "v"));
    }
    assert!(cache.is_connected(0));
    assert_eq!(cache.rig.worker.counts.pools[0].servers[0].server_err.value(), 0);
    cache.assert_in_step();
}

#[test]
fn the_setter_goes_on_while_its_body_is_swallowed() {
    let (mut cache, request, mut heard) = half_way(&"x".repeat(5_000));
    cache.answer(0, TOO_LARGE);
    assert_eq!(cache.got(), TOO_LARGE);
    let key = cache.keys[0].clone();
    cache.ask(get(&key));
    drain(&mut cache, &mut heard, request.len() + get(&key).len());
    cache.answer(0, "END\r\n");
    assert_eq!(cache.got(), "END\r\n");
    cache.assert_in_step();
}

#[test]
fn a_refusal_cut_anywhere_is_the_same() {
    for cut in 1..TOO_LARGE.len() {
        let (mut cache, request, mut heard) = half_way(&"x".repeat(3_000));
        cache.answer(0, &TOO_LARGE[..cut]);
        cache.answer(0, &TOO_LARGE[cut..]);
        assert_eq!(cache.got(), TOO_LARGE);
        drain(&mut cache, &mut heard, request.len());
        cache.assert_in_step();
    }
}

#[test]
fn a_server_that_refuses_and_never_reads_the_body_costs_what_is_behind_it_a_timeout() {
    let (mut cache, request, heard) = half_way(&"x".repeat(20_000));
    cache.answer(0, TOO_LARGE);
    assert_eq!(cache.got(), TOO_LARGE);
    cache.rig.pass_ms(10_000);
    assert!(cache.is_connected(0), "nobody waits for anything");
    let key = cache.keys[0].clone();
    cache.ask(get(&key));
    cache.rig.pass_ms(400);
    assert_eq!(cache.got(), super::TIMED_OUT);
    cache.rig.pass_ms(400);
    assert!(!cache.is_connected(0));
    assert!(heard.len() < request.len());
    cache.assert_in_step();
}

#[test]
fn a_server_that_refuses_and_closes_fails_only_what_is_behind_the_value() {
    let (mut cache, ..) = half_way(&"x".repeat(20_000));
    let other = cache.rig.client();
    let key = cache.keys[0].clone();
    ask_as(&mut cache, other, &get(&key));
    cache.answer(0, TOO_LARGE);
    cache.rig.close(cache.servers[0]);
    assert_eq!(cache.got(), TOO_LARGE);
    assert_eq!(cache.rig.read(other), UNKNOWN);
    cache.assert_in_step();
}

#[test]
fn two_answers_while_one_value_is_being_written_are_one_too_many() {
    let (mut cache, ..) = half_way(&"x".repeat(20_000));
    let (other, key) = (cache.rig.client(), cache.keys[0].clone());
    ask_as(&mut cache, other, &get(&key));
    cache.answer(0, TOO_LARGE.to_owned() + &found(&key, "a lie"));
    assert_eq!(cache.got(), TOO_LARGE);
    assert_eq!(cache.rig.read(other), super::INVALID);
    assert!(!cache.is_connected(0));
    cache.assert_in_step();
}
