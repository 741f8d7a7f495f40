//! One value of a reply, `VALUE key flags bytes [cas]` and the data, as every server writes it: read in one pass when
//! it is whole. What is written otherwise, or has not arrived whole, is left to the scanner.

use super::limits::{REPLY_LINE_BYTES_MAX, VALUE_BYTES_MAX};

/// A whole value at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Not empty.
    pub key: &'a [u8],
    /// Bytes of the header line, the data and the CR LF behind it.
    pub len: usize,
}

/// Digits of which every number fits into 32 bits, and is one of bytes that a value may have.
const DIGITS_MAX: usize = 9;
const _: () = assert!(10_u32.pow(DIGITS_MAX as u32) - 1 <= VALUE_BYTES_MAX);

impl<'a> Value<'a> {
    /// The value at the front of `bytes`, `None` when there is none that is whole and plain: words parted by one blank
    /// each, numbers of up to nine digits.
    #[inline]
    pub fn at_front(bytes: &'a [u8]) -> Option<Value<'a>> {
        let rest = bytes.strip_prefix(b"VALUE ")?;
        let (key, rest) = rest.split_at_checked(word_len(rest)?)?;
        if key.is_empty() { None } else { Some(Value { key, len: len(bytes, rest)? }) }
    }

    /// The same if it is that of `key`.
    #[inline]
    pub fn of(key: &[u8], bytes: &'a [u8]) -> Option<Value<'a>> {
        let rest = bytes.strip_prefix(b"VALUE ")?;
        let (found, rest) = rest.split_at_checked(key.len())?;
        if found == key { Some(Value { key: found, len: len(bytes, rest)? }) } else { None }
    }
}

/// Length of the value at the front of `bytes`, of which `rest` is what is behind its key.
#[inline]
fn len(bytes: &[u8], rest: &[u8]) -> Option<usize> {
    let rest = match rest {
        // PERF: flags are nearly always of one digit.
        [b' ', b'0'..=b'9', b' ', ..] => rest.get(2..)?,
        _ => number(rest)?.1,
    };
    let (data, rest) = number(rest)?;
    let rest = match rest {
        [b' ', cas @ ..] => cas.get(word_len(cas)?..)?,
        rest => rest,
    };
    let line = bytes.len().checked_sub(rest.len())?;
    if line > REPLY_LINE_BYTES_MAX {
        return None;
    }
    let behind = rest.strip_prefix(b"\r\n")?.get(data as usize..)?.strip_prefix(b"\r\n")?;
    bytes.len().checked_sub(behind.len())
}

/// Length of the word at the front of `bytes`: up to the first byte that is not above the blank.
///
/// PERF: eight bytes a step; so many are behind every word of a value that is whole.
#[inline]
fn word_len(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0_usize;
    loop {
        let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        // A borrow reaches upwards only, so the lowest hit is a true one.
        let hits = word.wrapping_sub(ONES.wrapping_mul(0x21)) & !word & ONES.wrapping_mul(0x80);
        if hits != 0 {
            return at.checked_add(hits.trailing_zeros() as usize / 8);
        }
        at = at.checked_add(8)?;
    }
}

/// The number at the front of `bytes`, behind a blank, and what is behind it.
#[inline]
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let bytes = bytes.strip_prefix(b" ")?;
    let mut value = 0_u32;
    let mut digits = 0_usize;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
        digits = digits.wrapping_add(1);
    }
    let (_, rest) = bytes.split_at_checked(digits)?;
    (1..=DIGITS_MAX).contains(&digits).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::{REPLY_LINE_BYTES_MAX, Value};

    #[test]
    fn a_plain_value_is_read_at_once() {
        for (bytes, key, len) in [
            (&b"VALUE k 0 1\r\nx\r\nEND\r\n"[..], &b"k"[..], 16),
            (b"VALUE key 4294967 3 18446744073709551615\r\na\r\n\r\n", b"key", 47),
            (b"VALUE k 0 0\r\n\r\n", b"k", 15),
        ] {
            assert_eq!(Value::at_front(bytes), Some(Value { key, len }), "{bytes:?}");
            for end in 0..len {
                assert_eq!(Value::at_front(&bytes[..end]), None, "{end} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn a_value_is_of_its_whole_key_only() {
        let bytes = b"VALUE key 0 1\r\nx\r\nEND\r\n";
        assert_eq!(Value::of(b"key", bytes), Value::at_front(bytes));
        for other in [&b"ke"[..], b"keys", b"KEY", b"", b"key 0", b"key 0 1\r\nx\r\nEND\r\n more"] {
            assert_eq!(Value::of(other, bytes), None, "{other:?}");
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_left_alone() {
        let value = |key_len| [b"VALUE ", &vec![b'k'; key_len][..], b" 0 1\r\nx\r\n"].concat();
        let longest = REPLY_LINE_BYTES_MAX - b"VALUE  0 1".len();
        assert!(Value::at_front(&value(longest)).is_some());
        assert_eq!(Value::at_front(&value(longest + 1)), None);
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for bytes in [
            &b"END\r\n"[..],
            b"VALUE  k 0 1\r\nx\r\n",
            b"VALUE k 0  1\r\nx\r\n",
            b"VALUE k -1 1\r\nx\r\n",
            b"VALUE k 0 1 \r\r\nx\r\n",
            b"VALUE k\r 0 1\r\nx\r\n",
            b"VALUE k 0 1\r\nxy\r\n",
            b"VALUE k 0 4294967297\r\nx\r\n",
            b"VALUE k 0 0000000001\r\nx\r\n",
            b"VALUE k 0 x\r\nx\r\n",
            b"VA 1\r\nx\r\n",
        ] {
            assert_eq!(Value::at_front(bytes), None, "{bytes:?}");
        }
    }
}
