//! A simulated server: its connections, its replies on their way and how it misbehaves as the scenario wants, telling the
//! truth about what it did to the oracle. What it understands and answers is in `resp::service` and `memcached::service`.

use std::collections::{HashMap, VecDeque};

use engine::topology::Protocol;

use crate::network::{Door, Network, WireId};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Token, Truth, shown};

/// What is at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// The beginning of it.
    Partial,
    /// The whole of it and its length.
    Whole(T, usize),
}

/// What is no reply at all.
pub(crate) const RESP_GARBAGE: [&[u8]; 5] =
    [b"HTTP/1.1 200 OK\r\n", b"$3\r\nabcd\r\n", b":1x\r\n", b"\r\n", b"*2\r\n:1\r\n%1\r\n"];
pub(crate) const MEMCACHED_GARBAGE: [&[u8]; 5] =
    [b"+OK\r\n", b"VALUE a 0 1\r\nbcd\r\nEND\r\n", b"VA -1\r\n", b"\r\n", b"stored\r\n"];

/// One server of a pool.
pub(crate) struct SimServer {
    pool: u32,
    pub(crate) index: u32,
    pub(crate) connections: Vec<Connection>,
    /// While it refuses connects: until when.
    shut_until: Option<u64>,
    /// No more faults.
    pub(crate) healed: bool,
    pub(crate) strays: u32,
    /// memcached: it answered a request that wanted no reply, or said what may be taken for that.
    pub(crate) broke_silence: bool,
    /// The connection each client's newest request came over, and its number.
    lanes: HashMap<u32, (WireId, u32)>,
    /// A worker was given another topology.
    knows_others: bool,
}

pub(crate) struct Connection {
    pub(crate) wire: WireId,
    pub(crate) input: Vec<u8>,
    /// Replies to come: when, and what. A reply is followed by the end of the connection if it says so.
    pub(crate) replies: VecDeque<(u64, Vec<u8>, After)>,
    sending: VecDeque<u8>,
    after: After,
    pub(crate) mute: Muteness,
    pub(crate) handshake: Handshake,
    /// memcached: bytes to come of a value that was refused, line end included.
    pub(crate) swallow: usize,
    /// memcached: a request that wants no reply came after the last one that does.
    pub(crate) heard_silence: bool,
    /// The newest request of each client.
    newest: HashMap<u32, Token>,
    /// How many requests of clients arrived.
    requests: u32,
    gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    GoOn,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Muteness {
    Answers,
    /// Reads and never answers.
    Silent,
    /// Does not even read.
    Deaf,
}

/// What the proxy must say before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Auth,
    Select,
    Done,
    Refused,
}

