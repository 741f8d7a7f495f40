//! Looks inside a reply that is known to be whole: the elements of an array that is taken apart
//! for merging, an integer that is summed, an error that is recognised.

use super::reply::{short_array, short_bulk};
use super::{Protocol, ReplyScan, ReplyScanner};

/// Length of the whole element of any type at the front of `bytes`; `None` when there is none.
#[inline]
pub fn element_len(bytes: &[u8]) -> Option<usize> {
    if let Some(len) = short_bulk(bytes) {
        return Some(len);
    }
    match ReplyScanner::new(Protocol::Resp3).scan(bytes) {
        ReplyScan::Complete(len) => Some(len),
        ReplyScan::Incomplete | ReplyScan::Malformed(_) => None,
    }
}

/// Number of elements of the array `reply` and length of its header; `None` for a null array and
/// for every other type.
#[inline]
pub fn array_header(reply: &[u8]) -> Option<(u32, usize)> {
    if let Some(header) = short_array(reply) {
        return Some(header);
    }
    let digits = reply.strip_prefix(b"*")?;
    let (count, line) = number_line(digits)?;
    Some((u32::try_from(count).ok()?, line.saturating_add(1)))
}

/// The value of an integer reply, `:N\r\n` and nothing behind it, if 64 bits hold it.
#[inline]
pub fn integer(reply: &[u8]) -> Option<i64> {
    let digits = reply.strip_prefix(b":")?;
    let (value, line) = number_line(digits)?;
    (line == digits.len()).then_some(value)
}

/// Whether `reply` is an error, `-…` or RESP3's `!…`.
#[inline]
pub fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// Whether `reply` is an error whose first word is exactly `LOADING`: the server is up but has not
/// read its data yet.
#[inline]
pub fn is_loading(reply: &[u8]) -> bool {
    let behind = reply.strip_prefix(b"-LOADING");
    behind.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
}

/// A number and the CR LF that ends it, at the front of `bytes`, and the length of both.
fn number_line(bytes: &[u8]) -> Option<(i64, usize)> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, bytes),
    };
    let mut value = 0_i64;
    let mut len = 0_usize;
    for byte in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        // Counting downwards for a negative number reaches the least one.
        let signed = if negative { digit.wrapping_neg() } else { digit };
        value = value.checked_mul(10)?.checked_add(signed)?;
        len = len.saturating_add(1);
    }
    let Some([b'\r', b'\n', ..]) = digits.get(len..) else { return None };
    (len > 0).then(|| (value, len.saturating_add(2).saturating_add(usize::from(negative))))
}

#[cfg(test)]
mod tests {
    use super::{array_header, element_len, integer, is_error, is_loading};

    #[test]
    fn elements_of_any_type_are_measured_and_parts_of_them_are_not() {
        assert_eq!(element_len(b"$3\r\nabc\r\n$1\r\n"), Some(9));
        assert_eq!(element_len(b"*2\r\n:1\r\n*1\r\n$-1\r\n+next"), Some(17));
        assert_eq!(element_len(b"%1\r\n+k\r\n_\r\n"), Some(11));
        assert_eq!(element_len(b"$3\r\nab"), None);
        assert_eq!(element_len(b"x"), None);
        assert_eq!(element_len(b""), None);
    }

    #[test]
    fn only_an_array_that_is_there_has_a_header() {
        assert_eq!(array_header(b"*12\r\n"), Some((12, 5)));
        assert_eq!(array_header(b"*0\r\n"), Some((0, 4)));
        for other in
            [&b"*-1\r\n"[..], b"$1\r\n", b"*\r\n", b"*1", b"*1\n", b"*99999999999\r\n", b""]
        {
            assert_eq!(array_header(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_a_whole_integer_reply_has_a_value() {
        assert_eq!(integer(b":0\r\n"), Some(0));
        assert_eq!(integer(b":-42\r\n"), Some(-42));
        assert_eq!(integer(b":9223372036854775807\r\n"), Some(i64::MAX));
        assert_eq!(integer(b":-9223372036854775808\r\n"), Some(i64::MIN));
        for other in [
            &b":9223372036854775808\r\n"[..],
            b":1\r\n:2\r\n",
            b":1\r",
            b":\r\n",
            b":-\r\n",
            b"+1\r\n",
            b"$1\r\n1\r\n",
        ] {
            assert_eq!(integer(other), None, "{other:?}");
        }
    }

    #[test]
    fn errors_are_told_by_their_first_byte_and_loading_by_its_first_word() {
        assert!(is_error(b"-ERR x\r\n"));
        assert!(is_error(b"!5\r\nERR x\r\n"));
        assert!(!is_error(b"+OK\r\n"));
        assert!(!is_error(b""));
        assert!(is_loading(b"-LOADING Redis is loading the dataset in memory\r\n"));
        assert!(is_loading(b"-LOADING\r\n"));
        for other in [&b"-LOADINGX y\r\n"[..], b"-loading x\r\n", b"+LOADING x\r\n", b"-OOM x\r\n"]
        {
            assert!(!is_loading(other), "{other:?}");
        }
    }
}
