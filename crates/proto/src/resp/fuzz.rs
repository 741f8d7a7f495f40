//! Bodies of the fuzz targets: what must hold for any bytes whatever. They live here so that they
//! also run on the seeds in `testdata` with every test run. They panic when a property fails.
#![cfg_attr(
    not(test),
    expect(clippy::expect_used, reason = "a property that fails is reported by a panic")
)]

use super::command::{self, Policy};
use super::{Malformed, ReplyScan, ReplyScanner, RequestScanner, Scan, encode, inline, walk};
use crate::Span;
use crate::pieces::{define_scan_and_forget, steps};
use crate::resp::reply::Protocol;

/// A request of any bytes: pieces do not change the outcome, spans lie where they should, and
/// nothing that is done with a request panics.
pub fn fuzz_request(bytes: &[u8]) {
    let mut args = Vec::new();
    let whole = RequestScanner::default().scan(bytes, &mut args);
    for step in [1, 2, 7, 64] {
        let mut pieces = Vec::new();
        let outcome = scan_in_steps(bytes, step, &mut pieces);
        assert_eq!((outcome, &pieces), (whole, &args), "in steps of {step}");
    }
    match whole {
        Scan::Complete(len) => {
            let request = bytes.get(..len).expect("a request ends within its bytes");
            use_request(request, &args);
            encodes_to_the_same_arguments(request, &args);
        }
        Scan::Inline(len) => {
            let line = bytes.get(..len).expect("a line ends within its bytes");
            assert!(line.ends_with(b"\n"));
            fuzz_inline(line);
        }
        Scan::Blank(len) => assert!(matches!(bytes.get(..len), Some(b"\n" | b"\r\n"))),
        Scan::Malformed(malformed) => {
            assert!(malformed.offset <= bytes.len());
            malformed.write_reply(&mut Vec::new());
        }
        Scan::Incomplete => {}
    }
}

/// An inline request of any bytes becomes an array that scans, or leaves no trace.
pub fn fuzz_inline(line: &[u8]) {
    let mut array = b"before".to_vec();
    match inline::encode(line, &mut array) {
        Ok(()) => {
            let request = array.strip_prefix(b"before").expect("the line is appended");
            let mut args = Vec::new();
            let outcome = RequestScanner::default().scan(request, &mut args);
            assert_eq!(outcome, Scan::Complete(request.len()));
            use_request(request, &args);
        }
        Err(malformed) => {
            assert!(malformed.offset <= line.len());
            assert_eq!(array, b"before");
        }
    }
}

/// A reply of any bytes: pieces do not change the outcome, RESP3 contains RESP2, and the elements
/// of an array add up to it.
pub fn fuzz_reply(bytes: &[u8]) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let whole = ReplyScanner::new(protocol).scan(bytes);
        for step in [1, 2, 7, 64] {
            let mut scanner = ReplyScanner::new(protocol);
            let outcome = steps(bytes, step, |piece| match scanner.scan(piece) {
                ReplyScan::Incomplete => None,
                outcome => Some(outcome),
            });
            assert_eq!(outcome.unwrap_or(ReplyScan::Incomplete), whole, "in steps of {step}");
            for share in [1, 2] {
                let outcome = scan_and_forget(bytes, step, share, ReplyScanner::new(protocol));
                assert_eq!(outcome, whole, "forgotten in steps of {step}");
            }
        }
        match whole {
            ReplyScan::Complete(len) => {
                use_reply(bytes.get(..len).expect("a reply ends within its bytes"));
            }
            ReplyScan::Malformed(malformed) => assert!(malformed.offset <= bytes.len()),
            ReplyScan::Incomplete => assert_eq!(walk::element_len(bytes), None),
        }
    }
}

fn scan_in_steps(bytes: &[u8], step: usize, args: &mut Vec<Span>) -> Scan {
    let mut scanner = RequestScanner::default();
    let outcome = steps(bytes, step, |piece| match scanner.scan(piece, args) {
        Scan::Incomplete => {
            assert!(scanner.bytes_wanted() >= piece.len().min(1));
            None
        }
        outcome => Some(outcome),
    });
    outcome.unwrap_or(Scan::Incomplete)
}

fn use_request(request: &[u8], args: &[Span]) {
    let end = u32::try_from(request.len()).expect("requests are shorter than 4 GiB");
    assert!(args.iter().all(|arg| arg.start <= arg.end && arg.end <= end));
    let mut reply = Vec::new();
    match command::resolve(request, args) {
        Err(rejection) => rejection.write_reply(request, args, &mut reply),
        Ok(command) => {
            let mut keys = Vec::new();
            let found = command.keys(request, args, &mut keys);
            match found {
                Ok(()) => assert_eq!(
                    keys.first().map(|key| *key as usize),
                    command.first_key(request, args)
                ),
                Err(rejection) => rejection.write_reply(&mut reply),
            }
            assert!(keys.iter().all(|key| (*key as usize) < args.len()));
            if command.policy_for(request, args) == Policy::SingleShard && found.is_ok() {
                assert!(!keys.is_empty(), "{} has no key", command.name);
            }
        }
    }
    assert!(reply.is_empty() || walk::element_len(&reply) == Some(reply.len()));
}

fn encodes_to_the_same_arguments(request: &[u8], args: &[Span]) {
    let mut again = Vec::new();
    encode::array_header(&mut again, args.len());
    for arg in args {
        encode::bulk(&mut again, arg.of(request));
    }
    let mut spans = Vec::new();
    let outcome = RequestScanner::default().scan(&again, &mut spans);
    assert_eq!(outcome, Scan::Complete(again.len()));
    assert!(args.iter().map(|arg| arg.of(request)).eq(spans.iter().map(|arg| arg.of(&again))));
}

define_scan_and_forget!();

fn use_reply(reply: &[u8]) {
    assert_eq!(walk::element_len(reply), Some(reply.len()));
    if let Some((count, header)) = walk::array_header(reply) {
        let mut at = header;
        for _ in 0..count {
            let element = reply.get(at..).expect("an array holds its elements");
            at += walk::element_len(element).expect("the elements of a whole array are whole");
        }
        assert_eq!(at, reply.len());
    }
    if let Some(value) = walk::integer(reply) {
        assert!(reply.starts_with(b":"));
        let mut again = Vec::new();
        encode::integer(&mut again, value);
        assert_eq!(walk::integer(&again), Some(value));
    }
    assert!(!walk::is_loading(reply) || walk::is_error(reply));
}
