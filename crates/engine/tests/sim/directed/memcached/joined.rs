//! Gets of one key that wait for the same server go to it as one, and every client gets what it asked for.

use std::collections::VecDeque;

use engine::topology::{Limits, Pool};

use super::{Cache, INVALID, TIMED_OUT, UNKNOWN, found, get, gets, pool, set, set_noreply, value};
use crate::network::{Door, WireId};
use crate::rig::Rig;

/// A worker with one server, and three clients that have each sent something before it looked.
struct Crowd {
    cache: Cache,
    clients: Vec<WireId>,
}

impl Crowd {
    fn asking(requests: [&str; 3]) -> Crowd {
        Crowd::at(Cache::new(1), requests)
    }

    fn at(mut cache: Cache, requests: [&str; 3]) -> Crowd {
        let clients: Vec<_> = requests.iter().map(|_| cache.rig.client()).collect();
        for (client, request) in clients.iter().zip(requests) {
            cache.rig.network.send(*client, request.as_bytes());
        }
        cache.rig.settle();
        Crowd { cache, clients }
    }

    /// The keys of the only line that the server has received, sorted: who is read first is nobody's business.
    fn heard(&mut self) -> String {
        let heard = self.cache.heard(0);
        let keys = heard.strip_prefix("get ").and_then(|keys| keys.strip_suffix("\r\n"));
        let mut keys: Vec<_> = keys.expect("one line").split(' ').collect();
        keys.sort_unstable();
        keys.join(" ")
    }

    /// What each client has got.
    fn got(&mut self) -> Vec<String> {
        self.clients.iter().map(|client| self.cache.rig.read(*client)).collect()
    }
}

#[test]
fn gets_of_several_clients_are_one_and_each_gets_its_value() {
    let mut crowd = Crowd::asking(["get a\r\n", "get b\r\nget c\r\n", "get d\r\n"]);
    assert_eq!(crowd.heard(), "a b c d");
    crowd
        .cache
        .answer(0, value("a", "1") + &value("b", "") + &value("c", "END\r\n") + &found("d", "4"));
    assert_eq!(
        crowd.got(),
        [found("a", "1"), found("b", "") + &found("c", "END\r\n"), found("d", "4")]
    );
    crowd.cache.assert_in_step();
}

#[test]
fn a_key_without_a_value_is_a_miss_wherever_it_stands() {
    for hits in 0..16_u32 {
        let mut crowd = Crowd::asking(["get a\r\nget b\r\n", "get c\r\n", "get d\r\n"]);
        let reply = |key: &str, bit: u32| match hits >> bit & 1 {
            1 => found(key, &format!("value {bit}")),
            _ => "END\r\n".into(),
        };
        let [a, b, c, d] =
            [("a", 0), ("b", 1), ("c", 2), ("d", 3)].map(|(key, bit)| reply(key, bit));
        let whole = [&a, &b, &c, &d].map(|reply| reply.replace("END\r\n", "")).concat() + "END\r\n";
        crowd.cache.heard(0);
        crowd.cache.answer(0, whole);
        assert_eq!(crowd.got(), [a + &b, c, d]);
        crowd.cache.assert_in_step();
    }
}

#[test]
fn the_order_of_the_values_does_not_matter() {
    let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get nosuch\r\nget c\r\n"]);
    assert_eq!(crowd.heard(), "a b c nosuch");
    crowd.cache.answer(0, value("c", "3") + &value("b", "2") + &found("a", "1"));
    assert_eq!(
        crowd.got(),
        [found("a", "1"), found("b", "2"), "END\r\n".to_owned() + &found("c", "3")]
    );
    crowd.cache.assert_in_step();
}

#[test]
fn a_key_that_several_ask_for_is_answered_to_each_of_them() {
    for times in [1, 3] {
        let mut crowd = Crowd::asking(["get hot\r\n"; 3]);
        assert_eq!(crowd.heard(), "hot hot hot");
        crowd.cache.answer(0, value("hot", "1").repeat(times) + "END\r\n");
        assert_eq!(crowd.got(), [found("hot", "1"), found("hot", "1"), found("hot", "1")]);
        crowd.cache.assert_in_step();
    }
}

