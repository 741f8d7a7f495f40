//! The rules, one by one: what a line must be, what is refused and how much of it is swallowed, and
//! what ends a connection.

use proto::memcached::key::Decoded;
use proto::memcached::limits::{
    KEYS_LINE_BYTES_MAX, KEYS_MAX, LINE_BYTES_MAX, SERVED_LINE_BYTES_MAX,
};
use proto::memcached::{
    Reason, Refusal, ReplyScan, ReplyScanner, RequestScanner, Scan, Silence, command, walk,
};

use crate::{Outcome, scan_every_way};

/// Bytes of a request that is accepted.
fn accepted(bytes: &[u8]) -> usize {
    match scan_every_way(bytes).scan {
        Scan::Complete { len, request } => {
            assert_eq!(len, request.line as usize + value_len(request.data, bytes));
            len
        }
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Bytes of a value and its line end, for commands that have one.
fn value_len(data: u32, bytes: &[u8]) -> usize {
    let line = bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    if bytes.len() > line { data as usize + 2 } else { 0 }
}

/// What is refused, what is swallowed behind the line, and whether nobody is told.
fn refused(bytes: &[u8]) -> (Refusal, u64, bool) {
    match scan_every_way(bytes).scan {
        Scan::Refused { len, swallow, refusal, is_silent } => {
            let line = bytes.windows(2).position(|end| end == b"\r\n").expect("a line");
            assert_eq!(len, line + 2, "the line is used up and nothing else");
            (refusal, swallow, is_silent)
        }
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn ends_connection(bytes: &[u8]) -> (Reason, usize) {
    let malformed = scan_every_way(bytes).malformed();
    let malformed = malformed.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
    (malformed.reason, malformed.offset)
}

#[test]
fn a_get_of_one_key_is_the_same_at_a_glance_and_piece_by_piece() {
    for len in [1, 2, 7, 8, 9, 15, 16, 17, 249, 250] {
        let line = [b"get ", &vec![b'k'; len][..], b"\r\n"].concat();
        assert_eq!(accepted(&line), line.len());
    }
    for len in [251, 252, 300] {
        let line = [b"get ", &vec![b'k'; len][..], b"\r\n"].concat();
        assert_eq!(refused(&line).0, Refusal::KeyTooLong);
    }
    // Whatever it is: the same in one piece and in many.
    for byte in 0..=255_u8 {
        for at in 0..15 {
            let mut line = b"get 123456789\r\nget".to_vec();
            line[at] = byte;
            scan_every_way(&line);
        }
    }
}

#[test]
fn every_command_is_taken_in_each_of_its_forms() {
    for line in [
        "get a",
        "get noreply",
        "gets   a  b   ",
        "gat 0 a",
        "gats -1 a b",
        "set a 0 0 1\r\nx",
        "set a 4294967295 2147483647 0 noreply\r\n",
        "add a 0 -1 3\r\n\r\n\0",
        "replace a 0 -2147483648 1 \r\nx",
        "append a 0 0 2\r\n\r\n",
        "prepend a 0 0 1\r\n\n",
        "cas a 0 0 1 18446744073709551615\r\nx",
        "cas a 0 0 1 0 noreply\r\nx",
        "incr a 1",
        "decr a x noreply",
        "touch a -1",
        "delete a",
        "delete a 0",
        "delete a 5",
        "delete a noreply",
        "delete a 0 noreply",
        "delete noreply 0",
        "mg a",
        "mg a v k O1 q",
        "ms a 1\r\nx",
        "ms YQ== 2 b T0 MS q\r\n\r\n",
        "md a I T30",
        "ma a N0 J13 D4 v",
        "me a",
        "mn",
        "version",
        "version x",
        "verbosity 1",
        "verbosity 1 noreply",
        "stats",
        "stats items",
        "quit",
        "flush_all",
        "flush_all -1",
        "flush_all noreply",
        "flush_all 10 noreply",
        "shutdown graceful",
        "watch",
    ] {
        let bytes = format!("{line}\r\n");
        assert_eq!(accepted(bytes.as_bytes()), bytes.len(), "{line}");
        let next = format!("{bytes}get next\r\n");
        let scan = Outcome::of(next.as_bytes()).scan;
        assert!(matches!(scan, Scan::Complete { len, .. } if len == bytes.len()), "{line}");
    }
}

#[test]
fn blanks_ahead_of_a_request_are_skipped_and_never_sent() {
    for (bytes, blanks) in [(&b" "[..], 1), (b"   get a\r\n", 3), (b"  \r\n", 2)] {
        let mut args = Vec::new();
        assert_eq!(RequestScanner::default().scan(bytes, &mut args), Scan::Blank(blanks));
        assert!(args.is_empty());
    }
    assert_eq!(Outcome::of(&vec![b' '; 100_000]).scan, Scan::Blank(100_000));
}

#[test]
fn every_beginning_of_a_request_is_incomplete() {
    for bytes in [&b"get a  b \r\n"[..], b"set a 0 0 5\r\n\r\n\r\nx\r\n", b"ms a 0 T0\r\n\r\n"] {
        for end in 0..bytes.len() {
            assert_eq!(Outcome::of(&bytes[..end]).scan, Scan::Incomplete, "{end} of {bytes:?}");
        }
        accepted(bytes);
    }
}

#[test]
fn unknown_words_and_wrong_counts_of_words_are_errors_and_no_more() {
    for line in ["", "GET a", "Get a", "get1 a", "foo", "m", "mx a", "GET / HTTP/1.1"] {
        let line = format!("{line}\r\n");
        assert_eq!(refused(line.as_bytes()), (Refusal::UnknownCommand, 0, false), "{line}");
    }
    for line in [
        "get",
        "get ",
        "gets",
        "gat",
        "gat 0",
        "incr",
        "incr a",
        "incr a 1 2 3",
        "touch a",
        "touch a 1 2 noreply",
        "delete",
        "delete a 0 0 0",
        "mg",
        "md",
        "ma",
        "me",
        "ms",
        "set",
        "set a 0 0",
        "verbosity",
        "flush_all 1 2 3",
    ] {
        let line = format!("{line}\r\n");
        assert_eq!(refused(line.as_bytes()), (Refusal::WrongArguments, 0, false), "{line}");
    }
    assert_eq!(refused(b"ms a\r\n"), (Refusal::BadFormat, 0, false));
    assert_eq!(Refusal::UnknownCommand.text(), "ERROR\r\n");
    assert_eq!(Refusal::WrongArguments.text(), "ERROR\r\n");
}

#[test]
fn a_value_is_swallowed_when_something_else_is_wrong_with_its_line() {
    let long = "k".repeat(251);
    let binary = format!("{}=", "k".repeat(251));
    for (line, refusal, swallow) in [
        ("set a x 0 5", Refusal::BadFormat, 7),
        ("set a -1 0 5", Refusal::BadFormat, 7),
        ("set a 4294967296 0 5", Refusal::BadFormat, 7),
        ("set a 0 x 5", Refusal::BadFormat, 7),
        ("set a 0 2147483648 5", Refusal::BadFormat, 7),
        ("set a 0 0 5 no", Refusal::BadFormat, 7),
        ("set a 00000000000 0 5", Refusal::BadFormat, 7),
        ("set a 0 0 5 noreply noreply", Refusal::WrongArguments, 7),
        ("cas a 0 0 5", Refusal::WrongArguments, 7),
        ("cas a 0 0 5 x", Refusal::BadFormat, 7),
        ("cas a 0 0 5 -1", Refusal::BadFormat, 7),
        ("cas a 0 0 5 1 2", Refusal::BadFormat, 7),
        ("cas a 0 0 5 noreply", Refusal::BadFormat, 7),
        ("set a\0 0 0 5", Refusal::ControlByte, 7),
        ("set a\tb 0 0 5", Refusal::ControlByte, 7),
        ("set a\nb 0 0 5", Refusal::ControlByte, 7),
        ("set a\x7f 0 0 5", Refusal::ControlByte, 7),
        ("ms a 5 q q", Refusal::DuplicateFlag, 7),
        ("ms a 5 T0 T1", Refusal::DuplicateFlag, 7),
        ("ms a 5 0", Refusal::InvalidFlag, 7),
        ("ms a 5 \u{e9}", Refusal::InvalidFlag, 7),
        ("ms a 5 b", Refusal::BadKeyEncoding, 7),
        ("ms a! 5 b", Refusal::BadKeyEncoding, 7),
        ("ms a 5 A B C D E F G H I J K L M N O P Q", Refusal::TooManyFlags, 7),
        (&format!("set {long} 0 0 5"), Refusal::KeyTooLong, 7),
        (&format!("ms {long} 5"), Refusal::KeyTooLong, 7),
        (&format!("ms {binary} 5 b"), Refusal::KeyTooLong, 7),
        ("set a x 0 2147483645", Refusal::BadFormat, 2_147_483_647),
    ] {
        assert_eq!(refused(format!("{line}\r\n").as_bytes()), (refusal, swallow, false), "{line}");
    }
    // Without a length nothing can be swallowed, and nothing is.
    assert_eq!(refused(b"set a 0\n0 5\r\n"), (Refusal::ControlByte, 0, false));
}

#[test]
fn lines_without_a_value_are_refused_whole() {
    let long = "k".repeat(251);
    for (line, refusal) in [
        (&*format!("get {long}"), Refusal::KeyTooLong),
        (&format!("get a {long} b"), Refusal::KeyTooLong),
        (&format!("gat 0 {long}"), Refusal::KeyTooLong),
        (&format!("delete {long}"), Refusal::KeyTooLong),
        (&format!("incr {long} 1"), Refusal::KeyTooLong),
        (&format!("mg {long} v"), Refusal::KeyTooLong),
        ("get a\nflush_all", Refusal::ControlByte),
        ("get a\0", Refusal::ControlByte),
        ("foo\n", Refusal::ControlByte),
        ("\n", Refusal::ControlByte),
        ("delete a \x01", Refusal::ControlByte),
        ("version \x7f", Refusal::ControlByte),
        ("mg a v v", Refusal::DuplicateFlag),
        ("mg a 0", Refusal::InvalidFlag),
        ("mg a b", Refusal::BadKeyEncoding),
        ("mg a A B C D E F G H I J K L M N O P Q R", Refusal::TooManyFlags),
        ("delete noreply", Refusal::BadFormat),
    ] {
        assert_eq!(refused(format!("{line}\r\n").as_bytes()), (refusal, 0, false), "{line:?}");
    }
    accepted(format!("get {}\r\n", &long[1..]).as_bytes());
}

#[test]
fn who_wants_no_reply_gets_none_when_refused() {
    for line in [
        "set a x 0 5 noreply",
        "set \x01 0 0 5 noreply",
        "cas a 0 0 5 x noreply",
        "incr \x01 1 noreply",
        "delete a noreply noreply",
        "delete noreply noreply",
        "touch a noreply noreply",
        "flush_all noreply noreply",
    ] {
        let (_, _, is_silent) = refused(format!("{line}\r\n").as_bytes());
        assert!(is_silent, "{line:?}");
    }
}

#[test]
fn silence_is_recognised_where_memcached_recognises_it() {
    let silence = |line: &str| {
        let bytes = format!("{line}\r\n");
        let request = scan_every_way(bytes.as_bytes()).request().expect(line);
        match request.silence {
            Silence::None => None,
            Silence::NoReply(word) | Silence::Quiet(word) => {
                Some(bytes[word.start as usize..word.end as usize].to_owned())
            }
        }
    };
    for (line, word) in [
        ("set a 0 0 0 noreply\r\n", Some("noreply")),
        ("set a 0 0 0\r\n", None),
        ("set noreply 0 0 0\r\n", None),
        ("cas a 0 0 0 1  noreply  \r\n", Some("noreply")),
        ("incr a 1 noreply", Some("noreply")),
        ("incr a noreply", Some("noreply")),
        ("touch a noreply", Some("noreply")),
        ("incr a 1 NOREPLY", None),
        ("incr noreply 1", None),
        ("delete a noreply", Some("noreply")),
        ("delete a 0 noreply", Some("noreply")),
        ("flush_all noreply", Some("noreply")),
        ("flush_all 0 noreply", Some("noreply")),
        ("verbosity noreply", Some("noreply")),
        ("get a noreply", None),
        ("gat 0 a noreply", None),
        ("version noreply", None),
        ("mg a q", Some("q")),
        ("mg a v qx", Some("qx")),
        ("mg q v", None),
        ("ms a 0 q\r\n", Some("q")),
        ("mg a noreply", None),
        ("cache_memlimit 5 noreply", Some("noreply")),
    ] {
        assert_eq!(silence(line).as_deref(), word, "{line}");
    }
}

#[test]
fn a_length_that_cannot_be_read_ends_the_connection() {
    for (len, offset) in [
        ("x", 10),
        ("-1", 10),
        ("+1", 10),
        ("1x", 10),
        ("2147483646", 10),
        ("4294967296", 10),
        ("00000000001", 10),
        ("5\n", 10),
    ] {
        let line = format!("set a 0 0 {len}\r\n");
        assert_eq!(ends_connection(line.as_bytes()), (Reason::BadDataLength, offset), "{len}");
        let line = format!("ms a {len}\r\n");
        assert_eq!(ends_connection(line.as_bytes()), (Reason::BadDataLength, 5), "{len}");
    }
    assert_eq!(Reason::BadDataLength.text(), "CLIENT_ERROR bad data chunk");
}

#[test]
fn what_follows_a_value_or_a_cr_is_a_line_end() {
    assert_eq!(ends_connection(b"set a 0 0 1\r\nxy\r\n"), (Reason::BadDataChunk, 14));
    assert_eq!(ends_connection(b"set a 0 0 1\r\nx\rz"), (Reason::BadDataChunk, 15));
    assert_eq!(ends_connection(b"set a 0 0 0\r\nx"), (Reason::BadDataChunk, 13));
    assert_eq!(ends_connection(b"get a\rb\r\n"), (Reason::BareCr, 6));
    assert_eq!(ends_connection(b"\r\r\n"), (Reason::BareCr, 1));
}

#[test]
fn the_binary_protocol_is_told_by_its_first_byte_only() {
    assert_eq!(scan_every_way(b"\x80").scan, Scan::Binary);
    assert_eq!(scan_every_way(b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0").scan, Scan::Binary);
    assert_eq!(refused(b"x\x80\r\n").0, Refusal::UnknownCommand);
}

#[test]
fn a_value_above_the_pools_limit_is_refused_and_swallowed() {
    for (line, bytes) in [("set a 0 0 11", 11), ("ms a 11 q", 11), ("add a 0 0 2147483645", 0)] {
        let line = format!("{line}\r\n");
        let scan = RequestScanner::new(10).scan(line.as_bytes(), &mut Vec::new());
        let Scan::Refused { swallow, refusal, .. } = scan else { panic!("{scan:?}") };
        assert_eq!(refusal, Refusal::TooLarge);
        assert!(bytes == 0 && swallow == 2_147_483_647 || swallow == bytes + 2);
    }
    let scan = RequestScanner::new(10).scan(b"set a 0 0 10\r\n0123456789\r\n", &mut Vec::new());
    assert!(matches!(scan, Scan::Complete { .. }));
}

#[test]
fn a_line_that_servers_may_not_read_whole_is_refused() {
    for (len, fits) in [(SERVED_LINE_BYTES_MAX, true), (SERVED_LINE_BYTES_MAX + 1, false)] {
        for start in ["mg a O", "incr a 1", "get a ", "gat 0 a b ", "version", "delete a noreply"] {
            let line = format!("{start:<width$}\r\n", width = len - 2);
            let outcome = Outcome::of(line.as_bytes());
            assert_eq!(Outcome::at(line.as_bytes(), 0..=len), outcome);
            assert_eq!(outcome.request().is_some(), fits, "{start}: {outcome:?}");
            assert_eq!(outcome.refusal() == Some(Refusal::LineTooLong), !fits, "{start}");
        }
        // These are rebuilt for each server.
        let line = format!("{:<width$}\r\n", "gets a b", width = len - 2);
        assert!(Outcome::of(line.as_bytes()).request().is_some());
    }
    let line = format!("{:<3000}\r\n", "set a 0 0 5");
    assert_eq!(refused(line.as_bytes()), (Refusal::LineTooLong, 7, false));
    let line = format!("set {} 0 0 5\r\n", "k".repeat(4000));
    assert_eq!(refused(line.as_bytes()), (Refusal::KeyTooLong, 7, false));
}

#[test]
fn a_line_is_bounded() {
    for (len, fits) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
        for start in ["mg a O", "set a 0 0 0 ", "foo ", "gat 0 a b "] {
            let line = format!("{start:<width$}\r\n", width = len - 2);
            for outcome in [Outcome::of(line.as_bytes()), Outcome::at(line.as_bytes(), 0..=len)] {
                let reason = outcome.malformed().map(|malformed| malformed.reason);
                assert_eq!(reason, (!fits).then_some(Reason::LineTooLong), "{start}");
                assert_eq!(outcome.refusal().is_some(), fits, "{start}: {outcome:?}");
            }
        }
    }
    let unended = vec![b'x'; LINE_BYTES_MAX];
    assert_eq!(ends_connection(&unended), (Reason::LineTooLong, LINE_BYTES_MAX));
    let padded = format!("{:<20000}\r\n", "get a");
    assert_eq!(Outcome::of(padded.as_bytes()).refusal(), Some(Refusal::LineTooLong));
}

#[test]
fn a_line_of_many_keys_may_be_long() {
    for start in ["get", "gets"] {
        let mut line = start.to_owned();
        let keys = 20_000;
        for key in 0..keys {
            line.push_str(&format!(" key:{key:010}"));
        }
        line.push_str("\r\n");
        for step in [line.len(), 4096, 1000, 16 * 1024] {
            let ends = (0..line.len()).step_by(step).chain([line.len()]);
            let outcome = Outcome::at(line.as_bytes(), ends);
            assert!(outcome.request().is_some());
            assert_eq!(outcome.args.len(), keys + 1);
            assert_eq!(outcome.args.last().map(|key| key.of(line.as_bytes()).len()), Some(14));
        }
    }
}

#[test]
fn keys_beyond_counting_are_refused_before_there_is_a_span_for_each() {
    let line = [b"get".to_vec(), b" k".repeat(KEYS_MAX), b"\r\n".to_vec()].concat();
    assert!(Outcome::of(&line).request().is_some());
    let line = [b"get".to_vec(), b" k".repeat(16 * KEYS_MAX), b"\r\n".to_vec()].concat();
    let mut args = Vec::new();
    let scan = RequestScanner::default().scan(&line, &mut args);
    assert!(matches!(scan, Scan::Malformed(malformed) if malformed.reason == Reason::TooManyKeys));
    assert!(args.len() < KEYS_MAX + LINE_BYTES_MAX);
    let line = [b"get".to_vec(), vec![b' '; KEYS_LINE_BYTES_MAX]].concat();
    assert_eq!(
        Outcome::of(&line).malformed().map(|malformed| malformed.reason),
        Some(Reason::LineTooLong)
    );
}

#[test]
fn nothing_before_the_place_reached_is_looked_at_again() {
    // What was scanned is overwritten; only the words that are judged stay.
    let value = b"set key 0 0 40\r\n0123456789012345678901234567890123456789\r\n";
    let mut scanner = RequestScanner::default();
    let mut args = Vec::new();
    assert_eq!(scanner.scan(&value[..20], &mut args), Scan::Incomplete);
    assert_eq!(scanner.bytes_wanted(), value.len());
    let mut bytes = value.to_vec();
    bytes[..56].fill(0xff);
    assert!(matches!(scanner.scan(&bytes, &mut args), Scan::Complete { len: 58, .. }));
    let line = b"get keykeykeykey1 keykeykeykey2\r\n";
    let mut scanner = RequestScanner::default();
    let mut args = Vec::new();
    assert_eq!(scanner.scan(&line[..25], &mut args), Scan::Incomplete);
    let mut bytes = line.to_vec();
    bytes[4..25].fill(b'\n');
    assert!(matches!(scanner.scan(&bytes, &mut args), Scan::Complete { .. }));
    assert_eq!(args.len(), 3);
}

#[test]
fn the_scanner_is_small() {
    assert!(size_of::<RequestScanner>() <= 64, "{}", size_of::<RequestScanner>());
}

#[test]
fn a_key_in_base64_is_hashed_as_what_it_stands_for() {
    let mut decoded = Decoded::default();
    let key = |line: &str, decoded: &mut Decoded| {
        let Outcome { scan, args } = scan_every_way(line.as_bytes());
        let Scan::Complete { request, .. } = scan else { panic!("{scan:?} for {line}") };
        request.key(&args, line.as_bytes(), decoded).to_vec()
    };
    assert_eq!(key("mg Zm9v v b\r\n", &mut decoded), b"foo");
    assert_eq!(key("mg Zm9v v\r\n", &mut decoded), b"Zm9v");
    assert_eq!(key("ms AAEKDQ== 0 b\r\n\r\n", &mut decoded), b"\0\x01\n\r");
    assert_eq!(key("md /+8= b q\r\n", &mut decoded), b"\xff\xef");
    assert_eq!(key("touch k 5\r\n", &mut decoded), b"k");
    assert_eq!(key("get k\r\n", &mut decoded), b"");
    for other in [
        "", "A", "AA", "AAA", "AAAAA", "AAAAAAA", "A===", "====", "=AAA", "A=AA", "AA=A",
        "AA==AAAA", "AAA=AAAA", "AA\u{e9}",
    ] {
        assert_eq!(decoded.decode(other.as_bytes()), None, "{other}");
        assert_eq!(decoded.as_bytes(), b"");
    }
    let longest = "A".repeat(248);
    assert_eq!(decoded.decode(longest.as_bytes()).map(<[u8]>::len), Some(186));
}

#[test]
fn the_table_is_in_order() {
    let known = command::all().iter().filter(|row| row.known_to_0_5).count();
    assert_eq!(known, 14);
    for (id, row) in command::all().iter().enumerate() {
        assert_eq!(usize::from(row.id), id);
        assert_eq!(command::find(row.name.as_bytes()), Some(row));
    }
}

#[test]
fn an_error_about_what_was_found_never_answers_a_request_without_reply() {
    for line in [
        "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        "CLIENT_ERROR invalid numeric delta argument\r\n",
        "CLIENT_ERROR invalid exptime argument\r\n",
    ] {
        assert!(
            walk::is_error(line.as_bytes()) && !walk::is_error_despite_noreply(line.as_bytes())
        );
    }
    for line in [
        "ERROR\r\n",
        "CLIENT_ERROR bad data chunk\r\n",
        "CLIENT_ERROR cannot\r\n",
        "SERVER_ERROR object too large for cache\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
    ] {
        assert!(walk::is_error_despite_noreply(line.as_bytes()));
    }
    assert!(!walk::is_error_despite_noreply(b"STORED\r\n"));
}

#[test]
fn a_reply_is_a_word_of_memcached_with_nothing_else_where_nothing_belongs() {
    let found = |bytes: &[u8]| match ReplyScanner::default().scan(bytes) {
        ReplyScan::Malformed(malformed) => Some((malformed.reason, malformed.offset)),
        ReplyScan::Complete(len) if len == bytes.len() => None,
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    };
    for reply in [&b"ERROR\r\n"[..], b"STORED \r\n", b"12  \r\n", b"VERSION 1 x\r\n", b"HD f1\r\n"]
    {
        assert_eq!(found(reply), None, "{}", reply.escape_ascii());
    }
    for reply in [
        &b"ERROR now\r\n"[..],
        b"ERRORS\r\n",
        b"STORED x\r\n",
        b"12 13\r\n",
        b"12a\r\n",
        b"END x\r\n",
        b"HDX\r\n",
        b"\r\n",
    ] {
        let unknown = Some((Reason::UnknownReply, 0));
        assert_eq!(found(reply), unknown, "{}", reply.escape_ascii());
    }
    assert_eq!(found(b"STORED\rX"), Some((Reason::InvalidReplyLine, 7)));
    assert_eq!(found(b"STORED\n"), Some((Reason::InvalidReplyLine, 6)));
}
