//! Commands over many keys, split into one fragment per shard and merged back into one reply.
//!
//! MGET and memcached's `get` answer in the order of their keys, DEL, UNLINK, TOUCH and EXISTS add up, MSET and
//! `flush_all` are OK when all of it is. When a part fails the client gets one error: the first real error line of a
//! server, else the first cause with a name of the shards without an answer. The other parts are executed all the same,
//! as in twemproxy 0.5.

use proto::resp::command::{self, Merge};
use proto::resp::{encode, walk};
use proto::{Span, memcached};
use slab::Slab;

use crate::buffer::{Buffers, Output, Tail};
use crate::link::Link;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::reply::{self, fault};
use crate::topology::Protocol;
use crate::{Engine, SMALL_BYTES};

/// Splits whose memory is kept for the next ones, and how many keys one may have had to be kept.
const SPARE_MAX: usize = 64;
const KEYS_KEPT_MAX: usize = 4096;

/// How the replies of parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Resp(command::Split),
    /// memcached: the values found, in the order of the keys.
    Values,
    /// memcached: OK when all are.
    AllOk,
}

impl Kind {
    fn protocol(self) -> Protocol {
        match self {
            Kind::Resp(_) => Protocol::Redis,
            Kind::Values | Kind::AllOk => Protocol::Memcached,
        }
    }
}

/// A split command whose parts are under way.
#[derive(Debug)]
pub(crate) struct Split {
    kind: Kind,
    pub(crate) parts: Vec<Part>,
    /// For each key of the command, in order, the part it is in.
    pub(crate) order: Vec<u32>,
    /// memcached: the request, and where its keys are in it; those with a value become empty when it is merged.
    pub(crate) asked: Vec<u8>,
    pub(crate) keys: Vec<Span>,
    /// The head of a fragment while it is written, later of the merged reply.
    line: Vec<u8>,
    /// Parts not yet answered.
    open: u32,
    /// Of the integers received so far.
    sum: i64,
}

/// The keys of one shard.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) shard: u32,
    /// The server connection it was sent on, [`NONE`] when it could not be sent.
    pub(crate) link: u32,
    pub(crate) keys: u32,
    /// Length of the fragment.
    pub(crate) bytes: usize,
    outcome: Outcome,
    /// The reply of a part that has elements or values, or the error line of any.
    reply: Vec<u8>,
    /// Where the next element to merge begins.
    at: usize,
    /// Where the fragment is written to, while it is, if it is not too long for that.
    tail: Tail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Awaited,
    Success,
    /// The keys are answered as if they did not exist.
    Missed,
    /// The server's own error, in `reply`.
    Error,
    Fault(&'static str),
}

impl Split {
    pub(crate) fn new(kind: Kind) -> Split {
        Split {
            kind,
            parts: Vec::new(),
            order: Vec::new(),
            asked: Vec::new(),
            keys: Vec::new(),
            line: Vec::new(),
            open: 0,
            sum: 0,
        }
    }

    /// Makes a used split ready for another command.
    pub(crate) fn reuse(&mut self, kind: Kind) {
        self.kind = kind;
        self.open = 0;
        self.sum = 0;
    }

    /// Whether it only reads, so that its keys may be missing.
    pub(crate) fn is_read(&self) -> bool {
        match self.kind {
            Kind::Resp(kind) => kind.is_read(),
            Kind::Values => true,
            Kind::AllOk => false,
        }
    }

    /// Finds the part of every key of `request`. With each comes the piece of the request that its fragment gets for it.
    #[inline(never)]
    pub(crate) fn group(
        &mut self,
        request: &[u8],
        keys: impl Iterator<Item = (Span, Span)>,
        part_of_shard: &mut [u32],
        mut shard_of: impl FnMut(&[u8]) -> usize,
    ) {
        self.order.extend(keys.map(|(key, piece)| {
            let shard = shard_of(key.of(request));
            let index = &mut part_of_shard[shard];
            if *index == NONE {
                *index = self.parts.len() as u32;
                self.parts.push(Part::new(shard as u32));
            }
            let part = &mut self.parts[*index as usize];
            part.keys += 1;
            part.bytes += piece.len();
            *index
        }));
    }