#[test]
fn values_of_a_key_that_changes_meanwhile_are_told_in_their_order() {
    let mut cache = Cache::new(1);
    cache.ask(get("nosuch") + &get("hot") + &get("hot"));
    assert_eq!(cache.heard(0), "get nosuch hot hot\r\n");
    cache.answer(0, value("hot", "before") + &found("hot", "after"));
    assert_eq!(
        cache.got(),
        "END\r\n".to_owned() + &found("hot", "before") + &found("hot", "after")
    );
    cache.assert_in_step();
}

#[test]
fn a_reply_cut_anywhere_is_the_same() {
    let whole = value("a", "VALUE b 0 1\r\n") + &value("c", "3") + "END\r\n";
    for cut in 1..whole.len() {
        let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get c\r\n"]);
        crowd.cache.heard(0);
        crowd.cache.answer(0, &whole[..cut]);
        crowd.cache.answer(0, &whole[cut..]);
        let expected = [found("a", "VALUE b 0 1\r\n"), "END\r\n".into(), found("c", "3")];
        assert_eq!(crowd.got(), expected);
        crowd.cache.assert_in_step();
    }
}

#[test]
fn an_error_is_the_answer_to_each() {
    for error in ["SERVER_ERROR out of memory writing get response\r\n", "ERROR\r\n"] {
        let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get c\r\n"]);
        crowd.cache.heard(0);
        crowd.cache.answer(0, error);
        assert_eq!(crowd.got(), [error; 3]);
        crowd.cache.assert_in_step();
    }
}

#[test]
fn an_error_behind_values_is_the_answer_to_those_that_have_none() {
    for error in ["SERVER_ERROR out of memory writing get response\r\n", "ERROR\r\n"] {
        let mut crowd = Crowd::asking(["get a\r\n", "get b\r\nget c\r\n", "get d\r\n"]);
        crowd.cache.heard(0);
        crowd.cache.answer(0, value("a", "1") + &value("c", "\r\nEND\r\n") + error);
        assert_eq!(
            crowd.got(),
            [found("a", "1"), error.to_owned() + &found("c", "\r\nEND\r\n"), error.into()]
        );
        crowd.cache.assert_in_step();
    }
}

#[test]
fn values_that_nobody_asked_for_reach_nobody() {
    let odd = value("A", "other") + &value("ab", "longer") + &value("b", "b");
    let reply = odd.repeat(50) + &value("a", "1") + "END\r\n";
    let mut crowd = Crowd::asking(["get a\r\n", "get b\r\nget c\r\n", "get d\r\n"]);
    crowd.cache.heard(0);
    crowd.cache.answer(0, reply);
    let got = crowd.got();
    assert_eq!(got[1], found("b", "b") + "END\r\n");
    assert_eq!(got[2], "END\r\n");
    assert!([found("a", "1"), "END\r\n".into()].contains(&got[0]), "{got:?}");
    crowd.cache.assert_in_step();
}

#[test]
fn a_number_that_cas_goes_by_comes_with_its_value() {
    let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get c\r\n"]);
    crowd.cache.heard(0);
    let with_number =
        |key: &str| format!("VALUE {key} 4294967295 2 18446744073709551615\r\nxy\r\n");
    crowd.cache.answer(0, with_number("a") + &with_number("c") + "END\r\n");
    assert_eq!(
        crowd.got(),
        [with_number("a") + "END\r\n", "END\r\n".into(), with_number("c") + "END\r\n"]
    );
    crowd.cache.assert_in_step();
}

#[test]
fn only_plain_gets_are_joined_and_only_with_each_other() {
    for (asked, heard) in [
        ("gets a\r\ngets b\r\n", "gets a\r\ngets b\r\n"),
        ("get  a\r\nget b \r\nget c\r\n", "get  a\r\nget b \r\nget c\r\n"),
        ("get a b\r\nget c\r\nget d\r\n", "get a b \r\nget c d\r\n"),
        ("get a\r\ngets b\r\nget c\r\n", "get a\r\ngets b\r\nget c\r\n"),
        ("get a\r\nset b 0 0 1\r\nx\r\nget b\r\n", "get a\r\nset b 0 0 1\r\nx\r\nget b\r\n"),
        (
            "get a\r\nset b 0 0 1 noreply\r\nx\r\nget b\r\nget c\r\n",
            "get a\r\nset b 0 0 1 noreply\r\nx\r\nget b c\r\n",
        ),
        ("get a\r\nmg b v\r\nget b\r\n", "get a\r\nmg b v\r\nget b\r\n"),
    ] {
        let mut cache = Cache::new(1);
        cache.ask(asked);
        assert_eq!(cache.heard(0), heard);
    }
}

