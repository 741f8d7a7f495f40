//! A simulated client: sends requests of its own keys, pipelined, in pieces, and checks that each gets its one reply, in
//! order, and that nothing else ever comes. What it says is made in `resp::speaker` and `memcached::speaker`.

use std::collections::VecDeque;

use engine::topology::Protocol;

use crate::network::{Network, WireId};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Expected, Form, Token, Truth, is_shed, shown};
use crate::{memcached, resp};

/// How a client's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Stays connected, idle.
    Stays,
    HalfCloses,
    Quits,
    /// Breaks the framing.
    Blunders,
    /// Resets or closes with replies outstanding.
    Resets,
    Closes,
}

/// One client.
pub(crate) struct SimClient {
    pub(crate) number: u32,
    pub(crate) wire: WireId,
    /// Its pool.
    pub(crate) pool: u32,
    left: u32,
    pub(crate) sequence: u32,
    pub(crate) ending: Ending,
    /// Sent the password.
    pub(crate) authenticated: bool,
    pub(crate) outgoing: VecDeque<u8>,
    /// Requests that want no reply, each for as many as the servers it goes to.
    pub(crate) silences: u64,
    pub(crate) expected: VecDeque<Expected>,
    input: Vec<u8>,
    /// Does not read before this moment.
    reads_from: u64,
    /// Nothing more is generated.
    finished: bool,
    pub(crate) half_closed: bool,
    /// Has no connection any more.
    pub(crate) gone: bool,
    /// The proxy may close after any reply: it drains, or sheds memory in the middle of a request.
    may_be_cut: bool,
    /// The proxy closed in the middle of a reply.
    pub(crate) was_cut: bool,
    pub(crate) healed: bool,
}

impl SimClient {
    pub(crate) fn new(
        number: u32,
        wire: WireId,
        pool: u32,
        scenario: &Scenario,
        random: &mut Random,
    ) -> SimClient {
        let faults = &scenario.faults;
        let ending = if random.chance(faults.malformed_clients, 1000) {
            Ending::Blunders
        } else if random.chance(faults.vanishing_clients, 1000) {
            random.pick(&[Ending::Resets, Ending::Closes])
        } else {
            random.pick(&[Ending::Stays, Ending::HalfCloses, Ending::Quits])
        };
        SimClient {
            number,
            wire,
            pool,
            left: random.within(1..=scenario.requests as usize) as u32,
            sequence: 0,
            ending,
            authenticated: scenario.pool.redis_auth.is_none(),
            outgoing: VecDeque::new(),
            silences: 0,
            expected: VecDeque::new(),
            input: Vec::new(),
            reads_from: 0,
            finished: false,
            half_closed: false,
            gone: false,
            may_be_cut: faults.drain,
            was_cut: false,
            healed: false,
        }
    }

    /// The next moment at which it has something to do by itself.
    pub(crate) fn wake_at(&self, now: u64) -> Option<u64> {
        (!self.gone && self.reads_from > now).then_some(self.reads_from)
    }

    pub(crate) fn is_ready(&self, network: &Network, scenario: &Scenario, now: u64) -> bool {
        if self.gone {
            return false;
        }
        let wire = network.look(self.wire);
        let readable = !wire.to_peer.is_empty() || wire.to_peer.ended;
        let writable = !self.outgoing.is_empty() && (wire.engine_gone || wire.to_engine.free() > 0);
        let more =
            !self.finished && self.outgoing.is_empty() && self.expected.len() < scenario.depth;
        (readable && self.reads_from <= now) || writable || more
    }

    pub(crate) fn act(
        &mut self,
        scenario: &Scenario,
        network: &mut Network,
        truth: &mut Truth,
        random: &mut Random,
        now: u64,
    ) {
        if self.gone {
            return;
        }
        while !self.finished && self.expected.len() < scenario.depth && random.chance(7, 8) {
            self.generate(scenario, truth, random);
        }
        let piece = random.within(1..=self.outgoing.len().max(1));
        let piece = piece.min(self.outgoing.len());
        let sent = network.send(self.wire, &self.outgoing.make_contiguous()[..piece]);
        self.outgoing.drain(..sent);
        if self.finished && self.outgoing.is_empty() && !self.half_closed {
            self.end(network, random);
        }
        if self.reads_from <= now && !self.gone {
            self.reads_from = 0;
            if !self.healed && random.chance(scenario.faults.lazy_clients, 10_000) {
                self.reads_from = now + random.within(1..=500_000) as u64;
            } else {
                self.read(network, truth, random);
            }
        }
    }

