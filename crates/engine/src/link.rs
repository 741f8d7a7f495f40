//! A connection to a server: requests out in order, replies back in the same order.
//!
//! ```text
//!   Connecting ──connected──▶ Handshake (AUTH, then SELECT, each must succeed) ──▶ Ready
//!        │                        │                                                 │
//!        └── failed, timed out ───┴── refused ──────────────────────────────────────┴──▶ gone; its requests fail
//! ```
//!
//! A reply belongs to the oldest request in the connection's FIFO; that is the only matching there is, so on any doubt
//! about framing the connection is closed. A request that timed out keeps its place: its late reply is swallowed.

mod detached;
mod doubt;
mod handshake;
mod joined;
mod loan;
mod owed;
mod private;
mod stream;
mod timeouts;

use std::collections::VecDeque;

use proto::resp::walk;

use doubt::Doubt;
use handshake::Phase;
use joined::Gets;
pub(crate) use loan::FileLoan;
use owed::Taken;
pub(crate) use owed::{Asked, Owed};
use private::Upload;
use stream::Stream;

use crate::actions::{Actions, Close, Event, Flow, Owner, Slot};
use crate::buffer::{Buffers, Output};
use crate::health::{Failure, Relief};
use crate::message::Message;
use crate::pipeline::NONE;
use crate::pools::PoolState;
use crate::reply::{self, fault};
use crate::scan::{self, ReplyScan, ReplyScanner};
use crate::silence::Silence;
use crate::topology::Protocol;
use crate::{Engine, Now};

/// Bytes appended at a time to an unfinished reply whose length is not known yet.
const GATHER_STEP: usize = 4 << 10;
/// A FIFO that grew past this many entries is freed when it drains: 128 KiB, and enough for 50 clients that pipeline 64.
const FIFO_KEPT_MAX: usize = 4096;

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) slot: Slot,
    /// Index of its pool and of its server within the pool.
    pub(crate) pool: u32,
    pub(crate) server: u32,
    /// Which of the `server_connections` it is, [`NONE`] while it is a probe, [`private::LANE`] for a private one.
    pub(crate) lane: u32,
    protocol: Protocol,
    phase: Phase,
    pub(crate) output: Output,
    fifo: VecDeque<Owed>,
    gets: Gets,
    /// Requests that want no reply, until they are written.
    pub(crate) silent: VecDeque<Silence>,
    /// Requests that want no reply went after the last one that does.
    pub(crate) silent_tail: bool,
    /// Replies whose requests are not sure.
    doubt: Option<Box<Doubt>>,
    /// Leading entries of the FIFO whose requests timed out.
    late: u32,
    /// Entries of the FIFO that are written whole.
    written: usize,
    /// Bytes queued and bytes written since the connection exists.
    pub(crate) queued_bytes: u64,
    pub(crate) written_bytes: u64,
    /// The beginning of a reply that has not arrived whole.
    input: Vec<u8>,
    scanner: ReplyScanner,
    /// A reply of which a part has gone to its client already.
    stream: Option<Stream>,
    /// It has left its lane to another connection.
    pub(crate) is_detached: bool,
    /// For one that is detached or private.
    loan: Option<FileLoan>,
    /// Event number of the connection attempt.
    pub(crate) opened: u64,
    opened_at: u64,
    /// When the server sent something for the last time, or began to be late.
    heard_at: u64,
    /// When the first of the requests timed out that did since the last reply in time, or since nothing was owed.
    late_since: Option<u64>,
    dirty: bool,
    /// What a private connection carries.
    upload: Option<Upload>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The server closed it.
    Eof,
    /// An error, with its text.
    Fault(&'static str),
    /// It stayed silent for too long or owes too much. So many requests were failed and counted as timeouts for that.
    Silent { timed_out: u32 },
    /// The proxy has no trust in it any more; it owes nothing.
    Stale,
    /// Nobody has a use for it any more.
    Retired,
}

impl Break {
    /// What requests that are lost with the connection are answered with.
    fn text(self) -> &'static str {
        match self {
            Break::Eof | Break::Stale => fault::UNKNOWN,
            Break::Fault(text) => text,
            Break::Silent { .. } | Break::Retired => fault::TIMED_OUT,
        }
    }

    /// Whether something is short here, of which the server is not guilty.
    fn is_own_shortage(self) -> bool {
        matches!(self, Break::Fault(text) if fault::is_own_shortage(text))
    }
}

