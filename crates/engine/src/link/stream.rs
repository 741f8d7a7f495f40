//! A large reply flows: what arrives of it goes to the client at once, and the connection holds nothing but the piece that
//! is being looked at.
//!
//! ```text
//!   gathered ──known to be large, and its client's turn──▶ flows ──whole──▶ the next reply
//!                                                          │   ▲
//!                    the client takes too little, and      ▼   │ half of it has left, or
//!                    nobody else waits for the connection  paused  somebody else waits
//! ```
//!
//! A reply flows only while it is its client's turn. One that has to wait for another server's reply is gathered: to stop
//! reading its connection instead would let everybody else on it wait for that other server, too.
//!
//! What has begun to flow cannot be replaced by an error any more. When the rest will never come the client's connection
//! ends behind what it got. A client that is gone does not stop the flow: what nobody waits for is swallowed, or the
//! connection is closed where that is cheaper.

use super::{Break, GATHER_STEP, Link, Phase};
use crate::actions::{Close, Flow};
use crate::client::Ending;
use crate::health::Failure;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::scan::{ReplyScan, ReplyScanner};
use crate::topology::{Limits, Protocol};
use crate::{Engine, Now, reply};

/// A reply that flows.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Index of the request it answers, [`NONE`] when nobody waits for it any more.
    pub(super) request: u32,
    /// Bytes of it that have gone to the client.
    passed: u64,
    /// Since when the server is not read, µs.
    paused_at: Option<u64>,
}

impl Stream {
    /// Whether a client waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.request != NONE
    }
}

impl Limits {
    /// A reply of which more than this is still to come is not swallowed when a new connection does as well.
    fn swallowed_bytes_max(&self) -> usize {
        let least = self.cut_through_bytes_min;
        least.saturating_mul(4).min(least.max(1 << 20))
    }

    /// A reply of more than this keeps others waiting so long that they get another connection.
    fn shared_bytes_max(&self) -> usize {
        let least = self.cut_through_bytes_min;
        least.saturating_mul(16).min(least.max(4 << 20))
    }

    /// Unsent bytes of a client from which on no more is read for it.
    fn stream_output_bytes_max(&self) -> usize {
        self.client_output_bytes_max.max(1)
    }

    /// Unsent bytes at which reading goes on.
    pub(crate) fn stream_output_bytes_low(&self) -> usize {
        self.client_output_bytes_max / 2
    }
}

impl Engine {
    /// The reply in the input of `l` is not whole: lets it flow if it is large and may.
    #[cold]
    pub(super) fn stream_if_large(&mut self, l: u32, now: Now) {
        let link = &self.links[l as usize];
        let known = link.scanner.bytes_wanted().max(link.input.len());
        if known >= self.limits.cut_through_bytes_min
            // As long as nothing has gone to the client, an error can take the place of the reply.
            && link.scanner.bytes_passed(link.input.len()) > 0
            && self.is_value_next(l)
        {
            match self.recipient(l) {
                Some(request) => self.begin_stream(l, request, now),
                // It would have to be gathered.
                None if self.is_over_memory() => self.shed_gathered(l),
                None => {}
            }
        }
    }

    /// Whether what is in the input of `l` is the beginning of a value, as an answer to the oldest request.
    fn is_value_next(&self, l: u32) -> bool {
        let link = &self.links[l as usize];
        if !matches!(link.phase, Phase::Ready) || link.doubt.is_some() {
            return false;
        }
        let front = link.fifo.front().filter(|owed| owed.begin() < link.written_bytes);
        front.is_some_and(|owed| match link.protocol {
            Protocol::Redis => matches!(link.input.first(), Some(b'$' | b'*')),
            Protocol::Memcached => owed.asked.is_value(&link.input),
        })
    }

