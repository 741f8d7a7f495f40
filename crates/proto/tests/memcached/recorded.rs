//! What twemproxy 0.5 did with requests and replies, and where this proxy does otherwise on purpose.

use proto::memcached::{Policy, ReplyScan, ReplyScanner, Scan};
use serde_json::Value;

use crate::{Outcome, after_blanks, scan_every_way, testdata};

/// Recorded requests that 0.5 closed the connection for and that are served here.
const WIDER: [(&str, &str); 11] = [
    ("set negative exptime", "memcached takes it"),
    ("incr text", "the server says what is wrong"),
    ("incr 1x", "the server says what is wrong"),
    ("delete 0", "memcached takes it"),
    ("version arg", "memcached takes it"),
    ("quit arg", "memcached takes it"),
    ("stats", "a command of memcached"),
    ("flush_all", "a command of memcached"),
    ("flush_all 0 noreply", "a command of memcached"),
    ("verbosity 1", "a command of memcached"),
    ("gats 100 a", "a command of memcached"),
];

/// The same for meta commands, which 0.5 did not know at all.
const META: [&str; 2] = ["mg a v", "mn"];

/// Recorded requests that 0.5 forwarded and that are refused here: keys with control bytes, through
/// which one client could give another one's server connection commands.
const NARROWER: [&str; 2] = ["ctrl char key", "LF in key (injection)"];

/// Recorded requests for which 0.5 closed the connection, and for which it is closed here as well,
/// once the client has been told; for all others it now lives on.
const CLOSED: [&str; 4] =
    ["set negative length", "value too long", "binary protocol magic", "CR CR"];

fn cases(name: &str) -> Vec<Value> {
    let path = testdata(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).expect("recorded data is JSON");
    file["cases"].as_array().expect("a list of cases").clone()
}

/// The bytes of recorded text: one latin-1 character each.
fn latin1(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("recorded bytes are a string");
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect()
}

/// What becomes of a client's bytes: what a server of its own would receive, and how it ends.
struct Stream {
    forwarded: Vec<u8>,
    end: Scan,
}

impl Stream {
    fn of(bytes: &[u8]) -> Self {
        let mut stream = Self { forwarded: Vec::new(), end: Scan::Incomplete };
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = after_blanks(rest);
            let Outcome { scan, args } = scan_every_way(rest);
            let Scan::Complete { len, request } = scan else {
                stream.end = scan;
                break;
            };
            match request.command.policy {
                Policy::Split { keys } if args.len() - keys > 1 => {
                    for arg in &args {
                        stream.forwarded.extend_from_slice(arg.of(rest));
                        stream.forwarded.push(b' ');
                    }
                    stream.forwarded.extend_from_slice(b"\r\n");
                }
                Policy::Local(_) => {}
                _ => stream.forwarded.extend_from_slice(&rest[..len]),
            }
            rest = &rest[len..];
        }
        stream
    }
}

#[test]
fn requests_become_what_0_5_made_of_them_save_for_listed_differences() {
    let cases = cases("twemproxy_0_5_requests.json");
    assert!(cases.len() > 60);
    let mut listed = 0;
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let stream = Stream::of(&latin1(&case["input"]));
        let is_wider = WIDER.iter().any(|(wider, _)| *wider == name) || META.contains(&name);
        let is_refused = matches!(stream.end, Scan::Refused { .. });
        let is_closed = matches!(stream.end, Scan::Malformed(_) | Scan::Binary);
        if NARROWER.contains(&name) {
            assert!(is_refused && stream.forwarded.is_empty(), "{name}: {:?}", stream.end);
            listed += 1;
        } else if case["client_closed"] == false || name == "get quit get" {
            assert_eq!(stream.end, Scan::Incomplete, "{name}");
            let mut received = latin1(&case["backend_received"]);
            if name == "get quit get" {
                received.extend_from_slice(b"get b\r\n");
            }
            // Blanks ahead of a request are skipped.
            assert_eq!(stream.forwarded, after_blanks(&received), "{name}");
        } else if is_wider {
            assert_eq!(stream.end, Scan::Incomplete, "{name}");
            listed += 1;
        } else if CLOSED.contains(&name) {
            assert!(is_closed, "{name}: {:?}", stream.end);
            listed += 1;
        } else {
            assert!(is_refused, "{name}: {:?}", stream.end);
        }
    }
    assert_eq!(listed, WIDER.len() + META.len() + NARROWER.len() + CLOSED.len());
}

/// Replies that 0.5 did not understand, and that belong to commands it did not know.
const NEW_REPLIES: [&str; 5] = ["OK\r\n", "EN\r\n", "HD\r\n", "VA 1\r\nx\r\n", "MN\r\n"];

#[test]
fn replies_are_understood_as_0_5_understood_them_save_for_new_words() {
    let cases = cases("twemproxy_0_5_replies.json");
    assert!(cases.len() > 30);
    for case in cases {
        let bytes = latin1(&case["server_sends"]);
        let text = String::from_utf8_lossy(&bytes);
        let scan_at = |ends: &mut dyn Iterator<Item = usize>| {
            let mut scanner = ReplyScanner::default();
            ends.map(|end| scanner.scan(&bytes[..end])).find(|scan| *scan != ReplyScan::Incomplete)
        };
        let whole = scan_at(&mut [bytes.len()].into_iter());
        assert_eq!(scan_at(&mut (0..=bytes.len())), whole, "{text} byte by byte");
        for split in 0..bytes.len() {
            let ends = &mut [split, bytes.len()].into_iter();
            assert_eq!(scan_at(ends), whole, "{text} split at {split}");
        }
        let is_understood = whole == Some(ReplyScan::Complete(bytes.len()));
        let was_understood = case["server_connection_dropped"] == false;
        let is_new = NEW_REPLIES.contains(&&*text);
        assert_eq!(is_understood, was_understood || is_new, "{text}: {whole:?}");
        assert!(is_understood || matches!(whole, Some(ReplyScan::Malformed(_))), "{text}");
    }
}
