//! Gets of one key that follow each other to the same server go as one: `get a`, `get b` as `get a b`.
//!
//! ```text
//!   clients:  get a · get b · get c          to the server:  get a b c
//!   server:   VALUE a … VALUE c … END        to the clients: VALUE a … END · END · VALUE c … END
//! ```
//!
//! memcached writes a reply of its own to every command, and all values of one command together: joined, they cost it and
//! the proxy one system call instead of one for each key. Only what is still unsent is joined, so nothing waits for it, and
//! only as many keys as have values that are small together, so no value is much later than it would be.
//!
//! Every get keeps its place in the FIFO, and its own timeout. The values of a joined reply are told apart by their keys,
//! whatever their order: the server may be a proxy itself.

use proto::Span;
use proto::memcached::walk;

use super::{Asked, Link, Owed};
use crate::message::Message;
use crate::pipeline::NONE;
use crate::reply;
use crate::{Engine, Now};

/// Keys of one line at most, and bytes of the line: memcached takes a long one, too, but not out of its first buffer.
const KEYS_MAX: u32 = 64;
const LINE_BYTES_MAX: u64 = 1500;
/// Bytes of the replies to one line at most, as far as earlier ones tell.
const REPLIES_BYTES_MAX: u32 = 16 << 10;
/// What a reply is taken for before there were any, and a longer one counts for.
const REPLY_BYTES_AT_FIRST: u32 = 1 << 10;
const REPLY_BYTES_MAX: u32 = 1 << 20;
/// Weight of a new reply in the mean of their lengths, as a power of two.
const SMOOTHING: u32 = 3;
/// What joining spares: the command and the end of its line, less the blank before the key.
const SPARED_BYTES: u64 = 5;
/// Bytes of keys from which on those that were answered are squeezed out, and kept room.
const KEYS_KEPT_MAX: usize = 256 << 10;
const SQUEEZE_MIN: usize = 4 << 10;

/// Keys of the gets that a server owes, oldest first, and the line that the last of them is in.
#[derive(Debug)]
pub(super) struct Gets {
    keys: Vec<u8>,
    /// Where the keys not answered yet begin.
    begin: usize,
    /// Where the last line begins in the stream of all bytes queued on the connection, and how many keys it has.
    line_begin: u64,
    line_keys: u32,
    /// Smoothed length of replies, in 1/8 bytes.
    reply_bytes_8: u32,
}

/// A value in the reply to several gets, from its header line to the CR LF behind its data.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    key: &'a [u8],
    bytes: &'a [u8],
}

impl Default for Gets {
    fn default() -> Gets {
        Gets {
            keys: Vec::new(),
            begin: 0,
            line_begin: 0,
            line_keys: 0,
            reply_bytes_8: REPLY_BYTES_AT_FIRST << SMOOTHING,
        }
    }
}

impl Gets {
    fn push(&mut self, key: &[u8]) {
        if self.begin == self.keys.len() {
            self.keys.clear();
            self.begin = 0;
        } else if self.begin >= SQUEEZE_MIN && self.begin * 2 >= self.keys.len() {
            self.keys.drain(..self.begin);
            self.begin = 0;
        }
        self.keys.extend_from_slice(key);
    }

    /// The oldest key, which has `len` bytes, was answered.
    pub(super) fn pop(&mut self, len: u8) {
        self.begin += usize::from(len);
    }

    /// The key that was popped last, which has `len` bytes.
    fn popped(&self, len: u8) -> &[u8] {
        self.begin
            .checked_sub(usize::from(len))
            .and_then(|at| self.keys.get(at..self.begin))
            .unwrap_or_default()
    }

    /// Gives back what a spike left behind; everything is answered.
    pub(super) fn trim(&mut self) {
        if self.keys.capacity() > KEYS_KEPT_MAX {
            (self.keys, self.begin) = (Vec::new(), 0);
        }
    }

    pub(super) fn note_reply(&mut self, bytes: usize) {
        let bytes = bytes.min(REPLY_BYTES_MAX as usize) as u32;
        self.reply_bytes_8 = self.reply_bytes_8 - (self.reply_bytes_8 >> SMOOTHING) + bytes;
    }

    fn has_room(&self) -> bool {
        let mean = self.reply_bytes_8 >> SMOOTHING;
        self.line_keys < KEYS_MAX && (self.line_keys + 1) * mean <= REPLIES_BYTES_MAX
    }
}