impl Engine {
    /// The connection of `pool` to server `shard` that serves client `c`, opened if need be.
    pub(crate) fn link_for(
        &mut self,
        pool: u32,
        shard: u32,
        c: u32,
        now: Now,
    ) -> Result<u32, &'static str> {
        if self.pools[pool as usize].servers[shard as usize].health.is_ejected() {
            self.admit(pool, shard, now)?;
        }
        let server = &self.pools[pool as usize].servers[shard as usize];
        if !server.detached.is_empty()
            && let Some(l) = self.detached_link_of(pool, shard, c)
        {
            return Ok(l);
        }
        let lane = server.lane_of(self.clients[c as usize].affinity);
        match server.links[lane] {
            NONE if let Some(text) = server.health.backing_off(now.mono_us) => Err(text),
            NONE => Ok(self.open_link(pool, shard, lane as u32, now)),
            l => Ok(l),
        }
    }

    /// Starts to connect one lane of a server.
    pub(crate) fn open_link(&mut self, pool: u32, server: u32, lane: u32, now: Now) -> u32 {
        let l = self.dial(pool, server, lane, now);
        self.pools[pool as usize].servers[server as usize].links[lane as usize] = l;
        l
    }

    /// Starts to connect to a server; `lane` as in [`Link`].
    pub(crate) fn dial(&mut self, pool: u32, server: u32, lane: u32, now: Now) -> u32 {
        let l = self.links.vacant_key() as u32;
        let slot = self.slots.assign(Owner::Link(l));
        let protocol = self.pools[pool as usize].pool.protocol;
        self.last_event += 1;
        self.links.insert(Link {
            slot,
            pool,
            server,
            lane,
            protocol,
            phase: Phase::Connecting,
            output: Output::default(),
            fifo: VecDeque::new(),
            gets: Gets::default(),
            silent: VecDeque::new(),
            silent_tail: false,
            doubt: None,
            late: 0,
            written: 0,
            queued_bytes: 0,
            written_bytes: 0,
            input: Vec::new(),
            scanner: ReplyScanner::new(protocol),
            stream: None,
            is_detached: false,
            loan: None,
            opened: self.last_event,
            opened_at: now.mono_us,
            heard_at: now.mono_us,
            late_since: None,
            dirty: false,
            upload: None,
        });
        self.counts.total_connections.add(1);
        self.counts.curr_connections.add(1);
        self.actions.connect.push((slot, pool, server));
        if let Some(limit_us) = self.time_limit_us(l) {
            self.deadline = self.deadline.min(now.mono_us + limit_us);
        }
        l
    }

    /// How long connecting and replies on `l` may take, `None` for ever.
    fn time_limit_us(&self, l: u32) -> Option<u64> {
        let link = &self.links[l as usize];
        let state = &self.pools[link.pool as usize];
        if link.is_probe() { Some(state.patience_us()) } else { state.timeout_us }
    }

    /// Lowers the next deadline to one timeout of `pool` from now.
    pub(crate) fn expect_by_timeout(&mut self, pool: u32, now: Now) {
        self.deadline = self.deadline.min(self.pools[pool as usize].due_by(now));
    }

    /// Sends request `r`, one of RESP, whole over server connection `l`.
    #[inline]
    pub(crate) fn send_over(&mut self, l: u32, r: u32, request: Message<'_>, now: Now) {
        let link = &mut self.links[l as usize];
        let bytes = request.bytes().len();
        request.push_to(&mut link.output, &mut self.buffers);
        link.owe((r, NONE), bytes, Asked::RESP, now);
        let state = &self.pools[link.pool as usize];
        link.note_queued(bytes, state, &mut self.actions);
        self.deadline = self.deadline.min(state.due_by(now));
        if link.stream.is_some() {
            self.note_queued_behind_stream(l);
        }
    }

    /// Remembers that server connection `l` owes a reply for the bytes just appended to its output.
    pub(crate) fn owe(&mut self, l: u32, part: (u32, u32), bytes: usize, asked: Asked, now: Now) {
        self.links[l as usize].owe(part, bytes, asked, now);
        self.note_queued(l, bytes, now);
    }

    /// Counts a request appended to the output of `l`, has it written at the end of the turn and expects something of it
    /// by the timeout.
    pub(crate) fn note_queued(&mut self, l: u32, bytes: usize, now: Now) {
        let link = &mut self.links[l as usize];
        let state = &self.pools[link.pool as usize];
        link.note_queued(bytes, state, &mut self.actions);
        self.deadline = self.deadline.min(state.due_by(now));
        if link.stream.is_some() {
            self.note_queued_behind_stream(l);
        }
    }

    /// The output that requests for link `l` are appended to, and the buffers to do it with.
    pub(crate) fn link_output(&mut self, l: u32) -> (&mut Output, &mut Buffers) {
        (&mut self.links[l as usize].output, &mut self.buffers)
    }

    fn flush_link(&mut self, l: u32) {
        let link = &mut self.links[l as usize];
        if !link.dirty && !link.sendable().is_empty() {
            link.dirty = true;
            self.actions.flush.push(link.slot);
        }
    }

    /// The link left the list of connections to flush.
    pub(crate) fn link_flushed(&mut self, l: u32) {
        if let Some(link) = self.links.get_mut(l as usize) {
            link.dirty = false;
        }
    }

    /// `bytes` of the link's output were written.
    pub(crate) fn link_written(&mut self, l: u32, bytes: usize) {
        let link = &mut self.links[l as usize];
        if let Phase::Handshake { output, .. } = &mut link.phase {
            output.advance(bytes, &mut self.buffers);
            return;
        }
        link.output.advance(bytes, &mut self.buffers);
        link.written_bytes += bytes as u64;
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        let (mut requests, mut request_bytes) = (0, 0);
        while let Some(owed) = link.fifo.get(link.written) {
            if owed.end > link.written_bytes {
                break;
            }
            requests += 1;
            request_bytes += u64::from(owed.bytes);
            link.written += 1;
        }
        counts.in_queue.sub(requests);
        counts.in_queue_bytes.sub(request_bytes);
        counts.out_queue.add(requests);
        counts.out_queue_bytes.add(request_bytes);
        if !link.silent.is_empty() {
            self.settle_silent(l);
        } else if link.is_private() {
            self.resume_uploader(l);
        }
    }

    /// Bytes from a server.
    pub(crate) fn link_received(&mut self, l: u32, bytes: &[u8], now: Now) -> Flow {
        let link = &mut self.links[l as usize];
        link.heard_at = now.mono_us;
        let mut used = 0;
        let mut is_settled = link.stream.is_none() && !link.is_detached;
        if link.stream.is_some() || !link.input.is_empty() {
            let taken = match link.stream {
                Some(_) => self.continue_stream(l, bytes, now),
                None => self.continue_reply(l, bytes, now),
            };
            match taken {
                Some(taken) => used = taken,
                None => return Flow::Continue,
            }
            is_settled = false;
        }
        let protocol = self.links[l as usize].protocol;
        while used < bytes.len() {
            let rest = &bytes[used..];
            // PERF: nearly every reply is short; no scanner is made for it.
            let len = match scan::short_reply(protocol, rest) {
                Some(len) => len,
                None => match self.next_reply(l, rest, now) {
                    ReplyScan::Complete(len) => len,
                    ReplyScan::Incomplete => {
                        is_settled = false;
                        break;
                    }
                    ReplyScan::Malformed => return Flow::Continue,
                },
            };
            if !self.reply(l, Message::Lent(&rest[..len]), now) {
                return Flow::Continue;
            }
            used += len;
        }
        if is_settled { Flow::Continue } else { self.settle_stream(l, now) }
    }

    /// Looks for the end of the reply at the front of `bytes`. One that is not whole is kept, and what is no reply breaks
    /// the link.
    fn next_reply(&mut self, l: u32, bytes: &[u8], now: Now) -> ReplyScan {
        let link = &mut self.links[l as usize];
        let mut scanner = ReplyScanner::new(link.protocol);
        let scan = scanner.scan(bytes);
        match scan {
            ReplyScan::Complete(_) => {}
            ReplyScan::Incomplete => {
                let whole = scanner.bytes_wanted();
                self.buffers.append_beginning(&mut link.input, bytes, whole);
                link.scanner = scanner;
                self.stream_if_large(l, now);
            }
            ReplyScan::Malformed => self.break_link(l, Break::Fault(fault::INVALID_ARGUMENT), now),
        }
        scan
    }

    /// Feeds an unfinished reply until it is whole. Returns how many of `bytes` belong to it, `None` when the link broke.
    fn continue_reply(&mut self, l: u32, bytes: &[u8], now: Now) -> Option<usize> {
        let link = &mut self.links[l as usize];
        let mut input = std::mem::take(&mut link.input);
        let mut scanner = std::mem::replace(&mut link.scanner, ReplyScanner::new(link.protocol));
        let mut used = 0;
        while used < bytes.len() {
            let before = input.len();
            let missing = scanner.bytes_wanted().saturating_sub(before).max(GATHER_STEP);
            let step = missing.min(bytes.len() - used);
            self.buffers.append(&mut input, &bytes[used..used + step]);
            match scanner.scan(&input) {
                ReplyScan::Incomplete => used += step,
                ReplyScan::Complete(len) => {
                    let alive = self.reply(l, Message::gathered(&mut input, len), now);
                    self.buffers.give(input);
                    return alive.then_some(used + len - before);
                }
                ReplyScan::Malformed => {
                    self.buffers.give(input);
                    self.break_link(l, Break::Fault(fault::INVALID_ARGUMENT), now);
                    return None;
                }
            }
        }
        let link = &mut self.links[l as usize];
        link.input = input;
        link.scanner = scanner;
        self.stream_if_large(l, now);
        Some(used)
    }

    /// One whole reply. Returns whether the link lives on.
    fn reply(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let link = &mut self.links[l as usize];
        if !matches!(link.phase, Phase::Ready) {
            return self.handshake_reply(l, reply, now);
        }
        if link.doubt.is_some() {
            return self.reply_in_doubt(l, reply, now);
        }
        if link.is_private() {
            return self.private_reply(l, reply, now);
        }
        if link.protocol == Protocol::Memcached {
            return self.memcached_reply(l, reply, now);
        }
        match link.take_begun() {
            Some((owed, was_written)) => self.settle_reply(l, owed, was_written, reply, now),
            None => {
                reply.discard(&mut self.buffers);
                return self.stray_reply(l, Taken::Stray, now);
            }
        }
        true
    }

    /// One whole reply of memcached, which may answer several requests or be none to any of them.
    fn memcached_reply(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let link = &mut self.links[l as usize];
        match link.take_owed(reply.bytes()) {
            Taken::Owed(owed, was_written) if link.shares_reply(&owed) => {
                self.share_reply(l, owed, was_written, reply, now);
            }
            Taken::Owed(owed, was_written) => self.take_reply(l, owed, was_written, reply, now),
            Taken::Ambiguous => self.begin_doubt(l, reply),
            stray => {
                reply.discard(&mut self.buffers);
                return self.stray_reply(l, stray, now);
            }
        }
        true
    }

    /// As [`Engine::settle_reply`], where replies are few.
    fn take_reply(&mut self, l: u32, owed: Owed, was_written: bool, reply: Message<'_>, now: Now) {
        self.settle_reply(l, owed, was_written, reply, now);
    }

    /// The reply to `owed`, which has left the FIFO of `l`.
    #[inline(always)]
    fn settle_reply(
        &mut self,
        l: u32,
        owed: Owed,
        was_written: bool,
        reply: Message<'_>,
        now: Now,
    ) {
        let link = &mut self.links[l as usize];
        let server = &self.pools[link.pool as usize].servers[link.server as usize];
        owed.note_answered(was_written, &server.counts);
        if owed.request == NONE {
            if link.fifo.is_empty() {
                // It has caught up: nothing that it was late with says anything of what it will be asked next.
                link.late_since = None;
            }
            return reply.discard(&mut self.buffers);
        }
        link.late_since = None;
        if owed.key_len > 0 {
            link.gets.note_reply(reply.bytes().len());
        }
        self.pace.note_round_trip(owed.at, now);
        let delivered = self.requests[owed.request as usize].client != NONE;
        if delivered {
            server.counts.responses.add(1);
            server.counts.response_bytes.add(reply.bytes().len() as u64);
        }
        let is_news = !server.health.is_well() || is_server_error(reply.bytes());
        if is_news && (delivered || server.health.is_on_trial()) {
            let (pool, server) = (link.pool, link.server);
            self.judge(pool, server, reply.bytes(), now);
        }
        match owed.fragment {
            NONE => self.deliver(owed.request, reply),
            fragment => self.deliver_part(owed.request, fragment, reply),
        }
    }

    /// A reply that belongs to no request for sure. Returns whether the link lives on.
    fn stray_reply(&mut self, l: u32, taken: Taken, now: Now) -> bool {
        if matches!(taken, Taken::OfSilent | Taken::Doubtful) {
            let link = &self.links[l as usize];
            self.pools[link.pool as usize].servers[link.server as usize].answers_noreply = true;
        }
        if taken == Taken::OfSilent {
            return true;
        }
        self.break_link(l, Break::Fault(fault::INVALID_ARGUMENT), now);
        false
    }

    /// What a delivered reply says of the server's health: nothing new when it is well and the reply is no error.
    #[cold]
    fn judge(&mut self, pool: u32, server: u32, reply: &[u8], now: Now) {
        if is_server_error(reply) {
            self.pools[pool as usize].servers[server as usize].counts.error_replies.add(1);
        }
        let is_redis = self.pools[pool as usize].pool.protocol == Protocol::Redis;
        if is_redis && walk::is_loading(reply) {
            return self.note_failure(pool, server, Failure::Loading, now);
        }
        match self.pools[pool as usize].servers[server as usize].health.note_reply() {
            Relief::None => {}
            Relief::Forgiven => self.events.push(Event::Replied { pool, server }),
            Relief::Acquitted => self.pass_trial(pool, server),
        }
    }

    /// Ends a connection: whatever it owes fails with the text of the cause.
    pub(crate) fn break_link(&mut self, l: u32, cause: Break, now: Now) {
        let slot = self.links[l as usize].slot;
        self.actions.cancel_connect(slot);
        self.actions.close.push((slot, Close::Now));
        self.lose_link(l, cause, now);
    }

    /// The connection is gone already.
    pub(crate) fn lose_link(&mut self, l: u32, cause: Break, now: Now) {
        let mut link = self.links.remove(l as usize);
        self.slots.release(link.slot);
        if link.is_private() {
            self.lose_private(l, &link);
        } else if !link.is_probe() {
            let server = &mut self.pools[link.pool as usize].servers[link.server as usize];
            match link.is_detached {
                true => server.detached.retain(|detached| *detached != l),
                false => server.links[link.lane as usize] = NONE,
            }
        }
        self.count_ended(&link, cause);
        self.note_lost(&link, cause, now);
        if let Some(stream) = link.stream.take() {
            self.cut_off(stream.request);
        }
        self.drop_silent(std::mem::take(&mut link.silent));
        self.drop_doubt(link.doubt.take());
        for owed in std::mem::take(&mut link.fifo) {
            self.fail(owed.request, owed.fragment, link.pool, cause.text());
        }
        self.free_link(link);
    }

    /// What the end of `link` says of its server, and whom it is told.
    fn note_lost(&mut self, link: &Link, cause: Break, now: Now) {
        let (pool, server, text) = (link.pool, link.server, cause.text());
        if link.is_probe() {
            return self.end_probe(pool, server, cause, text, now);
        }
        let requests = link.requests();
        let has_misbehaved = cause == Break::Fault(fault::INVALID_ARGUMENT);
        let is_done = cause == Break::Retired && requests == 0;
        if is_done || link.is_idle() && !has_misbehaved {
            return;
        }
        let timed_out = if let Break::Silent { timed_out } = cause { timed_out } else { 0 };
        self.events.push(Event::LinkBroken { pool, server, text, requests, timed_out });
        let is_excused = cause.is_own_shortage() || link.awaits_uploader() && !has_misbehaved;
        if !is_excused && !matches!(cause, Break::Silent { .. } | Break::Retired) {
            let (opened, opened_at) = (link.opened, link.opened_at);
            self.note_failure(pool, server, Failure::Broken { opened, opened_at }, now);
        }
        let state = &mut self.pools[pool as usize];
        let is_news = !(link.is_private() && cause.is_own_shortage());
        if !matches!(link.phase, Phase::Ready) && state.pool.ejection.is_none() && is_news {
            let health = &mut state.servers[server as usize].health;
            health.back_off(&state.pool, text, now.mono_us, self.random.next());
        }
    }

    fn free_link(&mut self, mut link: Link) {
        self.buffers.give(std::mem::take(&mut link.input));
        link.output.clear(&mut self.buffers);
        if let Phase::Handshake { output, .. } = &mut link.phase {
            output.clear(&mut self.buffers);
        }
    }

    fn count_ended(&self, link: &Link, cause: Break) {
        self.counts.curr_connections.sub(1);
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        match cause {
            _ if link.is_probe() => {}
            Break::Eof => counts.server_eof.add(1),
            Break::Fault(fault::TIMED_OUT)
            | Break::Silent { .. }
            | Break::Stale
            | Break::Retired => {}
            Break::Fault(_) => counts.server_err.add(1),
        }
        if !matches!(link.phase, Phase::Connecting) {
            counts.server_connections.sub(1);
        }
        let bytes = |owed: &Owed| u64::from(owed.bytes);
        counts.out_queue.sub(link.written as u64);
        counts.out_queue_bytes.sub(link.fifo.iter().take(link.written).map(bytes).sum());
        counts.in_queue.sub((link.fifo.len() - link.written + link.silent.len()) as u64);
        counts.in_queue_bytes.sub(link.fifo.iter().skip(link.written).map(bytes).sum());
        counts.in_queue_bytes.sub(link.silent.iter().map(Silence::bytes).sum());
    }

    /// A request, or one fragment of it, fails with `text`.
    pub(crate) fn fail(&mut self, request: u32, fragment: u32, pool: u32, text: &'static str) {
        if request == NONE {
            return;
        }
        if fragment != NONE {
            self.fail_part(request, fragment, text);
            return;
        }
        if self.requests[request as usize].client != NONE {
            self.pools[pool as usize].counts.forward_error.add(1);
        }
        let mut line = std::mem::take(&mut self.scratch.fault);
        line.clear();
        reply::fault_line(self.pools[pool as usize].pool.protocol, text, &mut line);
        self.deliver(request, Message::Lent(&line));
        self.scratch.fault = line;
    }
}

