//! One complete request or reply on its way through the worker: borrowed from the reactor's read buffer, or owned.
//!
//! Small messages are copied once, from the read buffer to the output they leave by. A large one had to be gathered over
//! several reads; its buffer then moves to the output as it is.

use crate::buffer::{Buffers, Output};

/// Gathered messages from this size move by ownership; below it a copy costs less than the odd-sized chunk.
const MOVE_MIN: usize = 4 << 10;

/// The bytes of one complete message.
#[derive(Debug)]
pub(crate) enum Message<'m> {
    /// Lent by the reactor for the duration of a call.
    Lent(&'m [u8]),
    /// Gathered in a buffer of the pool that holds nothing else.
    Owned(Vec<u8>),
}

impl<'m> Message<'m> {
    /// The message gathered at the front of `buffer`, `len` bytes long; what follows it is cut off.
    pub(crate) fn gathered(buffer: &'m mut Vec<u8>, len: usize) -> Message<'m> {
        if len < MOVE_MIN {
            return Message::Lent(buffer.get(..len).unwrap_or_default());
        }
        buffer.truncate(len);
        Message::Owned(std::mem::take(buffer))
    }

    /// The bytes, whoever owns them.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Message::Lent(bytes) => bytes,
            Message::Owned(buffer) => buffer,
        }
    }

    /// Appends the message to `output`.
    #[inline(always)]
    pub(crate) fn push_to(self, output: &mut Output, buffers: &mut Buffers) {
        match self {
            Message::Lent(bytes) => output.push(bytes, buffers),
            Message::Owned(buffer) => output.push_owned(buffer, buffers),
        }
    }

    /// The message in a buffer of its own.
    pub(crate) fn into_buffer(self, buffers: &mut Buffers) -> Vec<u8> {
        match self {
            Message::Lent(bytes) => {
                let mut buffer = buffers.take(bytes.len());
                buffer.extend_from_slice(bytes);
                buffer
            }
            Message::Owned(buffer) => buffer,
        }
    }

    /// Gives an owned buffer back to the pool.
    pub(crate) fn discard(self, buffers: &mut Buffers) {
        if let Message::Owned(buffer) = self {
            buffers.give(buffer);
        }
    }
}
