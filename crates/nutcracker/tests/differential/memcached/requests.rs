//! Requests on the wire: what the server receives, what the client gets, and whether its connection is closed.

use std::time::Duration;

use serde_json::Value;

use super::super::allowed::{Allowed, Observed};
use super::{PROBE, PROBE_REPLY, is_probe, latin1, reference, to_latin1, vectors};
use crate::harness::{Ending, FakeServer, Pool, Proxy, TextRequest, within};

/// Rows whose request has no end.
const UNFINISHED: [&str; 2] = ["partial", "value too short (waits)"];

/// Answers as the server did when the vectors were recorded.
fn recorded_server() -> FakeServer {
    FakeServer::answering_memcached(|request| {
        if is_probe(request) {
            return PROBE_REPLY.to_vec();
        }
        match request.command() {
            b"get" => values(request, ""),
            b"gets" => values(request, " 7"),
            _ if request.is_quiet() => Vec::new(),
            b"incr" | b"decr" => b"5\r\n".to_vec(),
            b"touch" => b"TOUCHED\r\n".to_vec(),
            b"delete" => b"DELETED\r\n".to_vec(),
            b"version" => b"VERSION 9.9.9\r\n".to_vec(),
            b"mg" => b"HD\r\n".to_vec(),
            b"gat" | b"gats" => b"END\r\n".to_vec(),
            _ => b"STORED\r\n".to_vec(),
        }
    })
}

fn values(request: &TextRequest, unique: &str) -> Vec<u8> {
    let value = |key: &Vec<u8>| {
        [b"VALUE ", key.as_slice(), format!(" 0 1{unique}\r\nx\r\n").as_bytes()].concat()
    };
    [request.words[1..].iter().flat_map(value).collect(), b"END\r\n".to_vec()].concat()
}

/// What the client gets for `input`, and whether the proxy closes the connection because of it.
fn exchange(proxy: &Proxy, input: &[u8], is_partial: bool) -> (Vec<u8>, bool) {
    let mut client = proxy.client();
    // The proxy may close before it has read all of this, which the reply shows.
    let _closed = client.try_send(input);
    if is_partial {
        let (got, ending) = client.drain(Duration::from_millis(150));
        return (got, ending != Ending::Open);
    }
    let _closed = client.try_send(PROBE);
    match client.read_through(PROBE_REPLY) {
        Ok(got) => (got, false),
        Err(got) => (got, true),
    }
}

fn observed(reply: &[u8], is_closed: bool, received: &[u8]) -> Observed {
    let received = received.strip_suffix(PROBE).unwrap_or(received);
    let mut facts = Observed::new();
    facts.insert("client_reply".into(), to_latin1(reply));
    facts.insert("client_closed".into(), Value::Bool(is_closed));
    facts.insert("backend_received".into(), to_latin1(received));
    facts
}

/// Runs one row through one proxy; waits until the server has received what is expected, or shows what it did receive.
fn observe(
    proxy: &Proxy,
    server: &FakeServer,
    input: &[u8],
    is_partial: bool,
    expected: &Observed,
) -> Observed {
    server.forget();
    let (reply, is_closed) = exchange(proxy, input, is_partial);
    let now = || observed(&reply, is_closed, &server.received());
    within(Duration::from_secs(2), || now()["backend_received"] == expected["backend_received"]);
    now()
}

/// Replies that differ from run to run: their first word has to do, or byte where there are no words.
fn without_varying(mut facts: Observed, input: &[u8]) -> Observed {
    let reply = latin1(&facts["client_reply"]).expect("a reply");
    let length = match input {
        b"stats\r\n" => reply.iter().take_while(|byte| **byte != b' ').count(),
        [0x80, ..] => reply.len().min(1),
        _ => return facts,
    };
    facts.insert("client_reply".into(), to_latin1(&reply[..length]));
    facts
}

/// Where twemproxy 0.5 is not installed, what was recorded of it is compared with.
#[test]
fn requests_differ_from_0_5_only_where_decided() {
    let fakes = [recorded_server(), recorded_server()];
    let [ours, theirs] = [&fakes[0], &fakes[1]].map(|fake| Pool::memcached(&[fake]));
    // What reaches the server is compared request by request.
    let ours = Proxy::with(ours.set("join_gets", false)).workers(1).start();
    let theirs = reference().map(|reference| Proxy::with(theirs).reference(&reference).start());
    let mut allowed = Allowed::read("memcached", "requests");
    for row in
        vectors("../memcached/twemproxy_0_5_requests.json")["cases"].as_array().expect("rows")
    {
        let input = latin1(&row["input"]).expect("an input");
        let name = input.escape_ascii().to_string();
        let is_partial = UNFINISHED.iter().any(|name| row["name"] == *name);
        let recorded = observed(
            &latin1(&row["client_reply"]).expect("a reply"),
            row["client_closed"].as_bool().expect("closed or not"),
            &latin1(&row["backend_received"]).expect("bytes"),
        );
        if let Some(theirs) = &theirs {
            let theirs = observe(theirs, &fakes[1], &input, is_partial, &recorded);
            assert_eq!(theirs, recorded, "the reference is not twemproxy 0.5: {name}");
        }
        let expected = allowed.expected(&name, &recorded).clone();
        let facts = observe(&ours, &fakes[0], &input, is_partial, &expected);
        allowed.compare(&name, &recorded, &without_varying(facts, &input));
    }
    allowed.finish();
}
