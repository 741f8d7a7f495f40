//! Requests that want no reply: carried out in order, never waited for, and never a false reply to anybody.

use engine::topology::{Limits, Pool};

use super::{Cache, INVALID, TIMED_OUT, found, get, gets, pool, set, set_noreply};
use crate::network::{Door, WireId};
use crate::rig::Rig;

const OUT_OF_MEMORY: &str = "SERVER_ERROR out of memory storing object\r\n";

#[test]
fn every_command_that_may_say_noreply_is_forwarded_byte_for_byte_and_not_waited_for() {
    let mut cache = Cache::new(1);
    let requests = [
        "set key0000 0 0 1 noreply\r\na\r\n",
        "add  key0000 0 0 1  noreply \r\nb\r\n",
        "replace key0000 0 0 0 noreply\r\n\r\n",
        "append key0000 0 0 9 noreply\r\nnoreply\r\n\r\n",
        "prepend key0000 0 0 1 noreply\r\nd\r\n",
        "cas key0000 0 0 1 77 noreply\r\ne\r\n",
        "incr key0000 1 noreply\r\n",
        "decr key0000 1 noreply\r\n",
        "touch key0000 -1 noreply\r\n",
        "delete key0000 noreply\r\n",
        "delete key0000 0 noreply\r\n",
    ];
    for request in requests {
        cache.ask(request);
        assert_eq!(cache.heard(0), request);
    }
    cache.ask(requests.concat());
    assert_eq!(cache.heard(0), requests.concat());
    cache.rig.pass_ms(10_000);
    assert_eq!(cache.got(), "");
    assert_eq!(cache.rig.worker.counts.pools[0].servers[0].server_timedout.value(), 0);
    cache.assert_in_step();
}

#[test]
fn noreply_is_a_key_where_keys_are_read() {
    let mut cache = Cache::new(1);
    cache.ask("get noreply\r\n");
    cache.answer(0, found("noreply", "v"));
    assert_eq!(cache.got(), found("noreply", "v"));
    cache.assert_in_step();
}

#[test]
fn one_reply_for_a_silent_delete_a_silent_set_and_a_get() {
    let mut cache = Cache::new(2);
    let key = cache.keys[1].clone();
    let pipeline = format!("delete {key} noreply\r\n") + &set_noreply(&key, "V") + &get(&key);
    cache.ask(&pipeline);
    assert_eq!(cache.heard(1), pipeline);
    cache.answer(1, found(&key, "V"));
    assert_eq!(cache.got(), found(&key, "V"));
    cache.assert_in_step();
}

#[test]
fn a_dead_server_costs_a_silent_request_no_reply_and_leaves_no_bytes_behind() {
    let mut rig = Rig::new(pool(2));
    let (silent, other) = (rig.client(), rig.client());
    let (a, b) = (rig.key(0, 0), rig.key(1, 0));
    for door in [Door::Refuses(engine::fault::CONNECTION_REFUSED), Door::Hangs] {
        rig.set_door(0, door);
        rig.send(silent, set_noreply(&a, "v"));
        rig.pass_ms(30_000);
        assert_eq!(rig.read(silent), "");
        rig.send(silent, set_noreply(&a, "v") + &get(&b));
        if let Some(server) = rig.network.accept(0, 1) {
            assert_eq!(rig.read(server), get(&b));
            rig.send(server, "END\r\n");
            rig.close(server);
        }
        assert_eq!(rig.read(silent), "END\r\n", "its own answer");
        rig.pass_ms(30_000);
        rig.assert_at_rest();
    }
    rig.set_door(0, Door::Open(0));
    rig.send(other, get(&a));
    let server = rig.server(0);
    assert_eq!(rig.read(server), get(&a), "nothing of what was dropped");
    rig.send(server, "END\r\n");
    assert_eq!(rig.read(other), "END\r\n");
    rig.assert_at_rest();
}

#[test]
fn a_connection_that_breaks_takes_silent_requests_with_it_and_fails_the_others() {
    let mut cache = Cache::with(pool(1), 60);
    let key = cache.keys[0].clone();
    cache.ask(set_noreply(&key, "v"));
    cache.ask(get(&key));
    cache.ask(set_noreply(&key, "w"));
    cache.rig.reset(cache.servers[0]);
    assert_eq!(cache.got(), "SERVER_ERROR Connection reset by peer\r\n");
    cache.assert_in_step();
}

