//! Properties of the scanners over generated traffic: any split gives the same messages, a parser
//! that knows no streaming agrees, and garbage is an answer, not a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proto::resp::{Protocol, ReplyScan, ReplyScanner, RequestScanner, Scan, fuzz, walk};

use crate::request;

/// A request the plain way: all bytes at hand, one line after the other.
fn naive(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let header = |mark: u8, at: &mut usize| {
        let line = bytes.get(*at..)?;
        let end = line.windows(2).position(|pair| pair == b"\r\n")?;
        let digits = std::str::from_utf8(line.get(..end)?.strip_prefix(&[mark])?).ok()?;
        *at += end + 2;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<usize>().ok())?
    };
    let count = header(b'*', &mut at)?;
    let mut args = Vec::new();
    for _ in 0..count {
        let len = header(b'$', &mut at)?;
        args.push(bytes.get(at..at + len)?.to_vec());
        at += len;
        (bytes.get(at..at + 2)? == b"\r\n").then_some(())?;
        at += 2;
    }
    (count > 0).then_some((args, at))
}

/// Takes a stream apart as a connection does: `chunks` of it arrive one after the other.
fn requests_of(stream: &[u8], chunks: &[usize]) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let mut requests = Vec::new();
    let (mut start, mut end) = (0, 0);
    let (mut scanner, mut args) = (RequestScanner::default(), Vec::new());
    let mut chunks = chunks.iter().cycle();
    while start < stream.len() {
        let bytes = &stream[start..end];
        match scanner.scan(bytes, &mut args) {
            Scan::Incomplete if end == stream.len() => return Err("cut short".into()),
            Scan::Incomplete => {
                end = stream.len().min(end + chunks.next().expect("cycles").max(&1));
            }
            Scan::Complete(len) => {
                requests.push(args.iter().map(|arg| arg.of(bytes).to_vec()).collect());
                args.clear();
                scanner = RequestScanner::default();
                start += len;
            }
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(requests)
}

/// Scans one request whose bytes arrive in pieces, forgetting some of them now and then, and says what a scan of all of them
/// would have said.
fn scan_forgetting(bytes: &[u8], cuts: &[(usize, usize)]) -> Scan {
    let (mut scanner, mut args) = (RequestScanner::default(), Vec::new());
    let (mut start, mut end) = (0, 0);
    let mut cuts = cuts.iter().cycle();
    loop {
        let (step, keep) = cuts.next().expect("cycles");
        end = bytes.len().min(end + step);
        match scanner.scan(&bytes[start..end], &mut args) {
            Scan::Incomplete if end == bytes.len() => return Scan::Incomplete,
            Scan::Incomplete => {
                start += scanner.forget((end - start).saturating_sub(*keep));
                assert!(scanner.bytes_wanted() <= u32::MAX as usize);
            }
            Scan::Complete(len) => return Scan::Complete(start + len),
            Scan::Malformed(mut malformed) => {
                malformed.offset += start;
                return Scan::Malformed(malformed);
            }
            other => return other,
        }
    }
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..130), 1..12)
}

/// A reply of RESP2 or, with `resp3`, of any type, down to a few levels.
fn reply(resp3: bool) -> impl Strategy<Value = Vec<u8>> {
    let line = "[a-zA-Z0-9 \n]{0,20}";
    let bulk = |mark: &'static str| {
        vec(any::<u8>(), 0..40).prop_map(move |payload| {
            let mut bulk = format!("{mark}{}\r\n", payload.len()).into_bytes();
            bulk.extend(payload);
            bulk.extend(b"\r\n");
            bulk
        })
    };
    let simple = prop_oneof![
        line.prop_map(|text| format!("+{text}\r\n").into_bytes()),
        line.prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
        bulk("$"),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
    ]
    .boxed();
    let leaf = if resp3 {
        prop_oneof![
            simple,
            bulk("="),
            bulk("!"),
            Just(b"_\r\n".to_vec()),
            Just(b"#t\r\n".to_vec()),
            any::<f32>().prop_map(|n| format!(",{n}\r\n").into_bytes()),
            any::<i128>().prop_map(|n| format!("({n}\r\n").into_bytes()),
        ]
        .boxed()
    } else {
        simple
    };
    leaf.prop_recursive(6, 40, 6, move |inner| {
        let kinds: &[(char, usize)] =
            if resp3 { &[('*', 1), ('~', 1), ('>', 1), ('%', 2), ('|', 2)] } else { &[('*', 1)] };
        (proptest::sample::select(kinds), vec(inner, 0..6)).prop_map(
            |((mark, width), mut children)| {
                // An attribute describes one more element, which follows it.
                let described = if mark == '|' { children.pop() } else { None };
                children.truncate(children.len() / width * width);
                let count = children.len() / width;
                let mut reply = format!("{mark}{count}\r\n").into_bytes();
                reply.extend(children.concat());
                if mark == '|' {
                    reply.extend(described.unwrap_or_else(|| b":1\r\n".to_vec()));
                }
                reply
            },
        )
    })
}

