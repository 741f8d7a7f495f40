//! From the bytes of a client to its requests: scanning, gathering what arrives in pieces, refusing what is no request.
//!
//! A request that lies whole in the bytes of one read is served from there. One that does not is gathered in a buffer
//! of its own, to which no more is appended than it needs once its length is known.

use proto::memcached::{self, binary};
use proto::resp::{Malformed, Reason, inline};
use proto::{Span, argument, resp};

use crate::actions::{Event, Flow, Text};
use crate::client::{Ending, Reading};
use crate::message::Message;
use crate::scan::{Kind, Odd, RequestScanner, Scan};
use crate::topology::Protocol;
use crate::upload::Course;
use crate::{Engine, Now, reply};

/// Bytes appended at a time to an unfinished request whose length is not known yet.
const GATHER_STEP: usize = 4 << 10;

/// The beginning of a request that has not arrived whole.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// What was received and is kept.
    pub(crate) bytes: Vec<u8>,
    pub(crate) scanner: RequestScanner,
    pub(crate) args: Vec<Span>,
    /// Bytes of the argument list that the pool counts as lent.
    args_counted: usize,
    /// Where it goes while it arrives, if it is not kept.
    pub(crate) course: Option<Course>,
    /// Bytes of it that were passed on and not kept.
    pub(crate) passed: usize,
}

impl Partial {
    /// Unfinished requests whose memory is kept for the next ones.
    const SPARE_MAX: usize = 64;
    /// Argument lists up to this capacity are kept.
    const ARGS_KEPT_MAX: usize = 64;

    /// Bytes received of the request.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.passed
    }

    /// Bytes of the argument list that are worth counting: arguments of a byte each take more here than on the wire.
    fn args_bytes(&self) -> usize {
        match self.args.capacity() {
            0..=Partial::ARGS_KEPT_MAX => 0,
            many => many * size_of::<Span>(),
        }
    }

    /// Whether it is kept until it is whole.
    pub(crate) fn is_gathered(&self) -> bool {
        self.course.is_none()
    }

    /// Whether it is the beginning of a line that holds a line feed, but not as the end of a line.
    fn is_line_without_cr(&self) -> bool {
        matches!(self.scanner, RequestScanner::Memcached(_))
            && self.is_gathered()
            && self.scanner.bytes_wanted() <= self.bytes.len()
            && self.bytes.contains(&b'\n')
    }
}

impl Engine {
    /// Bytes of client `c`.
    pub(crate) fn client_received(&mut self, c: u32, bytes: &[u8], now: Now) -> Flow {
        match self.clients[c as usize].reading {
            Reading::Open => {}
            Reading::Closing(_) => return Flow::Continue,
            Reading::Paused => {
                self.keep_more(c, bytes);
                return Flow::Pause;
            }
        }
        let client = &mut self.clients[c as usize];
        client.active = self.pace.note_client(client.active, now);
        let used = match self.clients[c as usize].partial.take() {
            Some(partial) => self.continue_partial(c, partial, bytes, now),
            None => 0,
        };
        if used < bytes.len() {
            self.serve(c, &bytes[used..], now);
        }
        match self.clients[c as usize].reading {
            Reading::Paused => Flow::Pause,
            Reading::Open => Flow::Continue,
            Reading::Closing(_) => {
                self.close_if_done(c);
                Flow::Continue
            }
        }
    }

    /// Serves the requests in `bytes`, which begin at the first byte of one or of what is to be discarded before it, and
    /// keeps an unfinished rest.
    fn serve(&mut self, c: u32, bytes: &[u8], now: Now) {
        let mut args = std::mem::take(&mut self.scratch.args);
        let mut at = self.discard(c, bytes.len());
        let fresh = self.scanner_for(c);
        let mut reading = self.clients[c as usize].reading;
        while at < bytes.len() {
            match reading {
                Reading::Open => {}
                Reading::Paused => {
                    self.keep_partial(c, &bytes[at..], fresh, &[]);
                    break;
                }
                Reading::Closing(_) => break,
            }
            args.clear();
            let mut scanner = match fresh.begin(&bytes[at..], &mut args) {
                Ok(len) => {
                    self.request(c, Message::Lent(&bytes[at..at + len]), &Kind::Resp, &args, now);
                    at += len;
                    reading = self.pause_if_full(c);
                    continue;
                }
                Err(scanner) => scanner,
            };
            match scanner.scan(&bytes[at..], &mut args) {
                Scan::Complete(len, kind) => {
                    self.request(c, Message::Lent(&bytes[at..at + len]), &kind, &args, now);
                    at += len;
                    reading = self.pause_if_full(c);
                }
                Scan::Incomplete => {
                    self.keep_partial(c, &bytes[at..], scanner, &args);
                    self.consider_upload(c, now);
                    break;
                }
                Scan::Odd(odd) => {
                    at += self.serve_odd(c, &bytes[at..], odd, &mut args, now);
                    at += self.discard(c, bytes.len() - at);
                    reading = self.clients[c as usize].reading;
                }
            }
        }
        self.scratch.args = args;
    }

