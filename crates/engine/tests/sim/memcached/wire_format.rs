//! memcached's text protocol as the simulated peers read and write it. Written apart from the crate under test, and
//! stricter than it: a server takes no control byte, no unknown word and no value of another length than announced.

use crate::server::Parsed;

/// A request taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) words: Vec<Vec<u8>>,
    /// The value of a storage command.
    pub(crate) data: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn name(&self) -> &str {
        self.words.first().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
    }
}

/// Reads one request as a server does that accepts nothing unusual.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Parsed<Request>, String> {
    let Some((words, line, announced)) = parse_line(bytes)? else { return Ok(Parsed::Partial) };
    let Some(announced) = announced else {
        return Ok(Parsed::Whole(Request { words, data: None }, line));
    };
    let end = line + announced;
    match bytes.get(end..end + 2) {
        None => Ok(Parsed::Partial),
        Some(b"\r\n") => {
            let data = Some(bytes[line..end].to_vec());
            Ok(Parsed::Whole(Request { words, data }, end + 2))
        }
        Some(other) => Err(format!("{other:?} after a value")),
    }
}

/// What a line says: its words, its length, and that of the value that follows it, if one does.
pub(crate) type Line = (Vec<Vec<u8>>, usize, Option<usize>);

/// The line at the front of `bytes`, `None` while it is not whole.
pub(crate) fn parse_line(bytes: &[u8]) -> Result<Option<Line>, String> {
    let Some(end) = bytes.iter().position(u8::is_ascii_control) else { return Ok(None) };
    match bytes.get(end..end + 2) {
        None if bytes[end] == b'\r' => return Ok(None),
        Some(b"\r\n") => {}
        _ => return Err(format!("control byte {:?} in a line", bytes[end] as char)),
    }
    let words: Vec<_> = bytes[..end]
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    if words.is_empty() || bytes[0] == b' ' {
        return Err("a line that begins with no command".into());
    }
    let place = match &words[0][..] {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => 4,
        b"ms" => 2,
        _ => return Ok(Some((words, end + 2, None))),
    };
    let announced = words.get(place).map(|word| String::from_utf8_lossy(word).into_owned());
    match announced.as_ref().map(|text| text.parse::<usize>()) {
        Some(Ok(len)) => Ok(Some((words, end + 2, Some(len)))),
        _ => Err(format!("{announced:?} where the length of a value is due")),
    }
}

/// The length of the reply at the front of `bytes`, `None` while it is not whole.
pub(crate) fn reply_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    if bytes.first() == Some(&0x81) {
        // One in the binary protocol.
        let Some(header) = bytes.first_chunk::<24>() else { return Ok(None) };
        let body = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
        return Ok((bytes.len() >= 24 + body).then_some(24 + body));
    }
    let mut at = 0;
    loop {
        let Some((words, behind)) = words_at(bytes, at)? else { return Ok(None) };
        let len = match words[0].as_str() {
            "VALUE" => number(&words, 3)?,
            "VA" if at == 0 => number(&words, 1)?,
            "STAT" => {
                at = behind;
                continue;
            }
            "END" | "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR" => return Ok(Some(behind)),
            _ if at > 0 => return Err(format!("{:?} among values", words[0])),
            "STORED" | "NOT_STORED" | "EXISTS" | "NOT_FOUND" | "DELETED" | "TOUCHED" | "OK"
            | "VERSION" | "HD" | "EN" | "NF" | "NS" | "EX" | "ME" | "MN" => {
                return Ok(Some(behind));
            }
            word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Ok(Some(behind));
            }
            word => return Err(format!("a reply that begins with {word:?}")),
        };
        match bytes.get(behind + len..behind + len + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at = behind + len + 2,
            Some(other) => return Err(format!("{other:?} after a value")),
        }
        if words[0] == "VA" {
            return Ok(Some(at));
        }
    }
}

/// The words of the line at `at`, and where the next one begins.
fn words_at(bytes: &[u8], at: usize) -> Result<Option<(Vec<String>, usize)>, String> {
    let rest = &bytes[at..];
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Ok(None);
    };
    match rest.get(end..end + 2) {
        None if rest[end] == b'\r' => Ok(None),
        Some(b"\r\n") => {
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            Ok(Some((line.split(' ').map(str::to_owned).collect(), at + end + 2)))
        }
        _ => Err("a reply whose line does not end with CR LF".into()),
    }
}

fn number(words: &[String], place: usize) -> Result<usize, String> {
    let word = words.get(place).map(String::as_str).unwrap_or_default();
    word.parse().map_err(|_| format!("{word:?} where a number is due"))
}

/// The replies that `bytes` consist of.
pub(crate) fn replies(mut bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let Some(len) = reply_len(bytes)? else { return Err("half a reply".into()) };
        let (reply, rest) = bytes.split_at(len);
        all.push(reply);
        bytes = rest;
    }
    Ok(all)
}

/// What is behind all whole replies.
pub(crate) fn behind_replies(mut bytes: &[u8]) -> &[u8] {
    while let Ok(Some(len)) = reply_len(bytes) {
        bytes = &bytes[len..];
    }
    bytes
}

/// The length of the replies at the front of `bytes` up to the one to `mn`, `None` while that is not there.
pub(crate) fn batch_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    while let Some(len) = reply_len(&bytes[at..])? {
        at += len;
        if &bytes[at - len..at] == b"MN\r\n" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The standard alphabet, padded.
pub(crate) fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i > group.len() { b'=' } else { letter });
        }
    }
    out
}

#[test]
fn the_strict_reader_knows_where_a_request_ends() {
    let whole = b"set k 1 2 4 noreply\r\na\r\nb\r\n";
    for cut in 0..whole.len() {
        assert_eq!(parse_request(&whole[..cut]), Ok(Parsed::Partial));
    }
    match parse_request(whole) {
        Ok(Parsed::Whole(request, len)) => {
            assert_eq!((request.data.as_deref(), len), (Some(&b"a\r\nb"[..]), whole.len()));
        }
        other => panic!("{other:?}"),
    }
    for wrong in ["\r\n", " get a\r\n", "get a\n", "get \0\r\n", "set a 0 0 x\r\n", "ms k 1\r\nabc"]
    {
        assert!(parse_request(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    assert_eq!(reply_len(b"VALUE a 0 2\r\n\r\n\r\nEND\r\nrest"), Ok(Some(22)));
    assert_eq!(batch_len(b"VA 2 kx\r\nab\r\nHD\r\nMN\r\nEN\r\n"), Ok(Some(21)));
    assert_eq!(base64(b"abcd"), b"YWJjZA==");
    assert_eq!(base64(b"\xff\xfe\xfd"), b"//79");
}