    /// Closes, if that is how this client's life ends.
    fn end(&mut self, network: &mut Network, random: &mut Random) {
        match self.ending {
            Ending::HalfCloses => {
                network.half_close(self.wire);
                self.half_closed = true;
            }
            Ending::Resets if random.chance(1, 4) => {
                network.reset(self.wire);
                self.gone = true;
            }
            Ending::Closes if random.chance(1, 4) => self.leave(network),
            _ => {}
        }
    }

    /// Closes the connection.
    pub(crate) fn leave(&mut self, network: &mut Network) {
        network.close(self.wire);
        self.gone = true;
    }

    fn read(&mut self, network: &mut Network, truth: &mut Truth, random: &mut Random) {
        let bytes = network.read(self.wire, random.within(1..=100_000));
        self.input.extend(bytes);
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            match self.reply_len(&input[at..], truth) {
                Ok(Some(len)) => {
                    self.take(&input[at..at + len], truth);
                    at += len;
                }
                Ok(None) => break,
                Err(reason) => {
                    let sight = shown(&input[at..]);
                    truth.accuse(|| format!("client {} received {sight}: {reason}", self.number));
                    break;
                }
            }
        }
        self.input = input[at..].to_vec();
        if network.is_at_end(self.wire) {
            self.meet_end(truth);
        }
    }

    /// The length of what is expected next, `None` while it is not whole.
    fn reply_len(&self, input: &[u8], truth: &Truth) -> Result<Option<usize>, String> {
        match (truth.scenario.pool.protocol, self.expected.front()) {
            (Protocol::Redis, _) => resp::wire_format::reply_len(input),
            (_, Some(Expected { form: Form::Batch(_), .. })) => {
                memcached::wire_format::batch_len(input)
            }
            _ => memcached::wire_format::reply_len(input),
        }
    }

    fn take(&mut self, reply: &[u8], truth: &mut Truth) {
        let shed = truth.may_shed() && is_shed(reply);
        self.may_be_cut |= shed;
        match self.expected.pop_front() {
            Some(expected) => truth.judge(&expected, reply),
            // A request that wants no reply, given up half way: the connection ends.
            None if shed => {}
            None => {
                let number = self.number;
                truth.accuse(|| format!("client {number} was sent {} unasked", shown(reply)));
            }
        }
    }

    /// The proxy closed the connection.
    fn meet_end(&mut self, truth: &mut Truth) {
        self.gone = true;
        let (number, owed) = (self.number, self.expected.len());
        let ends_here = self.finished
            && self.outgoing.is_empty()
            && (self.half_closed || matches!(self.ending, Ending::Quits | Ending::Blunders));
        if self.is_cut_well(truth) {
            return;
        }
        if let Some(expected) = self.expected.front()
            && truth.may_end_within(&expected.form, &self.input)
        {
            self.was_cut = true;
            return truth.note_event("a reply cut off");
        }
        if owed > 0 || !self.input.is_empty() {
            let begun = shown(&self.input);
            truth.accuse(|| {
                format!(
                    "client {number} was closed with {owed} replies outstanding, behind {begun}"
                )
            });
        } else if !ends_here && !matches!(self.ending, Ending::Quits | Ending::Blunders) {
            truth.accuse(|| format!("client {number} was closed for no reason"));
        }
    }

    /// Whether the connection may have ended here, behind a whole reply.
    fn is_cut_well(&self, truth: &Truth) -> bool {
        let is_batch = |expected: &Expected| matches!(expected.form, Form::Batch(_));
        if !self.expected.front().is_some_and(is_batch) {
            return self.may_be_cut && self.input.is_empty();
        }
        // Within a batch, replies are judged once all are there.
        match memcached::wire_format::replies(&self.input) {
            Ok(replies) => {
                let shed = replies.iter().any(|reply| is_shed(reply)) && truth.may_shed();
                self.may_be_cut || shed
            }
            Err(_) => false,
        }
    }

    /// Adds the next request to what is to be sent.
    fn generate(&mut self, scenario: &Scenario, truth: &mut Truth, random: &mut Random) {
        if self.left == 0 {
            self.finished = true;
            match scenario.pool.protocol {
                Protocol::Redis => self.end_in_resp(random),
                Protocol::Memcached => self.end_in_memcached(random),
            }
            return;
        }
        self.left -= 1;
        let token = self.next_token();
        match scenario.pool.protocol {
            Protocol::Redis => self.speak_resp(token, scenario, random),
            Protocol::Memcached => self.speak_memcached(token, scenario, truth, random),
        }
    }

    /// The name of its next request.
    pub(crate) fn next_token(&mut self) -> Token {
        let token = Token { client: self.number, sequence: self.sequence };
        self.sequence += 1;
        token
    }

    pub(crate) fn say(&mut self, bytes: &[u8], expected: Expected) {
        self.outgoing.extend(bytes);
        self.expected.push_back(expected);
    }
}
