//! `get` and its like: forwarded whole for one key, split over the shards for several, merged in the order of the keys.

use super::{Cache, INVALID, REFUSED, TIMED_OUT, UNKNOWN, found, get, value};
use crate::network::Door;

/// All orders in which three servers can answer.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn a_read_of_one_key_is_forwarded_byte_for_byte() {
    let mut cache = Cache::new(2);
    for line in ["get KEY\r\n", "gets  KEY \r\n", "gat 100  KEY\r\n", "gats -1 KEY   \r\n"] {
        for shard in 0..2 {
            let key = cache.keys[shard].clone();
            let line = line.replace("KEY", &key);
            cache.ask(&line);
            assert_eq!(cache.heard(shard), line);
            cache.answer(shard, found(&key, "VALUE x 0 1\r\nEND\r\n"));
            assert_eq!(cache.got(), found(&key, "VALUE x 0 1\r\nEND\r\n"));
        }
    }
    cache.rig.assert_at_rest();
}

#[test]
fn a_read_of_several_keys_is_split_and_merged_in_the_order_of_its_keys() {
    for order in ORDERS {
        let mut cache = Cache::new(3);
        let [a, b, c] = [0, 1, 2].map(|shard| cache.keys[shard].clone());
        let [a2, b2] = [0, 1].map(|shard| cache.rig.key(shard, 1));
        cache.ask(format!("get {c} {a} {b} {a2} {b2} {c} {a}\r\n"));
        // COMPAT: the blank behind the last key is twemproxy's.
        assert_eq!(cache.heard(0), format!("get {a} {a2} {a} \r\n"));
        assert_eq!(cache.heard(1), format!("get {b} {b2} \r\n"));
        assert_eq!(cache.heard(2), format!("get {c} {c} \r\n"));
        // `a` and `b` are misses, the duplicate of `c` is not.
        let answers = [
            value(&a2, "END\r\n") + "END\r\n",
            value(&b2, "") + "END\r\n",
            value(&c, "third") + &value(&c, "third") + "END\r\n",
        ];
        for shard in order {
            assert_eq!(cache.got(), "");
            cache.answer(shard, &answers[shard]);
        }
        let merged = [
            value(&c, "third"),
            value(&a2, "END\r\n"),
            value(&b2, ""),
            value(&c, "third"),
            "END\r\n".into(),
        ];
        assert_eq!(cache.got(), merged.concat());
        cache.rig.assert_at_rest();
    }
}

#[test]
fn every_kind_of_read_keeps_its_words_when_it_is_split() {
    for (words, numbers) in [("gets", " 12"), ("gat 60", ""), ("gats -1", " 18446744073709551615")]
    {
        let mut cache = Cache::new(2);
        let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
        cache.ask(format!("{words} {b} {a}\r\n"));
        assert_eq!(cache.heard(0), format!("{words} {a} \r\n"));
        assert_eq!(cache.heard(1), format!("{words} {b} \r\n"));
        let one = |key: &str| format!("VALUE {key} 0 1{numbers}\r\nv\r\n");
        cache.answer(0, one(&a) + "END\r\n");
        cache.answer(1, one(&b) + "END\r\n");
        assert_eq!(cache.got(), one(&b) + &one(&a) + "END\r\n");
    }
}

#[test]
fn keys_of_one_shard_are_asked_for_at_once() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(format!("get  {key}   {key}\r\n"));
    assert_eq!(cache.heard(0), format!("get {key} {key} \r\n"));
    cache.answer(0, "END\r\n");
    assert_eq!(cache.got(), "END\r\n");
    assert_eq!(cache.rig.worker.counts.pools[0].fragments.value(), 1);
}

#[test]
fn a_server_that_answers_for_other_keys_misleads_nobody() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(format!("get {a} {b}\r\n"));
    cache.answer(0, value(&b, "a lie") + "END\r\n");
    cache.answer(1, value(&b, "true") + &value("more", "than asked") + "END\r\n");
    assert_eq!(cache.got(), found(&b, "true"));
    cache.assert_in_step();
}

#[test]
fn values_in_another_order_than_the_keys_are_found_and_no_others() {
    let mut cache = Cache::new(2);
    let [a, b] = [0, 1].map(|shard| cache.keys[shard].clone());
    let [a2, a3, a4] = [1, 2, 3].map(|n| cache.rig.key(0, n));
    cache.ask(format!("get {a} {b} {a2} {a3} {a4}\r\n"));
    // `a3` is a miss, `b` is of another server, and `a` comes behind keys that were asked for later.
    let late = [value(&a4, "4"), value(&b, "a lie"), value(&a2, "2"), value(&a, "1")];
    cache.answer(0, late.concat() + "END\r\n");
    cache.answer(1, found(&b, "true"));
    let merged = [value(&b, "true"), value(&a4, "4"), value(&a2, "2"), value(&a, "1")];
    assert_eq!(cache.got(), merged.concat() + "END\r\n");
    cache.assert_in_step();
}