impl Link {
    /// A reply is owed for the bytes just appended to its output.
    #[inline(always)]
    fn owe(&mut self, (request, fragment): (u32, u32), bytes: usize, asked: Asked, now: Now) {
        self.queued_bytes += bytes as u64;
        self.fifo.push_back(Owed {
            request,
            fragment,
            bytes: bytes as u32,
            at: now.mono_us,
            end: self.queued_bytes,
            after_silence: std::mem::take(&mut self.silent_tail),
            joined: false,
            key_len: 0,
            asked,
        });
    }

    /// Counts a request appended to its output and has it written at the end of the turn.
    #[inline(always)]
    fn note_queued(&mut self, bytes: usize, pool: &PoolState, actions: &mut Actions) {
        if !self.dirty && matches!(self.phase, Phase::Ready) {
            self.dirty = true;
            actions.flush.push(self.slot);
        }
        let counts = &pool.servers[self.server as usize].counts;
        counts.requests.add(1);
        counts.request_bytes.add(bytes as u64);
        counts.in_queue.add(1);
        counts.in_queue_bytes.add(bytes as u64);
    }

    /// Whether it is there to see whether the server is back; requests do not use it.
    pub(crate) fn is_probe(&self) -> bool {
        self.lane == NONE
    }

    /// Whether it serves one large request and nobody else.
    pub(crate) fn is_private(&self) -> bool {
        self.lane == private::LANE
    }

    /// Whether nobody waits for anything that was sent, or is to be sent, over it.
    pub(crate) fn is_done(&self) -> bool {
        let unsent = self.late == 0 && !self.output.is_empty();
        self.fifo.len() == self.late as usize
            && !unsent
            && self.silent.is_empty()
            && !self.is_flowing()
    }

    /// How many requests somebody would miss if it ended now.
    fn requests(&self) -> u32 {
        let awaited = self.fifo.iter().filter(|owed| owed.request != NONE).count();
        (awaited + usize::from(self.is_flowing()) + self.silent.len()) as u32
    }

    /// What may be written now.
    pub(crate) fn sendable(&self) -> &Output {
        static NOTHING: Output = Output::empty();
        match &self.phase {
            Phase::Connecting => &NOTHING,
            Phase::Handshake { output, .. } => output,
            Phase::Ready => &self.output,
        }
    }
}

/// Whether a reply of either protocol tells that the server could not do what it was asked.
#[inline]
fn is_server_error(reply: &[u8]) -> bool {
    match reply.first() {
        Some(b'S') => reply.starts_with(b"SERVER_ERROR"),
        _ => walk::is_error(reply),
    }
}
