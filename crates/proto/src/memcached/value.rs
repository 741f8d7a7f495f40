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

/// Digits that fit into 32 bits whatever they are.
const DIGITS_MAX: usize = 9;

impl<'a> Value<'a> {
    /// The value at the front of `bytes`, `None` when there is none that is whole and plain: words parted by one blank
    /// each, numbers of up to nine digits.
    #[inline]
    pub fn at_front(bytes: &'a [u8]) -> Option<Value<'a>> {
        let rest = bytes.strip_prefix(b"VALUE ")?;
        let key_len = memchr::memchr3(b' ', b'\r', b'\n', rest).filter(|len| *len > 0)?;
        let (key, rest) = rest.split_at_checked(key_len)?;
        let (_, rest) = number(rest.strip_prefix(b" ")?)?;
        let (data, rest) = number(rest.strip_prefix(b" ")?)?;
        let rest = match rest {
            [b' ', cas @ ..] => cas.get(memchr::memchr2(b'\r', b'\n', cas)?..)?,
            rest => rest,
        };
        let line_len = bytes.len().checked_sub(rest.len())?;
        if line_len > REPLY_LINE_BYTES_MAX || data > VALUE_BYTES_MAX {
            return None;
        }
        let data = data as usize;
        let behind = rest.strip_prefix(b"\r\n")?.get(data..)?.strip_prefix(b"\r\n")?;
        Some(Value { key, len: bytes.len().checked_sub(behind.len())? })
    }
}

/// The number at the front of `bytes`, and what is behind it.
#[inline]
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u32;
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
        rest = behind;
    }
    let digits = bytes.len().checked_sub(rest.len())?;
    ((1..=DIGITS_MAX).contains(&digits)).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::Value;

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
            b"VALUE k 0 x\r\nx\r\n",
            b"VA 1\r\nx\r\n",
        ] {
            assert_eq!(Value::at_front(bytes), None, "{bytes:?}");
        }
    }
}
