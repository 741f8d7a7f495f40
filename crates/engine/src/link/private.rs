//! A private connection: opened for one large request that flows to its server while it arrives, closed when that is
//! answered. Its server may wait for the client in the middle of the request, so nobody else may be behind it.
//!
//! Its FIFO holds the one request from the beginning on, growing; its end is known when the client has sent it.

use proto::memcached::walk as memcached_walk;
use proto::resp::walk;

use super::handshake::Phase;
use super::{Asked, Break, FileLoan, Link, Owed};
use crate::actions::Close;
use crate::health::Failure;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::reply::fault;
use crate::topology::Protocol;
use crate::{Engine, Now};

/// In the place of a lane.
pub(super) const LANE: u32 = NONE - 1;
/// Private connections to a server at a time. Beyond it large requests are gathered: a client that waited for another one's
/// connection would wait for as long as that one's client pleases. So is one for which no open file is free.
const PRIVATE_MAX: usize = 16;
/// While more than this is unsent the client is not read any further.
const UNSENT_MAX: usize = 256 << 10;
/// Pieces are copied in steps of this size, that of the buffers which go from output to output.
const STEP: usize = 16 << 10;

/// How far the request of a private connection is.
#[derive(Debug)]
pub(super) struct Upload {
    /// More of it is to come.
    is_open: bool,
    /// Bytes that were written when last looked at.
    seen: Option<u64>,
    /// When the server was last seen to take some, or was given the first it has not taken, µs.
    progress_at: u64,
}

impl Engine {
    /// Whether `shard` of `pool` has as many private connections as it may have.
    pub(crate) fn is_private_full(&self, pool: u32, shard: u32) -> bool {
        self.pools[pool as usize].servers[shard as usize].private.len() >= PRIVATE_MAX
    }

    /// Whether the server may not have carried out yet what client `c` sent to `shard` and wants no reply to: over another
    /// connection its next request might come first.
    pub(crate) fn may_overtake_silence(&self, c: u32, shard: u32) -> bool {
        let client = &self.clients[c as usize];
        let server = &self.pools[client.pool as usize].servers[shard as usize];
        let l = server.links[server.lane_of(client.affinity)];
        self.links.get(l as usize).is_some_and(Link::is_silence_under_way)
    }

