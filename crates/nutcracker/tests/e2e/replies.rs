//! Replies of servers, sane and insane: nobody ever receives somebody else's.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::harness::{
    Client, Ending, FakeConnection, FakeServer, Gate, PATIENCE, Pool, Proxy, Random, RealServer,
    Reply, WORKER_COUNTS, eventually, request,
};

#[test]
fn an_error_reply_of_one_word_belongs_to_its_request_alone() {
    let together = Gate::closed();
    let gate = together.clone();
    let server = FakeServer::start(move |connection| {
        connection.requests(2);
        gate.pass();
        connection.send(b"-keyalreadyexists\r\n$8\r\nbananas!\r\n");
        connection.never_answer();
    });
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut first = proxy.client();
    let mut second = proxy.client();
    first.send_request(&["EVAL", "return 1", "1", "k"]);
    eventually("the first request arrives", || (!server.received().is_empty()).then_some(()));
    second.send_request(&["GET", "banana"]);
    together.open();
    first.expect(b"-keyalreadyexists\r\n");
    second.expect(b"$8\r\nbananas!\r\n");
}

/// A server that answers `GET` with what `answers` holds for the key, and everything else with `+OK`.
fn answering(answers: HashMap<Vec<u8>, Vec<u8>>) -> FakeServer {
    FakeServer::answering(move |words| {
        match answers.get(words.get(1).map_or(&[][..], Vec::as_slice)) {
            Some(answer) if words[0].eq_ignore_ascii_case(b"get") => answer.clone(),
            _ => b"+OK\r\n".to_vec(),
        }
    })
}

#[test]
fn every_legal_reply_passes_byte_for_byte() {
    let mut legal: Vec<Vec<u8>> = [
        "+\r\n",
        "+OK\r\n",
        "-x\r\n",
        "-ERR x\r\n",
        ":0\r\n",
        ":-5\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n*-1\r\n",
        "*1\r\n$-1\r\n",
        "*3\r\n:1\r\n+a\r\n-b c\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n*1\r\n:9\r\n",
        "*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Foo\r\n-Bar\r\n",
        "$4\r\n\r\n\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for depth in 1..=64 {
        legal.push([b"*1\r\n".repeat(depth), b":7\r\n".to_vec()].concat());
        legal.push([b"*2\r\n:1\r\n".repeat(depth), b"$-1\r\n".to_vec()].concat());
    }
    let answers =
        legal.iter().enumerate().map(|(n, answer)| (n.to_string().into_bytes(), answer.clone()));
    let server = answering(answers.collect());
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    for n in 0..legal.len() {
        client.send_request(&["GET", &n.to_string()]);
    }
    client.expect(&legal.concat());
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn nested_replies_of_a_script_pass() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    client.send_request(&["EVAL", "return {1,{2},3}", "1", "x"]);
    client.expect(b"*3\r\n:1\r\n*1\r\n:2\r\n:3\r\n");
    let deep = format!("return {}1{}", "{".repeat(20), "}".repeat(20));
    client.send_request(&["EVAL", &deep, "1", "x"]);
    client.expect(&[b"*1\r\n".repeat(20), b":1\r\n".to_vec()].concat());
}

#[test]
fn a_server_that_dies_inside_a_reply_never_leaves_a_false_one() {
    for (size, sent) in [(100, 50), (4 << 20, 3 << 20)] {
        let whole =
            [format!("${size}\r\n").into_bytes(), vec![b'v'; size], b"\r\n".to_vec()].concat();
        let part = whole[..sent].to_vec();
        let server = FakeServer::start(move |connection| {
            while let Some(words) = connection.request() {
                if words[1] == b"victim" {
                    connection.send(&part);
                    return connection.reset();
                }
                connection.send(b"$1\r\nv\r\n");
            }
        });
        let proxy = Proxy::start(Pool::redis(&[&server]));
        let mut other = proxy.client();
        assert_eq!(other.call(&["GET", "a"]), Reply::bulk("v"));
        let mut victim = proxy.client();
        victim.send_request(&["GET", "victim"]);
        victim.half_close();
        let (got, ending) = victim.drain(PATIENCE);
        let is_error =
            got.starts_with(b"-ERR ") && got.iter().filter(|&&byte| byte == b'\n').count() == 1;
        let is_cut = whole.starts_with(&got) && got.len() < whole.len();
        assert!((is_error || is_cut) && ending != Ending::Open, "{} bytes, {ending:?}", got.len());
        assert_eq!(other.call(&["GET", "a"]), Reply::bulk("v"));
    }
}

