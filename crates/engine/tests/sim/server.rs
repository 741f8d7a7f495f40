//! A simulated Redis server: reads strictly, answers from the keyspace, and misbehaves as the scenario wants, telling
//! the truth about what it did to the oracle.

use std::collections::{HashMap, VecDeque};

use crate::keyspace::{self, Token};
use crate::network::{Door, Network, WireId};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Deviation, Truth, is_split};
use crate::wire_format::{Parsed, parse_request, shown};

/// One server of the pool.
pub(crate) struct SimServer {
    index: u32,
    connections: Vec<Connection>,
    /// While it refuses connects: until when.
    shut_until: Option<u64>,
    /// No more faults.
    pub(crate) healed: bool,
    strays: u32,
    /// The connection each client's newest request came over, and its number.
    lanes: HashMap<u32, (WireId, u32)>,
    /// A worker was given another topology.
    knows_others: bool,
}

struct Connection {
    wire: WireId,
    input: Vec<u8>,
    /// Replies to come: when, and what. A reply is followed by the end of the connection if it says so.
    replies: VecDeque<(u64, Vec<u8>, After)>,
    sending: VecDeque<u8>,
    after: After,
    mute: Muteness,
    handshake: Handshake,
    /// The newest request of each client.
    newest: HashMap<u32, Token>,
    gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoOn,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Muteness {
    Answers,
    /// Reads and never answers.
    Silent,
    /// Does not even read.
    Deaf,
}

/// What the proxy must say before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    Auth,
    Select,
    Done,
    Refused,
}

impl SimServer {
    pub(crate) fn new(index: u32) -> SimServer {
        SimServer {
            index,
            connections: Vec::new(),
            shut_until: None,
            healed: false,
            strays: 0,
            lanes: HashMap::new(),
            knows_others: false,
        }
    }

