//! Replies of memcached servers: whatever a server does, a client gets its own reply or an error, and never another's.

use std::sync::Mutex;
use std::time::Duration;

use crate::harness::{
    Client, Ending, FakeConnection, FakeServer, Gate, PATIENCE, Pool, Proxy, Random, RealServer,
    WORKER_COUNTS, within,
};

use super::{echo_reply, value};

#[test]
fn an_unsolicited_reply_ends_the_connection_and_reaches_nobody() {
    for stray in
        [&b"STORED\r\n"[..], b"VALUE a 0 1\r\nx\r\nEND\r\n", b"SERVER_ERROR out\r\n", b"junk\r\n"]
    {
        let server = FakeServer::start(move |connection: &mut FakeConnection| {
            while let Some(request) = connection.text_request() {
                connection.send(&echo_reply(&request));
                if request.key() == b"twice" {
                    connection.send(stray);
                }
            }
        });
        let proxy = Proxy::start(Pool::memcached(&[&server]));
        let (mut client, mut other) = (proxy.client(), proxy.client());
        other.ask("get a\r\n", value("a", "a"));
        client.ask("get twice\r\n", value("twice", "twice"));
        proxy.await_stat(&["server1", "server_connections"], 0);
        for client in [&mut client, &mut other] {
            client.ask("get b\r\n", value("b", "b"));
            let (stray, ending) = client.drain(Duration::from_millis(30));
            assert_eq!((stray, ending), (Vec::new(), Ending::Open));
        }
        assert_eq!(server.connection_count(), 2);
    }
}

#[test]
fn a_request_that_timed_out_fails_alone_and_its_late_reply_reaches_nobody() {
    for workers in WORKER_COUNTS {
        let late = Gate::closed();
        let gate = late.clone();
        let server = FakeServer::start(move |connection| {
            while let Some(request) = connection.text_request() {
                if request.key() == b"slow" {
                    gate.pass();
                }
                connection.send(&echo_reply(&request));
            }
        });
        let pool = Pool::memcached(&[&server]).set("timeout", 1500);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut client = proxy.client();
        client.ask("get before\r\n", value("before", "before"));
        client.ask("get slow\r\n", "SERVER_ERROR Connection timed out\r\n");
        client.send(b"get next\r\n");
        late.open();
        client.expect(value("next", "next").as_bytes());
        for n in 0..20 {
            let key = format!("after{n}");
            client.ask(format!("get {key}\r\n"), value(&key, &key));
        }
        assert_eq!(server.connection_count(), 1, "the connection outlives one late reply");
    }
}

