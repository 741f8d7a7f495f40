//! Every command of 0.5 with one to nine words: forwarded, answered or refused.
//!
//! There are over a thousand such requests, so what is decided about them is a rule here and not a row each. The rules
//! lean on what a live redis-server says about its commands.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Pair, reference, vectors};
use crate::harness::{FakeServer, PATIENCE, Proxy, RealServer, Reply, request, within};

/// What a proxy does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// These bytes reach the server.
    Forwarded(Vec<u8>),
    /// Answered by the proxy, other than with an error.
    Answered,
    /// Refused with this error; the connection stays.
    Refused(String),
    /// The connection is closed without a reply.
    Closed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Forwarded(bytes) => write!(f, "forwarded \"{}\"", bytes.escape_ascii()),
            other => write!(f, "{other:?}"),
        }
    }
}

fn fate(proxy: &Proxy, server: &FakeServer, input: &[u8]) -> Fate {
    server.forget();
    let mut client = proxy.client();
    client.send(&[input, b"*1\r\n$4\r\nPING\r\n"].concat());
    client.half_close();
    let (got, _) = client.drain(PATIENCE);
    if got.is_empty() {
        return Fate::Closed;
    }
    let received = server.received();
    if !received.is_empty() {
        return Fate::Forwarded(received);
    }
    match got.strip_prefix(b"-") {
        Some(error) => {
            let end = error.windows(2).position(|pair| pair == b"\r\n").unwrap_or(error.len());
            Fate::Refused(String::from_utf8_lossy(&error[..end]).into_owned())
        }
        None => Fate::Answered,
    }
}

/// The arity of `command` in the server's own terms: negative for "at least".
fn arity_of(server: &RealServer, command: &str) -> i64 {
    let rows = server.client().call(&["COMMAND", "INFO", command]).array();
    match &rows[0] {
        Reply::Array(row) => row[1].integer(),
        other => panic!("redis-server does not know {command}: {other:?}"),
    }
}

fn accepts(arity: i64, argc: i64) -> bool {
    if arity < 0 { argc >= -arity } else { argc == arity }
}

/// The number of the decision that explains the difference, if one does.
fn explained_by(command: &str, argc: i64, arity: i64, theirs: &Fate, ours: &Fate) -> Option<u32> {
    let lower = command.to_lowercase();
    let arity_error = format!("ERR wrong number of arguments for '{lower}' command");
    let fits = accepts(arity, argc);
    match (theirs, ours) {
        // COMMAND is answered from our own table, EXISTS is split.
        (Fate::Forwarded(_), Fate::Answered) if command == "COMMAND" => Some(1),
        (Fate::Forwarded(_), Fate::Forwarded(bytes)) if command == "EXISTS" => {
            let split = [vec!["exists"], vec!["1"; usize::try_from(argc).ok()? - 1]].concat();
            (*bytes == request(&split)).then_some(8)
        }
        // The server would refuse it in these words.
        (Fate::Forwarded(_) | Fate::Closed, Fate::Refused(text)) if !fits => {
            (*text == arity_error).then_some(1)
        }
        // An odd MSET and a script without keys have the right arity as far as the server is concerned.
        (Fate::Closed, Fate::Refused(text)) if command == "MSET" => {
            (*text == arity_error).then_some(1)
        }
        (Fate::Closed, Fate::Refused(text)) if command == "MOVE" => {
            text.contains("not supported through this proxy yet").then_some(1)
        }
        (Fate::Closed, Fate::Refused(text)) if command == "AUTH" && argc == 3 => {
            text.contains("no password is set").then_some(1)
        }
        (Fate::Closed, Fate::Refused(text)) if command == "PING" => {
            (*text == arity_error).then_some(1)
        }
        (Fate::Closed, Fate::Refused(text)) if command == "AUTH" => {
            (text == "ERR syntax error").then_some(1)
        }
        (Fate::Closed, Fate::Refused(text)) if command == "COMMAND" => {
            text.starts_with("ERR unknown subcommand").then_some(1)
        }
        // Newer forms of commands that 0.5 knew; WITHSCORE came with Redis 7.2.
        (Fate::Closed, Fate::Forwarded(_))
            if ["ZRANK", "ZREVRANK"].contains(&command) && argc > 3 =>
        {
            Some(1)
        }
        (Fate::Closed, Fate::Forwarded(_) | Fate::Answered) if fits => Some(1),
        _ => None,
    }
}

