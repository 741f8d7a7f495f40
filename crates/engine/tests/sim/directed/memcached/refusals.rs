//! What no server ever sees: requests refused with their bodies swallowed, and bytes that end the connection.

use engine::Event;
use engine::topology::Pool;

use super::{BAD_FORMAT, CONTROL_BYTE, Cache, TOO_LARGE, found, get, pool, set, value};
use crate::reactor::peer_of;

/// Sends `bytes` to a fresh proxy whole, byte by byte and in two pieces at every split; `check` looks at the outcome.
fn at_every_split(pool: &Pool, bytes: &[u8], check: impl Fn(&mut Cache)) {
    for cut in 0..bytes.len() {
        let mut cache = Cache::of(pool.clone());
        cache.ask(&bytes[..cut]);
        cache.ask(&bytes[cut..]);
        check(&mut cache);
    }
    let mut cache = Cache::of(pool.clone());
    bytes.chunks(1).for_each(|byte| cache.ask(byte));
    check(&mut cache);
}

#[test]
fn a_value_may_arrive_in_any_pieces() {
    let request = "set key0000  7 -1  9 \r\nget\r\n\r\n\r\n\r\n";
    at_every_split(&pool(1), request.as_bytes(), |cache| {
        assert_eq!(cache.heard(0), request);
        assert_eq!(cache.got(), "");
        cache.answer(0, "STORED\r\n");
        assert_eq!(cache.got(), "STORED\r\n");
        cache.assert_in_step();
    });
}

#[test]
fn what_is_refused_swallows_its_body_and_the_connection_lives_on() {
    let long = "k".repeat(251);
    let limited = Pool { item_bytes_max: 20, ..pool(1) };
    // Bodies that would be commands if they were taken for some.
    let cases = [
        (format!("set {long} 0 0 13\r\nflush_all\r\nab\r\n"), BAD_FORMAT),
        ("set a\0b 0 0 6\r\nquit\r\n\r\n".into(), CONTROL_BYTE),
        ("set a\nb 0 0 6\r\nquit\r\n\r\n".into(), CONTROL_BYTE),
        ("add a 0 0 21\r\nget a\r\nget a\r\nget a\r\n\r\n".into(), TOO_LARGE),
        ("cas a 0 0 6 x\r\nquit\r\n\r\n".into(), BAD_FORMAT),
        ("set a x 0 6\r\nquit\r\n\r\n".into(), BAD_FORMAT),
        ("ms a 6 c c\r\nquit\r\n\r\n".into(), "CLIENT_ERROR duplicate flag\r\n"),
        ("ms a 21\r\nget a\r\nget a\r\nget a\r\n\r\n".into(), TOO_LARGE),
    ];
    for (refused, words) in cases {
        let request = refused + &get("key0000");
        at_every_split(&limited, request.as_bytes(), |cache| {
            assert_eq!(cache.heard(0), get("key0000"), "{request}");
            assert_eq!(cache.got(), words, "{request}");
            cache.answer(0, found("key0000", "v"));
            assert_eq!(cache.got(), found("key0000", "v"));
            cache.rig.assert_at_rest();
        });
    }
}

#[test]
fn what_is_refused_and_wants_no_reply_gets_none() {
    let long = "k".repeat(251);
    for refused in [
        format!("set {long} 0 0 6 noreply\r\nquit\r\n\r\n"),
        "set a\x7f 0 0 6 noreply\r\nquit\r\n\r\n".into(),
        "set a 0 0 21 noreply\r\nget a\r\nget a\r\nget a\r\n\r\n".into(),
        format!("delete {long} noreply\r\n"),
    ] {
        let mut cache = Cache::of(Pool { item_bytes_max: 20, ..pool(1) });
        cache.ask(refused + &get("key0000"));
        assert_eq!(cache.heard(0), get("key0000"));
        assert_eq!(cache.got(), "");
        cache.answer(0, "END\r\n");
        assert_eq!(cache.got(), "END\r\n");
        cache.rig.assert_at_rest();
    }
}

