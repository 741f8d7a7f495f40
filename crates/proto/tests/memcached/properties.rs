//! What holds for every message, whatever it is and however it arrives.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proto::memcached::{ReplyScan, ReplyScanner, RequestScanner, Scan, fuzz, walk};

/// Words that requests are made of, and some that look like them.
const WORDS: [&str; 40] = [
    "get",
    "gets",
    "gat",
    "set",
    "add",
    "cas",
    "append",
    "incr",
    "touch",
    "delete",
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "mn",
    "version",
    "verbosity",
    "flush_all",
    "stats",
    "quit",
    "noreply",
    "NOREPLY",
    "0",
    "1",
    "5",
    "-1",
    "07",
    "2147483645",
    "4294967296",
    "k",
    "key",
    "Zm9v",
    "b",
    "q",
    "v",
    "O1",
    "T0",
    "MS",
    "x",
];

fn line() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        12 => select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..6),
        1 => vec(any::<u8>(), 240..260),
    ];
    let blanks = prop_oneof![8 => Just(1_usize), 1 => 0_usize..4];
    let end = prop_oneof![9 => Just("\r\n"), 1 => select(&["\n", "\r", "\r\r\n", ""][..])];
    (vec((blanks, word), 0..8), end, "[a-z\r\n]{0,8}").prop_map(|(words, end, behind)| {
        let mut line = Vec::new();
        for (nth, (blanks, word)) in words.into_iter().enumerate() {
            line.resize(
                line.len() + if nth == 0 { blanks.saturating_sub(1) } else { blanks },
                b' ',
            );
            line.extend_from_slice(&word);
        }
        [&line[..], end.as_bytes(), behind.as_bytes(), b"\r\n"].concat()
    })
}

