//! Requests on the wire: what the server receives, what the client gets, and whether its connection is closed.

use std::time::Duration;

use serde_json::Value;

use super::allowed::{Allowed, Observed};
use super::{Pair, latin1, reference, to_latin1, vectors};
use crate::harness::{Client, Ending, FakeServer, PATIENCE, Proxy, request, within};

/// Answers as the server did when the vectors were recorded.
fn recorded_server() -> FakeServer {
    FakeServer::answering(|words| match words[0].to_ascii_lowercase().as_slice() {
        b"mget" => {
            let mut reply = format!("*{}\r\n", words.len() - 1).into_bytes();
            reply.extend(words[1..].iter().flat_map(|key| value_of(key)));
            reply
        }
        b"del" | b"unlink" | b"touch" => format!(":{}\r\n", words.len() - 1).into_bytes(),
        b"get" => value_of(&words[1]),
        _ => b"+OK\r\n".to_vec(),
    })
}

fn value_of(key: &[u8]) -> Vec<u8> {
    [format!("${}\r\nv-", key.len() + 2).as_bytes(), key, b"\r\n"].concat()
}

/// What the client gets for `input`, and whether the proxy closes the connection because of it.
fn exchange(proxy: &Proxy, input: &[u8], is_partial: bool) -> (Vec<u8>, bool) {
    let mut client: Client = proxy.client();
    // The proxy may close before it has read all of this, which the reply shows.
    let _closed = client.try_send(input);
    if is_partial {
        let (got, ending) = client.drain(Duration::from_millis(200));
        return (got, ending != Ending::Open);
    }
    let _closed = client.try_send(b"*1\r\n$4\r\nPING\r\n");
    client.half_close();
    let (mut got, _) = client.drain(PATIENCE);
    let is_open = got.ends_with(b"+PONG\r\n");
    if is_open {
        got.truncate(got.len() - 7);
    }
    (got, !is_open)
}

/// Rows whose replies differ from run to run: their type has to do.
const VARYING: [&str; 3] = ["command docs", "info", "time"];

fn observed(reply: &[u8], is_closed: bool, received: &[u8]) -> Observed {
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
    expected: Option<&Observed>,
) -> Observed {
    server.forget();
    let (reply, is_closed) = exchange(proxy, input, is_partial);
    if let Some(expected) = expected.and_then(|facts| latin1(&facts["backend_received"])) {
        within(Duration::from_secs(2), || server.received() == expected);
    }
    observed(&reply, is_closed, &server.received())
}

#[test]
fn requests_differ_from_0_5_only_where_decided() {
    let Some(reference) = reference() else { return };
    let fakes = [recorded_server(), recorded_server()];
    let pair = Pair::on_fakes(&reference, [&fakes[0], &fakes[1]], None);
    let mut allowed = Allowed::read("redis", "requests");
    for row in vectors("redis_requests.json")["cases"].as_array().expect("rows") {
        let name = row["name"].as_str().expect("a name");
        // Rows without an input describe keys at the limit of 0.5, which follow below.
        let Some(input) = latin1(&row["input"]) else { continue };
        let is_partial = name == "partial request";
        let recorded = observed(
            &latin1(&row["client_reply"]).expect("a reply"),
            row["client_closed"].as_bool().expect("closed or not"),
            &latin1(&row["backend_received"]).expect("bytes"),
        );
        let theirs = observe(&pair.theirs, &fakes[1], &input, is_partial, Some(&recorded));
        assert_eq!(theirs, recorded, "the reference is not twemproxy 0.5: {name}");
        let expected = allowed.expected(name, &theirs).clone();
        let mut ours = observe(&pair.ours, &fakes[0], &input, is_partial, Some(&expected));
        if VARYING.contains(&name) {
            let reply = latin1(&ours["client_reply"]).expect("a reply");
            ours.insert("client_reply".into(), to_latin1(&reply[..1]));
        }
        allowed.compare(name, &theirs, &ours);
    }
    for length in [1, 16_335, 16_336] {
        let name = format!("key of {length} bytes");
        let input = request(&[b"SET".as_slice(), &vec![b'k'; length], b"v"]);
        let mut theirs = observe(&pair.theirs, &fakes[1], &input, false, None);
        let mut ours = observe(&pair.ours, &fakes[0], &input, false, None);
        for facts in [&mut theirs, &mut ours] {
            let is_whole = latin1(&facts["backend_received"]) == Some(input.clone());
            facts.insert("backend_received".into(), Value::Bool(is_whole));
        }
        allowed.compare(&name, &theirs, &ours);
    }
    allowed.finish();
}