    /// The request that the value in the input of `l` may flow to, [`NONE`] if it was answered already. `None` when the
    /// reply has to be looked at whole, or when its turn has not come.
    fn recipient(&self, l: u32) -> Option<u32> {
        let link = &self.links[l as usize];
        let owed = link.fifo.front()?;
        // Of a reply to several gets every client gets its part.
        if link.fifo.get(1).is_some_and(|next| next.joined) {
            return None;
        }
        if owed.request == NONE {
            return Some(NONE);
        }
        let request = &self.requests[owed.request as usize];
        let is_suppressed = request.quiet.is_some_and(|asked| asked.is_suppressed(&link.input));
        let is_due = request.client == NONE
            || self.clients[request.client as usize].head == owed.request && !is_suppressed;
        (owed.fragment == NONE && is_due).then_some(owed.request)
    }

    fn begin_stream(&mut self, l: u32, mut request: u32, now: Now) {
        let link = &mut self.links[l as usize];
        let Some((owed, was_written)) = link.take_front() else { return };
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        owed.note_answered(was_written, counts);
        if request != NONE {
            if owed.key_len > 0 {
                link.gets.note_reply(link.scanner.bytes_wanted());
            }
            link.late_since = None;
            self.pace.note_round_trip(owed.at, now);
        }
        if request != NONE && self.requests[request as usize].client == NONE {
            self.requests.remove(request as usize);
            request = NONE;
        }
        if request != NONE && self.is_over_memory() {
            self.shed_stream(l, request);
            request = NONE;
        }
        if request != NONE {
            self.let_flow(request, l);
        }
        let link = &mut self.links[l as usize];
        link.stream = Some(Stream { request, passed: 0, paused_at: None });
        if request == NONE {
            self.stirred.push(l);
        }
        self.pass_on_gathered(l);
    }

    /// The reply about to flow is replaced by an error: the worker holds more than it may.
    fn shed_stream(&mut self, l: u32, request: u32) {
        let link = &self.links[l as usize];
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        counts.responses.add(1);
        self.counts.shed.add(1);
        self.deliver(request, Message::Lent(reply::reply_shed(self.links[l as usize].protocol)));
    }

    /// The reply in the input of `l` cannot flow, and the worker holds more than it may: all that it answers gets an error in
    /// its place, and the rest of it is dropped as it arrives.
    #[cold]
    fn shed_gathered(&mut self, l: u32) {
        let text = reply::REPLY_SHED;
        let (pool, server) = (self.links[l as usize].pool, self.links[l as usize].server);
        while let Some((owed, was_written)) = self.links[l as usize].take_front() {
            let counts = &self.pools[pool as usize].servers[server as usize].counts;
            owed.note_answered(was_written, counts);
            if owed.request != NONE {
                counts.responses.add(1);
                self.counts.shed.add(1);
                self.fail(owed.request, owed.fragment, pool, text);
            }
            if !self.links[l as usize].shares_reply(&owed) {
                break;
            }
        }
        let link = &mut self.links[l as usize];
        link.late_since = None;
        link.stream = Some(Stream { request: NONE, passed: 0, paused_at: None });
        self.stirred.push(l);
        self.pass_on_gathered(l);
    }

    /// Passes on what was gathered before the reply began to flow, without copying it.
    fn pass_on_gathered(&mut self, l: u32) {
        let link = &mut self.links[l as usize];
        let mut gathered = std::mem::take(&mut link.input);
        let passed = link.scanner.bytes_passed(gathered.len());
        link.scanner.forget(passed);
        if passed < gathered.len() {
            self.buffers.append(&mut link.input, &gathered[passed..]);
        }
        gathered.truncate(passed);
        self.pass_on(l, Message::Owned(gathered));
    }

    /// A piece of the reply that flows goes to its client.
    fn pass_on(&mut self, l: u32, piece: Message<'_>) {
        let Some(stream) = &mut self.links[l as usize].stream else { return };
        stream.passed += piece.bytes().len() as u64;
        if stream.request == NONE || piece.bytes().is_empty() {
            return piece.discard(&mut self.buffers);
        }
        let c = self.requests[stream.request as usize].client;
        let output = &mut self.clients[c as usize].output;
        match piece {
            Message::Lent(bytes) => output.push_parted(bytes, &mut self.buffers),
            Message::Owned(buffer) => output.push_owned(buffer, &mut self.buffers),
        }
        self.flush_client(c);
    }

