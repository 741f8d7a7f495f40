//! Replies on the wire: what the client gets for what a server sends, and what becomes of the server connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::allowed::{Allowed, Observed};
use super::{Pair, latin1, reference, to_latin1, vectors};
use crate::harness::{FakeServer, Proxy, Reply, eventually, within};

/// The reply that a scripted server gives to everything but a probe.
type Answer = Arc<Mutex<Vec<u8>>>;

fn scripted_server() -> (FakeServer, Answer) {
    let answer = Answer::default();
    let given = Arc::clone(&answer);
    let server = FakeServer::answering(move |words| match words[1].as_slice() {
        b"probe" => b"+probe\r\n".to_vec(),
        _ => given.lock().expect("the answer").clone(),
    });
    (server, answer)
}

fn observe(proxy: &Proxy, server: &FakeServer, row: &str) -> Observed {
    let probe = || {
        let mut client = proxy.client();
        (client.call(&["GET", "probe"]) == Reply::Simple("probe".into())).then_some(())
    };
    eventually(&format!("a server connection in step after {row}"), probe);
    let before = server.connection_count();
    let mut client = proxy.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n");
    client.half_close();
    let (mut got, _) = client.drain(crate::harness::PATIENCE);
    let is_open = got.ends_with(b"+PONG\r\n");
    if is_open {
        got.truncate(got.len() - 7);
    }
    let recovers = within(Duration::from_secs(3), || probe().is_some());
    let mut facts = Observed::new();
    facts.insert("client_reply".into(), to_latin1(&got));
    facts.insert("client_closed".into(), Value::Bool(!is_open));
    facts.insert(
        "server_connection_dropped".into(),
        Value::Bool(server.connection_count() > before),
    );
    facts.insert("recovers".into(), Value::Bool(recovers));
    if !recovers {
        server.reset_connections();
    }
    facts
}

#[test]
fn replies_differ_from_0_5_only_where_decided() {
    let Some(reference) = reference() else { return };
    let (our_server, our_answer) = scripted_server();
    let (their_server, their_answer) = scripted_server();
    let pair = Pair::on_fakes(&reference, [&our_server, &their_server], Some(250));
    let mut allowed = Allowed::read("redis", "replies");
    for row in vectors("responses.json")["redis"].as_array().expect("rows") {
        let sent = latin1(&row["server_sends"]).expect("bytes");
        for answer in [&our_answer, &their_answer] {
            answer.lock().expect("the answer").clone_from(&sent);
        }
        let name = sent.escape_ascii().to_string();
        let theirs = observe(&pair.theirs, &their_server, &name);
        for fact in ["client_reply", "client_closed", "server_connection_dropped"] {
            assert_eq!(
                theirs[fact], row[fact],
                "the reference is not twemproxy 0.5: {fact} of {name}"
            );
        }
        let ours = observe(&pair.ours, &our_server, &name);
        allowed.compare(&name, &theirs, &ours);
    }
    allowed.finish();
}