    fn scanner_for(&self, c: u32) -> RequestScanner {
        RequestScanner::new(&self.pools[self.clients[c as usize].pool as usize].pool)
    }

    /// How many of the next `available` bytes of a client belong to the body of a refused request.
    fn discard(&mut self, c: u32, available: usize) -> usize {
        let discard = &mut self.clients[c as usize].discard;
        let taken = usize::try_from(*discard).map_or(available, |wanted| wanted.min(available));
        *discard -= taken as u64;
        taken
    }

    /// Serves what is not a request to route. Returns how many bytes it took.
    pub(crate) fn serve_odd(
        &mut self,
        c: u32,
        bytes: &[u8],
        odd: Odd,
        args: &mut Vec<Span>,
        now: Now,
    ) -> usize {
        match odd {
            Odd::Inline(len) => {
                self.inline_request(c, &bytes[..len], args, now);
                self.pause_if_full(c);
                return len;
            }
            // `redis-cli --pipe` sends a blank line before its last command; where a first request should be, it is
            // no Redis client that speaks.
            Odd::Blank(len) if self.clients[c as usize].session.greeted => return len,
            Odd::Skip(len) => return len,
            Odd::Blank(_) => {
                self.refuse(c, Malformed { offset: 0, reason: Reason::EmptyRequest });
            }
            Odd::Resp(malformed) => self.refuse(c, malformed),
            Odd::Refused { len, swallow, refusal, is_silent } => {
                if refusal == memcached::Refusal::UnknownCommand {
                    // A blank line has no name, and is how the binary header of a load balancer begins.
                    self.note_unsupported(c, argument(bytes, args, 0));
                }
                if !is_silent {
                    self.answer(c, refusal.text().as_bytes());
                }
                self.clients[c as usize].discard = swallow;
                self.pause_if_full(c);
                return len;
            }
            Odd::Memcached(malformed) => self.refuse_line(c, malformed),
            Odd::Binary => self.refuse_binary(c, bytes),
        }
        bytes.len()
    }

    /// Rewrites an inline request as an array and serves that.
    fn inline_request(&mut self, c: u32, line: &[u8], args: &mut Vec<Span>, now: Now) {
        let mut array = std::mem::take(&mut self.scratch.array);
        array.clear();
        args.clear();
        match inline::encode(line, &mut array) {
            Err(malformed) => self.refuse(c, malformed),
            Ok(()) => match resp::RequestScanner::default().scan(&array, args) {
                resp::Scan::Complete(_) => {
                    self.request(c, Message::Lent(&array), &Kind::Resp, args, now);
                }
                resp::Scan::Malformed(malformed) => self.refuse(c, malformed),
                resp::Scan::Incomplete | resp::Scan::Inline(_) | resp::Scan::Blank(_) => {}
            },
        }
        self.scratch.array = array;
    }

    /// Serves one request, whoever owns its bytes.
    #[inline]
    fn request(&mut self, c: u32, request: Message<'_>, kind: &Kind, args: &[Span], now: Now) {
        self.clients[c as usize].session.greeted = true;
        self.pace.note_request();
        match kind {
            Kind::Resp => self.route(c, request, args, now),
            Kind::Memcached(parsed) => self.route_memcached(c, request, parsed, args, now),
        }
    }

    /// Feeds an unfinished request until it is whole. Returns how many of `bytes` belong to it.
    fn continue_partial(
        &mut self,
        c: u32,
        mut partial: Box<Partial>,
        bytes: &[u8],
        now: Now,
    ) -> usize {
        if !partial.is_gathered() {
            return self.continue_upload(c, partial, bytes, now);
        }
        let mut used = 0;
        while used < bytes.len() {
            let before = partial.bytes.len();
            let missing = partial.scanner.bytes_wanted().saturating_sub(before).max(GATHER_STEP);
            let step = missing.min(bytes.len() - used);
            self.buffers.append(&mut partial.bytes, &bytes[used..used + step]);
            match partial.scanner.scan(&partial.bytes, &mut partial.args) {
                Scan::Incomplete => used += step,
                Scan::Complete(len, kind) => {
                    let args = std::mem::take(&mut partial.args);
                    self.request(c, Message::gathered(&mut partial.bytes, len), &kind, &args, now);
                    partial.args = args;
                    self.recycle_partial(partial);
                    self.pause_if_full(c);
                    return used + len - before;
                }
                Scan::Odd(odd) => {
                    let len = partial.bytes.len();
                    let gathered = std::mem::take(&mut partial.bytes);
                    let taken = self.serve_odd(c, &gathered, odd, &mut partial.args, now);
                    partial.bytes = gathered;
                    self.recycle_partial(partial);
                    return used + step - (len - taken);
                }
            }
        }
        let args_bytes = partial.args_bytes();
        self.buffers.recount(&mut partial.args_counted, args_bytes);
        if self.is_over_memory() {
            self.recycle_partial(partial);
            self.answer(c, reply::request_shed(self.protocol_of(c)));
            self.stop_reading(c, Ending::ByFault);
        } else {
            self.clients[c as usize].partial = Some(partial);
            self.consider_upload(c, now);
        }
        used
    }

