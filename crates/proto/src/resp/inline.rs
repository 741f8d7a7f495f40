//! Inline requests: a line typed by a person or a health check, split into words as Redis splits
//! it. They are rare, so they are rewritten as arrays and then take the road of all others.

use super::{Malformed, Reason, encode};
use crate::http;

/// Appends `line` to `out` as a RESP array of bulk strings, ready to be scanned.
///
/// Words are separated by blanks. `"…"` may hold blanks and the escapes `\n \r \t \b \a \xHH`
/// (any other escaped byte stands for itself); `'…'` may hold blanks and `\'`. A closing quote must
/// end its word. A line end at the end of `line` is ignored.
///
/// # Errors
/// [`Reason::UnbalancedQuotes`], [`Reason::EmptyRequest`] for a line without words, and [`Reason::Http`];
/// `out` is unchanged then.
pub fn encode(line: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    if line.split(|byte| is_blank(*byte)).find(|word| !word.is_empty()).is_some_and(http::is_http) {
        return Err(Malformed::at(0, Reason::Http));
    }
    let mut words = 0_usize;
    let mut at = 0;
    while let Some(word) = next_word(line, at) {
        at = read_word(line, word, &mut |_| ())?;
        words = words.saturating_add(1);
    }
    if words == 0 {
        return Err(Malformed::at(0, Reason::EmptyRequest));
    }
    encode::array_header(out, words);
    at = 0;
    while let Some(word) = next_word(line, at) {
        let mut len = 0_usize;
        read_word(line, word, &mut |_| len = len.saturating_add(1))?;
        encode::bulk_header(out, len);
        at = read_word(line, word, &mut |byte| out.push(byte))?;
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// Offset of the next byte that is no blank.
fn next_word(line: &[u8], from: usize) -> Option<usize> {
    let blanks = line.get(from..)?.iter().take_while(|byte| is_blank(**byte)).count();
    let at = from.saturating_add(blanks);
    (at < line.len()).then_some(at)
}

/// The blanks of C's `isspace`, which Redis uses.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Double,
    Single,
}

/// Emits the bytes of the word that begins at `from` and returns the offset behind it.
fn read_word(line: &[u8], from: usize, emit: &mut impl FnMut(u8)) -> Result<usize, Malformed> {
    let mut at = from;
    let mut quote = Quote::None;
    loop {
        let rest = line.get(at..).unwrap_or_default();
        let taken = match (quote, rest) {
            (Quote::None, [] | [b' ' | b'\t' | b'\n' | b'\r', ..]) => return Ok(at),
            (Quote::None, [b'"', ..]) => {
                quote = Quote::Double;
                1
            }
            (Quote::None, [b'\'', ..]) => {
                quote = Quote::Single;
                1
            }
            (Quote::Double, [b'"', ..]) | (Quote::Single, [b'\'', ..]) => {
                return match rest.get(1) {
                    Some(next) if !is_blank(*next) => Err(unbalanced(at)),
                    _ => Ok(at.saturating_add(1)),
                };
            }
            (Quote::Double, [b'\\', ..]) => escape(rest, emit),
            (Quote::Single, [b'\\', b'\'', ..]) => {
                emit(b'\'');
                2
            }
            (_, [byte, ..]) => {
                emit(*byte);
                1
            }
            (Quote::Double | Quote::Single, []) => return Err(unbalanced(at)),
        };
        at = at.saturating_add(taken);
    }
}

/// Emits what the escape at the front of `rest` stands for and returns its length.
fn escape(rest: &[u8], emit: &mut impl FnMut(u8)) -> usize {
    if let [_, b'x', high, low, ..] = rest
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        emit((high << 4) | low);
        return 4;
    }
    let Some(escaped) = rest.get(1) else {
        // A backslash at the very end: the missing quote is reported next.
        return 1;
    };
    emit(match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => *other,
    });
    2
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn unbalanced(offset: usize) -> Malformed {
    Malformed::at(offset, Reason::UnbalancedQuotes)
}

#[cfg(test)]
mod tests {
    use super::encode;
    use crate::resp::{Malformed, Reason};

    fn encoded(line: &[u8]) -> Result<String, Malformed> {
        let mut out = Vec::new();
        encode(line, &mut out)?;
        Ok(String::from_utf8(out).expect("text came in"))
    }

    #[test]
    fn words_are_separated_by_any_blanks() {
        let get = "*2\r\n$3\r\nGET\r\n$13\r\ntestkey:12345\r\n";
        for line in
            [&b"GET testkey:12345\r\n"[..], b"GET testkey:12345\n", b" GET\t\t testkey:12345  \r\n"]
        {
            assert_eq!(encoded(line).as_deref(), Ok(get));
        }
    }

    #[test]
    fn a_line_of_http_is_malformed_and_its_words_elsewhere_are_not() {
        let http = Err(Malformed::at(0, Reason::Http));
        for line in
            [&b"POST / HTTP/1.1\r\n"[..], b"post\n", b"Host: localhost\r\n", b" \tHOST: x\r\n"]
        {
            assert_eq!(encoded(line), http, "{}", line.escape_ascii());
        }
        for line in [&b"GET POST\r\n"[..], b"GET Host:\r\n", b"POSTS\r\n", b"Host\r\n"] {
            assert!(encoded(line).is_ok(), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_hold_blanks_and_escapes() {
        assert_eq!(
            encoded(br#"SET "a b" 'c\'d' "\x41\q" "" x"y z""#).as_deref(),
            Ok("*6\r\n$3\r\nSET\r\n$3\r\na b\r\n$3\r\nc'd\r\n$2\r\nAq\r\n$0\r\n\r\n$4\r\nxy z\r\n")
        );
        assert_eq!(
            encoded(br#"PING "\n\r\t\b\a\\\"""#).as_deref(),
            Ok("*2\r\n$4\r\nPING\r\n$7\r\n\n\r\t\u{8}\u{7}\\\"\r\n")
        );
    }

    #[test]
    fn quotes_that_do_not_pair_are_malformed_where_they_fail() {
        let unbalanced = |offset| Err(Malformed::at(offset, Reason::UnbalancedQuotes));
        assert_eq!(encoded(b"GET \"a"), unbalanced(6));
        assert_eq!(encoded(b"GET 'a"), unbalanced(6));
        assert_eq!(encoded(b"GET \"a\"b"), unbalanced(6));
        assert_eq!(encoded(b"\"\\"), unbalanced(2));
    }

    #[test]
    fn a_line_without_words_is_malformed_and_leaves_no_trace() {
        let mut out = b"kept".to_vec();
        let empty = Malformed::at(0, Reason::EmptyRequest);
        assert_eq!(encode(b"  \t\r\n", &mut out), Err(empty));
        assert_eq!(out, b"kept");
    }
}