    /// Writes the fragments of all parts that have a connection: what `head` appends for the part, the pieces of
    /// `request` that belong to its keys, `end`.
    #[inline(never)]
    pub(crate) fn write(
        &mut self,
        request: &[u8],
        pieces: impl Iterator<Item = Span>,
        head: impl Fn(&Part, &mut Vec<u8>),
        end: &[u8],
        links: &mut Slab<Link>,
        buffers: &mut Buffers,
    ) {
        let mut line = std::mem::take(&mut self.line);
        for part in &mut self.parts {
            let Some(link) = links.get_mut(part.link as usize) else { continue };
            line.clear();
            head(part, &mut line);
            part.bytes += line.len() + end.len();
            part.tail = link.output.take_tail(part.bytes, buffers);
            part.push(&line, links, buffers);
        }
        self.line = line;
        for (part, piece) in self.order.iter().zip(pieces) {
            self.parts[*part as usize].push(piece.of(request), links, buffers);
        }
        for part in &mut self.parts {
            part.push(end, links, buffers);
            if let Some(link) = links.get_mut(part.link as usize) {
                link.output.put_tail(std::mem::take(&mut part.tail));
            }
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// All parts are formed and none is answered.
    pub(crate) fn open_all(&mut self) {
        self.open = self.parts.len() as u32;
    }

    /// Whether the client will get an error made by the proxy.
    fn is_faulty(&self) -> bool {
        let any =
            |wanted: fn(&Outcome) -> bool| self.parts.iter().any(|part| wanted(&part.outcome));
        any(|outcome| matches!(outcome, Outcome::Fault(_)))
            && !any(|outcome| *outcome == Outcome::Error)
    }

    /// Bytes of the replies to all parts.
    fn bytes(&self) -> usize {
        let bytes = |part: &Part| match part.outcome {
            Outcome::Missed => part.keys as usize * reply::NULL.len(),
            _ => part.reply.len(),
        };
        self.parts.iter().map(bytes).sum()
    }

    /// The part whose error the client gets: the server's own words before ours, a cause with a name before the plain
    /// end of a connection, lower shards first.
    fn failure(&self) -> Option<&Part> {
        let unnamed = Outcome::Fault(fault::UNKNOWN);
        let rank =
            |part: &&Part| (part.outcome != Outcome::Error, part.outcome == unnamed, part.shard);
        let failed = |part: &&Part| matches!(part.outcome, Outcome::Error | Outcome::Fault(_));
        self.parts.iter().filter(failed).min_by_key(rank)
    }

    /// Takes the reply to part `fragment`, checked against what the command may be answered with.
    fn take(&mut self, fragment: u32, reply: Message<'_>, buffers: &mut Buffers) {
        let part = &mut self.parts[fragment as usize];
        self.open -= 1;
        part.outcome = part.judge(self.kind, reply.bytes());
        if let (Outcome::Success, Kind::Resp(kind)) = (part.outcome, self.kind)
            && kind.merge() == Merge::AggSum
        {
            self.sum = self.sum.saturating_add(walk::integer(reply.bytes()).unwrap_or(0));
        }
        let has_elements = match self.kind {
            Kind::Resp(kind) => kind.merge() == Merge::Default,
            Kind::Values => true,
            Kind::AllOk => false,
        };
        match part.outcome {
            Outcome::Error => part.reply = reply.into_buffer(buffers),
            Outcome::Success if has_elements => part.reply = reply.into_buffer(buffers),
            _ => reply.discard(buffers),
        }
    }
}

impl Part {
    pub(crate) fn new(shard: u32) -> Part {
        Part {
            shard,
            link: NONE,
            keys: 0,
            bytes: 0,
            outcome: Outcome::Awaited,
            reply: Vec::new(),
            at: 0,
            tail: Tail::default(),
        }
    }

    /// It could not be sent.
    pub(crate) fn refuse(&mut self, text: &'static str) {
        self.outcome = Outcome::Fault(text);
    }

    /// It is not sent, and its keys count as missing.
    pub(crate) fn miss(&mut self) {
        self.outcome = Outcome::Missed;
    }

    /// What `reply` to this part means; where its elements begin if it has some.
    fn judge(&mut self, kind: Kind, reply: &[u8]) -> Outcome {
        let is_error = match kind {
            Kind::Resp(_) => walk::is_error(reply),
            Kind::Values | Kind::AllOk => memcached::walk::is_error(reply),
        };
        if is_error {
            return Outcome::Error;
        }
        let fits = match kind {
            Kind::Values => memcached::walk::is_values(reply),
            Kind::AllOk => reply == reply::MEMCACHED_OK,
            Kind::Resp(kind) => match kind.merge() {
                Merge::AggSum => walk::integer(reply).is_some(),
                Merge::AllSucceeded => reply == reply::OK,
                Merge::Default => {
                    let header = walk::array_header(reply);
                    self.at = header.map_or(0, |(_, len)| len);
                    header.is_some_and(|(count, _)| count == self.keys)
                }
            },
        };
        if fits { Outcome::Success } else { Outcome::Fault(fault::INVALID_ARGUMENT) }
    }

    /// Appends `bytes` to its fragment, if that can be sent.
    #[inline]
    fn push(&mut self, bytes: &[u8], links: &mut Slab<Link>, buffers: &mut Buffers) {
        if !self.tail.push(bytes) {
            self.push_to_link(bytes, links, buffers);
        }
    }

    #[cold]
    fn push_to_link(&self, bytes: &[u8], links: &mut Slab<Link>, buffers: &mut Buffers) {
        if let Some(link) = links.get_mut(self.link as usize) {
            link.output.push(bytes, buffers);
        }
    }

    /// The next value of the part if it is that of `key`.
    #[inline]
    fn next_value(&mut self, key: &[u8]) -> &[u8] {
        let rest = self.reply.get(self.at..).unwrap_or_default();
        let len = memcached::walk::value_of(key, rest).map_or(0, |value| value.len);
        self.at += len;
        &rest[..len]
    }

    /// The values that are not merged yet.
    fn values_left(&self) -> &[u8] {
        let rest = self.reply.get(self.at..).unwrap_or_default();
        rest.strip_suffix(reply::END).unwrap_or_default()
    }

    /// The next element of the part's array, whole.
    #[inline]
    fn next_element(&mut self) -> &[u8] {
        if self.outcome == Outcome::Missed {
            return reply::NULL;
        }
        let rest = self.reply.get(self.at..).unwrap_or_default();
        let len = walk::element_len(rest).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }
}

impl Engine {
    /// The reply to one part of a split request.
    // PERF: not inside of the way of whole replies, which it would make dearer.
    #[inline(never)]
    pub(crate) fn deliver_part(&mut self, request: u32, fragment: u32, reply: Message<'_>) {
        let bytes = reply.bytes().len();
        if bytes >= SMALL_BYTES && self.lacks_memory_for(bytes) {
            self.counts.shed.add(1);
            reply.discard(&mut self.buffers);
            return self.fail_part(request, fragment, reply::REPLY_SHED);
        }
        let s = self.split_of(request);
        self.splits[s as usize].take(fragment, reply, &mut self.buffers);
        self.finish_split(request, s);
    }

    /// One part of a split request could not be sent or will not be answered.
    pub(crate) fn fail_part(&mut self, request: u32, fragment: u32, text: &'static str) {
        let s = self.split_of(request);
        let split = &mut self.splits[s as usize];
        split.parts[fragment as usize].outcome = Outcome::Fault(text);
        split.open -= 1;
        self.finish_split(request, s);
    }

    /// Counts the parts that could not be sent as answered.
    pub(crate) fn settle_refused(&mut self, request: u32, s: u32) {
        let split = &mut self.splits[s as usize];
        let refused = split.parts.iter().filter(|part| part.link == NONE).count();
        split.open -= refused as u32;
        self.finish_split(request, s);
    }

    fn finish_split(&mut self, request: u32, s: u32) {
        let split = &self.splits[s as usize];
        if !split.is_complete() {
            return;
        }
        let c = self.requests[request as usize].client;
        if c != NONE && split.is_faulty() {
            let pool = self.clients[c as usize].pool;
            self.pools[pool as usize].counts.forward_error.add(1);
        }
        self.deliver_split(request, s);
    }
}

/// Writes the merged reply of a complete split.
// PERF: not inside of the way of single replies, which it would make dearer.
#[inline(never)]
pub(crate) fn merge(split: &mut Split, output: &mut Output, buffers: &mut Buffers) {
    if let Some(failed) = split.failure() {
        let prefix = reply::fault_prefix(split.kind.protocol());
        match failed.outcome {
            Outcome::Fault(text) => output.push_all(&[prefix, text.as_bytes(), b"\r\n"], buffers),
            _ => output.push(&failed.reply, buffers),
        }
        return;
    }
    match split.kind {
        Kind::Resp(kind) => merge_resp(kind.merge(), split, output, buffers),
        Kind::Values => merge_values(split, output, buffers),
        Kind::AllOk => output.push(reply::MEMCACHED_OK, buffers),
    }
}

fn merge_resp(merge: Merge, split: &mut Split, output: &mut Output, buffers: &mut Buffers) {
    let line = &mut split.line;
    line.clear();
    match merge {
        Merge::AggSum => encode::integer(line, split.sum),
        Merge::AllSucceeded => line.extend_from_slice(reply::OK),
        Merge::Default => return merge_elements(split, output, buffers),
    }
    output.push(line, buffers);
}

/// The elements of the parts in the order of the keys.
#[inline(never)]
fn merge_elements(split: &mut Split, output: &mut Output, buffers: &mut Buffers) {
    if pass_on(split, output, buffers) {
        return;
    }
    encode::array_header(&mut split.line, split.order.len());
    let mut merged = Merged::begin(split.bytes() + split.line.len(), output, buffers);
    merged.push(&split.line);
    for &part in &split.order {
        merged.push(split.parts[part as usize].next_element());
    }
    merged.end();
}

/// The values in the order of the keys, which is the one a single server keeps; a key without a value was a miss.
#[inline(never)]
fn merge_values(split: &mut Split, output: &mut Output, buffers: &mut Buffers) {
    if pass_on(split, output, buffers) {
        return;
    }
    let mut merged = Merged::begin(split.bytes() + reply::END.len(), output, buffers);
    for (&part, key) in split.order.iter().zip(&mut split.keys) {
        let value = split.parts[part as usize].next_value(key.of(&split.asked));
        if !value.is_empty() {
            *key = Span::default();
        }
        merged.push(value);
    }
    for (part, values) in (0..).zip(split.parts.iter().map(Part::values_left)) {
        if !values.is_empty() {
            merge_late(split, part, values, &mut merged);
        }
    }
    merged.push(reply::END);
    merged.end();
}

/// The values that `part` was answered with in another order than its keys: those of keys that have none yet.
///
/// COMPAT: a twemproxy 0.5 in the place of a server does that when a key is missed.
#[cold]
fn merge_late(split: &Split, part: u32, mut values: &[u8], merged: &mut Merged<'_>) {
    let keys = split.order.iter().zip(&split.keys);
    let missed = keys.filter(|(of, key)| **of == part && !key.is_empty());
    let mut missed: Vec<_> = missed.map(|(_, key)| key.of(&split.asked)).collect();
    missed.sort_unstable();
    while let Some(value) = memcached::walk::value(values) {
        let (bytes, rest) = values.split_at(value.len);
        if missed.binary_search(&value.key).is_ok() {
            merged.push(bytes);
        }
        values = rest;
    }
}

/// The output of a client while a merged reply is written to it.
struct Merged<'o> {
    output: &'o mut Output,
    buffers: &'o mut Buffers,
    tail: Tail,
}

impl<'o> Merged<'o> {
    /// `bytes` is the most that will be pushed.
    fn begin(bytes: usize, output: &'o mut Output, buffers: &'o mut Buffers) -> Merged<'o> {
        let tail = output.take_tail(bytes, buffers);
        Merged { output, buffers, tail }
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if !self.tail.push(bytes) {
            self.output.push(bytes, self.buffers);
        }
    }

    fn end(self) {
        self.output.put_tail(self.tail);
    }
}

/// Passes on the reply to the only part there is, if there is only one; returns whether there was.
fn pass_on(split: &mut Split, output: &mut Output, buffers: &mut Buffers) -> bool {
    let [part] = split.parts.as_mut_slice() else { return false };
    if part.outcome == Outcome::Missed {
        return false;
    }
    let len = part.reply.len();
    Message::gathered(&mut part.reply, len).push_to(output, buffers);
    true
}

/// Frees a split, keeping its memory for the next one.
pub(crate) fn recycle(
    splits: &mut Slab<Split>,
    s: u32,
    spare: &mut Vec<Split>,
    buffers: &mut Buffers,
) {
    let mut split = splits.remove(s as usize);
    for part in &mut split.parts {
        buffers.give(std::mem::take(&mut part.reply));
    }
    split.parts.clear();
    split.order.clear();
    split.keys.clear();
    buffers.give(std::mem::take(&mut split.asked));
    if spare.len() < SPARE_MAX && split.order.capacity() <= KEYS_KEPT_MAX {
        spare.push(split);
    }
}