    /// Keeps the beginning of a request, or bytes read before a pause.
    fn keep_partial(&mut self, c: u32, bytes: &[u8], scanner: RequestScanner, args: &[Span]) {
        let mut partial = self.spare_partials.pop().unwrap_or_default();
        self.buffers.append_beginning(&mut partial.bytes, bytes, scanner.bytes_wanted());
        partial.scanner = scanner;
        partial.args.extend_from_slice(args);
        let args_bytes = partial.args_bytes();
        self.buffers.recount(&mut partial.args_counted, args_bytes);
        self.clients[c as usize].partial = Some(partial);
    }

    /// Keeps more bytes of a paused client.
    fn keep_more(&mut self, c: u32, bytes: &[u8]) {
        match self.clients[c as usize].partial.take() {
            None => {
                let scanner = self.scanner_for(c);
                self.keep_partial(c, bytes, scanner, &[]);
            }
            Some(mut partial) => {
                self.buffers.append(&mut partial.bytes, bytes);
                self.clients[c as usize].partial = Some(partial);
            }
        }
    }

    pub(crate) fn recycle_partial(&mut self, mut partial: Box<Partial>) {
        self.buffers.give(std::mem::take(&mut partial.bytes));
        self.buffers.recount(&mut partial.args_counted, 0);
        partial.args.clear();
        partial.course = None;
        partial.passed = 0;
        if partial.args.capacity() <= Partial::ARGS_KEPT_MAX
            && self.spare_partials.len() < Partial::SPARE_MAX
        {
            self.spare_partials.push(partial);
        }
    }

    /// Serves what paused clients had sent before their pause. Runs once per phase: serving it may pause them again.
    pub(crate) fn serve_resumed(&mut self, now: Now) {
        let mut resumed = std::mem::take(&mut self.resumed);
        for c in resumed.drain(..) {
            let Some(client) = self.clients.get_mut(c as usize) else { continue };
            if client.reading != Reading::Open {
                continue;
            }
            if let Some(mut partial) = client.partial.take() {
                let bytes = std::mem::take(&mut partial.bytes);
                let used = if partial.is_gathered() {
                    self.recycle_partial(partial);
                    0
                } else {
                    self.continue_upload(c, partial, &bytes, now)
                };
                self.serve(c, &bytes[used..], now);
                self.buffers.give(bytes);
            }
            let client = &self.clients[c as usize];
            if client.reading != Reading::Paused {
                self.actions.resume.push(client.slot);
            }
            self.close_if_done(c);
        }
        resumed.append(&mut self.resumed);
        self.resumed = resumed;
    }

    /// The client broke the framing: earlier replies, one error, then close.
    fn refuse(&mut self, c: u32, malformed: Malformed) {
        self.note_malformed(c, malformed.reason.text());
        self.answer_with(c, |out| malformed.write_reply(out));
        self.stop_reading(c, Ending::ByFault);
    }

    /// The same on a memcached connection.
    fn refuse_line(&mut self, c: u32, malformed: memcached::Malformed) {
        self.note_malformed(c, malformed.reason.text());
        self.answer_with(c, |out| malformed.write_reply(out));
        self.stop_reading(c, Ending::ByFault);
    }

    /// A client sent a command that no table has, or that is not served.
    pub(crate) fn note_unsupported(&mut self, c: u32, name: &[u8]) {
        let (pool, peer) = self.clients[c as usize].origin();
        self.events.push(Event::UnsupportedCommand { pool, peer, command: Text::new(name) });
    }

    pub(crate) fn note_malformed(&mut self, c: u32, reason: &'static str) {
        let (pool, peer) = self.clients[c as usize].origin();
        self.events.push(Event::Malformed { pool, peer, reason });
    }

    /// A client speaks the binary protocol of memcached.
    fn refuse_binary(&mut self, c: u32, received: &[u8]) {
        let (pool, peer) = self.clients[c as usize].origin();
        self.events.push(Event::BinaryProtocol { pool, peer });
        self.answer_with(c, |out| binary::refusal(received, out));
        self.stop_reading(c, Ending::ByFault);
    }

    /// The input of `c` ended with a line feed that ends no line: what a person with a terminal sends.
    pub(crate) fn explain_line_end(&mut self, c: u32) {
        let partial = self.clients[c as usize].partial.as_ref();
        if partial.is_some_and(|partial| partial.is_line_without_cr()) {
            self.answer(c, reply::LINE_WITHOUT_CR);
        }
    }

    /// The protocol that client `c` speaks.
    pub(crate) fn protocol_of(&self, c: u32) -> Protocol {
        self.pools[self.clients[c as usize].pool as usize].pool.protocol
    }
}
