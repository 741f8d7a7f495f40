//! What is accepted, refused and silent, compared with a memcached that is asked the same. A server
//! connection is shared: whatever is accepted must get exactly one reply, or the clients behind it
//! get each other's.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;
use proto::memcached::{Policy, Request, Scan, Silence, command};

use crate::server::{Connection, Server};
use crate::{Outcome, after_blanks};

/// A request with the word that asks for silence overwritten.
fn loud(bytes: &[u8], request: Request) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Silence::NoReply(word) | Silence::Quiet(word) = request.silence {
        bytes[word.start as usize..word.end as usize].fill(b' ');
    }
    bytes
}

/// Whether a request is one that goes to servers.
fn is_forwarded(request: &Request) -> bool {
    !matches!(request.command.policy, Policy::Local(_) | Policy::Unsupported)
}

/// Asserts that the server answers an accepted request once, and not at all when it is to be silent.
fn assert_one_reply(connection: &Connection, bytes: &[u8]) -> bool {
    let bytes = after_blanks(bytes);
    let Scan::Complete { len, request } = Outcome::of(bytes).scan else {
        return false;
    };
    if !is_forwarded(&request) {
        return false;
    }
    let bytes = &bytes[..len];
    let text = String::from_utf8_lossy(bytes);
    if let Silence::NoReply(_) = request.silence {
        let replies = connection.ask(bytes);
        assert!(replies.is_empty(), "{text}: {replies:?}");
    }
    let replies = connection.ask(&loud(bytes, request));
    assert_eq!(replies.len(), 1, "{text}: {replies:?}");
    assert!(request.command.is_answer(&replies[0]), "{text}: {replies:?}");
    true
}

/// Requests in their forms; each is accepted.
const FORMS: [&str; 40] = [
    "set k 0 0 2\r\nhi",
    "set k 1 -1 0 noreply\r\n",
    "set k 0 0 1   \r\n5",
    "add k 0 0 2\r\n10",
    "replace k 0 0 2\r\n10",
    "append k 0 0 1 noreply\r\n0",
    "prepend k 0 0 1\r\n1",
    "cas k 0 0 2 1\r\nhi",
    "cas k 0 0 2 18446744073709551615 noreply\r\nhi",
    "set n 4294967295 2147483647 1\r\n5",
    "get k",
    "gets k n missing",
    "get  k  noreply ",
    "gat 0 k",
    "gats -1 n missing",
    "gat x k",
    "incr n 1",
    "decr n 99",
    "incr n x",
    "incr n noreply",
    "incr missing 1 noreply",
    "touch n 0",
    "touch n x",
    "touch n noreply",
    "delete missing",
    "delete k 0",
    "delete k 5",
    "delete k 5 noreply",
    "delete k 0 noreply",
    "delete noreply 0",
    "mg n v k O12 t f s",
    "mg missing q k O1",
    "mg n qx v",
    "ms m 2 T0 c k\r\nhi",
    "ms YQ== 1 b q\r\nx",
    "ms m 2 MX\r\nhi",
    "ma n N0 J5 v q",
    "md m I T30",
    "me n",
    "version please",
];

#[test]
fn every_accepted_form_gets_exactly_one_reply() {
    let server = Server::start();
    let connection = server.connect();
    for form in FORMS.into_iter().chain(["flush_all", "flush_all 0 noreply", "flush_all noreply"]) {
        let bytes = format!("{form}\r\n");
        assert!(assert_one_reply(&connection, bytes.as_bytes()), "{form} is not forwarded");
    }
}

/// Words behind a command; what they are good for differs by command.
const WORDS: [&str; 41] = [
    "0",
    "1",
    "2",
    "-1",
    "07",
    "00000000001",
    "4294967296",
    "2147483648",
    "x",
    "k",
    "n",
    "noreply",
    "b",
    "q",
    "v",
    "O1",
    "T0",
    "Tx",
    "MS",
    "MI",
    "N0",
    "J1",
    "D5",
    "I",
    "C1",
    "F7",
    "Fx",
    "k",
    "YQ==",
    "c",
    "t",
    "s",
    "\u{e9}",
    "0x",
    "+1",
    "qq",
    "Zz",
    "_",
    "S5",
    "E9",
    "noreply",
];

