//! One client's requests in flight: replies arrive in any order and leave in the order of the requests.
//!
//! Every unanswered request is a record in one slab per worker, linked to the next request of the same client. A reply
//! for the oldest request goes straight to the client's output; any other is kept (small ones side by side in the
//! client's stash, large ones in their own buffer) until its turn comes. A client without kept replies has no stash.

use proto::memcached::Command;
use slab::Slab;

use crate::buffer::Buffers;
use crate::client::{Client, Ending};
use crate::message::Message;
use crate::{Engine, SMALL_BYTES, SpareKept, fragment};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// Kept replies from this size have a buffer of their own.
const STASH_MAX: usize = 4 << 10;
/// A stash with more dead than live bytes is compacted from this size.
const COMPACT_MIN: usize = 16 << 10;

/// A request that a client sent and whose reply has not been released yet.
#[derive(Debug)]
pub(crate) struct Request {
    /// Index of the client, [`NONE`] once it has vanished.
    pub(crate) client: u32,
    /// The client's next request.
    next: u32,
    reply: Reply,
    /// The command, when its client asked to be spared some of the replies to it.
    pub(crate) quiet: Option<&'static Command>,
}

/// Where the reply of a request is.
#[derive(Debug)]
enum Reply {
    /// Still to come from one server.
    Awaited,
    /// On its way to the client's output, over this server connection.
    Flows(u32),
    /// Still to come from several servers, or to be merged when its turn comes: index of the split.
    Split(u32),
    /// There is none: its client asked to be spared it.
    Spared,
    /// In the client's stash.
    Stashed { start: u32, len: u32 },
    /// In its own buffer.
    Owned(Vec<u8>),
}

/// The replies of one client whose turn has not come.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Small ones.
    stash: Vec<u8>,
    /// Bytes in the stash that still belong to one.
    stash_live: usize,
    /// Bytes of those outside the stash.
    owned_bytes: usize,
}

impl Kept {
    /// Records kept for the next client that needs one.
    const SPARE_MAX: usize = 256;

    /// Whether most of its stash has been released.
    fn is_sparse(&self) -> bool {
        self.stash.len() >= COMPACT_MIN && self.stash_live * 2 <= self.stash.len()
    }

    /// Bytes of replies.
    pub(crate) fn len(&self) -> usize {
        self.stash_live + self.owned_bytes
    }
}

/// All requests of a worker.
pub(crate) type Requests = Slab<Request>;

impl Engine {
    /// Appends a request to the pipeline of `c` whose reply will come from one server.
    pub(crate) fn await_reply(&mut self, c: u32) -> u32 {
        let request = Request { client: c, next: NONE, reply: Reply::Awaited, quiet: None };
        let r = self.requests.insert(request) as u32;
        let client = &mut self.clients[c as usize];
        if client.tail == NONE {
            client.head = r;
        } else {
            self.requests[client.tail as usize].next = r;
        }
        client.tail = r;
        client.pending += 1;
        r
    }

    /// Appends a request whose reply will be merged from the fragments of `split`.
    pub(crate) fn await_split(&mut self, c: u32, split: u32) -> u32 {
        let r = self.await_reply(c);
        self.requests[r as usize].reply = Reply::Split(split);
        r
    }

    /// The split that request `r` was made into.
    pub(crate) fn split_of(&self, r: u32) -> u32 {
        match self.requests[r as usize].reply {
            Reply::Split(split) => split,
            _ => unreachable!("only the fragments of a split are owed with a fragment's index"),
        }
    }

    /// A reply made by the proxy for the request just read from `c`.
    pub(crate) fn answer(&mut self, c: u32, reply: &[u8]) {
        if self.clients[c as usize].head == NONE {
            self.clients[c as usize].output.push(reply, &mut self.buffers);
            self.flush_client(c);
            return;
        }
        let r = self.await_reply(c);
        self.keep(c, r, Message::Lent(reply));
    }

    /// The reply to request `r` has arrived whole.
    pub(crate) fn deliver(&mut self, r: u32, reply: Message<'_>) {
        let request = &self.requests[r as usize];
        let c = request.client;
        if c == NONE {
            self.requests.remove(r as usize);
            reply.discard(&mut self.buffers);
            return;
        }
        // PERF: nearly every reply goes out as it is, which is known at once.
        let is_plain = request.quiet.is_none() && reply.bytes().len() < SMALL_BYTES;
        let reply = if is_plain { reply } else { self.censored(c, r, reply) };
        let client = &mut self.clients[c as usize];
        if client.head != r {
            return self.keep(c, r, reply);
        }
        let bytes = reply.bytes().len();
        reply.push_to(&mut client.output, &mut self.buffers);
        let next = self.requests.remove(r as usize).next;
        client.pop_head(next, bytes);
        // PERF: in the middle of a pipeline nothing follows from that.
        let is_next_awaited = |next: &Request| matches!(next.reply, Reply::Awaited);
        if client.is_held() && self.requests.get(next as usize).is_some_and(is_next_awaited) {
            return;
        }
        self.release(c);
    }