#[test]
fn the_error_of_a_part_is_the_error_of_the_whole_in_the_words_of_the_server() {
    for error in ["SERVER_ERROR out of memory writing get response\r\n", "ERROR\r\n"] {
        for order in ORDERS {
            let mut cache = Cache::new(3);
            let [a, b, c] = [0, 1, 2].map(|shard| cache.keys[shard].clone());
            cache.ask(format!("get {a} {b} {c}\r\n") + &get(&a));
            let answers = [found(&a, "1"), error.into(), "SERVER_ERROR third\r\n".into()];
            for shard in order {
                assert_eq!(cache.got(), "");
                cache.answer(shard, &answers[shard]);
            }
            assert_eq!(cache.got(), error);
            cache.answer(0, found(&a, "2"));
            assert_eq!(cache.got(), found(&a, "2"), "the connection stays");
            cache.assert_in_step();
        }
    }
}

#[test]
fn a_part_that_is_answered_with_anything_but_values_fails_the_whole() {
    let answers = [
        "STORED\r\n",
        "7\r\n",
        "HD\r\n",
        "VERSION 1\r\n",
        "OK\r\n",
        "VA 1\r\nv\r\n",
        "NOT_FOUND\r\n",
    ];
    for answer in answers {
        let mut cache = Cache::new(2);
        let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
        cache.ask(format!("gets {a} {b}\r\n"));
        cache.answer(0, answer);
        cache.answer(1, found(&b, "v"));
        assert_eq!(cache.got(), INVALID, "{answer}");
        assert_eq!(cache.rig.worker.counts.pools[0].forward_error.value(), 1);
        cache.assert_in_step();
    }
}

#[test]
fn a_part_that_times_out_or_is_cut_off_fails_the_whole_and_not_what_follows() {
    for (cut, error) in [(false, TIMED_OUT), (true, UNKNOWN)] {
        let mut cache = Cache::new(2);
        let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
        cache.ask(format!("get {a} {b}\r\n"));
        cache.answer(1, found(&b, "v"));
        // A value that has begun is never delivered in part.
        cache.answer(0, &value(&a, "a value")[..15]);
        match cut {
            true => cache.rig.close(cache.servers[0]),
            false => cache.rig.pass_ms(400),
        }
        assert_eq!(cache.got(), error);
        cache.ask(get(&b));
        cache.answer(1, found(&b, "v"));
        assert_eq!(cache.got(), found(&b, "v"));
    }
}

#[test]
fn a_part_that_cannot_be_sent_fails_the_whole() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.rig.close(cache.servers[0]);
    cache.rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    cache.ask(format!("get {a} {b}\r\n"));
    cache.answer(1, found(&b, "v"));
    assert_eq!(cache.got(), REFUSED);
}

#[test]
fn a_late_reply_is_swallowed_and_the_next_request_gets_its_own() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(format!("get {a} {b}\r\n"));
    cache.answer(1, found(&b, "v"));
    cache.rig.pass_ms(400);
    assert_eq!(cache.got(), TIMED_OUT);
    cache.ask(get(&a));
    cache.answer(0, value(&a, "late") + "END\r\n" + &found(&a, "in time"));
    assert_eq!(cache.got(), found(&a, "in time"));
    assert!(cache.is_connected(0));
    cache.assert_in_step();
}

#[test]
fn replies_keep_the_order_of_requests_over_several_servers() {
    for order in ORDERS {
        let mut cache = Cache::new(3);
        let keys = cache.keys.clone();
        let pipeline = [
            get(&keys[2]),
            "version\r\n".into(),
            get(&keys[0]),
            "bogus\r\n".into(),
            get(&keys[1]),
            "mn\r\n".into(),
        ];
        cache.ask(pipeline.concat());
        let mut answers = [0, 1, 2].map(|shard| found(&keys[shard], "v"));
        for (shard, answer) in answers.iter_mut().enumerate() {
            if let Some(at) = cache.heard(shard).find("version") {
                let before = if at == 0 { 0 } else { answer.len() };
                answer.insert_str(before, "VERSION 1.6.18\r\n");
            }
        }
        order.iter().for_each(|shard| cache.answer(*shard, &answers[*shard]));
        let [a, b, c] = [0, 1, 2].map(|shard| found(&keys[shard], "v"));
        assert_eq!(cache.got(), format!("{c}VERSION 1.6.18\r\n{a}ERROR\r\n{b}MN\r\n"));
        cache.rig.assert_at_rest();
    }
}

#[test]
fn errors_of_a_server_are_counted_and_those_of_clients_and_misses_are_not() {
    let mut cache = Cache::new(1);
    for (reply, counted) in [
        ("SERVER_ERROR out of memory reading request\r\n", 1),
        ("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", 1),
        ("NOT_FOUND\r\n", 1),
        ("5\r\n", 1),
        ("SERVER_ERROR out of memory reading request\r\n", 2),
    ] {
        cache.ask("incr key0000 1\r\n");
        cache.answer(0, reply);
        let count = cache.rig.worker.counts.pools[0].servers[0].error_replies.value();
        assert_eq!(count, counted, "{reply}");
    }
}