#[test]
fn whatever_is_accepted_gets_exactly_one_reply() {
    let server = Server::start();
    let connection = server.connect();
    let names = command::all().iter().map(|row| row.name).collect::<Vec<_>>();
    let line = (select(names), vec(select(&WORDS[..]), 0..9), vec(1_usize..3, 10), 0_usize..3);
    let asked = Cell::new(0);
    let runner = &mut TestRunner::new(ProptestConfig::with_cases(4000));
    let result = runner.run(&line, |(name, words, blanks, lead)| {
        let mut line = format!("{:lead$}{name}", "");
        for (word, blanks) in words.iter().zip(blanks) {
            line.push_str(&" ".repeat(blanks));
            line.push_str(word);
        }
        // A value that would be heard if it were taken for a command.
        for value in ["", "x", "12", "mn\r\nmn\r\nmn\r\n"] {
            let bytes = format!("{line}\r\n{value}\r\n");
            assert_one_reply(&connection, bytes.as_bytes());
        }
        Ok(())
    });
    result.expect("the server answers once");
    // Numbers above are not often the length of the value: these lines always are.
    let letters = ('A'..='Z').chain('a'..='z').map(|c| c.to_string()).collect::<Vec<_>>();
    let line = (
        select(&["set", "add", "cas", "append", "ms"][..]),
        vec(select(&WORDS[..]), 0..3),
        subsequence(letters, 0..24),
        0_usize..20,
    );
    let runner = &mut TestRunner::new(ProptestConfig::with_cases(4000));
    let result = runner.run(&line, |(name, words, letters, len)| {
        let value = "mn\r\nmn\r\nmn\r\nmn\r\nmn\r\n".get(..len).expect("long enough");
        let words = words.join(" ");
        let line = match name {
            "ms" => format!("ms k {len} {words} {}\r\n{value}\r\n", letters.join(" ")),
            _ => format!("{name} k 0 0 {len} {words}\r\n{value}\r\n"),
        };
        asked.set(asked.get() + usize::from(assert_one_reply(&connection, line.as_bytes())));
        Ok(())
    });
    result.expect("the server answers once");
    assert!(asked.get() > 500, "{asked:?} values");
}

/// Lines that are refused as the server refuses them.
const REFUSED: [&str; 52] = [
    "",
    " ",
    "foo",
    "GET k",
    "Get k",
    "m",
    "mx k",
    "get",
    "gets ",
    "gat",
    "set",
    "set k",
    "set k 0 0",
    "add k 0",
    "cas k 0 0",
    "incr",
    "incr k",
    "incr k 1 2 3",
    "decr k",
    "touch k",
    "touch k 1 2 noreply",
    "delete",
    "delete k 0 0 0",
    "mg",
    "ms",
    "ms k",
    "md",
    "ma",
    "verbosity",
    "verbosity 1 2 noreply",
    "flush_all 1 2 3",
    "get LONG",
    "gets k LONG",
    "gat 0 LONG",
    "delete LONG",
    "incr LONG 1",
    "touch LONG 1",
    "mg LONG v",
    "md LONG",
    "ma LONG",
    "me LONG",
    "mg k v v",
    "mg k q q",
    "mg k 0",
    "mg k \u{e9}",
    "mg k b",
    "mg k MANY",
    "md k MANY",
    "ma k v v",
    "ma k b",
    "md k 0",
    "delete k noreply x",
];

#[test]
fn what_is_refused_begins_with_the_servers_word() {
    let server = Server::start();
    let connection = server.connect();
    for line in REFUSED {
        let many = ('a'..='z').map(|c| format!("{c} ")).collect::<String>();
        let line = line.replace("LONG", &"k".repeat(251)).replace("MANY", &many);
        let bytes = format!("{line}\r\n");
        let outcome = Outcome::of(after_blanks(bytes.as_bytes()));
        let ours = match outcome.refusal() {
            Some(refusal) => refusal.text().as_bytes().to_vec(),
            // Forwarded: the server says it.
            None => {
                assert!(outcome.request().is_some_and(|request| is_forwarded(&request)), "{line}");
                continue;
            }
        };
        let theirs = connection.ask(bytes.as_bytes());
        let first = |reply: &[u8]| {
            let word = reply.split(|byte| matches!(byte, b' ' | b'\r')).next();
            String::from_utf8_lossy(word.unwrap_or_default()).into_owned()
        };
        assert_eq!(theirs.len(), 1, "{line}");
        assert_eq!(first(&ours), first(&theirs[0]), "{line}: {:?}", theirs[0]);
    }
}