    /// The reply to request `r` of `c` as its client gets it: nothing where it asked to be spared it, an error where there is
    /// no room for it.
    #[cold]
    fn censored<'m>(&mut self, c: u32, r: u32, reply: Message<'m>) -> Message<'m> {
        match self.requests[r as usize].quiet {
            Some(command) if command.is_suppressed(reply.bytes()) => {
                reply.discard(&mut self.buffers);
                Message::Lent(&[])
            }
            _ => self.shed_if_over(c, reply),
        }
    }

    /// The reply to request `r`, whose turn it is, goes to the client's output as it arrives over server connection `l`.
    pub(crate) fn let_flow(&mut self, r: u32, l: u32) {
        self.requests[r as usize].reply = Reply::Flows(l);
    }

    /// The reply to request `r` has flowed whole.
    pub(crate) fn end_flow(&mut self, r: u32, bytes: u64) {
        let request = self.requests.remove(r as usize);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.clients[request.client as usize].pop_head(request.next, bytes);
        self.release(request.client);
    }

    /// Part of the reply to request `r` has flowed, and the rest will never come: its client gets nothing behind that.
    pub(crate) fn cut_off(&mut self, r: u32) {
        if r == NONE {
            return;
        }
        let c = self.requests[r as usize].client;
        let mut next = r;
        while next != NONE {
            self.clients[c as usize].pending -= 1;
            next = self.requests[next as usize].next;
        }
        self.abandon(r);
        let client = &mut self.clients[c as usize];
        (client.head, client.tail) = (NONE, NONE);
        client.give_kept(&mut self.spare_kept, &mut self.buffers);
        self.end_requests(c, Ending::ByFault);
        self.flush_client(c);
        self.close_if_done(c);
    }

    /// The server connection over which the oldest reply to `c` flows.
    pub(crate) fn stream_to(&self, c: u32) -> Option<u32> {
        let head = self.clients[c as usize].head;
        match self.requests.get(head as usize)?.reply {
            Reply::Flows(l) => Some(l),
            _ => None,
        }
    }

    /// All fragments of request `r` are answered.
    pub(crate) fn deliver_split(&mut self, r: u32, split: u32) {
        let c = self.requests[r as usize].client;
        if c == NONE {
            self.requests.remove(r as usize);
            self.drop_split(split);
        } else if self.clients[c as usize].head == r {
            self.release(c);
        }
    }

    /// Moves every reply whose turn has come to the client's output.
    fn release(&mut self, c: u32) {
        self.release_ready(c);
        // A reply that was spared leaves nothing to write, after which a closing client would be closed.
        self.close_if_done(c);
    }

    /// The oldest request of `c`, which is `r`, gets no reply: its client ended it.
    #[cold]
    pub(crate) fn withdraw(&mut self, c: u32, r: u32) {
        let next = self.requests.remove(r as usize).next;
        self.clients[c as usize].pop_head(next, 0);
        self.release_ready(c);
    }

    /// As [`Engine::release`], but `c` stays.
    #[inline]
    fn release_ready(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        while client.head != NONE {
            let before = client.output.len();
            let request = &mut self.requests[client.head as usize];
            match &mut request.reply {
                Reply::Awaited | Reply::Flows(_) => break,
                Reply::Spared => {}
                Reply::Stashed { start, len } => {
                    let range = *start as usize..(*start + *len) as usize;
                    if let Some(kept) = &mut client.kept {
                        client.output.push(&kept.stash[range], &mut self.buffers);
                        kept.stash_live -= *len as usize;
                    }
                }
                Reply::Owned(buffer) => {
                    if let Some(kept) = &mut client.kept {
                        kept.owned_bytes -= buffer.len();
                    }
                    client.output.push_owned(std::mem::take(buffer), &mut self.buffers);
                }
                Reply::Split(split) => {
                    if !self.splits[*split as usize].is_complete() {
                        break;
                    }
                    fragment::merge(
                        &mut self.splits[*split as usize],
                        &mut client.output,
                        &mut self.buffers,
                    );
                    let split = *split;
                    fragment::recycle(
                        &mut self.splits,
                        split,
                        &mut self.spare_splits,
                        &mut self.buffers,
                    );
                }
            }
            let next = self.requests.remove(client.head as usize).next;
            client.pop_head(next, client.output.len() - before);
        }
        if client.kept.as_ref().is_some_and(|kept| kept.len() == 0) {
            client.give_kept(&mut self.spare_kept, &mut self.buffers);
        }
        if !self.hold(c) {
            self.flush_client(c);
        }
        self.resume_if_drained(c);
    }

    /// Keeps a reply whose turn has not come.
    #[inline]
    fn keep(&mut self, c: u32, r: u32, reply: Message<'_>) {
        let len = reply.bytes().len();
        if len == 0 {
            reply.discard(&mut self.buffers);
            self.requests[r as usize].reply = Reply::Spared;
            return;
        }
        if self.clients[c as usize].kept.as_ref().is_some_and(|kept| kept.is_sparse()) {
            self.compact_stash(c);
        }
        let spare = &mut self.spare_kept;
        let kept = &mut self.clients[c as usize].kept;
        let kept = kept.get_or_insert_with(|| spare.pop().unwrap_or_default());
        self.requests[r as usize].reply = if len >= STASH_MAX {
            kept.owned_bytes += len;
            Reply::Owned(reply.into_buffer(&mut self.buffers))
        } else {
            let start = kept.stash.len() as u32;
            self.buffers.append(&mut kept.stash, reply.bytes());
            kept.stash_live += len;
            reply.discard(&mut self.buffers);
            Reply::Stashed { start, len: len as u32 }
        };
    }

    /// Squeezes released replies out of a stash that never drains because its client never stops pipelining.
    #[cold]
    fn compact_stash(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        let Some(kept) = &mut client.kept else { return };
        let mut squeezed = self.buffers.take(kept.stash_live);
        let mut r = client.head;
        while r != NONE {
            let request = &mut self.requests[r as usize];
            if let Reply::Stashed { start, len } = &mut request.reply {
                let range = *start as usize..(*start + *len) as usize;
                *start = squeezed.len() as u32;
                squeezed.extend_from_slice(&kept.stash[range]);
            }
            r = request.next;
        }
        self.buffers.give(std::mem::replace(&mut kept.stash, squeezed));
    }

    /// Replaces a large reply by an error while the worker holds more than it may.
    fn shed_if_over<'m>(&mut self, c: u32, reply: Message<'m>) -> Message<'m> {
        if reply.bytes().len() < SMALL_BYTES || !self.lacks_memory_for(reply.bytes().len()) {
            return reply;
        }
        self.counts.shed.add(1);
        reply.discard(&mut self.buffers);
        Message::Lent(crate::reply::reply_shed(self.protocol_of(c)))
    }

    /// The client of these requests is gone: their replies will be dropped when they come.
    pub(crate) fn abandon(&mut self, mut r: u32) {
        while r != NONE {
            let request = &mut self.requests[r as usize];
            let next = request.next;
            request.client = NONE;
            match &mut request.reply {
                Reply::Awaited => {}
                Reply::Flows(l) => {
                    let l = *l;
                    self.requests.remove(r as usize);
                    self.disown_stream(l);
                }
                Reply::Split(split) => {
                    let split = *split;
                    if self.splits[split as usize].is_complete() {
                        self.requests.remove(r as usize);
                        self.drop_split(split);
                    }
                }
                Reply::Spared | Reply::Stashed { .. } => drop(self.requests.remove(r as usize)),
                Reply::Owned(buffer) => {
                    self.buffers.give(std::mem::take(buffer));
                    self.requests.remove(r as usize);
                }
            }
            r = next;
        }
    }

    fn drop_split(&mut self, split: u32) {
        fragment::recycle(&mut self.splits, split, &mut self.spare_splits, &mut self.buffers);
    }
}

impl Client {
    /// The oldest request has been answered with `bytes` bytes.
    fn pop_head(&mut self, next: u32, bytes: usize) {
        self.note_reply(bytes);
        self.head = next;
        if next == NONE {
            self.tail = NONE;
        }
        self.pending -= 1;
    }

    /// Gives back the record of kept replies, whose owned buffers are gone.
    pub(crate) fn give_kept(&mut self, spare: &mut SpareKept, buffers: &mut Buffers) {
        let Some(mut kept) = self.kept.take() else { return };
        buffers.give(std::mem::take(&mut kept.stash));
        if spare.len() < Kept::SPARE_MAX {
            *kept = Kept::default();
            spare.push(kept);
        }
    }
}