#[test]
fn what_was_sent_is_not_waited_for() {
    let mut cache = Cache::new(1);
    cache.ask(get("a"));
    assert_eq!(cache.heard(0), "get a\r\n");
    cache.ask(get("b") + &get("c"));
    assert_eq!(cache.heard(0), "get b c\r\n");
    cache.answer(0, found("a", "1"));
    assert_eq!(cache.got(), found("a", "1"));
    cache.answer(0, value("b", "2") + &found("c", "3"));
    assert_eq!(cache.got(), found("b", "2") + &found("c", "3"));
    cache.assert_in_step();
}

#[test]
fn a_line_that_has_begun_to_leave_stays_as_it_is() {
    // The pipe takes the beginning of the line only.
    let mut cache = Cache::with(pool(1), 40);
    let (long, key) = ("k".repeat(60), cache.keys[0].clone());
    cache.ask(&get(&long)[..40]);
    cache.ask(&get(&long)[40..]);
    let begun = cache.rig.network.read(cache.servers[0], 10);
    cache.rig.settle();
    cache.ask(get(&key));
    let mut heard = String::from_utf8(begun).expect("ASCII");
    for _ in 0..10 {
        heard.push_str(&cache.heard(0));
    }
    assert_eq!(heard, get(&long) + &get(&key));
}

#[test]
fn a_line_that_is_refused_while_it_is_written_is_answered_and_counted_to_its_end() {
    let refused = "SERVER_ERROR out of memory\r\n";
    // The pipe takes the first of three gets, and not all of the second.
    let mut rig = Rig::with(pool(1), Limits::default(), 40);
    rig.set_door(0, Door::Open(100_000));
    let client = rig.client();
    let keys = ["a", "b", "c"].map(|key| key.repeat(30));
    keys.iter().for_each(|key| rig.send(client, get(key)));
    rig.pass_ms(100);
    let server = rig.server(0);
    rig.send(server, refused);
    let (mut heard, mut got) = (String::new(), String::new());
    for _ in 0..10 {
        got.push_str(&rig.read(client));
        heard.push_str(&rig.read(server));
    }
    assert_eq!(got, refused.repeat(3));
    assert_eq!(heard, format!("get {}\r\n", keys.join(" ")));
    rig.assert_at_rest();
}

#[test]
fn a_line_has_a_bounded_number_of_keys_and_of_bytes() {
    for key_len in [1, 8, 100, 250] {
        let mut cache = Cache::new(1);
        let key = "k".repeat(key_len);
        // So far the replies were short.
        for _ in 0..100 {
            cache.ask(get(&key));
            cache.heard(0);
            cache.answer(0, "END\r\n");
        }
        cache.got();
        cache.ask(get(&key).repeat(200));
        let heard = cache.heard(0);
        let lines: Vec<_> = heard.lines().collect();
        let keys = |line: &str| line.split(' ').skip(1).count();
        assert_eq!(lines.iter().map(|line| keys(line)).sum::<usize>(), 200);
        assert!(lines.iter().all(|line| keys(line) <= 64 && line.len() <= 1500), "{heard}");
        assert!(lines.len() <= 200_usize.div_ceil(64.min(1490 / (key_len + 1))), "{heard}");
        for line in lines {
            cache.answer(0, value(&key, "v").repeat(keys(line)) + "END\r\n");
        }
        assert_eq!(cache.got(), found(&key, "v").repeat(200));
        cache.assert_in_step();
    }
}

#[test]
fn where_values_are_large_they_come_one_by_one() {
    let mut cache = Cache::new(1);
    let large = found("a", &"v".repeat(100_000));
    cache.ask(get("a"));
    cache.heard(0);
    cache.answer(0, &large);
    assert_eq!(cache.got(), large);
    cache.ask(get("a") + &get("b"));
    assert_eq!(cache.heard(0), "get a\r\nget b\r\n");
    cache.answer(0, "END\r\n".repeat(2));
    assert_eq!(cache.got(), "END\r\n".repeat(2));
    for _ in 0..100 {
        cache.ask(get("a"));
        cache.heard(0);
        cache.answer(0, "END\r\n");
    }
    cache.got();
    cache.ask(get("a") + &get("b"));
    assert_eq!(cache.heard(0), "get a b\r\n", "they are small again");
}

