//! Any bytes at all, from clients and from servers of a memcached pool: the engine survives them and nobody else notices.

use engine::topology::{FlushAll, Pool, Protocol};
use proptest::collection::vec;
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proto::memcached::command;

use super::wire_format::{Request, parse_request, replies};
use crate::network::WireId;
use crate::rig::Rig;
use crate::scenario;
use crate::server::Parsed;

/// Bytes that look like the protocol more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\r\n",
        "\r",
        "\n",
        " ",
        "  ",
        "noreply\r\n",
        " noreply",
        "0",
        "1",
        "-1",
        "4294967297",
        "get a\r\n",
        "get a b c\r\n",
        "gets a a b\r\n",
        "gat 0 a b\r\n",
        "set a 0 0 1\r\nx\r\n",
        "set a 0 0 1 noreply\r\nx\r\n",
        "set a 0 0 300\r\n",
        "cas a 0 0 0 1 noreply\r\n\r\n",
        "mg a v q\r\n",
        "mg b k O1 q\r\n",
        "ms a 2 q\r\n\r\n\r\n",
        "md a q\r\n",
        "mn\r\n",
        "delete a noreply\r\n",
        "version\r\n",
        "flush_all\r\n",
        "flush_all noreply\r\n",
        "stats\r\n",
        "quit\r\n",
        "END\r\n",
        "VALUE a 0 1\r\nx\r\n",
        "VALUE b 0 1\r\nx\r\nEND\r\n",
        "STORED\r\n",
        "HD\r\n",
        "EN\r\n",
        "VA 1\r\nx\r\n",
        "OK\r\n",
        "VERSION 1\r\n",
        "ERROR\r\n",
        "SERVER_ERROR x\r\n",
        "CLIENT_ERROR bad data chunk\r\n",
        "\x7f",
        "\0",
    ];
    let piece = (0..pieces.len()).prop_map(move |i| pieces[i].as_bytes().to_vec());
    let names: Vec<&str> = command::all().iter().map(|command| command.name).collect();
    let words = vec("[a-c0-3vkqbO]{1,3}", 0..6);
    let line = (0..names.len(), words).prop_map(move |(name, words)| {
        let mut all = vec![names[name]];
        all.extend(words.iter().map(String::as_str));
        (all.join(" ") + "\r\n").into_bytes()
    });
    vec(prop_oneof![4 => piece, 3 => line, 1 => vec(any::<u8>(), 0..20)], 0..30)
        .prop_map(|all| all.concat())
}

fn pool(servers: usize) -> Pool {
    let flush_all = FlushAll::Forward;
    Pool {
        protocol: Protocol::Memcached,
        flush_all,
        item_bytes_max: 1000,
        ..scenario::pool(servers)
    }
}

fn get(key: &str) -> String {
    format!("get {key}\r\n")
}

fn found(key: &str) -> String {
    format!("VALUE {key} 0 2\r\n\r\n\r\nEND\r\n")
}

/// What an honest server says: it has every key that is asked for.
fn answer(request: &Request) -> String {
    let word =
        |at: usize| String::from_utf8_lossy(request.words.get(at).map_or(b"", Vec::as_slice));
    let may_be_silent =
        matches!(request.name(), "incr" | "decr" | "touch" | "delete" | "flush_all")
            || request.data.is_some();
    if may_be_silent && request.words.last().is_some_and(|last| last == b"noreply") {
        return String::new();
    }
    match request.name() {
        name @ ("get" | "gets" | "gat" | "gats") => {
            let first = if name.starts_with("gat") { 2 } else { 1 };
            let unique = if name.ends_with('s') { " 7" } else { "" };
            let keys = (first..request.words.len()).map(word);
            let values = keys.map(|key| format!("VALUE {key} 0 2{unique}\r\n\r\n\r\n"));
            values.collect::<String>() + "END\r\n"
        }
        "incr" | "decr" => "7\r\n".into(),
        "touch" => "TOUCHED\r\n".into(),
        "delete" => "DELETED\r\n".into(),
        "version" => "VERSION 1\r\n".into(),
        "flush_all" => "OK\r\n".into(),
        "mg" | "ms" | "md" | "ma" => "HD\r\n".into(),
        "me" => "EN\r\n".into(),
        _ => "STORED\r\n".into(),
    }
}