#[test]
fn refusals_in_memcacheds_words_are_its_words() {
    let server = Server::start();
    let connection = server.connect();
    for (line, value) in [
        ("mg k v v", ""),
        ("mg k 0", ""),
        ("mg ! b", ""),
        ("mg k a b c d e f g h i j k l m n o p q r s t u", ""),
        ("ms k 2 q q", "hi\r\n"),
        ("ms ! 2 b", "hi\r\n"),
        ("get LONG", ""),
        ("ms k", ""),
        ("set big 0 0 2000000", "BIG\r\n"),
    ] {
        let line = line.replace("LONG", &"k".repeat(251));
        let value = value.replace("BIG", &"x".repeat(2_000_000));
        let bytes = format!("{line}\r\n{value}");
        let mut args = Vec::new();
        let scan =
            proto::memcached::RequestScanner::new(1_000_000).scan(bytes.as_bytes(), &mut args);
        let Scan::Refused { len, swallow, refusal, .. } = scan else { panic!("{scan:?}: {line}") };
        assert_eq!(len as u64 + swallow, bytes.len() as u64, "{line}");
        let theirs = connection.ask(bytes.as_bytes());
        assert_eq!(theirs, [refusal.text().as_bytes()], "{line}");
    }
}

#[test]
fn quiet_flags_suppress_what_the_server_suppresses() {
    let server = Server::start();
    let connection = server.connect();
    for set_up in ["set n 0 0 1\r\n5\r\n", "delete n\r\n", "set n 0 0 1\r\nx\r\n"] {
        for line in [
            "mg n",
            "mg n v",
            "mg n k O1",
            "mg n N30 v",
            "mg n Tx",
            "ms n 1\r\n5",
            "ms n 1 ME\r\n5",
            "ms n 1 MR\r\n5",
            "ms n 1 C7\r\n5",
            "ms n 1 MA O1 k\r\n5",
            "ms n 1 MX\r\n5",
            "md n",
            "md n O1 k",
            "md n C7",
            "md n I T30",
            "ma n",
            "ma n v O1",
            "ma n C7",
            "ma n Dx",
        ] {
            let (head, value) =
                line.split_once("\r\n").map_or((line, ""), |(head, _)| (head, "5\r\n"));
            let quiet = format!("{head} q\r\n{value}");
            let outcome = Outcome::of(quiet.as_bytes());
            let request = outcome.request().expect(line);
            connection.ask(set_up.as_bytes());
            let theirs = connection.ask(quiet.as_bytes());
            connection.ask(set_up.as_bytes());
            let all = connection.ask(&loud(quiet.as_bytes(), request));
            let [reply] = &all[..] else { panic!("{line}: {all:?}") };
            let is_silent = theirs.is_empty();
            assert_eq!(
                request.command.is_suppressed(reply),
                is_silent,
                "{line} after {set_up}: {reply:?} becomes {theirs:?}"
            );
        }
    }
}

#[test]
fn keys_in_base64_are_the_keys_the_server_has() {
    let server = Server::start();
    let connection = server.connect();
    let mut decoded = proto::memcached::key::Decoded::default();
    for (base64, key) in [("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba")] {
        assert_eq!(decoded.decode(base64.as_bytes()), Some(key.as_bytes()));
        connection.ask(format!("set {key} 0 0 1\r\n5\r\n").as_bytes());
        let reply = connection.ask(format!("mg {base64} b v\r\n").as_bytes());
        assert_eq!(reply, [b"VA 1\r\n5\r\n"], "{base64}");
    }
}

#[test]
fn the_server_takes_lines_of_the_greatest_length_in_any_pieces() {
    use proto::memcached::limits::SERVED_LINE_BYTES_MAX;
    let server = Server::start();
    let longest = format!("{:<width$}\r\n", "mg k", width = SERVED_LINE_BYTES_MAX - 2);
    let connection = server.connect();
    let replies = connection.ask(longest.as_bytes());
    assert_eq!(replies, [b"EN\r\n"]);
    let line = longest.as_bytes();
    let (most, last) = line.split_at(line.len() - 1);
    assert_eq!(server.connect().ask_in(&[most, last]), [b"EN\r\n"]);
    // A fragment of one has a blank more; all but its LF comes first.
    let fragment = format!("{:<width$} \r\n", "gat 0 k", width = SERVED_LINE_BYTES_MAX - 2);
    let (most, last) = fragment.as_bytes().split_at(fragment.len() - 1);
    assert_eq!(server.connect().ask_in(&[most, last]), [b"END\r\n"]);
    // One that is longer by two may cost every client of the connection its reply.
    let longer = [&line[..line.len() - 2], b"    "].concat();
    assert!(server.connect().is_closed_by(&[&longer]));
}

#[test]
fn every_forwarded_command_is_among_the_forms_above() {
    for row in command::all() {
        let is_local = matches!(row.policy, Policy::Local(_) | Policy::Unsupported);
        let is_asked = FORMS.iter().any(|form| form.split(' ').next() == Some(row.name));
        assert!(is_asked || is_local || row.policy == Policy::AllShards, "{}", row.name);
    }
}
