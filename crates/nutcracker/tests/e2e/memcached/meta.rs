//! Meta commands over several servers: quiet pipelines in their order, keys in base64, opaque numbers.

use crate::harness::{FakeServer, Pool, Proxy, Random, RealServer, WORKER_COUNTS};

use super::{echo_reply, holds, set, spread, value};

/// Base64 with padding, as flag `b` wants it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { LETTERS[index as usize].into() });
        }
    }
    text
}

#[test]
fn quiet_gets_over_several_servers_come_in_the_order_of_requests() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(4);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        for n in (0..300).filter(|n| n % 3 != 0) {
            set(&mut client, &format!("key{n}"), &format!("v{n}"));
        }
        let mut random = Random::seeded(workers.into());
        for round in 0..20 {
            let asked: Vec<usize> = (0..100).map(|_| random.below(300)).collect();
            let requests =
                asked.iter().enumerate().map(|(at, n)| format!("mg key{n} v q k O{at}\r\n"));
            let requests: String = requests.chain([format!("mn\r\nmg key{round} k\r\n")]).collect();
            let hits = asked.iter().enumerate().filter(|(_, n)| **n % 3 != 0).map(|(at, n)| {
                let text = format!("v{n}");
                format!("VA {} kkey{n} O{at}\r\n{text}\r\n", text.len())
            });
            let last = if round % 3 == 0 { "EN" } else { "HD" };
            let last = format!("MN\r\n{last} kkey{round}\r\n");
            client.ask(requests, hits.chain([last]).collect::<String>());
        }
    }
}

#[test]
fn quiet_requests_that_all_succeed_are_answered_by_the_barrier_alone() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let stores: String = (0..200).map(|n| format!("ms key{n} 4 q\r\n{n:04}\r\n")).collect();
        client.ask(format!("{stores}mn\r\n"), "MN\r\n");
        let counts: String = (0..200).map(|n| format!("ma key{n} q\r\n")).collect();
        client.ask(format!("{counts}mn\r\n"), "MN\r\n");
        client.ask("mg key7 v\r\n", "VA 4\r\n8   \r\n");
        let deletes: String = (0..200).map(|n| format!("md key{n} q\r\n")).collect();
        client.ask(format!("{deletes}mn\r\nmg key7 v\r\n"), "MN\r\nEN\r\n");
    }
}

#[test]
fn a_key_in_base64_lives_where_the_key_itself_lives() {
    let servers = RealServer::several_memcached(4);
    let proxy = Proxy::start(Pool::memcached(&servers).set("hash_tag", "\"{}\""));
    let mut client = proxy.client();
    for n in 0..40 {
        let key = format!("{{user{}}}:key{n}", n % 11);
        let encoded = base64(key.as_bytes());
        client.ask(format!("ms {encoded} 5 b\r\nv{n:04}\r\n"), "HD\r\n");
        client.ask(format!("get {key}\r\n"), value(&key, &format!("v{n:04}")));
        client.ask(format!("mg {key} v\r\n"), format!("VA 5\r\nv{n:04}\r\n"));
        client.ask(format!("mg {encoded} b v\r\n"), format!("VA 5\r\nv{n:04}\r\n"));
        client.ask(format!("md {encoded} b q\r\nmn\r\n"), "MN\r\n");
        client.ask(format!("get {key}\r\n"), "END\r\n");
    }
}

#[test]
fn a_key_of_any_bytes_is_carried_in_base64() {
    let servers = RealServer::several_memcached(3);
    let proxy = Proxy::start(Pool::memcached(&servers));
    let mut client = proxy.client();
    let mut random = Random::seeded(3);
    for length in [1, 2, 3, 10, 100, 186] {
        let key = base64(&random.bytes(length));
        client.ask(format!("ms {key} 1 b\r\nx\r\n"), "HD\r\n");
        client.ask(format!("mg {key} b v\r\n"), "VA 1\r\nx\r\n");
        client.ask(format!("md {key} b\r\n"), "HD\r\n");
    }
    for wrong in ["YQ=", "Y", "!!!!", "YQ==YQ=="] {
        client.send(format!("mg {wrong} b v\r\n").as_bytes());
        assert!(client.text_line().starts_with("CLIENT_ERROR "), "{wrong}");
    }
    client.ask("mn\r\n", "MN\r\n");
}

#[test]
fn quiet_and_loud_commands_of_both_kinds_keep_their_order() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 1).concat();
        let [a, b, c] = [&keys[0], &keys[1], &keys[2]];
        for _ in 0..30 {
            client.send(format!("ms {a} 1 q\r\nA\r\nset {b} 0 0 1 noreply\r\nB\r\n").as_bytes());
            client.send(format!("mg {c} v q\r\nget {a} {b} {c}\r\nmg {b} v O1\r\n").as_bytes());
            client.send(
                format!("md {a} q\r\ndelete {b} noreply\r\nmg {a} v\r\nget {b}\r\nmn\r\n")
                    .as_bytes(),
            );
            let values = format!("VALUE {a} 0 1\r\nA\r\nVALUE {b} 0 1\r\nB\r\nEND\r\n");
            client.expect(format!("{values}VA 1 O1\r\nB\r\nEN\r\nEND\r\nMN\r\n").as_bytes());
        }
    }
}

#[test]
fn the_barrier_waits_for_everything_before_it() {
    let gate = crate::harness::Gate::closed();
    let opened = gate.clone();
    let server = FakeServer::start(move |connection| {
        while let Some(request) = connection.text_request() {
            opened.pass();
            connection.send(&echo_reply(&request));
        }
    });
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    client.send(b"mg a v q\r\nmn\r\n");
    let (early, _) = client.drain(std::time::Duration::from_millis(60));
    assert_eq!(early, b"", "the barrier was answered before what stands before it");
    gate.open();
    client.expect(b"VA 1\r\na\r\nMN\r\n");
}

#[test]
fn flags_reach_the_server_as_they_were_sent() {
    let server = FakeServer::answering_memcached(|_| b"HD\r\n".to_vec());
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    for request in [
        "mg key f h k l s t v c O123 N30 R60 T90 E7\r\n",
        "mg key\r\n",
        "md key I T30 x O4 C77 k\r\n",
        "ma key N0 J5 D10 T9 MD t c v k O8 C1\r\n",
        "ms key 3 F9 I k O2 T60 MS C5 c b\r\nabc\r\n".replace(" b", "").as_str(),
        "me key\r\n",
    ] {
        server.forget();
        client.ask(request, "HD\r\n");
        assert_eq!(
            server.received().escape_ascii().to_string(),
            request.as_bytes().escape_ascii().to_string()
        );
    }
}

#[test]
fn an_error_of_a_server_that_is_away_breaks_no_pipeline() {
    let mut servers = RealServer::several_memcached(2);
    let proxy = Proxy::start(Pool::memcached(&servers));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1).concat();
    let [alive, dead] = [&keys[0], &keys[1]];
    set(&mut client, alive, "x");
    servers[1].stop();
    proxy.await_stat(&["server2", "server_connections"], 0);
    client.send(format!("mg {alive} v q\r\nmg {dead} v q\r\nmg {alive} k\r\nmn\r\n").as_bytes());
    client.expect(b"VA 1\r\nx\r\nSERVER_ERROR Connection refused\r\n");
    client.expect(format!("HD k{alive}\r\nMN\r\n").as_bytes());
    assert!(holds(&servers[0], alive));
}