/// Sends `each` again and again until `client` is not read any more; returns how often.
fn fill(cache: &mut Cache, each: &str) -> usize {
    let mut sent = 0;
    while cache.rig.network.look(cache.client).to_engine.free() >= each.len() {
        cache.ask(each);
        sent += 1;
        assert!(sent < 100_000, "the client is never paused");
    }
    sent
}

#[test]
fn a_client_that_sends_nothing_else_is_slowed_to_what_its_server_takes() {
    let mut cache = Cache::with(Pool { timeout: None, ..pool(1) }, 1000);
    let key = cache.keys[0].clone();
    let request = set_noreply(&key, "0123456789");
    let mut sent = fill(&mut cache, &request);
    // What the pipes hold and what a new client may have under way.
    assert!(sent < 150, "{sent} requests");
    assert!(cache.rig.worker.engine.buffered_bytes() < 1 << 20);
    let in_queue = |cache: &Cache| cache.rig.worker.counts.pools[0].servers[0].in_queue.value();
    assert!(in_queue(&cache) > 10);
    // The server reads again: everything goes on.
    let mut heard = cache.heard(0);
    sent += fill(&mut cache, &request);
    loop {
        let more = cache.heard(0);
        if more.is_empty() {
            break;
        }
        heard += &more;
    }
    assert_eq!(in_queue(&cache), 0);
    assert_eq!(heard.len(), request.len() * sent);
    assert!(heard == request.repeat(sent), "each of them once and in order");
    cache.assert_in_step();
}

#[test]
fn a_silent_client_never_exceeds_the_limit_of_requests_however_long_it_lives() {
    let limits = Limits { client_requests_max: 40, ..Limits::default() };
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, limits, 1000);
    let client = rig.client();
    let key = rig.key(0, 0);
    let request = set_noreply(&key, "0123456789");
    rig.send(client, &request);
    let server = rig.server(0);
    let most = |rig: &Rig| rig.worker.counts.pools[0].servers[0].in_queue.value();
    for _ in 0..500 {
        while rig.network.look(client).to_engine.free() >= request.len() {
            rig.send(client, &request);
        }
        assert!(most(&rig) <= 40, "{} requests", most(&rig));
        rig.read(server);
    }
    assert!(most(&rig) > 10);
}

#[test]
fn a_server_that_takes_nothing_for_the_timeout_has_failed() {
    let mut cache = Cache::with(pool(1), 100);
    let key = cache.keys[0].clone();
    let (large, other) = ("x".repeat(50), cache.rig.client());
    let sent = fill(&mut cache, &set_noreply(&key, &large));
    assert!(sent > 5);
    cache.rig.send(other, get(&key));
    cache.rig.pass_ms(399);
    assert!(cache.is_connected(0));
    cache.rig.pass_ms(1);
    assert!(!cache.is_connected(0));
    assert_eq!(cache.rig.read(other), TIMED_OUT);
    assert_eq!(cache.got(), "");
}

#[test]
fn a_client_that_quits_or_vanishes_has_its_silent_requests_carried_out() {
    for quits in [true, false] {
        let mut cache = Cache::with(pool(1), 100);
        let key = cache.keys[0].clone();
        let requests = set_noreply(&key, &"x".repeat(30)).repeat(4);
        for piece in requests.as_bytes().chunks(50) {
            cache.ask(piece);
        }
        match quits {
            true => cache.ask("quit\r\n"),
            false => cache.rig.close(cache.client),
        }
        let other = cache.rig.client();
        let mut heard = String::new();
        while heard.len() < requests.len() {
            let more = cache.heard(0);
            assert!(!more.is_empty(), "{heard}");
            heard += &more;
        }
        assert_eq!(heard, requests);
        cache.client = other;
        cache.assert_in_step();
    }
}

#[test]
fn an_error_to_a_silent_request_is_swallowed_when_nothing_else_is_under_way() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(set_noreply(&key, "v"));
    assert_eq!(cache.heard(0), set_noreply(&key, "v"));
    cache.answer(0, OUT_OF_MEMORY);
    assert_eq!(cache.got(), "");
    assert!(cache.is_connected(0));
    cache.assert_in_step();
}

