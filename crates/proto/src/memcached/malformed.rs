//! What is wrong with a message and where, for requests and replies alike, when its end is lost.

use core::fmt;

/// A message whose end cannot be told; the connection cannot be read any further.
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
    /// A CR that LF does not follow.
    BareCr,
    /// The line of a request has no end within the bound.
    LineTooLong,
    /// A request for more keys than one may name.
    TooManyKeys,
    /// The length of a value is not a number, negative, or too large.
    BadDataLength,
    /// A value is not followed by CR LF where its length says it ends.
    BadDataChunk,
    /// A line of HTTP.
    Http,
    /// A reply begins with a word that is none, or goes on with what does not belong there.
    UnknownReply,
    /// A number inside a reply is missing, out of range, or not a number.
    InvalidReplyNumber,
    /// A line of a reply is not ended by CR LF, or not within the bound.
    InvalidReplyLine,
    /// A value of a reply is not followed by CR LF where its length says it ends.
    UnterminatedReplyValue,
    /// A reply announces more bytes than can be counted.
    ReplyTooLong,
}

impl Reason {
    /// The line that answers it, without CR LF; in memcached's own words where it has words for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BareCr => "CLIENT_ERROR bad command line format: LF must follow CR",
            Self::LineTooLong => "CLIENT_ERROR line too long",
            Self::TooManyKeys => "CLIENT_ERROR too many keys",
            Self::BadDataLength | Self::BadDataChunk => "CLIENT_ERROR bad data chunk",
            Self::Http => "CLIENT_ERROR HTTP is not served here",
            Self::UnknownReply => "SERVER_ERROR unknown reply",
            Self::InvalidReplyNumber => "SERVER_ERROR invalid number in reply",
            Self::InvalidReplyLine => "SERVER_ERROR invalid line in reply",
            Self::UnterminatedReplyValue => "SERVER_ERROR expected CR LF after value in reply",
            Self::ReplyTooLong => "SERVER_ERROR too big reply",
        }
    }
}

impl Malformed {
    pub(crate) const fn at(offset: usize, reason: Reason) -> Self {
        Self { offset, reason }
    }

    /// Appends the line that answers this, CR LF included.
    pub fn write_reply(&self, out: &mut Vec<u8>) {
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