    /// The next moment at which it has something to do by itself.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let due = self.connections.iter().filter(|c| !c.gone && c.sending.is_empty());
        let replies = due.filter_map(|connection| Some(connection.replies.front()?.0));
        replies.chain(self.shut_until).min()
    }

    pub(crate) fn is_ready(&self, network: &Network, now: u64) -> bool {
        let ready = |c: &Connection| {
            let wire = network.look(c.wire);
            let readable = c.mute != Muteness::Deaf && !wire.to_peer.is_empty();
            let writable = !c.sending.is_empty() && wire.to_engine.free() > 0;
            let closed = wire.engine_gone;
            !c.gone && (readable || writable || closed)
        };
        self.wake_at().is_some_and(|due| due <= now) || self.connections.iter().any(ready)
    }

    /// Everything goes well from now on; what would stay silent for ever breaks.
    pub(crate) fn heal(&mut self, network: &mut Network, truth: &mut Truth) {
        self.healed = true;
        self.shut_until = None;
        network.set_door(0, self.index, Door::Open(0));
        for connection in &mut self.connections {
            if !connection.gone && connection.mute != Muteness::Answers {
                truth.note_harm(self.index, crate::network::RESET);
                truth.note_harm(self.index, crate::network::BROKEN_PIPE);
                network.reset(connection.wire);
                connection.gone = true;
            }
        }
    }

    pub(crate) fn act(
        &mut self,
        scenario: &Scenario,
        network: &mut Network,
        truth: &mut Truth,
        random: &mut Random,
        now: u64,
    ) {
        self.mind_the_door(scenario, network, truth, random, now);
        while let Some(wire) = network.accept(0, self.index) {
            let mute = random.chance(if self.healed { 0 } else { scenario.faults.mutes }, 1000);
            self.connections.push(Connection::new(wire, scenario, mute, random));
        }
        for i in 0..self.connections.len() {
            if !self.connections[i].gone && random.chance(3, 4) {
                let mut at = Scene { scenario, network, truth, random, now };
                self.misbehave(i, &mut at);
                self.read(i, &mut at);
                self.connections[i].write(&mut at);
            }
        }
        self.connections.retain(|connection| !connection.gone);
    }

    fn mind_the_door(
        &mut self,
        scenario: &Scenario,
        network: &mut Network,
        truth: &mut Truth,
        random: &mut Random,
        now: u64,
    ) {
        let faults = &scenario.faults;
        if self.healed {
            return;
        }
        if self.shut_until.is_none() {
            let delay = random.within(0..=faults.connect_delay_max) as u64;
            network.set_door(0, self.index, Door::Open(delay));
            let texts = [engine::fault::CONNECTION_REFUSED, engine::fault::HOST_IS_DOWN];
            if random.chance(faults.refusals, 1000) {
                let text = random.pick(&texts);
                truth.note_harm(self.index, text);
                network.set_door(0, self.index, Door::Refuses(text));
                self.shut_until = Some(now + random.within(1..=200_000) as u64);
            } else if random.chance(faults.hangs, 1000) {
                truth.note_harm(self.index, engine::fault::TIMED_OUT);
                network.set_door(0, self.index, Door::Hangs);
                self.shut_until = Some(now + random.within(1..=200_000) as u64);
            }
        } else if self.shut_until.is_some_and(|until| until <= now) {
            self.shut_until = None;
            network.set_door(0, self.index, Door::Open(0));
        }
    }

    /// Ends a connection, or says something nobody asked for.
    fn misbehave(&mut self, i: usize, at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        let wire = at.network.look(connection.wire);
        if wire.engine_gone && (wire.to_peer.is_empty() || connection.mute != Muteness::Answers) {
            connection.gone = true;
            return;
        }
        if self.healed {
            return;
        }
        let faults = at.scenario.faults;
        if at.random.chance(faults.resets, 1000) {
            connection.hang_up(self.index, at, Network::reset);
        } else if at.random.chance(faults.closes, 1000) {
            connection.hang_up(self.index, at, Network::close);
        } else if at.random.chance(faults.strays, 1000) {
            self.strays += 1;
            let line = format!("+stray {} of {}\r\n", self.strays, self.index).into_bytes();
            at.truth.note_stray(line.clone());
            at.truth.note_harm(self.index, engine::fault::INVALID_ARGUMENT);
            connection.note_end(self.index, at);
            connection.replies.push_back((at.now, line, After::Close));
            connection.mute = Muteness::Silent;
        }
    }

    fn read(&mut self, i: usize, at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        if connection.gone || connection.mute == Muteness::Deaf {
            return;
        }
        let max = at.random.within(1..=100_000);
        let bytes = at.network.read(connection.wire, max);
        connection.input.extend(bytes);
        let mut input = std::mem::take(&mut connection.input);
        let mut taken = 0;
        while self.connections[i].mute == Muteness::Answers {
            match parse_request(&input[taken..]) {
                Ok(Parsed::Whole(arguments, len)) => {
                    taken += len;
                    self.request(i, &arguments, at);
                }
                Ok(Parsed::Partial) => break,
                Err(reason) => {
                    let sight = shown(&input[taken..]);
                    at.truth.accuse(|| format!("a server received {sight}: {reason}"));
                    break;
                }
            }
        }
        input.drain(..taken);
        self.connections[i].input = input;
        self.refuse_early(i, at);
    }

    /// Refuses a request that has not arrived whole, and closes, as Redis does with one that is too large.
    fn refuse_early(&mut self, i: usize, at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        let idle = connection.replies.is_empty()
            && connection.handshake == Handshake::Done
            && connection.mute == Muteness::Answers;
        let begun = connection.input.len() > 1;
        if self.healed || !idle || !begun || !at.random.chance(at.scenario.faults.early, 1000) {
            return;
        }
        self.strays += 1;
        let line = format!("-ERR early {} of {}\r\n", self.strays, self.index).into_bytes();
        at.truth.note_stray(line.clone());
        connection.note_end(self.index, at);
        connection.replies.push_back((at.now, line, After::Close));
        connection.mute = Muteness::Silent;
    }

    fn request(&mut self, i: usize, arguments: &[Vec<u8>], at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        if connection.handshake != Handshake::Done {
            return connection.greet(self.index, self.healed, arguments, at);
        }
        if arguments == [b"PING"] && at.scenario.probes() {
            let loads = at.scenario.faults.loading && !self.healed && at.random.chance(1, 2);
            let answer: &[u8] = if loads { b"-LOADING a while\r\n" } else { b"+PONG\r\n" };
            return connection.reply(self.index, answer.to_vec(), at);
        }
        let Some(truth) = keyspace::answer(arguments) else {
            at.truth.accuse(|| format!("a server received {}", shown(&arguments.join(&b' '))));
            return;
        };
        let stored = matches!(&arguments[0].to_ascii_lowercase()[..], b"set" | b"mset");
        let step = if stored { 2 } else { 1 };
        let keys: Vec<_> = arguments[1..].iter().step_by(step).collect();
        if let Some(token) = connection.check(self.index, &keys, at.truth) {
            self.check_lane(i, token, at);
            let reply = self.reply_to(token, arguments, truth, at);
            self.connections[i].reply(self.index, reply, at);
        } else {
            connection.reply(self.index, truth, at);
        }
    }

    /// A worker was given another topology.
    pub(crate) fn note_topology(&mut self) {
        self.knows_others = true;
    }

    /// A client uses one connection to a server for as long as that lives. With another topology it may change to another
    /// one, when all is answered that it sent before; what is answered by a timeout may arrive later.
    fn check_lane(&mut self, i: usize, token: Token, at: &mut Scene<'_>) {
        let wire = self.connections[i].wire;
        let now = (wire, token.sequence);
        let (before, newest) = self.lanes.insert(token.client, now).unwrap_or(now);
        let alive = |wire| !at.network.look(wire).engine_gone;
        let in_order = token.sequence >= newest || at.truth.may_time_out();
        let may_change = self.knows_others && in_order;
        if before != wire && !may_change && alive(before) && alive(wire) {
            at.truth.accuse(|| format!("{token:?} came over another connection than those before"));
        }
    }

    /// The true reply or another.
    fn reply_to(
        &mut self,
        token: Token,
        arguments: &[Vec<u8>],
        truth: Vec<u8>,
        at: &mut Scene<'_>,
    ) -> Vec<u8> {
        let faults = at.scenario.faults;
        let name = String::from_utf8_lossy(&arguments[0]).to_ascii_lowercase();
        let deviation = if self.healed {
            return truth;
        } else if at.random.chance(faults.errors, 1000) {
            let codes: &[&str] = match faults.loading {
                true => &["LOADING", "OOM", "ERR", "WRONGTYPE", "a", "LOADINGS"],
                false => &["BUSY", "MOVED", "ERR"],
            };
            let code = at.random.pick(codes);
            let line =
                format!("-{code} {} says {}.{}\r\n", self.index, token.client, token.sequence);
            Deviation::Error(line.into_bytes())
        } else if is_split(&name) && at.random.chance(faults.wrong_types, 1000) {
            let others: [&[u8]; 5] =
                [b"*-1\r\n", b"$-1\r\n", b"*0\r\n", b"+QUEUED\r\n", b"$2\r\nOK\r\n"];
            Deviation::WrongType(at.random.pick(&others).to_vec())
        } else {
            return truth;
        };
        at.truth.note_deviation(token, self.index, deviation.clone());
        match deviation {
            Deviation::Error(line) => line,
            Deviation::WrongType(reply) => reply,
        }
    }
}