/// One silent request, then two of another client that are not: the server has answered with an error and was asked.
fn in_doubt() -> (Cache, WireId) {
    let mut cache = Cache::new(1);
    let (key, other) = (cache.keys[0].clone(), cache.rig.client());
    cache.ask(set_noreply(&key, "v"));
    cache.rig.send(other, gets(&key) + &gets(&key));
    let asked = set_noreply(&key, "v") + &gets(&key) + &gets(&key);
    assert_eq!(cache.heard(0), asked);
    cache.answer(0, OUT_OF_MEMORY);
    assert_eq!(cache.rig.read(other), "", "kept back");
    assert_eq!(cache.heard(0), "version\r\n");
    (cache, other)
}

#[test]
fn a_doubtful_error_is_the_reply_it_is_counted_to_be() {
    let (mut cache, other) = in_doubt();
    let key = cache.keys[0].clone();
    // What comes later waits behind the question.
    cache.ask("version\r\n".to_owned() + &get(&key));
    cache.answer(0, found(&key, "1"));
    assert_eq!(cache.rig.read(other), "", "kept back");
    cache.answer(0, "VERSION of the question\r\n");
    assert_eq!(cache.rig.read(other), OUT_OF_MEMORY.to_owned() + &found(&key, "1"));
    cache.answer(0, "VERSION 1\r\n".to_owned() + &found(&key, "2"));
    assert_eq!(cache.got(), "VERSION 1\r\n".to_owned() + &found(&key, "2"));
    assert!(cache.is_connected(0));
    cache.assert_in_step();
}

#[test]
fn a_reply_too_many_ends_the_connection_and_is_nobodys() {
    let (mut cache, other) = in_doubt();
    let key = cache.keys[0].clone();
    cache.answer(0, found(&key, "1"));
    assert!(cache.is_connected(0));
    cache.answer(0, found(&key, "2"));
    assert!(!cache.is_connected(0));
    assert_eq!(cache.rig.read(other), INVALID.repeat(2));
    assert_eq!(cache.got(), "");
    cache.assert_in_step();
}

#[test]
fn a_doubt_ends_with_the_connection_and_with_the_patience_of_those_who_wait() {
    let (mut cache, other) = in_doubt();
    cache.rig.pass_ms(400);
    assert_eq!(cache.rig.read(other), TIMED_OUT.repeat(2));
    cache.rig.pass_ms(400);
    assert!(!cache.is_connected(0), "it stayed silent");
    cache.assert_in_step();
}

#[test]
fn an_error_to_a_later_silent_request_does_not_touch_the_reply_before_it() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(get(&key) + &set_noreply(&key, "v"));
    cache.answer(0, "SERVER_ERROR of the get\r\n".to_owned() + OUT_OF_MEMORY);
    assert_eq!(cache.got(), "SERVER_ERROR of the get\r\n");
    assert!(cache.is_connected(0));
    cache.assert_in_step();
}

#[test]
fn a_server_that_answers_once_is_asked_for_answers_from_then_on() {
    for is_alone in [true, false] {
        let mut cache = Cache::new(1);
        let key = cache.keys[0].clone();
        cache.ask(set_noreply(&key, "v"));
        if !is_alone {
            cache.ask(get(&key));
        }
        cache.answer(0, OUT_OF_MEMORY);
        if !is_alone {
            cache.answer(0, found(&key, "v") + "VERSION 1\r\n");
        }
        cache.got();
        cache.assert_in_step();
        // `noreply` is blanked out, and the answers are dropped whatever they are.
        let pipeline = get(&key)
            + &set_noreply(&key, "noreply")
            + &format!("incr {key} 1 noreply\r\n")
            + &get(&key);
        cache.ask(&pipeline);
        let heard = cache.heard(0);
        assert_eq!(heard.len(), pipeline.len());
        assert_eq!(heard, pipeline.replace(" noreply\r\n", "        \r\n"));
        let answers = found(&key, "1") + OUT_OF_MEMORY + "17\r\n" + &found(&key, "2");
        for byte in answers.as_bytes() {
            cache.answer(0, [*byte]);
        }
        assert_eq!(cache.got(), found(&key, "1") + &found(&key, "2"));
        assert!(cache.is_connected(0));
        cache.assert_in_step();
        // A large one arrives in pieces.
        let large = set_noreply(&key, &"x".repeat(100_000));
        large.as_bytes().chunks(10_000).for_each(|piece| cache.ask(piece));
        assert_eq!(cache.heard(0), large.replace(" noreply\r\n", "        \r\n"));
        cache.answer(0, "STORED\r\n");
        assert_eq!(cache.got(), "");
        cache.assert_in_step();
    }
}