/// A request that is served, with a value of any bytes.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let key = || vec(prop_oneof![0x21..=0x7e_u8, 0x80..=0xff_u8], 1..=250);
    let keys = vec(key(), 1..20).prop_map(|keys| keys.join(&b' '));
    prop_oneof![
        keys.prop_map(|keys| [b"get ", &keys[..], b"\r\n"].concat()),
        (key(), vec(any::<u8>(), 0..300), any::<bool>()).prop_map(|(key, value, silent)| {
            let tail = format!(" 1 -1 {}{}\r\n", value.len(), if silent { " noreply" } else { "" });
            [b"set ", &key[..], tail.as_bytes(), &value, b"\r\n"].concat()
        }),
        (key(), vec(any::<u8>(), 0..300)).prop_map(|(key, value)| {
            let tail = format!(" {} T0 O1 q\r\n", value.len());
            [b"ms ", &key[..], tail.as_bytes(), &value, b"\r\n"].concat()
        }),
        key().prop_map(|key| [b"incr ", &key[..], b" 1\r\n"].concat()),
    ]
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let value = ("[!-~]{1,250}", vec(any::<u8>(), 0..300), any::<bool>()).prop_map(
        |(key, data, has_cas)| {
            let cas = if has_cas { " 77" } else { "" };
            let header = format!("VALUE {key} 0 {}{cas}\r\n", data.len());
            [header.as_bytes(), &data, b"\r\n"].concat()
        },
    );
    prop_oneof![
        vec(value, 0..5).prop_map(|values| [&values.concat()[..], b"END\r\n"].concat()),
        select(&["STORED", "NOT_FOUND", "12", "OK", "HD O1 kfoo", "EN", "NS", "EX", "ERROR"][..])
            .prop_map(|word| format!("{word}\r\n").into_bytes()),
        "(CLIENT|SERVER)_ERROR [ -~]{0,80}".prop_map(|line| format!("{line}\r\n").into_bytes()),
        vec(any::<u8>(), 0..300).prop_map(|data| {
            [format!("VA {} t-1\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
        }),
    ]
}

/// Scans one request whose bytes arrive in pieces, forgetting some of them now and then, and says what a scan of all of them
/// would have said.
fn scan_forgetting(bytes: &[u8], cuts: &[(usize, usize)]) -> Scan {
    let (mut scanner, mut args) = (RequestScanner::new(200), Vec::new());
    let (mut start, mut end) = (0, 0);
    let mut cuts = cuts.iter().cycle();
    loop {
        let (step, keep) = cuts.next().unwrap();
        end = bytes.len().min(end + step);
        match scanner.scan(&bytes[start..end], &mut args) {
            Scan::Incomplete if end == bytes.len() => return Scan::Incomplete,
            Scan::Incomplete => start += scanner.forget((end - start).saturating_sub(*keep)),
            Scan::Complete { len, request } => return Scan::Complete { len: start + len, request },
            Scan::Malformed(mut malformed) => {
                malformed.offset += start;
                return Scan::Malformed(malformed);
            }
            other => return other,
        }
    }
}

proptest! {
    #[test]
    fn what_is_forgotten_on_the_way_changes_no_verdict(
        mut bytes in request(),
        change in any::<Option<(prop::sample::Index, u8)>>(),
        cuts in vec((1_usize..60, prop_oneof![3 => Just(0_usize), 1 => 0_usize..80]), 1..20),
    ) {
        if let Some((place, byte)) = change {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.extend_from_slice(b"get a\r\n");
        let blanks = bytes.iter().take_while(|byte| **byte == b' ').count();
        let bytes = &bytes[blanks..];
        match (scan_forgetting(bytes, &cuts), RequestScanner::new(200).scan(bytes, &mut Vec::new())) {
            // What it asks for was told by the first part of it.
            (Scan::Complete { len, .. }, Scan::Complete { len: whole, .. }) => {
                prop_assert_eq!(len, whole);
            }
            (scan, whole) => prop_assert_eq!(scan, whole),
        }
    }

    #[test]
    fn a_stream_of_requests_falls_into_its_requests(
        requests in vec(request(), 1..6),
        pieces in vec(1_usize..100, 1..40),
    ) {
        let stream = requests.concat();
        let mut start = 0;
        for request in &requests {
            let mut scanner = RequestScanner::default();
            let mut args = Vec::new();
            let mut pieces = pieces.iter().cycle();
            let mut end = start;
            let scan = loop {
                end = (end + pieces.next().unwrap()).min(stream.len());
                let scan = scanner.scan(&stream[start..end], &mut args);
                if scan != Scan::Incomplete {
                    break scan;
                }
            };
            let is_whole = matches!(scan, Scan::Complete { len, .. } if len == request.len());
            prop_assert!(is_whole, "{scan:?}");
            start += request.len();
        }
    }

    #[test]
    fn a_stream_of_replies_falls_into_its_replies(
        replies in vec(reply(), 1..6),
        pieces in vec(1_usize..100, 1..40),
    ) {
        let stream = replies.concat();
        let mut start = 0;
        for reply in &replies {
            let mut scanner = ReplyScanner::default();
            let mut pieces = pieces.iter().cycle();
            let mut end = start;
            let scan = loop {
                end = (end + pieces.next().unwrap()).min(stream.len());
                let scan = scanner.scan(&stream[start..end]);
                if scan != ReplyScan::Incomplete {
                    break scan;
                }
            };
            prop_assert_eq!(scan, ReplyScan::Complete(reply.len()));
            prop_assert_eq!(walk::is_error(reply), reply.windows(5).take(8).any(|word| word == b"ERROR"));
            prop_assert_eq!(walk::is_values(reply), reply.starts_with(b"VALUE") || reply == b"END\r\n");
            start += reply.len();
        }
    }

    #[test]
    fn a_damaged_reply_is_judged_alike_whatever_of_it_is_passed_on_before(
        reply in reply(),
        place in any::<proptest::sample::Index>(),
    ) {
        fuzz::fuzz_reply(&reply);
        let mut damaged = reply;
        let place = place.index(damaged.len());
        damaged[place] ^= 0x55;
        fuzz::fuzz_reply(&damaged);
    }

    #[test]
    fn lines_of_likely_words_never_panic(line in line()) {
        fuzz::fuzz_request(&line);
        fuzz::fuzz_reply(&line);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_request(&bytes);
        fuzz::fuzz_reply(&bytes);
    }

    #[test]
    fn near_misses_of_replies_never_panic(bytes in "(VALUE|VA|END|HD|ERROR|[0-9k \r\n]){0,30}") {
        fuzz::fuzz_reply(bytes.as_bytes());
        fuzz::fuzz_request(bytes.as_bytes());
    }
}
