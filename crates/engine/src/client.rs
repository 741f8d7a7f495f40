//! A client connection: what it holds, when it is read and when it is closed.
//!
//! ```text
//!             request read                 reply released, output written
//!   Open ───────────────────▶ Open ──────────────────────────────────────▶ Open
//!    │  too much unanswered or unsent: paused, read again when half is gone
//!    │ QUIT, end of input, malformed bytes, drain
//!    ▼
//!   Closing: nothing more is read; once the pipeline is empty and the output written ──▶ closed
//! ```

use core::net::SocketAddr;
use core::num::NonZero;

use crate::Engine;
use crate::actions::{Close, Event, Owner, Slot};
use crate::buffer::Output;
use crate::intake::Partial;
use crate::peer::PeerAddress;
use crate::pipeline::{Kept, NONE};
use crate::topology::{Limits, Pool};

/// Unanswered requests that a new client may have. Every reply allows two more, so that the number of replies under way
/// doubles with each round trip until their size is known.
const ALLOWANCE_FIRST: u32 = 32;
/// Unsent bytes from which on a client that is refused for want of memory waits until some have left.
const REFUSALS_BYTES_MAX: usize = 8 << 10;
/// Weight of a new reply in the smoothed size, as a power of two.
const SMOOTHING: u32 = 3;

/// What one client owns. A quiet one holds no buffer.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) slot: Slot,
    /// Index of its pool.
    pub(crate) pool: u32,
    /// Where it comes from; none for a unix socket.
    peer: PeerAddress,
    /// Picks one of several connections to a server, always the same one, so that a pipeline stays ordered.
    pub(crate) affinity: u32,
    /// Oldest and newest unanswered request.
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// How many are unanswered, and how many may be.
    pub(crate) pending: u32,
    allowance: u32,
    /// Smoothed size of a reply, in 1/8 bytes.
    reply_bytes_8: u32,
    /// Replies whose turn has not come.
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) output: Output,
    /// An unfinished request, or what was read before a pause.
    pub(crate) partial: Option<Box<Partial>>,
    /// Bytes to discard before its next request: the body of a refused one.
    pub(crate) discard: u64,
    pub(crate) session: Session,
    pub(crate) reading: Reading,
    /// Paused until all of its requests are answered.
    pub(crate) settling: bool,
    /// In the list of connections to flush.
    dirty: bool,
    /// Since when its replies are held.
    pub(crate) held_since: Option<NonZero<u32>>,
    /// When it was read last, in buckets of the pace.
    pub(crate) active: u32,
}

/// Idle connections are many.
const _: () = assert!(size_of::<Client>() <= 168);

/// What commands changed on this connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Number told by CLIENT ID and HELLO.
    pub(crate) id: u64,
    /// Presented the pool's password.
    pub(crate) authenticated: bool,
    /// Set by CLIENT SETNAME.
    pub(crate) name: Option<Box<[u8]>>,
    /// Sent at least one request.
    pub(crate) greeted: bool,
}

/// Whether bytes of this client are still served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Open,
    /// Waits until replies have left.
    Paused,
    /// Input is discarded; closes when everything is answered and written.
    Closing(Ending),
}

/// Who ended a connection, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client, by closing or by QUIT.
    ByClient,
    /// The proxy, because of what the client sent.
    ByFault,
}

impl Client {
    fn new(slot: Slot, pool: u32, peer: Option<SocketAddr>, id: u64, affinity: u32) -> Client {
        Client {
            slot,
            pool,
            peer: peer.into(),
            affinity,
            head: NONE,
            tail: NONE,
            pending: 0,
            allowance: ALLOWANCE_FIRST,
            reply_bytes_8: 0,
            kept: None,
            output: Output::default(),
            partial: None,
            discard: 0,
            session: Session { id, ..Session::default() },
            reading: Reading::Open,
            settling: false,
            dirty: false,
            held_since: None,
            active: 0,
        }
    }

    /// Index of its pool, and where it comes from, none for a unix socket: what events tell of it.
    pub(crate) fn origin(&self) -> (u32, Option<SocketAddr>) {
        (self.pool, self.peer.into())
    }

    /// Whether it may ask what the servers of `pool`, which is its own, are to answer.
    #[inline]
    pub(crate) fn is_authenticated(&self, pool: &Pool) -> bool {
        self.session.authenticated || pool.redis_auth.is_none()
    }

