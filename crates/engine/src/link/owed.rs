//! What a server owes on one connection, oldest first, and to whom the next reply belongs: by position, which is the only
//! matching there is.

use std::collections::VecDeque;

use proto::memcached;

use super::Link;
use crate::counters::ServerCounts;

/// A reply that a server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Index of the request, [`NONE`](crate::pipeline::NONE) when it has been answered already and the reply is to be
    /// swallowed.
    pub(crate) request: u32,
    /// Index of the fragment within the request's split, [`NONE`](crate::pipeline::NONE) when the request was forwarded
    /// whole.
    pub(crate) fragment: u32,
    /// Length of the request.
    pub(super) bytes: u32,
    /// When it was queued, µs.
    pub(super) at: u64,
    /// Where its bytes end in the stream of all bytes queued on this connection.
    pub(super) end: u64,
    /// Requests that want no reply went before it, after the one before it.
    pub(crate) after_silence: bool,
    /// A get that was joined with the one before it: one reply answers both.
    pub(super) joined: bool,
    /// Length of the key of a get whose reply may answer others, too; 0 for all other requests.
    pub(super) key_len: u8,
    pub(super) asked: Asked,
}

/// There are as many as requests under way.
const _: () = assert!(size_of::<Owed>() == 32);

/// The command of a memcached request, by the number of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked(u8);

impl Asked {
    /// No memcached command.
    pub(crate) const RESP: Asked = Asked(u8::MAX);

    pub(crate) fn memcached(command: &memcached::Command) -> Asked {
        Asked(command.id as u8)
    }

    fn command(self) -> Option<&'static memcached::Command> {
        memcached::command::all().get(usize::from(self.0))
    }

    /// Whether it is `version`.
    pub(super) fn is_version(self) -> bool {
        self.command().is_some_and(|command| command.policy == memcached::Policy::Keyless)
    }

    /// Whether a server can mean what begins like `head` as the answer to it, and as a value.
    pub(super) fn is_value(self, head: &[u8]) -> bool {
        self.command().is_some_and(|command| command.is_value(head))
    }

    /// Whether a server can mean `reply` as the answer to it.
    fn is_answered_by(self, reply: &[u8]) -> bool {
        self.command().is_none_or(|command| command.is_answer(reply))
    }
}

impl Owed {
    pub(super) fn begin(&self) -> u64 {
        self.end - u64::from(self.bytes)
    }

    /// Its reply has come, or has begun to.
    #[inline]
    pub(super) fn note_answered(&self, was_written: bool, counts: &ServerCounts) {
        if was_written {
            counts.out_queue.sub(1);
            counts.out_queue_bytes.sub(u64::from(self.bytes));
        } else {
            counts.in_queue.sub(1);
            counts.in_queue_bytes.sub(u64::from(self.bytes));
        }
    }
}

/// Whose a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Of this request, and whether that is written whole.
    Owed(Owed, bool),
    /// Of a request that wanted none.
    OfSilent,
    /// Of a request that wanted none, or of the next one that does: the server has to be asked.
    Ambiguous,
    /// Of a request that wanted none, and more than that cannot be told.
    Doubtful,
    /// Of none.
    Stray,
}

impl Link {
    /// The request that `reply`, the next one, belongs to. A server may answer a request that is still being written (to
    /// refuse it), never one that has not begun.
    pub(super) fn take_owed(&mut self, reply: &[u8]) -> Taken {
        let front = self.fifo.front().filter(|owed| owed.begin() < self.written_bytes);
        let Some(owed) = front.copied() else {
            return if self.is_silence_next() { Taken::OfSilent } else { Taken::Stray };
        };
        // Servers answer a request that wants no reply with an error, if at all; some with what they answer others.
        if owed.after_silence && memcached::walk::is_error_despite_noreply(reply) {
            return Taken::Ambiguous;
        }
        if owed.after_silence && !owed.asked.is_answered_by(reply) {
            return Taken::Doubtful;
        }
        self.take_front().map_or(Taken::Stray, |(owed, was_written)| Taken::Owed(owed, was_written))
    }

    /// The oldest request, and whether it is written whole.
    #[inline]
    pub(super) fn take_front(&mut self) -> Option<(Owed, bool)> {
        let owed = self.fifo.pop_front()?;
        let was_written = self.written > 0;
        self.written = self.written.saturating_sub(1);
        self.late = self.late.saturating_sub(1);
        self.gets.pop(owed.key_len);
        if self.fifo.capacity() > super::FIFO_KEPT_MAX {
            self.trim_fifo();
        }
        Some((owed, was_written))
    }

    /// The oldest request, if its reply may come, on a connection where every request wants one.
    #[inline]
    pub(super) fn take_begun(&mut self) -> Option<(Owed, bool)> {
        let is_begun = |owed: &Owed| owed.begin() < self.written_bytes;
        if self.written == 0 && !self.fifo.front().is_some_and(is_begun) {
            return None;
        }
        self.take_front()
    }

    /// Gives back what a spike left behind, once everything is answered.
    #[cold]
    fn trim_fifo(&mut self) {
        if self.fifo.is_empty() {
            self.fifo = VecDeque::new();
            self.gets.trim();
        }
    }

    /// Whether requests without a reply come next, nothing else being under way.
    fn is_silence_next(&self) -> bool {
        self.fifo.front().map_or(self.silent_tail, |owed| owed.after_silence)
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn every_memcached_command_is_told_from_the_others_and_from_none() {
        let numbers = proto::memcached::command::all().iter().map(Asked::memcached);
        let mut numbers: Vec<_> = numbers.chain([Asked::RESP]).map(|asked| asked.0).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