    /// A new private connection of `pool` to server `shard`.
    pub(crate) fn private_link(
        &mut self,
        pool: u32,
        shard: u32,
        loan: FileLoan,
        now: Now,
    ) -> Result<u32, &'static str> {
        if self.pools[pool as usize].servers[shard as usize].health.is_ejected() {
            self.admit(pool, shard, now)?;
        }
        let server = &self.pools[pool as usize].servers[shard as usize];
        if let Some(text) = server.health.backing_off(now.mono_us) {
            return Err(text);
        }
        let l = self.dial(pool, shard, LANE, now);
        self.links[l as usize].loan = Some(loan);
        self.pools[pool as usize].servers[shard as usize].private.push(l);
        Ok(l)
    }

    /// Begins to send request `r` over private connection `l`.
    pub(crate) fn open_upload(&mut self, l: u32, r: u32, asked: Asked, now: Now) {
        let link = &mut self.links[l as usize];
        link.upload = Some(Upload { is_open: true, seen: None, progress_at: now.mono_us });
        link.fifo.push_back(Owed {
            request: r,
            fragment: NONE,
            bytes: 0,
            at: now.mono_us,
            end: u64::MAX,
            after_silence: false,
            joined: false,
            key_len: 0,
            asked,
        });
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        counts.requests.add(1);
        counts.in_queue.add(1);
    }

    /// Appends a piece to the request of `l`.
    pub(crate) fn append_upload(&mut self, l: u32, piece: Message<'_>, now: Now) {
        self.note_progress(l, now);
        let link = &mut self.links[l as usize];
        let bytes = piece.bytes().len();
        let Some(owed) = link.fifo.back_mut() else { return piece.discard(&mut self.buffers) };
        if let (Some(upload), true) = (&mut link.upload, link.output.is_empty()) {
            upload.progress_at = now.mono_us;
        }
        owed.bytes += bytes as u32;
        link.queued_bytes += bytes as u64;
        let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
        counts.request_bytes.add(bytes as u64);
        counts.in_queue_bytes.add(bytes as u64);
        let pool = link.pool;
        match piece {
            Message::Lent(bytes) => {
                for step in bytes.chunks(STEP) {
                    link.output.push(step, &mut self.buffers);
                }
            }
            owned @ Message::Owned(_) => owned.push_to(&mut link.output, &mut self.buffers),
        }
        self.flush_link(l);
        self.expect_by_timeout(pool, now);
    }

    /// The request of `l` is whole.
    pub(crate) fn close_upload(&mut self, l: u32, now: Now) {
        let link = &mut self.links[l as usize];
        let end = link.queued_bytes;
        if let (Some(upload), Some(owed)) = (&mut link.upload, link.fifo.back_mut()) {
            upload.is_open = false;
            (owed.at, owed.end) = (now.mono_us, end);
        }
    }

    /// Looks whether the server of `l` has taken anything since the last look.
    fn note_progress(&mut self, l: u32, now: Now) {
        let link = &mut self.links[l as usize];
        let is_ready = matches!(link.phase, Phase::Ready);
        let Some(upload) = &mut link.upload else { return };
        if is_ready && upload.seen != Some(link.written_bytes) {
            upload.seen = Some(link.written_bytes);
            upload.progress_at = now.mono_us;
        }
    }

    /// The time for the upload over `l`, which is established, may be up; returns when to look again. While it is the client
    /// that is waited for, time does not count.
    pub(super) fn expire_upload(&mut self, l: u32, timeout_us: u64, now: Now) -> Option<u64> {
        self.note_progress(l, now);
        let link = &mut self.links[l as usize];
        if link.awaits_uploader() {
            return None;
        }
        let progress_at = link.upload.as_ref().map_or(0, |upload| upload.progress_at);
        let owed = link.fifo.front_mut()?;
        let due = progress_at.max(owed.at) + timeout_us;
        if due > now.mono_us {
            return Some(due);
        }
        let request = std::mem::replace(&mut owed.request, NONE);
        let (pool, server) = (link.pool, link.server);
        self.drop_rest_of(request, l);
        self.count_timeout(pool, server);
        self.note_failure(pool, server, Failure::TimedOut { window: timeout_us }, now);
        self.fail(request, NONE, pool, fault::TIMED_OUT);
        self.break_link(l, Break::Silent { timed_out: 1 }, now);
        None
    }

    /// The server's reply to the one request of `l`, perhaps before it is whole. Returns whether the link lives on, which it
    /// does not.
    pub(super) fn private_reply(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let link = &mut self.links[l as usize];
        let is_open = link.upload.as_ref().is_some_and(|upload| upload.is_open);
        let is_error = match link.protocol {
            Protocol::Redis => walk::is_error(reply.bytes()),
            Protocol::Memcached => memcached_walk::is_error(reply.bytes()),
        };
        let request = link.fifo.front().map_or(NONE, |owed| owed.request);
        // No server can have done what it has not been told whole.
        if link.written_bytes == 0 || (is_open && !is_error) {
            reply.discard(&mut self.buffers);
            self.break_link(l, Break::Fault(fault::INVALID_ARGUMENT), now);
            return false;
        }
        self.drop_rest_of(request, l);
        match self.links[l as usize].take_front() {
            Some((owed, was_written)) => self.take_reply(l, owed, was_written, reply, now),
            None => reply.discard(&mut self.buffers),
        }
        self.close_private(l);
        false
    }

    /// What is still to come of `request`, which went over `l`, is dropped.
    fn drop_rest_of(&mut self, request: u32, l: u32) {
        if let Some(request) = self.requests.get(request as usize) {
            self.drop_rest(request.client, l);
        }
    }

    /// Part of the output of `l` was written, or may be written now: its client may be read again.
    pub(super) fn resume_uploader(&mut self, l: u32) {
        let request = self.links[l as usize].fifo.front().map_or(NONE, |owed| owed.request);
        let client = self.requests.get(request as usize).map_or(NONE, |request| request.client);
        if client != NONE {
            self.resume_if_drained(client);
        }
    }

    /// Closes private connection `l` without a word; returns the request that it owed a reply to, which is the caller's from
    /// now on.
    pub(crate) fn close_private(&mut self, l: u32) -> Option<u32> {
        let slot = self.links[l as usize].slot;
        self.actions.cancel_connect(slot);
        self.actions.close.push((slot, Close::Now));
        let link = self.links.remove(l as usize);
        self.slots.release(slot);
        self.leave_private(l, &link);
        self.count_ended(&link, Break::Retired);
        let request = link.fifo.front().map(|owed| owed.request).filter(|r| *r != NONE);
        self.free_link(link);
        request
    }

    /// Private connection `l`, which was `link`, is gone.
    pub(super) fn lose_private(&mut self, l: u32, link: &Link) {
        self.leave_private(l, link);
        let request = link.fifo.front().map_or(NONE, |owed| owed.request);
        self.drop_rest_of(request, l);
    }

    fn leave_private(&mut self, l: u32, link: &Link) {
        let server = &mut self.pools[link.pool as usize].servers[link.server as usize];
        server.private.retain(|private| *private != l);
    }
}

impl Link {
    /// Whether its server has taken all there is of a request that is not whole.
    pub(super) fn awaits_uploader(&self) -> bool {
        let is_open = self.upload.as_ref().is_some_and(|upload| upload.is_open);
        is_open && self.output.is_empty()
    }

    /// Whether its server has enough to do without more of the request.
    pub(crate) fn is_behind(&self) -> bool {
        !matches!(self.phase, Phase::Ready) || self.output.len() > UNSENT_MAX
    }
}
