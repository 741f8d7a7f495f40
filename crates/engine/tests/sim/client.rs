//! A simulated client: sends requests of its own keys, pipelined, in pieces, and checks that each gets its one reply, in
//! order, and that nothing else ever comes.

use std::collections::VecDeque;

use crate::keyspace::{self, Token};
use crate::network::{Network, WireId};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Expected, Form, Truth, is_shed};
use crate::wire_format::{bulk, reply_len, request, shown};

/// How a client's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
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
    number: u32,
    pub(crate) wire: WireId,
    left: u32,
    sequence: u32,
    ending: Ending,
    /// Sent the password.
    authenticated: bool,
    outgoing: VecDeque<u8>,
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
    pub(crate) healed: bool,
}

impl SimClient {
    pub(crate) fn new(
        number: u32,
        wire: WireId,
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
            left: random.within(1..=scenario.requests as usize) as u32,
            sequence: 0,
            ending,
            authenticated: scenario.pool.redis_auth.is_none(),
            outgoing: VecDeque::new(),
            expected: VecDeque::new(),
            input: Vec::new(),
            reads_from: 0,
            finished: false,
            half_closed: false,
            gone: false,
            may_be_cut: faults.drain,
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
            self.generate(scenario, random);
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
            match reply_len(&input[at..]) {
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

    fn take(&mut self, reply: &[u8], truth: &mut Truth) {
        match self.expected.pop_front() {
            Some(expected) => {
                truth.judge(&expected, reply);
                self.may_be_cut |= is_shed(reply);
            }
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
        if self.may_be_cut && self.input.is_empty() {
            return;
        }
        if owed > 0 || !self.input.is_empty() {
            truth.accuse(|| format!("client {number} was closed with {owed} replies outstanding"));
        } else if !ends_here && !matches!(self.ending, Ending::Quits | Ending::Blunders) {
            truth.accuse(|| format!("client {number} was closed for no reason"));
        }
    }

    /// Adds the next request to what is to be sent.
    fn generate(&mut self, scenario: &Scenario, random: &mut Random) {
        if self.left == 0 {
            self.finished = true;
            self.last_words(random);
            return;
        }
        self.left -= 1;
        let token = Token { client: self.number, sequence: self.sequence };
        self.sequence += 1;
        let (bytes, form) = match random.below(8) {
            0 => self.local(token, scenario, random),
            _ if !self.authenticated && random.chance(1, 2) => self.auth(random),
            _ => self.forwarded(token, scenario, random),
        };
        let form = if self.authenticated || !matches!(form, Form::Forwarded(..)) {
            form
        } else {
            Form::Exact(b"-NOAUTH Authentication required\r\n".to_vec())
        };
        self.say(&bytes, Expected { token, form });
    }

    fn say(&mut self, bytes: &[u8], expected: Expected) {
        self.outgoing.extend(bytes);
        self.expected.push_back(expected);
    }

    /// QUIT, or something that is no request, then things that nobody answers.
    fn last_words(&mut self, random: &mut Random) {
        let (bytes, form): (Vec<u8>, _) = match self.ending {
            Ending::Quits => (request(&[b"quit"]), Form::Exact(b"+OK\r\n".to_vec())),
            Ending::Blunders => {
                let blunders: [&[u8]; 6] = [
                    b"*1\r\n+PING\r\n",
                    b"*0\r\n",
                    b"*2\r\n$3\r\nGETX\r\n",
                    b"*2\r\n$3\r\nGET\r\n$-1\r\n",
                    b"*99999999999\r\n",
                    b"get \"unbalanced\r\n",
                ];
                (random.pick(&blunders).to_vec(), Form::Prefix(b"-ERR Protocol error: "))
            }
            _ => return,
        };
        let token = Token { client: self.number, sequence: self.sequence };
        self.say(&bytes, Expected { token, form });
        if random.chance(1, 2) {
            self.outgoing.extend(request(&[b"get", b"nobody answers"]));
        }
    }

    fn auth(&mut self, random: &mut Random) -> (Vec<u8>, Form) {
        if random.chance(1, 3) {
            let bytes = request(&[b"auth", b"wrong"]);
            return (bytes, Form::Exact(b"-ERR invalid password\r\n".to_vec()));
        }
        self.authenticated = true;
        (request(&[b"AUTH", b"open sesame"]), Form::Exact(b"+OK\r\n".to_vec()))
    }

    /// A request that the proxy answers itself.
    fn local(&mut self, token: Token, scenario: &Scenario, random: &mut Random) -> (Vec<u8>, Form) {
        let word = format!("word-{}-{}", token.client, token.sequence).into_bytes();
        if !self.authenticated {
            let form = Form::Exact(b"-NOAUTH Authentication required\r\n".to_vec());
            return (request(&[b"ping"]), form);
        }
        let exact = |text: &str| Form::Exact(text.as_bytes().to_vec());
        match random.below(8) {
            0 => (request(&[b"PING"]), exact("+PONG\r\n")),
            1 => (request(&[b"ping", &word]), Form::Exact(bulk(&word))),
            2 => (request(&[b"ECHO", &word]), Form::Exact(bulk(&word))),
            3 => {
                let text = format!(
                    "-ERR unknown command 'nonsense', with args beginning with: '{}' \r\n",
                    String::from_utf8_lossy(&word)
                );
                (request(&[b"nonsense", &word]), exact(&text))
            }
            4 => {
                let text = "-ERR wrong number of arguments for 'mset' command\r\n";
                (request(&[b"mset", &word, &word, &word]), exact(text))
            }
            5 => (request(&[b"time"]), Form::Prefix(b"*2\r\n$10\r\n17")),
            6 if self.sequence > 1 => {
                let line = format!("\r\nping {}\r\n", String::from_utf8_lossy(&word));
                (line.into_bytes(), Form::Exact(bulk(&word)))
            }
            _ => {
                let own = scenario.pool.redis_db.to_string();
                (request(&[b"select", own.as_bytes()]), exact("+OK\r\n"))
            }
        }
    }

    /// A request that servers answer.
    fn forwarded(
        &mut self,
        token: Token,
        scenario: &Scenario,
        random: &mut Random,
    ) -> (Vec<u8>, Form) {
        let singles = ["get", "get", "set", "set", "incr", "hgetall", "lolwut"];
        let splits = ["mget", "mget", "mset", "del", "unlink", "touch", "exists"];
        let (name, keys) = match random.below(10) {
            0..=4 => {
                let name = random.pick(&singles);
                (name, usize::from(name != "lolwut"))
            }
            5 => ("sinter", 2),
            _ => (random.pick(&splits), random.within(1..=scenario.keys_max)),
        };
        let size = |random: &mut Random| match random.chance(1, 6) {
            true => random.within(0..=scenario.value_max),
            false => random.within(0..=scenario.value_max.min(60)),
        };
        let mut keys: Vec<_> =
            (0..keys).map(|index| keyspace::key(token, index, size(random))).collect();
        if keys.len() > 2 && random.chance(1, 4) {
            // The same key twice.
            keys[2] = keys[0].clone();
        }
        let mut bytes = keyspace::command(name, &keys);
        if random.chance(1, 4) {
            let upper = bytes.iter().position(u8::is_ascii_alphabetic).unwrap_or(0);
            bytes[upper].make_ascii_uppercase();
        }
        (bytes, Form::Forwarded(name, keys))
    }
}