#[test]
fn a_request_that_timed_out_fails_alone_and_its_late_reply_reaches_nobody() {
    for workers in WORKER_COUNTS {
        let late = Gate::closed();
        let gate = late.clone();
        let server = FakeServer::start(move |connection| {
            while let Some(words) = connection.request() {
                if words[1] == b"slow" {
                    gate.pass();
                }
                connection.send(&[b"+", words[1].as_slice(), b"\r\n"].concat());
            }
        });
        // Long enough for the requests that follow the slow one not to time out before the gate opens.
        let pool = Pool::redis(&[&server]).set("timeout", 1500);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut client = proxy.client();
        assert_eq!(client.call(&["GET", "before"]), Reply::Simple("before".into()));
        client.send_request(&["GET", "slow"]);
        client.expect(b"-ERR Connection timed out\r\n");
        client.send_request(&["GET", "next"]);
        late.open();
        client.expect(b"+next\r\n");
        for n in 0..20 {
            let key = format!("after{n}");
            assert_eq!(client.call(&["GET", &key]), Reply::Simple(key.clone()));
        }
        assert_eq!(server.connection_count(), 1, "the connection outlives one late reply");
    }
}

#[test]
fn a_connection_that_stays_silent_after_a_timeout_is_replaced() {
    let server = FakeServer::start(|connection| {
        if connection.index == 0 {
            return connection.never_answer();
        }
        while connection.request().is_some() {
            connection.send(b"+fresh\r\n");
        }
    });
    let proxy = Proxy::start(Pool::redis(&[&server]).set("timeout", 200));
    let mut client = proxy.client();
    client.send_request(&["GET", "a"]);
    client.expect(b"-ERR Connection timed out\r\n");
    eventually("a request is answered over a new connection", || {
        let reply = client.call(&["GET", "a"]);
        assert!(reply == Reply::Simple("fresh".into()) || reply.is_error(), "{reply:?}");
        (reply == Reply::Simple("fresh".into())).then_some(())
    });
}

#[test]
fn errors_of_a_server_are_forwarded_verbatim_and_hurt_nobody_else() {
    let errors = [
        "-LOADING Redis is loading the dataset in memory",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-READONLY You can't write against a read only replica.",
        "-MOVED 3999 127.0.0.1:6381",
        "-MISCONF x",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "-NOREPLICAS Not enough good replicas to write.",
        "-CLUSTERDOWN x",
        "-WRONGTYPE x",
        "-CUSTOM",
    ];
    let answers = errors.iter().map(|error| {
        let key = error.split(' ').next().expect("a first word").as_bytes().to_vec();
        (key, format!("{error}\r\n").into_bytes())
    });
    let server = answering(answers.collect());
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut other = proxy.client();
    let mut client = proxy.client();
    for error in errors {
        let key = error.split(' ').next().expect("a first word");
        other.send_request(&["SET", "a", "b"]);
        client.send(&[request(&["GET", key]), request(&["SET", "a", "b"])].concat());
        other.send_request(&["SET", "a", "b"]);
        client.expect(format!("{error}\r\n+OK\r\n").as_bytes());
        other.expect(b"+OK\r\n+OK\r\n");
    }
    assert_eq!(server.connection_count(), 1, "no error of a server costs the connection");
}

#[test]
fn an_unsolicited_reply_ends_the_connection_and_reaches_nobody() {
    let server = FakeServer::start(|connection: &mut FakeConnection| {
        while let Some(words) = connection.request() {
            connection.send(&[b"+", words[1].as_slice(), b"\r\n"].concat());
            if words[1] == b"twice" {
                connection.send(b"+stray\r\n");
            }
        }
    });
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    let mut other = proxy.client();
    assert_eq!(other.call(&["GET", "a"]), Reply::Simple("a".into()));
    assert_eq!(client.call(&["GET", "twice"]), Reply::Simple("twice".into()));
    proxy.await_stat(&["server1", "server_connections"], 0);
    for client in [&mut client, &mut other] {
        assert_eq!(client.call(&["GET", "b"]), Reply::Simple("b".into()));
        let (stray, ending) = client.drain(Duration::from_millis(50));
        assert_eq!((stray, ending), (Vec::new(), Ending::Open));
    }
    assert_eq!(server.connection_count(), 2);
}