#[test]
fn arities_differ_from_0_5_only_where_decided() {
    let Some(reference) = reference() else { return };
    let fakes = [FakeServer::answering(answer), FakeServer::answering(answer)];
    let pair = Pair::on_fakes(&reference, [&fakes[0], &fakes[1]], None);
    let redis = RealServer::redis();
    let mut unexplained = Vec::new();
    let mut used: BTreeMap<u32, usize> = BTreeMap::new();
    let table = vectors("redis_arity.json");
    let commands = table["commands"].as_object().expect("commands");
    for (command, row) in commands {
        let arity = arity_of(&redis, command);
        let recorded = row["outcome"].as_str().expect("outcomes").as_bytes();
        for (argc, expected) in (1_i64..).zip(recorded) {
            let words = std::iter::once(command.as_str()).chain(std::iter::repeat("1"));
            let words: Vec<&str> =
                words.take(usize::try_from(argc).expect("a small number")).collect();
            let input = request(&words);
            let theirs = fate(&pair.theirs, &fakes[1], &input);
            let agrees = matches!(
                (expected, &theirs),
                (b'C', Fate::Closed)
                    | (b'F', Fate::Forwarded(_))
                    | (b'L', Fate::Answered | Fate::Refused(_) | Fate::Closed)
            );
            assert!(
                agrees,
                "the reference is not twemproxy 0.5: {command} with {argc} words: {theirs:?}"
            );
            let ours = fate(&pair.ours, &fakes[0], &input);
            if theirs == ours {
                continue;
            }
            match explained_by(command, argc, arity, &theirs, &ours) {
                Some(decision) => *used.entry(decision).or_default() += 1,
                None => unexplained
                    .push(format!("{command} with {argc} words: theirs {theirs}, ours {ours}")),
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differences:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    let used: Vec<u32> = used.into_keys().collect();
    assert_eq!(used, [1, 8], "a rule that explains nothing any more has to go");
}

fn answer(words: &[Vec<u8>]) -> Vec<u8> {
    match words[0].to_ascii_lowercase().as_slice() {
        b"mget" => {
            [format!("*{}\r\n", words.len() - 1).into_bytes(), b"$-1\r\n".repeat(words.len() - 1)]
                .concat()
        }
        b"del" | b"unlink" | b"touch" | b"exists" => b":1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// Commands that 0.5 answers with a closed connection whatever their arity, and what is made of them now.
#[test]
fn commands_0_5_did_not_know_are_forwarded_or_refused_and_never_close() {
    let Some(reference) = reference() else { return };
    let fakes = [FakeServer::answering(answer), FakeServer::answering(answer)];
    let pair = Pair::on_fakes(&reference, [&fakes[0], &fakes[1]], None);
    let redis = RealServer::redis();
    let known = vectors("redis_arity.json");
    let known = known["commands"].as_object().expect("commands");
    let rows = redis.client().call(&["COMMAND"]).array();
    assert!(rows.len() > 200, "{} commands", rows.len());
    for row in rows {
        let row = row.array();
        let name = row[0].clone().text().to_uppercase();
        if known.contains_key(&name) {
            continue;
        }
        let argc = usize::try_from(row[1].integer().abs()).expect("an arity").max(2);
        let words: Vec<&str> =
            std::iter::once(name.as_str()).chain(std::iter::repeat("1")).take(argc).collect();
        let input = request(&words);
        assert_eq!(fate(&pair.theirs, &fakes[1], &input), Fate::Closed, "0.5 knows {name}");
        assert_ne!(
            fate(&pair.ours, &fakes[0], &input),
            Fate::Closed,
            "{name} closes the connection"
        );
    }
    assert!(within(Duration::from_secs(1), || fakes[1].received().is_empty()));
}
