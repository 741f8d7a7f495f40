//! Large requests on their way: from a certain size on a request flows to its server while it arrives.
//!
//! ```text
//!   gathered ──its key and size known──▶ all before it answered ──▶ sent on, piece by piece ──whole──▶ reply awaited
//!                                                     │ cannot be sent         │ the server refuses it, or fails
//!                                                     └────────────────────────┴──▶ answered; the rest is dropped
//! ```
//!
//! Gathered it would need its own size in memory, and once queued hold up everybody who shares the connection to the
//! server; sent on over the shared connection, a slow client would. So it gets a private connection (`link::private`), and
//! its client is read no faster than the server takes it. Apart from `intake` because only few requests come here: those
//! that go to one server whole, whatever the rest of them says.

use proto::Span;
use proto::resp::Malformed;
use proto::resp::command;
use proto::{argument, memcached, resp};

use crate::client::{Ending, Reading};
use crate::intake::Partial;
use crate::link::{Asked, FileLoan};
use crate::message::Message;
use crate::reply::{self, fault};
use crate::scan::{Odd, RequestScanner, Scan};
use crate::{Engine, Now};

/// Where a request goes that is not gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// To the server at the other end of this private connection.
    Sent(u32),
    /// Nowhere: it has been answered.
    Dropped,
}

/// What an unfinished request is.
struct Announced {
    /// The argument that is its key.
    key: usize,
    asked: Asked,
    /// The key is in base64.
    decoded: Option<memcached::Request>,
}

impl Engine {
    /// Lets the unfinished request of `c` flow to its server if it is large.
    #[inline]
    pub(crate) fn consider_upload(&mut self, c: u32, now: Now) {
        let partial = self.clients[c as usize].partial.as_deref();
        let bytes = partial.map_or(0, |partial| partial.scanner.bytes_wanted());
        if bytes >= self.limits.upload_bytes_min {
            self.begin_upload(c, now);
        }
    }

    /// Opens the way for the unfinished request of `c`, if it is one that may flow and nothing is ahead of it. What cannot
    /// be sent is answered as it would be later.
    #[cold]
    fn begin_upload(&mut self, c: u32, now: Now) {
        let client = &self.clients[c as usize];
        let Some(announced) = client.partial.as_ref().and_then(|partial| partial.announced())
        else {
            return;
        };
        let (pool, is_paused) = (client.pool, client.reading != Reading::Open);
        let state = &self.pools[pool as usize];
        let locked = !client.is_authenticated(&state.pool);
        if locked || is_paused {
            return;
        }
        if client.pending > 0 {
            return self.settle_client(c);
        }
        let protocol = state.pool.protocol;
        let is_live = self.is_any_server_live(pool, now);
        let shard = self.shard_announced(c, &announced);
        let over_memory = self.is_over_memory();
        let mut loan = None;
        if is_live && !over_memory {
            if self.is_private_full(pool, shard) || self.may_overtake_silence(c, shard) {
                return;
            }
            loan = FileLoan::take(&self.environment);
            if loan.is_none() {
                return;
            }
        }
        self.clients[c as usize].session.greeted = true;
        self.pace.note_request();
        if over_memory {
            self.counts.shed.add(1);
            self.answer(c, reply::request_shed(protocol));
            return self.send_beginning(c, Course::Dropped, now);
        }
        let link = match loan {
            Some(loan) => self.private_link(pool, shard, loan, now),
            None => Err(fault::CONNECTION_REFUSED),
        };
        match link {
            Err(text) => {
                self.refuse_request(c, pool, text, Message::Lent(&[]));
                self.send_beginning(c, Course::Dropped, now);
            }
            Ok(l) => {
                let r = self.await_reply(c);
                self.open_upload(l, r, announced.asked, now);
                self.send_beginning(c, Course::Sent(l), now);
            }
        }
    }

    /// The shard of the key of the unfinished request of `c`.
    fn shard_announced(&mut self, c: u32, announced: &Announced) -> u32 {
        let client = &self.clients[c as usize];
        let Some(partial) = &client.partial else { return 0 };
        let mut decoded = memcached::key::Decoded::default();
        let key = match &announced.decoded {
            Some(request) => request.key(&partial.args, &partial.bytes, &mut decoded),
            None => argument(&partial.bytes, &partial.args, announced.key),
        };
        self.pools[client.pool as usize].sharder.shard(key, || self.random.next()) as u32
    }

    /// Sends on what was gathered of the request of `c` before it took its course.
    fn send_beginning(&mut self, c: u32, course: Course, now: Now) {
        let Some(mut partial) = self.clients[c as usize].partial.take() else { return };
        partial.course = Some(course);
        let mut bytes = std::mem::take(&mut partial.bytes);
        let settled = partial.scanner.forget(bytes.len());
        self.buffers.append(&mut partial.bytes, &bytes[settled..]);
        bytes.truncate(settled);
        partial.passed += settled;
        self.send_on(course, Message::Owned(bytes), now);
        partial.args.clear();
        self.clients[c as usize].partial = Some(partial);
        self.hold_uploader(c);
    }

    fn send_on(&mut self, course: Course, piece: Message<'_>, now: Now) {
        match course {
            Course::Sent(l) => self.append_upload(l, piece, now),
            Course::Dropped => piece.discard(&mut self.buffers),
        }
    }