    /// Whether replies are still to come and nobody waits for the connection to close.
    pub(crate) fn awaits_more(&self) -> bool {
        self.head != NONE && self.reading == Reading::Open
    }

    /// Reply bytes held for this client.
    fn held_bytes(&self) -> usize {
        self.output.len() + self.kept.as_ref().map_or(0, |kept| kept.len())
    }

    /// A reply of `bytes` was released: more requests may be under way, and their replies will be of about this size.
    pub(crate) fn note_reply(&mut self, bytes: usize) {
        self.allowance = self.allowance.saturating_add(2);
        let bytes = bytes.min(u32::MAX as usize >> SMOOTHING) as u32;
        self.reply_bytes_8 = self.reply_bytes_8 - (self.reply_bytes_8 >> SMOOTHING) + bytes;
    }

    /// How full its share is: what is held and what will come against `limits`, as a fraction of `1 / parts`.
    fn exceeds(&self, limits: &Limits, parts: u32) -> bool {
        let requests_max = self.allowance.min(limits.client_requests_max) / parts;
        let expected = self.pending as usize * (self.reply_bytes_8 >> SMOOTHING) as usize;
        self.pending > requests_max.saturating_sub(1)
            || self.held_bytes() + expected > limits.client_output_bytes_max / parts as usize
    }
}

impl Engine {
    /// A client of pool `pool` connected from `peer`, none for a unix socket; returns the slot it is known by from now on.
    pub fn accept(&mut self, pool: u32, peer: Option<SocketAddr>) -> Slot {
        self.last_client_id += 1;
        let id = self.last_client_id;
        self.make_room_for_client();
        let c = self.clients.vacant_key() as u32;
        let slot = self.slots.assign(Owner::Client(c));
        self.clients.insert(Client::new(
            slot,
            pool,
            peer,
            id * self.client_id_step + self.client_id_first,
            id as u32,
        ));
        self.pools[pool as usize].counts.client_connections.add(1);
        self.counts.clients.add(1);
        self.counts.total_connections.add(1);
        self.counts.curr_connections.add(1);
        if self.draining {
            self.stop_reading(c, Ending::ByFault);
        }
        slot
    }

    /// The client of `slot` was found to come from elsewhere: a load balancer told so.
    pub fn relabel(&mut self, slot: Slot, peer: Option<SocketAddr>) {
        if let Owner::Client(c) = self.slots.owner(slot) {
            self.clients[c as usize].peer = peer.into();
        }
    }

    /// Ends the client of `slot` as one that did wrong: it gets what it is owed, then `words`, which may be none.
    pub fn turn_away(&mut self, slot: Slot, words: &[u8]) {
        if let Owner::Client(c) = self.slots.owner(slot) {
            if !words.is_empty() {
                self.answer(c, words);
            }
            self.stop_reading(c, Ending::ByFault);
        }
    }

    /// Stops reading a client that has too much unanswered or unsent; returns whether it is read on.
    pub(crate) fn pause_if_full(&mut self, c: u32) -> Reading {
        let client = &mut self.clients[c as usize];
        if client.reading == Reading::Open && client.exceeds(&self.limits, 1) {
            client.reading = Reading::Paused;
        }
        client.reading
    }

    /// Serves nothing more of a client before all it has asked is answered.
    pub(crate) fn settle_client(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        let uploads = client.partial.as_ref().is_some_and(|partial| !partial.is_gathered());
        // What follows an upload waits for its reply anyway.
        if client.pending > 0 && !uploads && !matches!(client.reading, Reading::Closing(_)) {
            client.reading = Reading::Paused;
            client.settling = true;
        }
    }

    /// Client `c` was refused something for want of memory: refusals must not add up, neither behind what is not answered
    /// yet nor in its output.
    pub(crate) fn hold_refused(&mut self, c: u32) {
        self.settle_client(c);
        let client = &mut self.clients[c as usize];
        if client.reading == Reading::Open && client.output.len() > REFUSALS_BYTES_MAX {
            client.reading = Reading::Paused;
        }
    }

    /// Reads a paused client again once half of its backlog is gone.
    #[inline]
    pub(crate) fn resume_if_drained(&mut self, c: u32) {
        if self.clients[c as usize].reading == Reading::Paused {
            self.resume_paused_if_drained(c);
        }
    }