#[test]
fn a_broken_reply_ends_the_connection_with_an_error_for_its_requests() {
    for broken in
        ["garbage\r\n", "$3\r\nabcd\r\n", "*\r\n", ":+x\r\n", "+OK\rX", "$99999999999999999999\r\n"]
    {
        let server = FakeServer::start(move |connection| {
            let first = connection.index == 0;
            while connection.request().is_some() {
                connection.send(if first { broken.as_bytes() } else { b"+OK\r\n" });
            }
        });
        let proxy = Proxy::start(Pool::redis(&[&server]).set("timeout", 5000));
        let mut client = proxy.client();
        client.send_request(&["GET", "a"]);
        client.expect(b"-ERR Invalid argument\r\n");
        assert_eq!(client.call(&["GET", "a"]), Reply::ok());
    }
}

/// A server that echoes the key of each request and now and then dawdles, dies or stays silent.
fn unreliable_echo(seed: u64) -> FakeServer {
    let random = Mutex::new(Random::seeded(seed));
    FakeServer::start(move |connection| {
        while let Some(words) = connection.request() {
            let (fault, cut) = {
                let mut random = random.lock().expect("the generator");
                (random.below(400), random.below(8))
            };
            let reply =
                [b"$", words[1].len().to_string().as_bytes(), b"\r\n", &words[1], b"\r\n"].concat();
            match fault {
                0 => return connection.reset(),
                1 => return,
                2 => {
                    connection.send(&reply[..cut.min(reply.len())]);
                    return connection.reset();
                }
                // Slower than the timeout: the reply comes late.
                3 => std::thread::sleep(Duration::from_millis(130)),
                4 => return connection.never_answer(),
                5 => {
                    connection.send(&reply[..cut.min(reply.len())]);
                    connection.send(&reply[cut.min(reply.len())..]);
                    continue;
                }
                _ => {}
            }
            connection.send(&reply);
        }
    })
}

fn ask_for_tokens(
    client: &mut Client,
    random: &mut Random,
    who: usize,
    rounds: usize,
) -> (usize, usize) {
    let (mut right, mut failed) = (0, 0);
    let mut serial = 0;
    for _ in 0..rounds {
        let tokens: Vec<String> = (0..1 + random.below(16))
            .map(|_| {
                serial += 1;
                format!("client{who}-{serial}")
            })
            .collect();
        client.send(&tokens.iter().flat_map(|token| request(&["GET", token])).collect::<Vec<_>>());
        for token in &tokens {
            match client.reply() {
                Reply::Bulk(bytes) => {
                    assert_eq!(bytes.escape_ascii().to_string(), *token, "somebody else's reply");
                    right += 1;
                }
                reply => {
                    reply.error();
                    failed += 1;
                }
            }
        }
    }
    (right, failed)
}

#[test]
fn whatever_servers_do_reply_i_answers_request_i() {
    for workers in WORKER_COUNTS {
        let servers: Vec<_> = (0..3).map(|n| unreliable_echo(1000 + n)).collect();
        let proxy = Proxy::with(Pool::redis(&servers).set("timeout", 100)).workers(workers).start();
        let (right, failed) = std::thread::scope(|scope| {
            let ask = |who: usize| {
                let mut client = proxy.client();
                move || ask_for_tokens(&mut client, &mut Random::seeded(who as u64), who, 60)
            };
            let threads: Vec<_> = (0..8).map(|who| scope.spawn(ask(who))).collect();
            threads.into_iter().fold((0, 0), |(right, failed), thread| {
                let (r, f) = thread.join().expect("a client thread");
                (right + r, failed + f)
            })
        });
        assert!(
            right > failed && failed > 0,
            "{right} right, {failed} failed: the faults are too many or too few"
        );
    }
}