proptest! {
    #[test]
    fn pipelines_survive_any_split(
        requests in vec(words(), 1..8),
        chunks in vec(1_usize..200, 1..20),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|words| request(words).0).collect();
        prop_assert_eq!(requests_of(&stream, &chunks), Ok(requests));
    }

    #[test]
    fn a_plain_parser_agrees(words in words(), change in any::<(prop::sample::Index, u8)>()) {
        let (mut bytes, _) = request(&words);
        let (place, byte) = change;
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let mut args = Vec::new();
        let scan = RequestScanner::default().scan(&bytes, &mut args);
        let found = match scan {
            Scan::Complete(len) => {
                Some((args.iter().map(|arg| arg.of(&bytes).to_vec()).collect(), len))
            }
            _ => None,
        };
        prop_assert_eq!(found, naive(&bytes), "{:?}", scan);
    }

    #[test]
    fn what_is_forgotten_on_the_way_changes_no_verdict(
        words in words(),
        change in any::<Option<(prop::sample::Index, u8)>>(),
        cuts in vec((1_usize..60, prop_oneof![3 => Just(0_usize), 1 => 0_usize..80]), 1..20),
    ) {
        let (mut bytes, _) = request(&words);
        if let Some((place, byte)) = change {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.extend_from_slice(b"*1\r\n");
        let whole = RequestScanner::default().scan(&bytes, &mut Vec::new());
        prop_assert_eq!(scan_forgetting(&bytes, &cuts), whole);
    }

    #[test]
    fn replies_are_found_whole_in_any_pieces(
        replies in vec(reply(true), 1..5),
        step in 1_usize..50,
    ) {
        let stream = replies.concat();
        let mut start = 0;
        for reply in &replies {
            let mut scanner = ReplyScanner::new(Protocol::Resp3);
            let scan = (start..stream.len())
                .step_by(step)
                .chain([stream.len()])
                .map(|end| scanner.scan(&stream[start..end]))
                .find(|scan| *scan != ReplyScan::Incomplete);
            prop_assert_eq!(scan, Some(ReplyScan::Complete(reply.len())));
            prop_assert_eq!(walk::element_len(&stream[start..]), Some(reply.len()));
            start += reply.len();
        }
    }

    #[test]
    fn replies_end_where_they_do_whatever_of_them_is_passed_on_before(
        reply in reply(true),
        pieces in vec((1_usize..60, any::<prop::sample::Index>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = reply;
        if let Some(cut) = cut {
            // What follows may be no reply: the verdict must be the same.
            let cut = cut.index(bytes.len());
            bytes[cut] ^= 0x55;
        }
        let whole = ReplyScanner::new(Protocol::Resp3).scan(&bytes);
        let mut scanner = ReplyScanner::new(Protocol::Resp3);
        let (mut gone, mut end) = (0, 0);
        let mut pieces = pieces.iter().cycle();
        let outcome = loop {
            let (piece, share) = pieces.next().expect("cycles");
            let was_all = end == bytes.len();
            end = bytes.len().min(end + piece);
            match scanner.scan(&bytes[gone..end]) {
                ReplyScan::Incomplete if was_all => break ReplyScan::Incomplete,
                ReplyScan::Incomplete => {
                    let passed = scanner.bytes_passed(end - gone);
                    let n = share.index(passed + 1);
                    scanner.forget(n);
                    gone += n;
                }
                ReplyScan::Complete(len) => break ReplyScan::Complete(gone + len),
                ReplyScan::Malformed(mut malformed) => {
                    malformed.offset += gone;
                    break ReplyScan::Malformed(malformed);
                }
            }
        };
        prop_assert_eq!(outcome, whole);
    }

    #[test]
    fn resp2_replies_need_no_resp3(reply in reply(false)) {
        prop_assert_eq!(ReplyScanner::default().scan(&reply), ReplyScan::Complete(reply.len()));
        fuzz::fuzz_reply(&reply);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_request(&bytes);
        fuzz::fuzz_reply(&bytes);
        fuzz::fuzz_inline(&bytes);
    }

    #[test]
    fn near_misses_never_panic(bytes in "[*$:+\\-0-9\r\nGETa\"'\\\\x ]{0,60}") {
        fuzz::fuzz_request(bytes.as_bytes());
        fuzz::fuzz_reply(bytes.as_bytes());
        fuzz::fuzz_inline(bytes.as_bytes());
    }

    #[test]
    fn requests_of_known_words_never_panic(
        command in 0..proto::resp::command::all().len(),
        rest in vec(
            prop_oneof![
                "[0-9]{1,2}",
                "-?[0-9]{1,3}",
                "[a-z]{0,5}",
                proptest::sample::select(
                    &["STREAMS", "BLOCK", "COUNT", "GROUP", "KEYS", "STORE", "by", "get", "LIMIT",
                      "STOREDIST", "AUTH", "auth2", ""][..]
                ).prop_map(str::to_owned),
            ],
            0..12,
        ),
    ) {
        let name = proto::resp::command::all()[command].name;
        let words: Vec<String> = name.split('|').map(str::to_owned).chain(rest).collect();
        fuzz::fuzz_request(&request(&words).0);
    }
}