    fn resume_paused_if_drained(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        if client.settling && client.pending > 0 {
            return;
        }
        if let Some(course) = client.partial.as_ref().and_then(|partial| partial.course) {
            return self.resume_upload(c, course);
        }
        client.settling = false;
        if client.pending == 0 && client.output.is_empty() || !client.exceeds(&self.limits, 2) {
            client.reading = Reading::Open;
            self.resumed.push(c);
        }
    }

    /// The client ended its side; it still gets every reply it is owed.
    pub(crate) fn client_ended(&mut self, c: u32) {
        let client = &self.clients[c as usize];
        if let Some(partial) = &client.partial {
            let bytes = partial.len() as u32;
            let (pool, peer) = client.origin();
            self.events.push(Event::IncompleteRequest { pool, peer, bytes });
            self.explain_line_end(c);
        }
        self.stop_reading(c, Ending::ByClient);
    }

    /// Nothing more is read from `c`; it closes when all is answered and written, which may be now.
    pub(crate) fn stop_reading(&mut self, c: u32, ending: Ending) {
        self.end_requests(c, ending);
        self.close_if_done(c);
    }

    /// The same, but `c` stays until [`Engine::close_if_done`]: for what happens in the middle of its bytes and may
    /// leave it without anything to wait for.
    pub(crate) fn end_requests(&mut self, c: u32, ending: Ending) {
        let client = &mut self.clients[c as usize];
        if !matches!(client.reading, Reading::Closing(_)) {
            client.reading = Reading::Closing(ending);
        }
        if let Some(partial) = client.partial.take() {
            self.give_up_upload(c, &partial);
            self.recycle_partial(partial);
        }
    }

    /// Closes a closing client that is owed nothing more.
    pub(crate) fn close_if_done(&mut self, c: u32) {
        let client = &self.clients[c as usize];
        let Reading::Closing(ending) = client.reading else { return };
        if client.head == NONE && client.output.is_empty() {
            self.actions.close.push((client.slot, Close::Linger));
            self.forget_client(c, ending);
        }
    }

    /// `bytes` of the client's output were written.
    pub(crate) fn client_written(&mut self, c: u32, bytes: usize) {
        let output = &mut self.clients[c as usize].output;
        let low = self.limits.stream_output_bytes_low();
        let was_high = output.len() > low;
        output.advance(bytes, &mut self.buffers);
        if was_high && output.len() <= low {
            self.stirred.extend(self.stream_to(c));
        }
        self.resume_if_drained(c);
        self.close_if_done(c);
    }

    /// The connection failed: its requests keep their places at the servers, their replies are dropped.
    pub(crate) fn client_failed(&mut self, c: u32) {
        self.forget_client(c, Ending::ByFault);
    }

    pub(crate) fn forget_client(&mut self, c: u32, ending: Ending) {
        let mut client = self.clients.remove(c as usize);
        self.abandon(client.head);
        client.output.clear(&mut self.buffers);
        client.give_kept(&mut self.spare_kept, &mut self.buffers);
        if let Some(partial) = client.partial.take() {
            self.abandon_upload(&partial);
            self.recycle_partial(partial);
        }
        self.slots.release(client.slot);
        let counts = &self.pools[client.pool as usize].counts;
        counts.client_connections.sub(1);
        match ending {
            Ending::ByClient => counts.client_eof.add(1),
            Ending::ByFault => counts.client_err.add(1),
        }
        self.counts.clients.sub(1);
        self.counts.curr_connections.sub(1);
    }

    /// Puts the client on the list of connections to flush, once.
    pub(crate) fn flush_client(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        if !client.dirty && !client.output.is_empty() {
            client.dirty = true;
            self.actions.flush.push(client.slot);
        }
    }

    /// The client left the list of connections to flush.
    pub(crate) fn client_flushed(&mut self, c: u32) {
        if let Some(client) = self.clients.get_mut(c as usize) {
            client.dirty = false;
        }
    }

    /// Closes every client as soon as it is answered; requests not read yet are not read any more.
    pub(crate) fn stop_reading_all(&mut self) {
        let all: Vec<u32> = self.clients.iter().map(|(c, _)| c as u32).collect();
        for c in all {
            self.stop_reading(c, Ending::ByClient);
        }
    }
}