/// What acting servers look at.
struct Scene<'s> {
    scenario: &'s Scenario,
    network: &'s mut Network,
    truth: &'s mut Truth,
    random: &'s mut Random,
    now: u64,
}

impl Connection {
    fn new(wire: WireId, scenario: &Scenario, mute: bool, random: &mut Random) -> Connection {
        let handshake = match (&scenario.pool.redis_auth, scenario.pool.redis_db) {
            (Some(_), _) => Handshake::Auth,
            (None, 0) => Handshake::Done,
            (None, _) => Handshake::Select,
        };
        let silences = [Muteness::Silent, Muteness::Deaf];
        Connection {
            wire,
            input: Vec::new(),
            replies: VecDeque::new(),
            sending: VecDeque::new(),
            after: After::GoOn,
            mute: if mute { random.pick(&silences) } else { Muteness::Answers },
            handshake,
            newest: HashMap::new(),
            gone: false,
        }
    }

    /// The connection ends: what explains the errors that follow.
    fn note_end(&self, server: u32, at: &mut Scene<'_>) {
        for text in [engine::fault::UNKNOWN, crate::network::RESET, crate::network::BROKEN_PIPE] {
            at.truth.note_harm(server, text);
        }
    }

    fn hang_up(&mut self, server: u32, at: &mut Scene<'_>, how: fn(&mut Network, WireId)) {
        self.note_end(server, at);
        how(at.network, self.wire);
        self.gone = true;
    }

