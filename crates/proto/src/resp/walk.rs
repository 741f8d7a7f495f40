//! Looks inside a reply that is known to be whole: the elements of an array that is taken apart
//! for merging, an integer that is summed, an error that is recognised.

use super::{Protocol, ReplyScan, ReplyScanner};

/// Length of the whole element of any type at the front of `bytes`; `None` when there is none.
#[inline]
pub fn element_len(bytes: &[u8]) -> Option<usize> {
    match ReplyScanner::new(Protocol::Resp3).scan(bytes) {
        ReplyScan::Complete(len) => Some(len),
        ReplyScan::Incomplete | ReplyScan::Malformed(_) => None,
    }
}

/// Number of elements of the array `reply` and length of its header; `None` for a null array and
/// for every other type.
#[inline]
pub fn array_header(reply: &[u8]) -> Option<(u32, usize)> {
    let digits = reply.strip_prefix(b"*")?;
    let (count, line) = number_line(digits)?;
    Some((u32::try_from(count).ok()?, line.saturating_add(1)))
}

/// The value of an integer reply, `:N\r\n` and nothing behind it.
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
