//! Looks inside a reply that is known to be whole: the values that are taken apart for merging, an
//! error that is recognised.

use super::reply::block_len;

/// Whether `reply` is an `ERROR`, a `CLIENT_ERROR` or a `SERVER_ERROR`.
#[inline]
pub fn is_error(reply: &[u8]) -> bool {
    [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| {
        let rest = reply.strip_prefix(*word);
        rest.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
    })
}

/// Whether `reply` is values, or none, and `END`.
#[inline]
pub fn is_values(reply: &[u8]) -> bool {
    reply == b"END\r\n" || reply.starts_with(b"VALUE ") && reply.ends_with(b"\r\nEND\r\n")
}

/// Length of the value at the front of `rest`: header line, data, CR LF. `None` when none begins
/// there, which is where `END` is.
#[inline]
pub fn value_len(rest: &[u8]) -> Option<usize> {
    block_len(rest)
}

/// Key of the value at the front of `rest`; empty when none begins there.
#[inline]
pub fn value_key(rest: &[u8]) -> &[u8] {
    let header = rest.strip_prefix(b"VALUE ").unwrap_or_default();
    let mut words = header.split(|byte| matches!(byte, b' ' | b'\r'));
    words.find(|word| !word.is_empty()).unwrap_or_default()
}