#[test]
fn where_values_flow_they_come_one_by_one() {
    let limits = Limits { cut_through_bytes_min: 50_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    let client = rig.client();
    rig.send(client, get("a"));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get("a"));
    let large = found("a", &"v".repeat(400_000));
    rig.send(server, &large[..100_000]);
    assert_ne!(rig.read(client), "", "it flows");
    rig.send(server, &large[100_000..]);
    rig.read(client);
    rig.send(client, get("b") + &get("c"));
    assert_eq!(rig.read(server), get("b") + &get("c"));
    rig.send(server, "END\r\n".repeat(2));
    assert_eq!(rig.read(client), "END\r\n".repeat(2));
    rig.assert_at_rest();
}

#[test]
fn large_values_that_were_joined_unseen_reach_their_clients() {
    let limits = Limits { cut_through_bytes_min: 10_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    let client = rig.client();
    rig.send(client, get("a") + &get("nosuch") + &get("b"));
    let server = rig.server(0);
    assert_eq!(rig.read(server), "get a nosuch b\r\n");
    let (a, b) = ("a".repeat(50_000), "b".repeat(70_000));
    let reply = value("a", &a) + &found("b", &b);
    reply.as_bytes().chunks(30_000).for_each(|piece| rig.send(server, piece));
    assert_eq!(rig.read(client), found("a", &a) + "END\r\n" + &found("b", &b));
    rig.assert_at_rest();
}

#[test]
fn a_pool_may_have_them_sent_as_they_come() {
    let mut cache = Cache::of(Pool { joins_gets: false, ..pool(1) });
    cache.ask(get("a") + &get("b"));
    assert_eq!(cache.heard(0), "get a\r\nget b\r\n");
}

#[test]
fn each_shard_has_lines_of_its_own() {
    let mut cache = Cache::new(2);
    let [a, b] = [0, 1].map(|shard| cache.keys[shard].clone());
    let [a2, b2] = [0, 1].map(|shard| cache.rig.key(shard, 1));
    cache.ask([&a, &b, &b2, &a2].map(|key| get(key)).concat());
    assert_eq!(cache.heard(0), format!("get {a} {a2}\r\n"));
    assert_eq!(cache.heard(1), format!("get {b} {b2}\r\n"));
    cache.answer(1, value(&b, "b") + &found(&b2, "b2"));
    cache.answer(0, found(&a2, "a2"));
    let expected = ["END\r\n".into(), found(&b, "b"), found(&b2, "b2"), found(&a2, "a2")];
    assert_eq!(cache.got(), expected.concat());
    cache.assert_in_step();
}

#[test]
fn a_server_that_fails_fails_each() {
    for (end, words) in [("", UNKNOWN), ("VALUE a 0 x\r\n", INVALID)] {
        let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get c\r\n"]);
        crowd.cache.heard(0);
        let server = crowd.cache.servers[0];
        match end {
            "" => crowd.cache.rig.close(server),
            malformed => crowd.cache.answer(0, malformed),
        }
        assert_eq!(crowd.got(), [words; 3]);
        crowd.cache.rig.assert_at_rest();
    }
}

#[test]
fn a_late_reply_to_some_is_swallowed_and_the_others_get_theirs() {
    let mut cache = Cache::new(1);
    let others: Vec<_> = (0..2).map(|_| cache.rig.client()).collect();
    cache.ask(get("a") + &get("b"));
    assert_eq!(cache.heard(0), "get a b\r\n");
    cache.rig.pass_ms(300);
    cache.rig.send(others[0], get("c") + &get("d"));
    cache.rig.pass_ms(150);
    assert_eq!(cache.got(), TIMED_OUT.repeat(2));
    cache.answer(0, value("a", "1") + &found("b", "2") + &value("c", "3") + &found("d", "4"));
    assert_eq!(cache.got(), "");
    assert_eq!(cache.rig.read(others[0]), found("c", "3") + &found("d", "4"));
    cache.assert_in_step();
}

#[test]
fn a_client_that_is_gone_keeps_its_place() {
    let mut crowd = Crowd::asking(["get a\r\n", "get b\r\n", "get c\r\n"]);
    crowd.cache.heard(0);
    let gone = crowd.clients.remove(1);
    crowd.cache.rig.reset(gone);
    crowd.cache.answer(0, value("a", "1") + &value("b", "2") + &found("c", "3"));
    assert_eq!(crowd.got(), [found("a", "1"), found("c", "3")]);
    crowd.cache.assert_in_step();
}

#[test]
fn joined_gets_behind_a_silence_that_was_broken_are_counted_as_one_reply() {
    let out_of_memory = "SERVER_ERROR out of memory storing object\r\n";
    let mut cache = Cache::new(1);
    cache.ask(set_noreply("a", "1") + &get("b") + &get("c"));
    assert_eq!(cache.heard(0), set_noreply("a", "1") + "get b c\r\n");
    // The answer to both of them, or to the one that wanted none?
    cache.answer(0, out_of_memory);
    assert_eq!(cache.heard(0), "version\r\n");
    cache.answer(0, "VERSION 1\r\n");
    assert_eq!(cache.got(), out_of_memory.repeat(2));
    cache.assert_in_step();
}

#[test]
fn counts_are_those_of_requests_as_they_were_asked() {
    let mut cache = Cache::new(1);
    let counted = |cache: &Cache| {
        let counts = &cache.rig.worker.counts.pools[0].servers[0];
        let counts =
            [&counts.requests, &counts.request_bytes, &counts.responses, &counts.response_bytes];
        counts.map(engine::counters::Count::value)
    };
    let before = counted(&cache);
    cache.ask(get("a") + &get("b") + &set("c", "x") + &gets("d"));
    assert_eq!(cache.heard(0), "get a b\r\n".to_owned() + &set("c", "x") + &gets("d"));
    cache.answer(0, found("b", "2") + "STORED\r\nEND\r\n");
    let reply = "END\r\n".to_owned() + &found("b", "2") + "STORED\r\nEND\r\n";
    assert_eq!(cache.got(), reply);
    let asked = 2 * "get a\r\n".len() + set("c", "x").len() + gets("d").len();
    let expected = [4, asked as u64, 4, reply.len() as u64];
    let after = counted(&cache);
    for ((before, after), expected) in before.into_iter().zip(after).zip(expected) {
        assert_eq!(after - before, expected);
    }
    cache.assert_in_step();
}

#[test]
fn lines_behind_a_value_that_flows_are_answered_when_it_has() {
    let limits = Limits { cut_through_bytes_min: 1_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    let clients: Vec<_> = (0..3).map(|_| rig.client()).collect();
    rig.send(clients[0], get("large"));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get("large"));
    let large = found("large", &"v".repeat(4_000));
    rig.send(server, &large[..2_000]);
    let mut got = rig.read(clients[0]);
    assert_ne!(got, "", "it flows");
    clients.iter().for_each(|client| {
        rig.network.send(*client, (get("a") + &get("b")).as_bytes());
    });
    rig.settle();
    let heard = rig.read(server);
    assert_eq!(heard, "get a b a b a b\r\n");
    let values = (value("a", "1") + &value("b", "2")).repeat(3);
    rig.send(server, large[2_000..].to_owned() + &values + "END\r\n");
    got.push_str(&rig.read(clients[0]));
    assert_eq!(got, large + &found("a", "1") + &found("b", "2"));
    for client in &clients[1..] {
        assert_eq!(rig.read(*client), found("a", "1") + &found("b", "2"));
    }
    rig.assert_at_rest();
}

#[test]
fn lines_that_are_in_doubt_together_are_answered_each() {
    let error = "SERVER_ERROR out of memory storing object\r\n";
    let mut cache = Cache::new(1);
    let asked = set_noreply("x", "1") + &get("a") + &get("b") + &gets("c") + &get("d") + &get("e");
    cache.ask(asked);
    let heard = set_noreply("x", "1") + "get a b\r\n" + &gets("c") + "get d e\r\n";
    assert_eq!(cache.heard(0), heard);
    cache.answer(0, error);
    assert_eq!(cache.heard(0), "version\r\n");
    // What is asked meanwhile is behind the question, not in the line before it.
    cache.ask(get("f") + &get("g"));
    assert_eq!(cache.heard(0), "get f g\r\n");
    let replies = found("c", "3") + &found("e", "5") + "VERSION 1\r\n" + &found("f", "6");
    cache.answer(0, replies);
    let expected = error.repeat(2) + &found("c", "3") + "END\r\n" + &found("e", "5");
    assert_eq!(cache.got(), expected + &found("f", "6") + "END\r\n");
    cache.assert_in_step();
}

#[test]
fn a_line_too_much_for_a_broken_silence_ends_the_connection() {
    let error = "SERVER_ERROR out of memory storing object\r\n";
    let mut cache = Cache::new(1);
    cache.ask(set_noreply("x", "1") + &get("a") + &get("b"));
    cache.heard(0);
    cache.answer(0, error);
    // The error was the answer to the set; whose the next one is cannot be told any more.
    cache.answer(0, value("a", "1") + &found("b", "2") + "VERSION 1\r\n");
    assert_eq!(cache.got(), INVALID.repeat(2));
    assert!(!cache.is_connected(0));
    cache.assert_in_step();
}

#[test]
fn gets_that_wait_for_a_connection_are_joined_and_each_times_out_by_itself() {
    let mut rig = Rig::new(pool(1));
    rig.set_door(0, Door::Open(100_000));
    let clients: Vec<_> = (0..2).map(|_| rig.client()).collect();
    rig.send(clients[0], get("a"));
    rig.pass_ms(50);
    rig.send(clients[1], get("b"));
    rig.pass_ms(50);
    let server = rig.server(0);
    assert_eq!(rig.read(server), "get a b\r\n");
    rig.pass_ms(320);
    assert_eq!(rig.read(clients[0]), TIMED_OUT);
    rig.send(clients[0], get("c"));
    assert_eq!(rig.read(server), get("c"));
    rig.send(server, value("a", "1") + &found("b", "2") + &found("c", "3"));
    assert_eq!(rig.read(clients[1]), found("b", "2"));
    assert_eq!(rig.read(clients[0]), found("c", "3"));
    rig.assert_at_rest();
}

#[test]
fn what_is_kept_of_many_keys_stays_in_step() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("first"));
    let server = rig.server(0);
    rig.read(server);
    rig.send(server, "END\r\n");
    rig.read(client);
    // Lines are answered one behind the other while there are always some more.
    let key = |n: usize| format!("{n:0width$}", width = 4 + n % 90);
    let mut lines: VecDeque<String> = VecDeque::new();
    let (mut asked, mut answered) = (0, 0);
    while answered < 4_000 {
        let some: String = (asked..asked + 10).map(|n| get(&key(n))).collect();
        asked += 10;
        rig.send(client, some);
        lines.extend(rig.read(server).lines().map(str::to_owned));
        while lines.len() > 1 {
            let line = lines.pop_front().expect("it is there");
            let keys: Vec<_> = line.split(' ').skip(1).collect();
            let reply: String = keys.iter().rev().map(|key| value(key, key)).collect();
            rig.send(server, reply + "END\r\n");
            let expected: String = keys.iter().map(|key| found(key, key)).collect();
            assert_eq!(rig.read(client), expected);
            assert!(keys.iter().enumerate().all(|(i, own)| *own == key(answered + i)));
            answered += keys.len();
        }
    }
}

#[test]
fn above_the_memory_ceiling_values_too_large_to_be_told_apart_are_dropped_for_all_who_asked() {
    let limits = Limits { worker_memory_bytes_max: 3 << 20, ..Limits::default() };
    let cache = Cache::within(pool(1), limits, 64 << 20);
    let mut crowd = Crowd::at(cache, ["get a\r\n", "get b\r\n", "get c\r\n"]);
    crowd.heard();
    let dropped = "SERVER_ERROR max_memory of the proxy is reached, reply dropped\r\n";
    let piece = "v".repeat(1 << 20);
    crowd.cache.answer(0, "VALUE a 0 100000000\r\n");
    for _ in 0..4 {
        crowd.cache.answer(0, &piece);
    }
    assert_eq!(crowd.got(), [dropped; 3]);
    assert_eq!(crowd.cache.rig.worker.counts.shed.value(), 3);
    crowd.cache.rig.assert_at_rest();
}
