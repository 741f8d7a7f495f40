//! Recorded requests and replies: scanned whole, byte by byte, and at every split.

use proto::Span;
use proto::resp::{Protocol, ReplyScan, ReplyScanner, RequestScanner, Scan};
use serde_json::Value;

use crate::{json, latin1};

/// What scanning a request came to, in a form to compare with the record.
#[derive(Debug, PartialEq)]
struct Outcome {
    scan: &'static str,
    len: Option<u64>,
    args: Option<Vec<Vec<u8>>>,
    error: Option<&'static str>,
}

impl Outcome {
    fn of(scan: Scan, bytes: &[u8], args: &[Span]) -> Self {
        let none = Self { scan: "incomplete", len: None, args: None, error: None };
        match scan {
            Scan::Incomplete => none,
            Scan::Complete(len) => Self {
                scan: "complete",
                len: Some(len as u64),
                args: Some(args.iter().map(|arg| arg.of(bytes).to_vec()).collect()),
                error: None,
            },
            Scan::Inline(len) => Self { scan: "inline", len: Some(len as u64), ..none },
            Scan::Blank(len) => Self { scan: "blank", len: Some(len as u64), ..none },
            Scan::Malformed(malformed) => {
                Self { scan: "malformed", error: Some(malformed.reason.text()), ..none }
            }
        }
    }

    fn assert_is(&self, case: &Value, how: &str) {
        let args = case["args"].as_array().map(|args| args.iter().map(latin1).collect());
        assert_eq!(
            (Some(self.scan), self.len, &self.args, self.error),
            (case["scan"].as_str(), case["len"].as_u64(), &args, case["error"].as_str()),
            "{} {how}",
            case["name"]
        );
    }
}

fn requests() -> Vec<Value> {
    json("resp/requests.json")["cases"].as_array().expect("a list of cases").clone()
}

/// Scans ever longer beginnings of `bytes`, ending at `ends`, until there is an outcome.
fn scan_at(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Outcome {
    let mut scanner = RequestScanner::default();
    let mut args = Vec::new();
    for end in ends {
        let scan = scanner.scan(&bytes[..end], &mut args);
        if scan != Scan::Incomplete {
            return Outcome::of(scan, bytes, &args);
        }
    }
    Outcome::of(Scan::Incomplete, bytes, &args)
}

#[test]
fn recorded_requests_scan_alike_whole_byte_by_byte_and_at_every_split() {
    let cases = requests();
    assert!(cases.len() > 100);
    for case in cases {
        let bytes = latin1(&case["input"]);
        scan_at(&bytes, [bytes.len()]).assert_is(&case, "whole");
        scan_at(&bytes, 0..=bytes.len()).assert_is(&case, "byte by byte");
        for split in 0..=bytes.len() {
            scan_at(&bytes, [split, bytes.len()]).assert_is(&case, &format!("split at {split}"));
        }
    }
}

#[test]
fn every_proper_beginning_of_a_request_is_incomplete() {
    for case in requests().iter().filter(|case| case["scan"] == "complete") {
        let bytes = latin1(&case["input"]);
        let len = case["len"].as_u64().expect("a complete request has a length") as usize;
        for end in 0..len {
            assert_eq!(scan_at(&bytes, [end]).scan, "incomplete", "{} at {end}", case["name"]);
        }
    }
}

#[test]
fn recorded_replies_scan_alike_whole_byte_by_byte_and_at_every_split() {
    let replies = json("resp/replies.json");
    let cases = replies["cases"].as_array().expect("a list of cases");
    assert!(cases.len() > 90);
    for case in cases {
        let bytes = latin1(&case["input"]);
        for (version, protocol) in [("resp2", Protocol::Resp2), ("resp3", Protocol::Resp3)] {
            let expected = &case[version];
            let matches = |ends: &mut dyn Iterator<Item = usize>| {
                let mut scanner = ReplyScanner::new(protocol);
                let scan = ends
                    .map(|end| scanner.scan(&bytes[..end]))
                    .find(|scan| *scan != ReplyScan::Incomplete);
                match scan {
                    None | Some(ReplyScan::Incomplete) => expected == "incomplete",
                    Some(ReplyScan::Complete(len)) => *expected == len,
                    Some(ReplyScan::Malformed(_)) => expected == "malformed",
                }
            };
            let name = format!("{} as {version}", case["input"]);
            assert!(matches(&mut [bytes.len()].into_iter()), "{name} whole");
            assert!(matches(&mut (0..=bytes.len())), "{name} byte by byte");
            for split in 0..=bytes.len() {
                assert!(matches(&mut [split, bytes.len()].into_iter()), "{name} split at {split}");
            }
        }
    }
}