#[test]
fn a_server_that_closes_idle_connections_is_reconnected_without_an_error() {
    let server = FakeServer::start(|connection| {
        while let Some(request) = connection.text_request() {
            connection.send(&echo_reply(&request));
            if request.key() == b"last" {
                return;
            }
        }
    });
    let pool =
        Pool::memcached(&[&server]).set("auto_eject_hosts", true).set("server_failure_limit", 1);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    for turn in 1..=5 {
        client.ask("get last\r\n", value("last", "last"));
        proxy.await_stat(&["server1", "server_eof"], turn);
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    assert_eq!(proxy.stat(&["forward_error"]), 0);
}

#[test]
fn errors_of_a_server_are_forwarded_verbatim_and_hurt_nobody_else() {
    for line in [
        "ERROR",
        "CLIENT_ERROR bad data chunk",
        "SERVER_ERROR out of memory storing object",
        "SERVER_ERROR temporary failure",
        "SERVER_ERROR",
    ] {
        let reply = format!("{line}\r\n").into_bytes();
        let server = FakeServer::answering_memcached(move |request| match request.key() {
            b"bad" => reply.clone(),
            _ => echo_reply(request),
        });
        let pool = Pool::memcached(&[&server])
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            // The error is to be that of one request.
            .set("join_gets", false);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        for request in ["get bad\r\n", "set bad 0 0 1\r\nx\r\n", "mg bad v\r\n", "incr bad 1\r\n"] {
            let expected = format!("{}{line}\r\n{}", value("a", "a"), value("b", "b"));
            client.ask(format!("get a\r\n{request}get b\r\n"), expected);
        }
        assert_eq!(server.connection_count(), 1, "{line}");
        assert_eq!(proxy.stat(&["server1", "server_err"]), 0, "{line}");
    }
}

#[test]
fn a_broken_reply_ends_the_connection_with_an_error_for_its_requests() {
    for broken in [
        &b"OKAY\r\n"[..],
        b"\r\n",
        b"-1\r\n",
        b"+OK\r\n",
        b"stored\r\n",
        b"VALUE a 0 x\r\n",
        b"VALUE a 0 1\r\nxx\r\nEND\r\n",
        b"VA x\r\n",
        b"VA 1\r\nxx\r\n",
        b"STORED\n",
        b"END \r\nEND\r\n",
    ] {
        let server = FakeServer::answering_memcached(move |request| match request.key() {
            b"bad" => broken.to_vec(),
            _ => echo_reply(request),
        });
        let proxy = Proxy::start(Pool::memcached(&[&server]));
        let mut client = proxy.client();
        client.ask("get bad\r\n", "SERVER_ERROR Invalid argument\r\n");
        client.ask("get a\r\n", value("a", "a"));
        assert_eq!(server.connection_count(), 2, "{}", broken.escape_ascii());
    }
}

#[test]
fn a_server_that_dies_inside_a_value_never_leaves_a_false_one() {
    for size in [10, 100_000, 3_000_000] {
        let server = FakeServer::start(move |connection: &mut FakeConnection| {
            let Some(request) = connection.text_request() else { return };
            if connection.index == 0 {
                let head = format!("VALUE a 0 {size}\r\n");
                connection.send(&[head.as_bytes(), &vec![b'x'; size / 2]].concat());
                return connection.reset();
            }
            connection.send(&echo_reply(&request));
            connection.never_answer();
        });
        let proxy = Proxy::start(Pool::memcached(&[&server]));
        let mut client = proxy.client();
        client.send(b"get a\r\n");
        let mut got = client.read_up_to(1);
        if got == b"S" {
            let line = client.text_line();
            assert!(line.starts_with("ERVER_ERROR "), "{size}: {line}");
        } else {
            let (rest, ending) = client.drain(PATIENCE);
            got.extend(rest);
            assert_ne!(ending, Ending::Open, "{size}: {} bytes", got.len());
            assert!(got.is_empty() || got.starts_with(b"VALUE a "), "{}", got.escape_ascii());
            assert!(!got.ends_with(b"END\r\n"), "{size}: a whole reply");
        }
        proxy.client().ask("get b\r\n", value("b", "b"));
    }
}

/// A server that answers each key with itself and now and then dawdles, dies or stays silent.
fn unreliable_echo(seed: u64) -> FakeServer {
    let random = Mutex::new(Random::seeded(seed));
    FakeServer::start(move |connection| {
        while let Some(request) = connection.text_request() {
            let (fault, cut) = {
                let mut random = random.lock().expect("the generator");
                (random.below(400), random.below(12))
            };
            let reply = echo_reply(&request);
            let cut = cut.min(reply.len());
            match fault {
                0 => return connection.reset(),
                1 => return,
                2 => {
                    connection.send(&reply[..cut]);
                    return connection.reset();
                }
                // Slower than the timeout: the reply comes late.
                3 => std::thread::sleep(Duration::from_millis(130)),
                4 => return connection.never_answer(),
                5 => {
                    connection.send(&reply[..cut]);
                    connection.send(&reply[cut..]);
                    continue;
                }
                _ => {}
            }
            connection.send(&reply);
        }
    })
}

/// Requests of every kind that are answered with a token, each with what its reply has to be.
fn token_request(random: &mut Random, token: &str) -> (String, Vec<String>) {
    match random.below(6) {
        0..2 => (format!("get {token}\r\n"), vec![value(token, token)]),
        2 => {
            let tokens = [format!("{token}a"), format!("{token}b"), format!("{token}c")];
            let values = tokens.iter().map(|token| value(token, token).replace("END\r\n", ""));
            let reply = values.chain(["END\r\n".into()]).collect();
            (format!("get {}\r\n", tokens.join(" ")), vec![reply])
        }
        3 => (format!("mg {token} v\r\n"), vec![format!("VA {}\r\n{token}\r\n", token.len())]),
        4 => {
            let request = format!("set {token} 0 0 3 noreply\r\nabc\r\nget {token}\r\n");
            (request, vec![value(token, token)])
        }
        _ => (
            format!("mg {token} v q\r\nmn\r\n"),
            vec![format!("VA {}\r\n{token}\r\n", token.len()), "MN\r\n".into()],
        ),
    }
}

/// Reads a reply, which has to be `expected` or an error of the proxy; whether it was right.
#[track_caller]
fn is_right(client: &mut Client, expected: &str) -> bool {
    let line = client.text_line();
    if line.starts_with("SERVER_ERROR ") {
        return false;
    }
    let (first, rest) = expected.split_once("\r\n").expect("a line");
    assert_eq!(line, first, "somebody else's reply");
    client.expect(rest.as_bytes());
    true
}

fn ask_for_tokens(client: &mut Client, who: usize, rounds: usize) -> (usize, usize) {
    let mut random = Random::seeded(who as u64);
    let (mut right, mut failed) = (0, 0);
    for round in 0..rounds {
        let requests: Vec<_> = (0..1 + random.below(16))
            .map(|n| token_request(&mut random, &format!("client{who}-{round}-{n}")))
            .collect();
        let stream: String = requests.iter().map(|(request, _)| request.as_str()).collect();
        client.send(stream.as_bytes());
        for expected in requests.iter().flat_map(|(_, replies)| replies) {
            if is_right(client, expected) {
                right += 1;
            } else {
                failed += 1;
            }
        }
    }
    (right, failed)
}

#[test]
fn whatever_servers_do_reply_i_answers_request_i() {
    for workers in WORKER_COUNTS {
        let servers: Vec<_> = (0..3).map(|n| unreliable_echo(2000 + n)).collect();
        let pool = Pool::memcached(&servers).set("timeout", 100);
        let proxy = Proxy::with(pool).workers(workers).start();
        let (right, failed) = std::thread::scope(|scope| {
            let ask = |who: usize| {
                let mut client = proxy.client();
                move || ask_for_tokens(&mut client, who, 50)
            };
            let threads: Vec<_> = (0..8).map(|who| scope.spawn(ask(who))).collect();
            threads.into_iter().fold((0, 0), |(right, failed), thread| {
                let (r, f) = thread.join().expect("a client thread");
                (right + r, failed + f)
            })
        });
        assert!(
            right > failed && failed > 0,
            "{right} right, {failed} failed: too many or too few faults"
        );
    }
}

/// The same on real servers that are killed and frozen under load: a value is the one that was stored, or missing.
#[test]
fn killed_and_frozen_servers_cost_errors_and_never_a_wrong_value() {
    let mut servers = RealServer::several_memcached(3);
    let proxy = Proxy::with(Pool::memcached(&servers).set("timeout", 200)).workers(2).start();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for who in 0..6 {
            let (mut client, done) = (proxy.client(), &done);
            scope.spawn(move || {
                let mut turn = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    store_and_read(&mut client, &format!("key-{who}-{}", turn % 50), turn);
                    turn += 1;
                }
            });
        }
        for turn in 0..6 {
            let server = &mut servers[turn % 3];
            if turn % 2 == 0 {
                server.stop();
                within(Duration::from_millis(30), || false);
                server.start_again();
            } else {
                server.freeze();
                within(Duration::from_millis(250), || false);
                server.thaw();
            }
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}

#[track_caller]
fn store_and_read(client: &mut Client, key: &str, turn: usize) {
    let token = format!("{key}:{turn}");
    client.send(format!("set {key} 0 0 {}\r\n{token}\r\nget {key}\r\n", token.len()).as_bytes());
    let stored = client.text_line();
    assert!(stored == "STORED" || stored.starts_with("SERVER_ERROR "), "{stored}");
    let line = client.text_line();
    if line.starts_with("VALUE ") {
        assert!(line.starts_with(&format!("VALUE {key} 0 ")), "{line}");
        // After an error the value of an earlier turn may still be there.
        let found = client.text_line();
        assert!(found.starts_with(&format!("{key}:")), "{found} for {key}");
        assert!(stored != "STORED" || found == token, "{found} instead of {token}");
        client.expect(b"END\r\n");
    } else {
        assert!(line == "END" || line.starts_with("SERVER_ERROR "), "{line}");
    }
}