impl Engine {
    /// Sends `request`, a get of `key` alone that `r` is answered with, over `l`: as more of the line before it if it may.
    pub(crate) fn ask_value(
        &mut self,
        l: u32,
        r: u32,
        request: Message<'_>,
        (key, asked): (Span, Asked),
        now: Now,
    ) {
        let link = &mut self.links[l as usize];
        let bytes = request.bytes().len();
        let key = key.of(request.bytes());
        let key_len = key.len() as u8;
        let joins = link.may_join(key.len());
        link.gets.push(key);
        if joins {
            link.output.replace_end(2, &[b" ", key, b"\r\n"], &mut self.buffers);
            request.discard(&mut self.buffers);
            link.gets.line_keys += 1;
        } else {
            (link.gets.line_begin, link.gets.line_keys) = (link.queued_bytes, 1);
            request.push_to(&mut link.output, &mut self.buffers);
        }
        self.owe(l, (r, NONE), bytes, asked, now);
        let link = &mut self.links[l as usize];
        let Some(owed) = link.fifo.back_mut() else { return };
        owed.key_len = key_len;
        if joins {
            owed.joined = true;
            owed.end -= SPARED_BYTES;
            link.queued_bytes -= SPARED_BYTES;
        }
    }

    /// The reply to `owed`, which has left the FIFO of `l`, and to the gets that were joined with it.
    #[inline(never)]
    pub(super) fn share_reply(
        &mut self,
        l: u32,
        mut owed: Owed,
        mut was_written: bool,
        reply: Message<'_>,
        now: Now,
    ) {
        let mut found = [Found { key: b"", bytes: b"" }; KEYS_MAX as usize];
        let (found, behind) = find_values(reply.bytes(), &mut found);
        let mut scratch = std::mem::take(&mut self.scratch.reply);
        let mut next = 0;
        loop {
            let key = self.links[l as usize].gets.popped(owed.key_len);
            let is_it = |found: &&Found<'_>| found.key == key;
            // In the order of the keys, as servers answer; else wherever it is.
            let in_turn = found.get(next).filter(is_it);
            next += usize::from(in_turn.is_some());
            let part = match in_turn.or_else(|| found.iter().find(is_it)) {
                Some(value) => {
                    scratch.clear();
                    scratch.extend_from_slice(value.bytes);
                    scratch.extend_from_slice(reply::END);
                    &scratch[..]
                }
                // END, or that the server has failed.
                None => behind,
            };
            self.take_reply(l, owed, was_written, Message::Lent(part), now);
            let link = &mut self.links[l as usize];
            if !link.shares_reply(&owed) {
                if link.fifo.is_empty() {
                    link.gets.trim();
                }
                break;
            }
            let Some(front) = link.take_front() else { break };
            (owed, was_written) = front;
        }
        self.scratch.reply = scratch;
        reply.discard(&mut self.buffers);
    }
}

impl Link {
    /// Whether a get of a key of so many bytes can go into the line before it.
    fn may_join(&self, key_len: usize) -> bool {
        let gets = &self.gets;
        let line_bytes = self.queued_bytes - gets.line_begin;
        // Nothing else is behind the last get, and nothing of its line has been written.
        let is_open = self.fifo.back().is_some_and(|owed| {
            owed.key_len > 0
                && owed.end == self.queued_bytes
                && gets.line_begin >= self.written_bytes
        });
        is_open && line_bytes + 1 + key_len as u64 <= LINE_BYTES_MAX && gets.has_room()
    }

    /// Whether the reply to `owed`, which was taken last, answers the next request, too.
    #[inline]
    pub(super) fn shares_reply(&self, owed: &Owed) -> bool {
        owed.key_len > 0 && self.fifo.front().is_some_and(|next| next.joined)
    }
}

/// The values of `reply`, written into `found` as far as there is room, and what is behind them all.
fn find_values<'f, 'a>(reply: &'a [u8], found: &'f mut [Found<'a>]) -> (&'f [Found<'a>], &'a [u8]) {
    let mut rest = reply;
    let mut count = 0;
    while let Some(value) = walk::value(rest) {
        let (bytes, behind) = rest.split_at(value.len);
        if let Some(place) = found.get_mut(count) {
            *place = Found { key: value.key, bytes };
            count += 1;
        }
        rest = behind;
    }
    (&found[..count], rest)
}