/// Answers everything that `server` was asked.
fn serve(rig: &mut Rig, server: WireId) {
    let asked = rig.network.read(server, usize::MAX);
    let mut rest = &asked[..];
    let mut all = String::new();
    while !rest.is_empty() {
        match parse_request(rest) {
            Ok(Parsed::Whole(request, len)) => {
                all += &answer(&request);
                rest = &rest[len..];
            }
            other => panic!("a server received {}: {other:?}", rest.escape_ascii()),
        }
    }
    rig.send(server, all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn whatever_a_memcached_client_sends_others_get_their_replies(chunks in vec(bytes(), 1..6)) {
        let mut rig = Rig::new(pool(1));
        let (honest, other) = (rig.client(), rig.client());
        rig.send(honest, get("first"));
        let server = rig.server(0);
        let mut expected = found("first");
        for (n, chunk) in chunks.iter().enumerate() {
            rig.send(other, chunk);
            let key = format!("key{n}");
            rig.send(honest, get(&key));
            expected += &found(&key);
            serve(&mut rig, server);
        }
        prop_assert!(!rig.is_closed(server));
        prop_assert_eq!(rig.read(honest), expected);
        // What the other one gets are replies, whole ones, and the end if it asked for it.
        let received = rig.network.read(other, usize::MAX);
        prop_assert!(replies(&received).is_ok(), "{}", received.escape_ascii());
        rig.half_close(other);
        serve(&mut rig, server);
        rig.network.read(other, usize::MAX);
        prop_assert!(rig.is_closed(other));
        rig.assert_at_rest();
    }

    #[test]
    fn however_a_memcached_client_cuts_its_bytes_the_replies_are_the_same(
        chunk in bytes(),
        cut in 1..9_usize,
    ) {
        let outcome = |cut: usize| {
            let mut rig = Rig::new(pool(1));
            let (honest, client) = (rig.client(), rig.client());
            rig.send(honest, get("warm"));
            let server = rig.server(0);
            for piece in chunk.chunks(cut) {
                rig.send(client, piece);
            }
            serve(&mut rig, server);
            rig.half_close(client);
            serve(&mut rig, server);
            rig.network.read(client, usize::MAX)
        };
        let (whole, cut) = (outcome(usize::MAX), outcome(cut));
        // The binary protocol is refused in as much detail as has arrived.
        if !whole.contains(&0x81) {
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn whatever_a_memcached_server_answers_each_request_gets_one_reply(
        chunks in vec(bytes(), 1..6),
    ) {
        let mut rig = Rig::new(pool(2));
        let (honest, other) = (rig.client(), rig.client());
        let (a, b, c) = (rig.key(0, 0), rig.key(1, 0), rig.key(1, 1));
        rig.send(honest, get(&a));
        let good = rig.server(0);
        let mut expected = String::new();
        let mut bad = None;
        for chunk in &chunks {
            rig.send(honest, get(&a));
            expected += &found(&a);
            let silent = format!("set {b} 0 0 1 noreply\r\nx\r\nmg {b} q\r\ndelete {c} noreply\r\n");
            rig.send(other, get(&b) + &silent + &format!("get {a} {b} {c}\r\nmn\r\n"));
            bad = rig.network.accept(0, 1).or(bad);
            if let Some(bad) = bad {
                rig.send(bad, chunk);
            }
            serve(&mut rig, good);
        }
        expected += &found(&a);
        prop_assert_eq!(rig.read(honest), expected);
        // The bad server dies, whatever connection it had last.
        while let Some(bad) = rig.network.accept(0, 1).or(bad.take()) {
            rig.close(bad);
        }
        serve(&mut rig, good);
        let received = rig.network.read(other, usize::MAX);
        let received = replies(&received);
        prop_assert!(received.is_ok(), "{received:?}");
        let mut received = received.unwrap_or_default().into_iter();
        for _ in &chunks {
            // The first, the quiet one perhaps, and the split one.
            let round = received.by_ref().take_while(|reply| *reply != b"MN\r\n").count();
            prop_assert!((2..=3).contains(&round), "{round} replies");
        }
        prop_assert_eq!(received.next(), None);
        rig.assert_at_rest();
    }
}