impl SimServer {
    pub(crate) fn new(pool: u32, index: u32) -> SimServer {
        SimServer {
            pool,
            index,
            connections: Vec::new(),
            shut_until: None,
            healed: false,
            strays: 0,
            broke_silence: false,
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
        network.set_door(self.pool, self.index, Door::Open(0));
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
        while let Some(wire) = network.accept(self.pool, self.index) {
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
            network.set_door(self.pool, self.index, Door::Open(delay));
            let texts = [engine::fault::CONNECTION_REFUSED, engine::fault::HOST_IS_DOWN];
            if random.chance(faults.refusals, 1000) {
                let text = random.pick(&texts);
                truth.note_harm(self.index, text);
                network.set_door(self.pool, self.index, Door::Refuses(text));
                self.shut_until = Some(now + random.within(1..=200_000) as u64);
            } else if random.chance(faults.hangs, 1000) {
                truth.note_harm(self.index, engine::fault::TIMED_OUT);
                network.set_door(self.pool, self.index, Door::Hangs);
                self.shut_until = Some(now + random.within(1..=200_000) as u64);
            }
        } else if self.shut_until.is_some_and(|until| until <= now) {
            self.shut_until = None;
            network.set_door(self.pool, self.index, Door::Open(0));
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
            let mark = if at.protocol() == Protocol::Redis { "+" } else { "SERVER_ERROR " };
            let line = format!("{mark}stray {} of {}\r\n", self.strays, self.index).into_bytes();
            at.truth.note_stray(line.clone());
            at.truth.note_harm(self.index, engine::fault::INVALID_ARGUMENT);
            self.broke_silence = true;
            let connection = &mut self.connections[i];
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
            let step = match at.protocol() {
                Protocol::Redis => self.serve_resp(i, &input[taken..], at),
                Protocol::Memcached => self.serve_memcached(i, &input[taken..], at),
            };
            match step {
                Ok(0) => break,
                Ok(len) => taken += len,
                Err(reason) => {
                    let sight = shown(&input[taken..]);
                    at.truth.accuse(|| format!("a server received {sight}: {reason}"));
                    break;
                }
            }
        }
        input.drain(..taken);
        self.connections[i].input = input;
        if at.protocol() == Protocol::Redis {
            self.refuse_early(i, at);
        }
    }

    /// A worker was given another topology.
    pub(crate) fn note_topology(&mut self) {
        self.knows_others = true;
    }

    /// A client uses one connection to a server for as long as that lives. With another topology it may change to another
    /// one, when all is answered that it sent before; what is answered by a timeout, or never, may arrive later. So it
    /// may when its connection is busy with a long reply, and for a large request, which may have one of its own.
    pub(crate) fn check_lane(
        &mut self,
        i: usize,
        token: Token,
        (is_silent, may_be_private): (bool, bool),
        at: &mut Scene<'_>,
    ) {
        let wire = self.connections[i].wire;
        let now = (wire, token.sequence);
        let (before, newest) = self.lanes.insert(token.client, now).unwrap_or(now);
        if may_be_private && before != wire && self.connections[i].requests == 1 {
            if token.sequence < newest && !at.truth.may_time_out() {
                at.truth.accuse(|| format!("{token:?} was overtaken by {newest}"));
            }
            at.truth.note_event("an upload");
            self.lanes.insert(token.client, (before, newest.max(token.sequence)));
            return;
        }
        let alive = |wire| !at.network.look(wire).engine_gone;
        let in_order = token.sequence >= newest || is_silent || at.truth.may_time_out();
        let may_change = (self.knows_others || at.scenario.streams()) && in_order;
        if before != wire && may_change && !self.knows_others {
            at.truth.note_event("a connection left to a long reply");
        }
        if before != wire && !may_change && alive(before) && alive(wire) {
            at.truth.accuse(|| format!("{token:?} came over another connection than those before"));
        }
    }
}

/// What acting servers look at.
pub(crate) struct Scene<'s> {
    pub(crate) scenario: &'s Scenario,
    pub(crate) network: &'s mut Network,
    pub(crate) truth: &'s mut Truth,
    pub(crate) random: &'s mut Random,
    pub(crate) now: u64,
}

impl Scene<'_> {
    fn protocol(&self) -> Protocol {
        self.scenario.pool.protocol
    }
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
            swallow: 0,
            heard_silence: false,
            newest: HashMap::new(),
            requests: 0,
            gone: false,
        }
    }

    /// The connection ends: what explains the errors that follow.
    pub(crate) fn note_end(&self, server: u32, at: &mut Scene<'_>) {
        for text in [engine::fault::UNKNOWN, crate::network::RESET, crate::network::BROKEN_PIPE] {
            at.truth.note_harm(server, text);
        }
    }

    fn hang_up(&mut self, server: u32, at: &mut Scene<'_>, how: fn(&mut Network, WireId)) {
        self.note_end(server, at);
        how(at.network, self.wire);
        self.gone = true;
    }

    /// A request of `token` arrived: it belongs to nobody else, and follows the client's earlier ones.
    pub(crate) fn note(&mut self, server: u32, token: Token, truth: &mut Truth) {
        self.requests += 1;
        if !truth.note_received(token, server) {
            truth.accuse(|| format!("{token:?} reached server {server} twice"));
        }
        if let Some(before) = self.newest.insert(token.client, token)
            && before >= token
        {
            truth.accuse(|| format!("{token:?} reached server {server} after {before:?}"));
        }
    }

    /// Sends `reply` in a while, or something that is no reply.
    pub(crate) fn reply(&mut self, server: u32, reply: Vec<u8>, at: &mut Scene<'_>) {
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
                let garbage = match at.protocol() {
                    Protocol::Redis => &RESP_GARBAGE,
                    Protocol::Memcached => &MEMCACHED_GARBAGE,
                };
                (at.random.pick(garbage).to_vec(), After::Close)
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
