//! What is wrong with a message and where, for requests and replies alike.

use core::fmt;
use core::str;

/// A message that no reading of the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the offending byte from the first byte of the message.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The number of arguments is missing, zero, negative, too large, or not a number.
    InvalidMultibulkLength,
    /// The number of arguments has more digits than any valid one.
    MultibulkCountTooLong,
    /// A request begins with `$`: a bulk that no array announced.
    ExpectedArray,
    /// An argument begins with this byte instead of `$`.
    ExpectedBulk(u8),
    /// The length of an argument is missing, negative, too large, or not a number.
    InvalidBulkLength,
    /// The length of an argument has more digits than any valid one.
    BulkCountTooLong,
    /// An argument is not followed by CR LF where its length says it ends.
    UnterminatedBulk,
    /// The request as a whole is longer than 32-bit offsets reach.
    RequestTooLong,
    /// An inline request without a line end within the bound.
    InlineTooLong,
    /// An inline request with an unclosed quote, or a closing one inside a word.
    UnbalancedQuotes,
    /// A line without any word where a request should be.
    EmptyRequest,
    /// An inline request that is a line of HTTP.
    Http,
    /// A reply begins with a byte that is no type of the protocol version in use.
    UnknownReplyType(u8),
    /// A number inside a reply is missing, out of range, or not a number.
    InvalidReplyNumber,
    /// A line of a reply is not ended by CR LF, or not within the bound.
    InvalidReplyLine,
    /// A bulk of a reply is not followed by CR LF where its length says it ends.
    UnterminatedReplyBulk,
    /// A reply announces more elements or bytes than can be counted.
    ReplyTooLong,
}

impl Reason {
    /// The reason in Redis' own words where Redis has words for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            Self::MultibulkCountTooLong => "Protocol error: too big mbulk count string",
            Self::ExpectedArray => "Protocol error: expected '*', got '$'",
            Self::ExpectedBulk(got) => expected_bulk(got),
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::BulkCountTooLong => "Protocol error: too big bulk count string",
            Self::UnterminatedBulk => "Protocol error: expected CR LF after bulk",
            Self::RequestTooLong => "Protocol error: too big request",
            Self::InlineTooLong => "Protocol error: too big inline request",
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Self::EmptyRequest => "Protocol error: empty request",
            Self::Http => "Protocol error: HTTP is not served here",
            Self::UnknownReplyType(_) => "Protocol error: unknown reply type",
            Self::InvalidReplyNumber => "Protocol error: invalid number in reply",
            Self::InvalidReplyLine => "Protocol error: invalid line in reply",
            Self::UnterminatedReplyBulk => "Protocol error: expected CR LF after bulk in reply",
            Self::ReplyTooLong => "Protocol error: too big reply",
        }
    }
}

impl Malformed {
    pub(crate) const fn at(offset: usize, reason: Reason) -> Self {
        Self { offset, reason }
    }

    /// Appends the error reply for this: `-ERR Protocol error: …`, CR LF included.
    pub fn write_reply(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR ");
        out.extend_from_slice(self.reason.text().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason.text(), self.offset)
    }
}

impl core::error::Error for Malformed {}

const TEMPLATE: &[u8; 37] = b"Protocol error: expected '$', got '?'";

/// One text per printable ASCII byte, so that an error needs no allocation to quote the byte.
static EXPECTED_BULK: [[u8; TEMPLATE.len()]; 256] = expected_bulk_texts();

const fn expected_bulk_texts() -> [[u8; TEMPLATE.len()]; 256] {
    let mut texts = [*TEMPLATE; 256];
    let mut byte = b' ';
    while byte < 0x7f {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            texts[byte as usize][TEMPLATE.len() - 2] = byte;
        }
        byte += 1;
    }
    texts
}

/// Bytes that do not print are shown as `?`.
fn expected_bulk(got: u8) -> &'static str {
    EXPECTED_BULK
        .get(usize::from(got))
        .and_then(|text| str::from_utf8(text).ok())
        .unwrap_or("Protocol error: expected '$'")
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Reason};

    #[test]
    fn the_byte_found_instead_of_a_bulk_is_quoted() {
        assert_eq!(Reason::ExpectedBulk(b':').text(), "Protocol error: expected '$', got ':'");
        assert_eq!(Reason::ExpectedBulk(b'~').text(), "Protocol error: expected '$', got '~'");
    }

    #[test]
    fn bytes_that_do_not_print_cannot_break_the_error_line() {
        for byte in [0, b'\r', b'\n', 0x7f, 0x80, 0xff] {
            let text = Reason::ExpectedBulk(byte).text();
            assert_eq!(text, "Protocol error: expected '$', got '?'");
        }
    }

    #[test]
    fn a_malformed_request_is_answered_in_redis_words() {
        let mut out = Vec::new();
        Malformed::at(0, Reason::InvalidMultibulkLength).write_reply(&mut out);
        assert_eq!(out, b"-ERR Protocol error: invalid multibulk length\r\n");
    }
}
