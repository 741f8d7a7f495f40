//! Bodies of the fuzz targets: what must hold for any bytes whatever. They live here so that they
//! also run on the seeds in `testdata` with every test run. They panic when a property fails.
#![cfg_attr(
    not(test),
    expect(clippy::expect_used, reason = "a property that fails is reported by a panic")
)]

use super::limits::{KEY_BYTES_MAX, REPLY_LINE_BYTES_MAX};
use super::{
    Malformed, Policy, ReplyScan, ReplyScanner, Request, RequestScanner, Scan, Silence, binary,
    key, walk,
};
use crate::Span;
use crate::pieces::{define_scan_and_forget, steps};

/// Values above this are refused.
const ITEM_BYTES_MAX: u32 = 100;

/// Requests of any bytes, one behind the other: pieces do not change the outcome, spans lie where
/// they should, and what is accepted is one line and its value whoever reads it.
pub fn fuzz_request(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let used = one_request(rest);
        rest = rest.get(used..).expect("a request ends within its bytes");
        if used == 0 {
            break;
        }
    }
}

/// Bytes used up by the request at the front of `bytes`; 0 if there is none.
fn one_request(bytes: &[u8]) -> usize {
    let blanks = bytes.iter().take_while(|byte| **byte == b' ').count();
    if blanks > 0 {
        let scan = RequestScanner::default().scan(bytes, &mut Vec::new());
        assert_eq!(scan, Scan::Blank(blanks));
        return blanks;
    }
    let mut args = Vec::new();
    let whole = RequestScanner::new(ITEM_BYTES_MAX).scan(bytes, &mut args);
    for step in [1, 2, 7, 64] {
        let mut pieces = Vec::new();
        let outcome = scan_in_steps(bytes, step, &mut pieces);
        assert_eq!((outcome, &pieces), (whole, &args), "in steps of {step}");
    }
    match whole {
        Scan::Complete { len, request } => {
            use_request(bytes.get(..len).expect("a request ends within its bytes"), &args, request);
            len
        }
        Scan::Refused { len, swallow, refusal, .. } => {
            assert!(bytes.get(..len).is_some_and(|line| line.ends_with(b"\r\n")));
            assert!(refusal.text().ends_with("\r\n"));
            let swallow = usize::try_from(swallow).expect("values are shorter than 4 GiB");
            len.saturating_add(swallow).min(bytes.len())
        }
        Scan::Malformed(malformed) => {
            assert!(malformed.offset <= bytes.len());
            malformed.write_reply(&mut Vec::new());
            0
        }
        Scan::Binary => {
            let mut reply = Vec::new();
            binary::refusal(bytes, &mut reply);
            assert!(reply.len() > 24);
            0
        }
        Scan::Blank(_) | Scan::Incomplete => 0,
    }
}

fn scan_in_steps(bytes: &[u8], step: usize, args: &mut Vec<Span>) -> Scan {
    let mut scanner = RequestScanner::new(ITEM_BYTES_MAX);
    let outcome = steps(bytes, step, |piece| match scanner.scan(piece, args) {
        Scan::Incomplete => {
            // A CR is looked at again, together with what follows it.
            assert!(scanner.bytes_wanted().saturating_add(1) >= piece.len().min(1));
            None
        }
        outcome => Some(outcome),
    });
    outcome.unwrap_or(Scan::Incomplete)
}

fn use_request(bytes: &[u8], args: &[Span], request: Request) {
    let line = bytes.get(..request.line as usize).expect("a request holds its line");
    let value = bytes.get(request.line as usize..).expect("checked above");
    let words = line.strip_suffix(b"\r\n").expect("a line ends with CR LF");
    // Nobody reads a line end into it, and everybody reads the same words.
    assert!(words.iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
    let blank_free = words.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    assert!(blank_free.eq(args.iter().map(|arg| arg.of(bytes))));
    assert!(request.command.accepts(args.len()));
    assert_eq!(args.first().map(|word| word.start), Some(0));
    if value.is_empty() {
        assert_eq!(request.data, 0);
    } else {
        let data = value.strip_suffix(b"\r\n").expect("a value ends with CR LF");
        assert_eq!(data.len(), request.data as usize);
        assert!(request.data <= ITEM_BYTES_MAX);
    }
    match request.silence {
        Silence::None => {}
        Silence::NoReply(word) => assert_eq!(word.of(bytes), b"noreply"),
        Silence::Quiet(word) => assert_eq!(word.of(bytes).first(), Some(&b'q')),
    }
    let mut decoded = key::Decoded::default();
    let key = request.key(args, bytes, &mut decoded);
    assert_eq!(key.is_empty(), !matches!(request.command.policy, Policy::SingleShard { .. }));
    assert!(key.len() <= KEY_BYTES_MAX);
    answered_all_the_same(bytes, args, request);
}

/// With the word that asks for silence blanked out it is the same request, and asks no more.
fn answered_all_the_same(bytes: &[u8], args: &[Span], request: Request) {
    let (Silence::NoReply(word) | Silence::Quiet(word)) = request.silence else { return };
    let mut loud = bytes.to_vec();
    let place = word.start as usize..word.end as usize;
    loud.get_mut(place).expect("a word lies within its request").fill(b' ');
    let mut again = Vec::new();
    let scan = RequestScanner::new(ITEM_BYTES_MAX).scan(&loud, &mut again);
    let is_loud = match scan {
        Scan::Complete { len, request: loud } => {
            assert_eq!((len, loud.command), (bytes.len(), request.command));
            assert!(again.iter().eq(args.iter().filter(|arg| **arg != word)));
            loud.silence == Silence::None
        }
        // `incr k noreply`: silent, and an error when it is not.
        Scan::Refused { swallow, is_silent, .. } => swallow == 0 && !is_silent,
        _ => false,
    };
    assert!(is_loud, "{scan:?}");
}

/// A reply of any bytes: pieces do not change the outcome, and the values inside add up to it.
pub fn fuzz_reply(bytes: &[u8]) {
    let whole = ReplyScanner::default().scan(bytes);
    for step in [1, 2, 7, 64] {
        let mut scanner = ReplyScanner::default();
        let outcome = steps(bytes, step, |piece| match scanner.scan(piece) {
            ReplyScan::Incomplete => None,
            outcome => Some(outcome),
        });
        assert_eq!(outcome.unwrap_or(ReplyScan::Incomplete), whole, "in steps of {step}");
        for share in [1, 2] {
            let outcome = scan_and_forget(bytes, step, share, ReplyScanner::default());
            assert_eq!(outcome, whole, "forgotten in steps of {step}");
        }
    }
    match whole {
        ReplyScan::Complete(len) => {
            use_reply(bytes.get(..len).expect("a reply ends within its bytes"));
        }
        ReplyScan::Malformed(malformed) => assert!(malformed.offset <= bytes.len()),
        ReplyScan::Incomplete => {
            let line = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            assert!(bytes.contains(&b'\r') || line.len() <= REPLY_LINE_BYTES_MAX);
        }
    }
}

define_scan_and_forget!();

fn use_reply(reply: &[u8]) {
    assert!(reply.ends_with(b"\r\n"));
    let mut rest = reply;
    while let Some(value) = walk::value(rest) {
        assert!(!value.key.is_empty());
        let len = value.len;
        rest = rest.get(len..).expect("a reply holds its values");
    }
    if walk::is_values(reply) {
        assert_eq!(rest, b"END\r\n");
        assert!(!walk::is_error(reply));
    } else if rest.len() < reply.len() {
        assert!(walk::is_error(rest));
    }
    assert!(walk::value(rest).is_none());
}
