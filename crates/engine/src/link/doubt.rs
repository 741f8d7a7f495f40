//! An error behind requests that want no reply: is it the answer to one of them, or to the next request that does want one?
//!
//! ```text
//!   sent:      set noreply · get · get · version            (the last by the proxy itself)
//!   received:  ERROR … · … · VERSION      as many as were awaited: every reply belongs to its request
//!              ERROR … · … · …            one more: some request answered that should not have
//! ```
//!
//! Replies are kept back until the server has answered a question of the proxy's own, sent behind everything; then they are
//! counted. When there are as many as requests they are delivered. Otherwise, and as soon as there is one too many, the
//! connection is closed: which of them is superfluous cannot be told.

use super::Taken;
use crate::message::Message;
use crate::{Engine, Now};

/// What the proxy asks: every server answers it at once, and no other request is answered so.
const QUESTION: &[u8] = b"version\r\n";

/// The replies of a connection since the doubt arose.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// All of them, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Replies that were awaited when the question was sent.
    awaited: usize,
    /// How many of them have the same answer as the question, less those received.
    versions: usize,
}

impl Engine {
    /// `reply` may belong to the oldest request of `l` or to one before it that wants none: asks the server.
    pub(super) fn begin_doubt(&mut self, l: u32, reply: Message<'_>) {
        let link = &mut self.links[l as usize];
        let versions = link.fifo.iter().filter(|owed| owed.asked.is_version()).count();
        let awaited = link.fifo.iter().filter(|owed| !owed.joined).count();
        link.doubt =
            Some(Box::new(Doubt { bytes: Vec::new(), ends: Vec::new(), awaited, versions }));
        link.output.push(QUESTION, &mut self.buffers);
        link.queued_bytes += QUESTION.len() as u64;
        // What the silent requests so far have to say comes before the answer.
        link.silent_tail = false;
        self.keep_in_doubt(l, reply);
        self.flush_link(l);
    }

    fn keep_in_doubt(&mut self, l: u32, reply: Message<'_>) {
        if let Some(doubt) = &mut self.links[l as usize].doubt {
            self.buffers.append(&mut doubt.bytes, reply.bytes());
            doubt.ends.push(doubt.bytes.len());
        }
        reply.discard(&mut self.buffers);
    }

    /// The next reply of a connection in doubt. Returns whether the link lives on.
    pub(super) fn reply_in_doubt(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let Some(doubt) = &mut self.links[l as usize].doubt else { return true };
        let is_version = reply.bytes().starts_with(b"VERSION");
        if is_version && doubt.versions == 0 {
            reply.discard(&mut self.buffers);
            return self.resolve_doubt(l, now);
        }
        if doubt.ends.len() == doubt.awaited {
            // A request answered that should not have, or the question is not answered as it should be.
            reply.discard(&mut self.buffers);
            return self.stray_reply(l, Taken::Doubtful, now);
        }
        doubt.versions -= usize::from(is_version);
        self.keep_in_doubt(l, reply);
        true
    }

    /// The question is answered.
    fn resolve_doubt(&mut self, l: u32, now: Now) -> bool {
        let Some(doubt) = self.links[l as usize].doubt.take() else { return true };
        let Doubt { bytes, ends, awaited, .. } = *doubt;
        if ends.len() != awaited {
            self.buffers.give(bytes);
            return self.stray_reply(l, Taken::Doubtful, now);
        }
        let mut start = 0;
        for end in ends {
            let front = self.links.get_mut(l as usize).and_then(super::Link::take_front);
            let Some((owed, was_written)) = front else { break };
            let reply = Message::Lent(&bytes[start..end]);
            match self.links[l as usize].shares_reply(&owed) {
                true => self.share_reply(l, owed, was_written, reply, now),
                false => self.take_reply(l, owed, was_written, reply, now),
            }
            start = end;
        }
        self.buffers.give(bytes);
        true
    }

    /// The connection of a doubt is gone.
    pub(super) fn drop_doubt(&mut self, doubt: Option<Box<Doubt>>) {
        if let Some(doubt) = doubt {
            self.buffers.give(doubt.bytes);
        }
    }
}
