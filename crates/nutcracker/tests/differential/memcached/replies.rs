//! Replies on the wire: what the client gets for what a server sends, and what becomes of the server connection.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::super::allowed::{Allowed, Observed};
use super::{PROBE, PROBE_REPLY, is_probe, latin1, reference, to_latin1, vectors};
use crate::harness::{FakeServer, Pool, Proxy, eventually};

/// The reply that a scripted server gives to everything but a probe.
type Answer = Arc<Mutex<Vec<u8>>>;

fn scripted_server() -> (FakeServer, Answer) {
    let answer = Answer::default();
    let given = Arc::clone(&answer);
    let server = FakeServer::answering_memcached(move |request| match is_probe(request) {
        true => PROBE_REPLY.to_vec(),
        false => given.lock().expect("the answer").clone(),
    });
    (server, answer)
}

/// What happens to a `get` that is answered with the bytes of a row; `expected` says how long the reply is.
fn observe(proxy: &Proxy, server: &FakeServer, row: &str, expected: &Observed) -> Observed {
    eventually(&format!("a server connection in step before {row}"), || {
        let mut client = proxy.client();
        client.send(PROBE);
        client.read_through(PROBE_REPLY).ok().filter(Vec::is_empty)
    });
    let before = server.connection_count();
    let mut client = proxy.client();
    client.send(b"get a\r\n");
    let length = latin1(&expected["client_reply"]).expect("a reply").len();
    let mut got = client.read_up_to(length);
    let _closed = client.try_send(PROBE);
    let rest = client.read_through(PROBE_REPLY);
    let is_closed = rest.is_err();
    got.extend(rest.unwrap_or_else(|rest| rest));
    let mut facts = Observed::new();
    facts.insert("client_reply".into(), to_latin1(&got));
    facts.insert("client_closed".into(), Value::Bool(is_closed));
    let is_dropped = server.connection_count() > before;
    facts.insert("server_connection_dropped".into(), Value::Bool(is_dropped));
    facts
}

fn recorded(row: &Value) -> Observed {
    let mut facts = row.as_object().expect("a row").clone();
    facts.remove("server_sends");
    facts
}

/// Where twemproxy 0.5 is not installed, what was recorded of it is compared with.
#[test]
fn replies_differ_from_0_5_only_where_decided() {
    let (our_server, our_answer) = scripted_server();
    let (their_server, their_answer) = scripted_server();
    let [ours, theirs] = [&our_server, &their_server]
        .map(|fake| Proxy::with(Pool::memcached(&[fake]).set("timeout", 250)));
    let ours = ours.workers(1).start();
    let theirs = reference().map(|reference| theirs.reference(&reference).start());
    let mut allowed = Allowed::read("memcached", "replies");
    for row in vectors("../memcached/twemproxy_0_5_replies.json")["cases"].as_array().expect("rows")
    {
        let sent = latin1(&row["server_sends"]).expect("bytes");
        for answer in [&our_answer, &their_answer] {
            answer.lock().expect("the answer").clone_from(&sent);
        }
        let name = sent.escape_ascii().to_string();
        let recorded = recorded(row);
        if let Some(theirs) = &theirs {
            let theirs = observe(theirs, &their_server, &name, &recorded);
            assert_eq!(theirs, recorded, "the reference is not twemproxy 0.5: {name}");
        }
        let expected = allowed.expected(&name, &recorded).clone();
        let facts = observe(&ours, &our_server, &name, &expected);
        allowed.compare(&name, &recorded, &facts);
    }
    allowed.finish();
}