    /// Passes on more of the request that `partial` is, of client `c`. Returns how many of `bytes` belong to it.
    pub(crate) fn continue_upload(
        &mut self,
        c: u32,
        mut partial: Box<Partial>,
        bytes: &[u8],
        now: Now,
    ) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            // The first half of a line end is kept until the other half is there, which is the next byte.
            let kept = partial.bytes.len();
            debug_assert!(kept <= 1, "a paused reactor delivers nothing");
            let step = if kept > 0 { 1 } else { bytes.len() - used };
            let mut joined = std::mem::take(&mut partial.bytes);
            if kept > 0 {
                self.buffers.append(&mut joined, &bytes[used..used + step]);
            }
            let piece = if kept > 0 { &joined[..] } else { &bytes[used..] };
            let (taken, is_done) = self.continue_piece(c, &mut partial, piece, now);
            self.buffers.give(joined);
            if is_done {
                self.recycle_partial(partial);
                return used + taken - kept;
            }
            used += step;
        }
        self.clients[c as usize].partial = Some(partial);
        self.hold_uploader(c);
        used
    }

    /// The same for one piece, which begins where the scanner expects it. Returns how many of its bytes belong to the
    /// request, and whether this was the end of it.
    fn continue_piece(
        &mut self,
        c: u32,
        partial: &mut Partial,
        piece: &[u8],
        now: Now,
    ) -> (usize, bool) {
        let course = partial.course.unwrap_or(Course::Dropped);
        let scan = partial.scanner.scan(piece, &mut partial.args);
        partial.args.clear();
        match scan {
            Scan::Incomplete => {
                let settled = partial.scanner.forget(piece.len());
                self.send_on(course, Message::Lent(&piece[..settled]), now);
                self.buffers.append(&mut partial.bytes, &piece[settled..]);
                partial.passed += settled;
                (piece.len(), false)
            }
            Scan::Complete(len, _) => {
                self.send_on(course, Message::Lent(&piece[..len]), now);
                if let Course::Sent(l) = course {
                    self.close_upload(l, now);
                    self.settle_client(c);
                } else {
                    self.pause_if_full(c);
                }
                (len, true)
            }
            Scan::Odd(odd) => {
                self.give_up_upload(c, partial);
                self.refuse_rest(c, course, piece, odd, now);
                (piece.len(), true)
            }
        }
    }

    /// The framing of the request of `c` is broken: it is answered, unless it has been, and the connection ends.
    #[cold]
    fn refuse_rest(&mut self, c: u32, course: Course, piece: &[u8], odd: Odd, now: Now) {
        match (course, odd) {
            (Course::Dropped, Odd::Resp(Malformed { reason, .. })) => {
                self.note_malformed(c, reason.text());
                self.end_requests(c, Ending::ByFault);
            }
            (Course::Dropped, Odd::Memcached(malformed)) => {
                self.note_malformed(c, malformed.reason.text());
                self.end_requests(c, Ending::ByFault);
            }
            _ => drop(self.serve_odd(c, piece, odd, &mut Vec::new(), now)),
        }
    }

    /// Reads the client of an upload no further while its server has enough to do.
    fn hold_uploader(&mut self, c: u32) {
        let client = &mut self.clients[c as usize];
        let course = client.partial.as_ref().and_then(|partial| partial.course);
        if let Some(Course::Sent(l)) = course
            && client.reading == Reading::Open
            && self.links[l as usize].is_behind()
        {
            client.reading = Reading::Paused;
        }
    }

    /// Reads the paused client of an upload again if its server can take more.
    pub(crate) fn resume_upload(&mut self, c: u32, course: Course) {
        let is_behind = match course {
            Course::Sent(l) => self.links[l as usize].is_behind(),
            Course::Dropped => false,
        };
        if !is_behind {
            let client = &mut self.clients[c as usize];
            client.settling = false;
            client.reading = Reading::Open;
            self.resumed.push(c);
        }
    }

    /// The server side of the upload of `c` over private connection `l` has ended: what is still to come of it is dropped.
    pub(crate) fn drop_rest(&mut self, c: u32, l: u32) {
        let Some(client) = self.clients.get_mut(c as usize) else { return };
        if let Some(partial) = &mut client.partial
            && partial.course == Some(Course::Sent(l))
        {
            partial.course = Some(Course::Dropped);
        }
    }

    /// Client `c` will not finish the request that `partial` is: the server forgets it together with its connection.
    pub(crate) fn give_up_upload(&mut self, c: u32, partial: &Partial) {
        if let Some(Course::Sent(l)) = partial.course
            && let Some(r) = self.close_private(l)
        {
            self.withdraw(c, r);
        }
    }

    /// The same for a client that is gone, whose requests have been abandoned.
    pub(crate) fn abandon_upload(&mut self, partial: &Partial) {
        if let Some(Course::Sent(l)) = partial.course
            && let Some(r) = self.close_private(l)
        {
            self.deliver(r, Message::Lent(&[]));
        }
    }
}

impl Partial {
    /// What it is, if it may flow: one key decides where it goes, and its client wants the reply.
    fn announced(&self) -> Option<Announced> {
        if !self.is_gathered() {
            return None;
        }
        match &self.scanner {
            RequestScanner::Resp(scanner) => announced_resp(&self.bytes, &self.args, scanner),
            RequestScanner::Memcached(scanner) => announced_memcached(scanner),
        }
    }
}

fn announced_resp(
    bytes: &[u8],
    args: &[Span],
    scanner: &resp::RequestScanner,
) -> Option<Announced> {
    if scanner.missing() == 0 {
        return None;
    }
    let argc = args.len() + scanner.missing();
    let key = command::key_of_unfinished(bytes, args, argc)?;
    Some(Announced { key, asked: Asked::RESP, decoded: None })
}

fn announced_memcached(scanner: &memcached::RequestScanner) -> Option<Announced> {
    let request = scanner.pending()?;
    let memcached::Policy::SingleShard { key } = request.command.policy else { return None };
    let asked = Asked::memcached(request.command);
    let decoded = request.is_base64.then_some(request);
    (request.silence == memcached::Silence::None).then_some(Announced { key, asked, decoded })
}