#[test]
fn a_success_that_the_next_request_cannot_have_ends_the_connection() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(set_noreply(&key, "v") + &get(&key));
    cache.answer(0, "STORED\r\n".to_owned() + &found(&key, "v"));
    assert_eq!(cache.got(), INVALID);
    cache.assert_in_step();
}

#[test]
fn an_answer_to_a_silent_request_that_is_still_being_written_is_swallowed() {
    let mut cache = Cache::with(pool(1), 100);
    let key = cache.keys[0].clone();
    let request = set_noreply(&key, &"x".repeat(300));
    let pipeline = request.clone() + &get(&key);
    for piece in pipeline.as_bytes().chunks(40) {
        cache.ask(piece);
    }
    cache.answer(0, "SERVER_ERROR object too large for cache\r\n");
    assert!(cache.is_connected(0));
    let mut heard = String::new();
    while heard.len() < pipeline.len() {
        heard += &cache.heard(0);
    }
    assert_eq!(heard, pipeline);
    cache.answer(0, "END\r\n");
    assert_eq!(cache.got(), "END\r\n");
    cache.assert_in_step();
}

#[test]
fn silent_requests_that_are_refused_for_memory_leave_no_bytes_behind() {
    let limits = Limits { worker_memory_bytes_max: 1, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 1 << 20);
    let (holder, client) = (rig.client(), rig.client());
    rig.send(holder, "get half a request");
    rig.send(client, set_noreply("k", "v") + &set("k", "v"));
    assert_eq!(
        rig.read(client),
        "SERVER_ERROR max_memory of the proxy is reached, try again later\r\n"
    );
}

#[test]
fn a_server_that_tells_no_version_settles_a_doubt_by_its_end() {
    let cases = [
        // It refuses the question of the proxy.
        ("get KEY\r\n", "SERVER_ERROR busy\r\nERROR\r\n"),
        // Or that of a client: the answer to the proxy's looks like the one to the client's.
        ("version\r\n", "SERVER_ERROR busy\r\nVERSION 1.6.18\r\n"),
    ];
    for (request, answers) in cases {
        let mut cache = Cache::of(Pool { timeout: None, ..pool(1) });
        let key = cache.keys[0].clone();
        cache.ask(set_noreply(&key, "v") + &request.replace("KEY", &key));
        cache.answer(0, answers);
        assert_eq!(cache.got(), INVALID, "{request}");
        assert!(!cache.is_connected(0));
        cache.assert_in_step();
    }
}

#[test]
fn a_version_that_clients_wait_for_is_told_from_the_answer_to_the_question() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    let asked = set_noreply(&key, "v") + &get(&key) + "version\r\n" + &get(&key);
    cache.ask(&asked);
    cache.answer(0, "SERVER_ERROR of the get\r\n");
    assert_eq!(cache.heard(0), asked + "version\r\n");
    cache.answer(0, "VERSION for the client\r\n".to_owned() + &found(&key, "2"));
    assert_eq!(cache.got(), "", "kept back");
    cache.answer(0, "VERSION for the proxy\r\n");
    let replies = "SERVER_ERROR of the get\r\nVERSION for the client\r\n".to_owned();
    assert_eq!(cache.got(), replies + &found(&key, "2"));
    assert!(cache.is_connected(0));
    cache.assert_in_step();
}

#[test]
fn a_question_once_answered_covers_every_silent_request_before_it() {
    let mut cache = Cache::new(1);
    let key = cache.keys[0].clone();
    cache.ask(set_noreply(&key, "v") + &get(&key) + &set_noreply(&key, "w"));
    cache.answer(0, OUT_OF_MEMORY.to_owned() + "VERSION 1\r\n");
    assert_eq!(cache.got(), OUT_OF_MEMORY);
    cache.heard(0);
    cache.ask(get(&key));
    cache.answer(0, OUT_OF_MEMORY);
    assert_eq!(cache.got(), OUT_OF_MEMORY, "no doubt any more");
    assert_eq!(cache.heard(0), get(&key));
    cache.assert_in_step();
}