    /// AUTH, then SELECT, then anything.
    fn greet(&mut self, server: u32, healed: bool, arguments: &[Vec<u8>], at: &mut Scene<'_>) {
        let pool = &at.scenario.pool;
        let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let (expected, next) = match self.handshake {
            Handshake::Auth if pool.redis_db > 0 => ("AUTH", Handshake::Select),
            Handshake::Auth => ("AUTH", Handshake::Done),
            Handshake::Refused => ("nothing", Handshake::Refused),
            _ => ("SELECT", Handshake::Done),
        };
        let argument: &[u8] = if expected == "AUTH" { b"open sesame" } else { b"7" };
        if self.handshake == Handshake::Refused && words[0] == b"SELECT" {
            return self.reply(server, b"-NOAUTH Authentication required.\r\n".to_vec(), at);
        }
        if self.handshake == Handshake::Refused && words == [b"PING"] {
            // It serves, but not the data that is wanted.
            return self.reply(server, b"+PONG\r\n".to_vec(), at);
        }
        if words != [expected.as_bytes(), argument] {
            let sight = shown(&arguments.join(&b' '));
            return at.truth.accuse(|| format!("{expected} is due and a server received {sight}"));
        }
        self.handshake = next;
        if !healed && at.random.chance(at.scenario.faults.handshakes, 1000) {
            let needless = expected == "AUTH" && at.random.chance(1, 3);
            let text = match (needless, expected) {
                (true, _) => "-ERR Client sent AUTH, but no password is set\r\n",
                (false, "AUTH") => {
                    self.handshake = Handshake::Refused;
                    at.truth.note_harm(server, engine::fault::AUTH_REFUSED);
                    "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
                }
                _ => {
                    self.handshake = Handshake::Refused;
                    at.truth.note_harm(server, engine::fault::SELECT_REFUSED);
                    "-ERR DB index is out of range\r\n"
                }
            };
            return self.reply(server, text.as_bytes().to_vec(), at);
        }
        self.reply(server, b"+OK\r\n".to_vec(), at);
    }

    /// The keys are of one request, belong here, and follow the client's earlier requests.
    fn check(&mut self, server: u32, keys: &[&Vec<u8>], truth: &mut Truth) -> Option<Token> {
        let first = keys.first()?;
        let Some((token, _)) = keyspace::token_of(first) else {
            truth.accuse(|| format!("a server received the key {}", shown(first)));
            return None;
        };
        for key in keys {
            if keyspace::token_of(key).is_none_or(|(other, _)| other != token) {
                truth.accuse(|| format!("{} is no key of {token:?}", shown(key)));
            }
        }
        if !truth.belongs(first, server) {
            truth.accuse(|| format!("{} went to server {server}", shown(first)));
        }
        if !truth.note_received(token, server) {
            truth.accuse(|| format!("{token:?} reached server {server} twice"));
        }
        if let Some(before) = self.newest.insert(token.client, token)
            && before >= token
        {
            truth.accuse(|| format!("{token:?} reached server {server} after {before:?}"));
        }
        Some(token)
    }

    fn reply(&mut self, server: u32, reply: Vec<u8>, at: &mut Scene<'_>) {
        let faults = at.scenario.faults;
        let earlier = self.replies.back().map_or(at.now, |(due, ..)| *due);
        let delay = match at.random.chance(1, 4) {
            true => at.random.within(0..=faults.reply_delay_max) as u64,
            false => 0,
        };
        let (reply, after) =
            if at.random.chance(faults.garbage, 1000) && self.handshake != Handshake::Refused {
                at.truth.note_harm(server, engine::fault::INVALID_ARGUMENT);
                self.note_end(server, at);
                self.mute = Muteness::Silent;
                let garbage: [&[u8]; 5] = [
                    b"HTTP/1.1 200 OK\r\n",
                    b"$3\r\nabcd\r\n",
                    b":1x\r\n",
                    b"\r\n",
                    b"*2\r\n:1\r\n%1\r\n",
                ];
                (at.random.pick(&garbage).to_vec(), After::Close)
            } else {
                (reply, After::GoOn)
            };
        self.replies.push_back((earlier.max(at.now + delay), reply, after));
    }

    fn write(&mut self, at: &mut Scene<'_>) {
        if self.gone {
            return;
        }
        while self.sending.is_empty() && self.after == After::GoOn {
            match self.replies.front() {
                Some((due, ..)) if *due <= at.now => {}
                _ => return,
            }
            if let Some((_, reply, after)) = self.replies.pop_front() {
                self.sending.extend(reply);
                self.after = after;
            }
            let n = at.network.send(self.wire, self.sending.make_contiguous());
            self.sending.drain(..n);
        }
        let n = at.network.send(self.wire, self.sending.make_contiguous());
        self.sending.drain(..n);
        if self.sending.is_empty() && self.after == After::Close {
            at.network.close(self.wire);
            self.gone = true;
        }
    }
}
