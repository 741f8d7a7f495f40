//! RESP as the simulated peers read and write it. Written apart from the crate under test and stricter than it: what a
//! server receives must be an array of bulk strings in its shortest form.

use crate::server::Parsed;

/// A request of `arguments`.
pub(crate) fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        out.extend(bulk(argument));
    }
    out
}

pub(crate) fn bulk(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("${}\r\n", payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    out
}

/// Reads one request as a server does that accepts nothing unusual.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Parsed<Vec<Vec<u8>>>, String> {
    let Some((count, mut at)) = header(bytes, 0, b'*')? else { return Ok(Parsed::Partial) };
    if count == 0 {
        return Err("a request without arguments".into());
    }
    let mut arguments = Vec::new();
    for _ in 0..count {
        let Some((len, start)) = header(bytes, at, b'$')? else { return Ok(Parsed::Partial) };
        let end = start + len;
        match bytes.get(end..end + 2) {
            None => return Ok(Parsed::Partial),
            Some(b"\r\n") => arguments.push(bytes[start..end].to_vec()),
            Some(other) => return Err(format!("{other:?} after an argument")),
        }
        at = end + 2;
    }
    Ok(Parsed::Whole(arguments, at))
}

/// A mark, a number without leading zeros, a line end.
fn header(bytes: &[u8], at: usize, mark: u8) -> Result<Option<(usize, usize)>, String> {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    if rest[0] != mark {
        return Err(format!("{:?} where {:?} is due", rest[0] as char, mark as char));
    }
    let Some(line) = line(&rest[1..])? else { return Ok(None) };
    let text = String::from_utf8_lossy(line).into_owned();
    match text.parse::<usize>() {
        Ok(number) if number.to_string() == text => Ok(Some((number, at + 1 + line.len() + 2))),
        _ => Err(format!("{text:?} where a number is due")),
    }
}

/// The bytes before the first CR LF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    match bytes.iter().position(|byte| *byte == b'\r') {
        None => Ok(None),
        Some(at) => match bytes.get(at + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(&bytes[..at])),
            Some(other) => Err(format!("{other:?} after CR")),
        },
    }
}

/// The length of the reply at the front of `bytes`, `None` while it is not whole.
pub(crate) fn reply_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(mark) = bytes.first() else { return Ok(None) };
    let Some(line) = line(&bytes[1..])? else { return Ok(None) };
    let behind = 1 + line.len() + 2;
    let number = || {
        let text = String::from_utf8_lossy(line);
        text.parse::<i64>().map_err(|_| format!("{text:?} where a number is due"))
    };
    match mark {
        b'+' | b'-' => Ok(Some(behind)),
        // Of any length: it is passed on as it is.
        b':' if line.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') => Ok(Some(behind)),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Ok(Some(behind)),
            Ok(len) => match bytes.get(behind + len..behind + len + 2) {
                None => Ok(None),
                Some(b"\r\n") => Ok(Some(behind + len + 2)),
                Some(other) => Err(format!("{other:?} after a bulk string")),
            },
        },
        b'*' => {
            let mut at = behind;
            for _ in 0..number()?.max(0) {
                match reply_len(&bytes[at..])? {
                    None => return Ok(None),
                    Some(len) => at += len,
                }
            }
            Ok(Some(at))
        }
        other => Err(format!("a reply that begins with {:?}", *other as char)),
    }
}

#[test]
fn the_strict_reader_takes_the_shortest_form_only() {
    let whole = request(&[b"GET", b"a\r\nb"]);
    for cut in 0..whole.len() {
        assert_eq!(parse_request(&whole[..cut]), Ok(Parsed::Partial));
    }
    let parsed = Parsed::Whole(vec![b"GET".to_vec(), b"a\r\nb".to_vec()], whole.len());
    assert_eq!(parse_request(&whole), Ok(parsed));
    for wrong in [
        "PING\r\n",
        "*0\r\n",
        "*1\r\n$01\r\na\r\n",
        "*-1\r\n",
        "*1\r\n$1\r\nab\r\n",
        "*1\r\n:1\r\n",
    ] {
        assert!(parse_request(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    assert_eq!(reply_len(b"*2\r\n$-1\r\n*1\r\n:5\r\n+rest"), Ok(Some(17)));
}
