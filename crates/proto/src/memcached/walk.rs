//! Looks inside a reply that is known to be whole: the values that are taken apart for merging, an
//! error that is recognised.

use super::Value;
use super::reply::block_len;

/// Whether `reply` is an `ERROR`, a `CLIENT_ERROR` or a `SERVER_ERROR`.
#[inline]
pub fn is_error(reply: &[u8]) -> bool {
    [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| {
        let rest = reply.strip_prefix(*word);
        rest.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
    })
}

/// Errors that memcached keeps to itself where `noreply` is asked for: they are about what a sound
/// request found, and not about the request. Source: memcached 1.4 to 1.6.
const ERRORS_OF_FINDINGS: [&[u8]; 4] = [
    b"cannot increment or decrement non-numeric value\r\n",
    b"invalid numeric delta argument\r\n",
    b"invalid exptime argument\r\n",
    b"bad command line format.  Usage: delete <key> [noreply]\r\n",
];

/// Whether `reply` is an error that may come although the request said `noreply`.
#[inline]
pub fn is_error_despite_noreply(reply: &[u8]) -> bool {
    let text = reply.strip_prefix(b"CLIENT_ERROR ");
    is_error(reply) && text.is_none_or(|text| !ERRORS_OF_FINDINGS.contains(&text))
}

/// Whether `reply` is values, or none, and `END`.
#[inline]
pub fn is_values(reply: &[u8]) -> bool {
    reply == b"END\r\n" || reply.starts_with(b"VALUE ") && reply.ends_with(b"\r\nEND\r\n")
}

/// The value at the front of `rest`; `None` when none begins there, which is where `END` is.
#[inline]
pub fn value(rest: &[u8]) -> Option<Value<'_>> {
    Value::at_front(rest).or_else(|| {
        let len = block_len(rest)?;
        let header = rest.strip_prefix(b"VALUE ")?;
        let mut words = header.split(|byte| matches!(byte, b' ' | b'\r'));
        let key = words.find(|word| !word.is_empty())?;
        Some(Value { key, len })
    })
}

/// The value at the front of `rest` if it is that of `key`.
#[inline]
pub fn value_of<'a>(key: &[u8], rest: &'a [u8]) -> Option<Value<'a>> {
    // PERF: a server answers in the order of the keys, so nearly always it is.
    Value::of(key, rest).or_else(|| value(rest).filter(|value| value.key == key))
}
