//! Any bytes at all, from clients and from servers: the engine survives them and nobody else notices.

use engine::topology::Limits;
use proptest::collection::vec;
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proto::Span;
use proto::resp::command;
use proto::resp::{RequestScanner, Scan};

use crate::network::WireId;
use crate::resp::wire_format::reply_len;
use crate::rig::{Rig, bulk, command as request};
use crate::scenario::pool;

/// Bytes that look like RESP more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "*",
        "$",
        "\r\n",
        "-",
        "+",
        ":",
        "0",
        "1",
        "3",
        "4294967297",
        "-1",
        "99999999999999999999",
        "*1\r\n",
        "*2\r\n",
        "*3\r\n",
        "$3\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        ":1\r\n",
        "+OK\r\n",
        "-LOADING\r\n",
        "-ERR x\r\n",
        "$3\r\nabc\r\n",
        "*2\r\n$1\r\na\r\n:7\r\n",
        "get a\r\n",
        "\"",
        "'",
        "ping\r\n",
        "quit\r\n",
        "%1\r\n",
        "_\r\n",
        "*1000000000\r\n",
        "$500000000\r\n",
    ];
    let piece = (0..pieces.len()).prop_map(move |i| pieces[i].as_bytes().to_vec());
    let names: Vec<&str> = command::all().iter().map(|command| command.name).collect();
    let words = vec("[a-c{}0-3]{0,3}", 0..6);
    let whole = (0..names.len(), words).prop_map(move |(name, words)| {
        let mut all: Vec<&str> = names[name].split('|').collect();
        all.extend(words.iter().map(String::as_str));
        request(&all).into_bytes()
    });
    vec(prop_oneof![2 => piece, 2 => whole, 1 => vec(any::<u8>(), 0..20)], 0..30)
        .prop_map(|all| all.concat())
}

/// Answers everything that `server` was asked: GETs with their key, anything else with an error.
fn serve(rig: &mut Rig, server: WireId) {
    let asked = rig.network.read(server, usize::MAX);
    let mut at = 0;
    let mut replies = Vec::new();
    while at < asked.len() {
        let mut args: Vec<Span> = Vec::new();
        let Scan::Complete(len) = RequestScanner::default().scan(&asked[at..], &mut args) else {
            panic!("a server received {:?}", asked[at..].escape_ascii().to_string());
        };
        match args[..] {
            [name, key] if name.of(&asked[at..]) == b"get" => {
                replies.extend(crate::resp::wire_format::bulk(key.of(&asked[at..])));
            }
            _ => replies.extend_from_slice(b"-ERR no\r\n"),
        }
        at += len;
    }
    rig.send(server, replies);
}

fn count_replies(bytes: &[u8]) -> usize {
    let (count, rest) = replies_and_rest(bytes);
    assert!(rest.is_empty(), "whole replies only: {:?}", rest.escape_ascii().to_string());
    count
}

fn replies_and_rest(mut bytes: &[u8]) -> (usize, &[u8]) {
    let mut count = 0;
    while let Ok(Some(len)) = reply_len(bytes) {
        bytes = &bytes[len..];
        count += 1;
    }
    (count, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn whatever_a_client_sends_others_get_their_replies(chunks in vec(bytes(), 1..6)) {
        let mut rig = Rig::new(pool(1));
        let (honest, other) = (rig.client(), rig.client());
        rig.send(honest, request(&["get", "first"]));
        let server = rig.server(0);
        let mut expected = bulk("first");
        for (n, chunk) in chunks.iter().enumerate() {
            rig.send(other, chunk);
            let key = format!("key{n}");
            rig.send(honest, request(&["get", &key]));
            expected += &bulk(&key);
            serve(&mut rig, server);
        }
        prop_assert!(!rig.is_closed(server));
        prop_assert_eq!(rig.read(honest), expected);
        // What the other one gets are replies, whole ones, and the end if it asked for it.
        let replies = rig.network.read(other, usize::MAX);
        count_replies(&replies);
        rig.half_close(other);
        serve(&mut rig, server);
        rig.network.read(other, usize::MAX);
        prop_assert!(rig.is_closed(other));
        rig.assert_at_rest();
    }

    #[test]
    fn however_a_client_cuts_its_bytes_the_replies_are_the_same(chunk in bytes(), cut in 1..9_usize) {
        let outcome = |cut: usize| {
            let mut rig = Rig::new(pool(1));
            let (honest, client) = (rig.client(), rig.client());
            rig.send(honest, request(&["get", "warm"]));
            let server = rig.server(0);
            for piece in chunk.chunks(cut) {
                rig.send(client, piece);
            }
            serve(&mut rig, server);
            rig.half_close(client);
            serve(&mut rig, server);
            rig.network.read(client, usize::MAX)
        };
        prop_assert_eq!(outcome(usize::MAX), outcome(cut));
    }

    #[test]
    fn whatever_a_server_answers_each_request_gets_one_reply(
        chunks in vec(bytes(), 1..6),
        cut_through_bytes_min in proptest::sample::select(&[1, 20, usize::MAX][..]),
    ) {
        let limits = Limits { cut_through_bytes_min, ..Limits::default() };
        let mut rig = Rig::with(pool(2), limits, 64 << 20);
        let (honest, other) = (rig.client(), rig.client());
        let (a, b, c) = (rig.key(0, 0), rig.key(1, 0), rig.key(1, 1));
        rig.send(honest, request(&["get", &a]));
        let good = rig.server(0);
        let mut expected = String::new();
        let mut sent = 0;
        let mut bad = None;
        for chunk in &chunks {
            rig.send(honest, request(&["get", &a]));
            expected += &bulk(&a);
            rig.send(other, request(&["get", &b]) + &request(&["mget", &a, &b, &c]) + &request(&["del", &b, &a]));
            sent += 3;
            bad = rig.network.accept(0, 1).or(bad);
            if let Some(bad) = bad {
                rig.send(bad, chunk);
            }
            answer_in_full(&mut rig, good);
        }
        expected += &bulk(&a);
        prop_assert_eq!(rig.read(honest), expected);
        // The bad server dies, whatever connection it had last.
        while let Some(bad) = rig.network.accept(0, 1).or(bad.take()) {
            rig.close(bad);
        }
        answer_in_full(&mut rig, good);
        let replies = rig.network.read(other, usize::MAX);
        let (count, rest) = replies_and_rest(&replies);
        if rig.is_closed(other) {
            // A reply had begun to flow when its server failed: nothing follows.
            prop_assert!(count < sent && !rest.is_empty() && cut_through_bytes_min != usize::MAX);
        } else {
            prop_assert_eq!((count, rest), (sent, &b""[..]));
        }
        rig.assert_at_rest();
    }
}

/// Answers everything a server was asked truly enough: GET, MGET of one key and DEL.
fn answer_in_full(rig: &mut Rig, server: WireId) {
    let asked = rig.read(server);
    let mut replies = String::new();
    let mut lines = asked.split("\r\n");
    while let (Some(_), Some(_), Some(name), Some(_), Some(key)) =
        (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
    {
        match name {
            "get" => replies += &bulk(key),
            "mget" => replies += &format!("*1\r\n{}", bulk(key)),
            _ => replies += ":1\r\n",
        }
    }
    rig.send(server, replies);
}