#[test]
fn refusals_without_a_body_leave_the_connection_as_it_is() {
    let long = "k".repeat(251);
    let cases = [
        ("bogus\r\n".to_owned(), "ERROR\r\n"),
        ("\r\n".into(), "ERROR\r\n"),
        ("GET a\r\n".into(), "ERROR\r\n"),
        ("get\r\n".into(), "ERROR\r\n"),
        (format!("get {long}\r\n"), BAD_FORMAT),
        (format!("get a b {long} c\r\n"), BAD_FORMAT),
        ("get a\tb\r\n".into(), CONTROL_BYTE),
        ("get a\nflush_all\r\n".into(), CONTROL_BYTE),
        ("mg a 1\r\n".into(), "CLIENT_ERROR invalid flag\r\n"),
        ("mg !!!! b\r\n".into(), "CLIENT_ERROR error decoding key\r\n"),
    ];
    let mut cache = Cache::new(1);
    for (request, words) in cases {
        cache.ask(&request);
        assert_eq!(cache.got(), words, "{request}");
        assert_eq!(cache.heard(0), "", "{request}");
    }
    cache.assert_in_step();
}

#[test]
fn broken_framing_is_answered_after_earlier_replies_and_then_closed() {
    let endless = format!("delete {}", "x".repeat(9_000));
    let cases = [
        ("get a\rb\r\n", "CLIENT_ERROR bad command line format: LF must follow CR\r\n"),
        ("set a 0 0 x\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        ("set a 0 0 -1\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        ("set a 0 0 2\r\nabcd\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        ("ms a 2\r\nabcd\r\n", "CLIENT_ERROR bad data chunk\r\n"),
        (&endless, "CLIENT_ERROR line too long\r\n"),
    ];
    for (broken, words) in cases {
        let mut cache = Cache::new(2);
        let keys = cache.keys.clone();
        cache.ask(get(&keys[0]) + &get(&keys[1]) + broken + &get(&keys[0]));
        assert_eq!(cache.heard(0), get(&keys[0]), "nothing behind it is served");
        assert_eq!(cache.heard(1), get(&keys[1]));
        cache.answer(1, found(&keys[1], "2"));
        assert_eq!(cache.got(), "");
        cache.answer(0, found(&keys[0], "1"));
        assert_eq!(cache.got(), found(&keys[0], "1") + &found(&keys[1], "2") + words, "{broken}");
        assert!(cache.rig.is_closed(cache.client));
        assert!(cache.is_connected(0) && cache.is_connected(1));
        cache.rig.assert_at_rest();
    }
}

#[test]
fn the_binary_protocol_is_answered_in_it_and_closed() {
    let mut cache = Cache::new(1);
    let mut request = vec![0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef];
    request.extend([0; 8]);
    cache.ask(&request);
    let response = cache.rig.network.read(cache.client, usize::MAX);
    assert_eq!(response[..2], [0x81, 0x0a]);
    assert_eq!(response[12..16], request[12..16], "the opaque");
    assert_eq!(response.len(), 24 + usize::from(response[11]));
    let peer = Some(peer_of(cache.client));
    assert_eq!(cache.rig.events(), [Event::BinaryProtocol { pool: 0, peer }]);
    cache.rig.settle();
    assert!(cache.rig.is_closed(cache.client));
    assert_eq!(cache.heard(0), "");
    cache.rig.assert_at_rest();
}

#[test]
fn a_client_that_half_closes_gets_every_reply() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(get(&a) + &set(&b, "v") + &format!("get {a} {b}\r\n"));
    cache.rig.half_close(cache.client);
    cache.answer(1, format!("STORED\r\n{}END\r\n", value(&b, "v")));
    cache.answer(0, "END\r\nEND\r\n");
    assert_eq!(cache.got(), format!("END\r\nSTORED\r\n{}END\r\n", value(&b, "v")));
    assert!(cache.rig.is_closed(cache.client));
    cache.rig.assert_at_rest();
}

#[test]
fn a_line_that_ends_with_a_lone_line_feed_is_explained_at_the_end_of_input() {
    const EXPLAINED: &str = "CLIENT_ERROR lines have to end with \\r\\n\r\n";
    for (input, explanation) in
        [("get a\n", EXPLAINED), ("get a", ""), ("set a 0 0 4\r\na\nb", ""), ("x\ny", EXPLAINED)]
    {
        let mut cache = Cache::new(1);
        let key = cache.keys[0].clone();
        cache.ask(get(&key) + input);
        cache.rig.half_close(cache.client);
        assert_eq!(cache.got(), "");
        cache.answer(0, found(&key, "v"));
        assert_eq!(cache.got(), found(&key, "v") + explanation, "{input:?}");
        assert!(cache.rig.is_closed(cache.client));
        assert_eq!(cache.heard(0), get(&key));
        cache.rig.assert_at_rest();
    }
}