    /// The next bytes of a connection with a reply that flows. Returns how many of them belong to it, `None` when the link
    /// broke.
    #[cold]
    pub(super) fn continue_stream(&mut self, l: u32, bytes: &[u8], now: Now) -> Option<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let link = &mut self.links[l as usize];
            // The beginning of a line, or of the end of one.
            let mut kept = std::mem::take(&mut link.input);
            let before = kept.len();
            let step = if before == 0 { bytes.len() } else { GATHER_STEP };
            let step = step.min(bytes.len() - used);
            if before > 0 {
                self.buffers.append(&mut kept, &bytes[used..used + step]);
            }
            let piece = if before > 0 { &kept[..] } else { &bytes[used..] };
            let scan = link.scanner.scan(piece);
            let passed = match scan {
                ReplyScan::Complete(len) => len,
                ReplyScan::Incomplete => link.scanner.bytes_passed(piece.len()),
                ReplyScan::Malformed => 0,
            };
            link.scanner.forget(passed);
            let rest = &piece[passed..];
            if scan == ReplyScan::Incomplete && !rest.is_empty() {
                self.buffers.append(&mut link.input, rest);
            }
            self.pass_on(l, Message::Lent(&piece[..passed]));
            self.buffers.give(kept);
            match scan {
                ReplyScan::Incomplete => used += step,
                ReplyScan::Complete(len) => {
                    self.end_stream(l, now);
                    return Some(used + len - before);
                }
                ReplyScan::Malformed => {
                    self.break_link(l, Break::Fault(reply::fault::INVALID_ARGUMENT), now);
                    return None;
                }
            }
        }
        Some(used)
    }

    /// The reply has flowed whole.
    #[cold]
    fn end_stream(&mut self, l: u32, now: Now) {
        let link = &mut self.links[l as usize];
        link.scanner = ReplyScanner::new(link.protocol);
        let Some(stream) = link.stream.take() else { return };
        if stream.is_wanted() || link.fifo.is_empty() {
            link.late_since = None;
        }
        let (pool, server) = (link.pool, link.server);
        let state = &self.pools[pool as usize].servers[server as usize];
        if stream.is_wanted() {
            state.counts.responses.add(1);
            state.counts.response_bytes.add(stream.passed);
        }
        if stream.is_wanted() || state.health.is_on_trial() {
            // Whatever it was, it was no error.
            self.judge(pool, server, b"", now);
        }
        if stream.is_wanted() {
            self.end_flow(stream.request, stream.passed);
        }
    }

    /// After a read from `l` that may have to do with a reply that flows: what follows from it, and whether to read on.
    #[cold]
    pub(super) fn settle_stream(&mut self, l: u32, now: Now) -> Flow {
        let link = &self.links[l as usize];
        let Some(stream) = &link.stream else {
            if link.is_detached {
                self.end_detachment(l, now);
            } else if link.is_private() && link.fifo.is_empty() {
                self.close_private(l);
            }
            return Flow::Continue;
        };
        if !stream.is_wanted() {
            return Flow::Continue;
        }
        let c = self.requests[stream.request as usize].client;
        let unsent = self.clients[c as usize].output.len();
        let is_slow = unsent >= self.limits.stream_output_bytes_max();
        let known = stream.passed + link.scanner.bytes_wanted() as u64;
        if is_slow || known >= self.limits.shared_bytes_max() as u64 {
            self.detach(l);
        }
        if !is_slow {
            return Flow::Continue;
        }
        if !self.is_awaited_beside(l, c) {
            if let Some(stream) = &mut self.links[l as usize].stream {
                stream.paused_at = Some(now.mono_us);
            }
            return Flow::Pause;
        }
        if self.is_over_memory() {
            // Nobody else is to pay for what this client does not take.
            self.counts.shed.add(1);
            self.actions.close.push((self.clients[c as usize].slot, Close::Now));
            self.forget_client(c, Ending::ByFault);
        }
        Flow::Continue
    }

    /// Whether anybody but client `c` waits for something on `l`.
    fn is_awaited_beside(&self, l: u32, c: u32) -> bool {
        let link = &self.links[l as usize];
        let is_others = |request: u32| {
            request != NONE && ![NONE, c].contains(&self.requests[request as usize].client)
        };
        !link.silent.is_empty() || link.fifo.iter().any(|owed| is_others(owed.request))
    }

    /// A request was queued on `l`, which has a reply that flows: nobody waits longer than the server needs.
    #[cold]
    pub(crate) fn note_queued_behind_stream(&mut self, l: u32) {
        let is_paused = |stream: &Stream| stream.paused_at.is_some();
        if self.links[l as usize].stream.as_ref().is_some_and(is_paused) {
            self.stirred.push(l);
        }
    }

    /// The client of the reply that flows on `l` is gone.
    #[cold]
    pub(crate) fn disown_stream(&mut self, l: u32) {
        if let Some(stream) = self.links.get_mut(l as usize).and_then(|link| link.stream.as_mut()) {
            stream.request = NONE;
            self.stirred.push(l);
        }
    }

    /// Limits have changed: what was paused by the old ones is looked at again.
    pub(crate) fn stir_streams(&mut self) {
        let flowing = self.links.iter().filter(|(_, link)| link.stream.is_some());
        self.stirred.extend(flowing.map(|(l, _)| l as u32));
    }

    /// Looks at the connections on which something has changed: those that nobody needs any more are closed, others read
    /// on, and are paused again by what they read.
    pub(crate) fn attend_streams(&mut self, now: Now) {
        while let Some(l) = self.stirred.pop() {
            // It may have become another connection since.
            let Some(link) = self.links.get(l as usize) else { continue };
            if link.is_useless(&self.limits) {
                self.break_link(l, Break::Retired, now);
            } else {
                self.read_on(l, now);
            }
        }
    }

    fn read_on(&mut self, l: u32, now: Now) {
        let link = &mut self.links[l as usize];
        let paused_at = link.stream.as_mut().and_then(|stream| stream.paused_at.take());
        let Some(paused_at) = paused_at else { return };
        self.actions.resume.push(link.slot);
        // The time was the client's.
        let paused_us = now.mono_us - paused_at;
        for owed in &mut link.fifo {
            owed.at = (owed.at + paused_us).min(now.mono_us);
        }
        if let Some(late_since) = &mut link.late_since {
            *late_since += paused_us;
        }
        link.heard_at = now.mono_us;
        // Nobody has looked at what is due here meanwhile.
        self.deadline = self.deadline.min(now.mono_us);
    }

    /// When the server must have gone on with the reply that flows on `l`; breaks the link if that time has come.
    /// `None` when nothing flows, or nothing is read.
    pub(super) fn expire_stream(&mut self, l: u32, timeout_us: u64, now: Now) -> Option<u64> {
        let link = &self.links[l as usize];
        let stream = link.stream.as_ref().filter(|stream| stream.paused_at.is_none())?;
        let due = link.heard_at + timeout_us;
        if due > now.mono_us {
            return Some(due);
        }
        if stream.is_wanted() {
            let (pool, server) = (link.pool, link.server);
            self.count_timeout(pool, server);
            self.note_failure(pool, server, Failure::TimedOut { window: timeout_us }, now);
        }
        self.break_link(l, Break::Silent { timed_out: 0 }, now);
        None
    }
}

impl Link {
    /// Whether the server is not read.
    pub(super) fn is_paused(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.paused_at.is_some())
    }

    /// Whether a reply flows, wanted or not.
    pub(crate) fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether a reply flows to a client.
    pub(super) fn is_flowing(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_wanted)
    }

    /// Whether a reply that nobody waits for is all there is, and more of it than a new connection costs. With anything
    /// behind it the connection stays: the server may not have carried that out yet.
    fn is_useless(&self, limits: &Limits) -> bool {
        let rest = self.scanner.bytes_wanted().saturating_sub(self.input.len());
        self.stream.as_ref().is_some_and(|stream| !stream.is_wanted())
            && self.fifo.is_empty()
            && self.silent.is_empty()
            && !self.silent_tail
            && (self.is_detached || self.is_private() || rest > limits.swallowed_bytes_max())
    }
}
