//! What really happened, as the simulated servers know it, and the judgement of replies by it. What a right reply is
//! follows from the protocol and is told in `resp::verdict` and `memcached::verdict`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use engine::topology::Protocol;
use sharding::Sharder;

use crate::memcached::{self, Ask};
use crate::resp;
use crate::scenario::Scenario;
use crate::server::{MEMCACHED_GARBAGE, RESP_GARBAGE};

/// Names one request of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) client: u32,
    pub(crate) sequence: u32,
}

/// What a server answered instead of the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deviation {
    /// Its own error line.
    Error(Vec<u8>),
    /// A whole reply of a type that a part must not have.
    WrongType(Vec<u8>),
}

/// What a client is to get for one request.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) token: Token,
    pub(crate) form: Form,
}

/// The shape of an expected reply.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Made by the proxy.
    Exact(Vec<u8>),
    /// Made by the proxy, beginning like this.
    Prefix(&'static [u8]),
    /// Made by the proxy, beginning like this, unless a server failed before the proxy saw what is wrong.
    Blunder(&'static [u8]),
    /// Made by Redis servers: the command's name and its keys.
    Resp(&'static str, Vec<Vec<u8>>),
    /// Made by memcached servers.
    Memcached(Rc<Ask>),
    /// Replies to some of these, in order, and the one to `mn`.
    Batch(Vec<Rc<Ask>>),
}

impl Form {
    /// The same for people.
    fn shown(&self) -> String {
        match self {
            Form::Exact(bytes) => shown(bytes),
            Form::Prefix(bytes) | Form::Blunder(bytes) => shown(bytes),
            Form::Resp(name, keys) => format!("{name} of {} keys", keys.len()),
            Form::Memcached(ask) => shown(&ask.bytes),
            Form::Batch(asks) => {
                shown(&asks.iter().map(|ask| &ask.bytes[..]).collect::<Vec<_>>().concat())
            }
        }
    }
}

/// The knowledge of all peers of one pool.
pub(crate) struct Truth {
    deviations: HashMap<Token, Vec<(u32, Deviation)>>,
    /// For each server the error texts that its behaviour so far explains.
    pub(crate) harm: Vec<HashSet<&'static str>>,
    /// Which request reached which server.
    received: HashSet<(Token, u32)>,
    /// Replies that were sent unasked; each may reach one client at most.
    pub(crate) strays: HashSet<Vec<u8>>,
    /// memcached requests, and by which word a server knows them: a key, or the delay of a flush.
    asks: HashMap<Vec<u8>, Rc<Ask>>,
    sharder: Sharder,
    pub(crate) scenario: Scenario,
    /// What was wrong, first of all.
    pub(crate) violation: Option<String>,
    pub(crate) tally: Tally,
}

/// How many replies of each kind were judged right.
pub(crate) type Tally = BTreeMap<String, u64>;

const MEMORY: [&[u8]; 2] = [
    b"-ERR max_memory of the proxy is reached",
    b"SERVER_ERROR max_memory of the proxy is reached",
];

impl Truth {
    pub(crate) fn new(scenario: &Scenario) -> Truth {
        let mut harm = vec![HashSet::new(); scenario.pool.servers.len()];
        let faults = &scenario.faults;
        let slow = faults.mutes + faults.hangs > 0
            || faults.reply_delay_max > 0
            || faults.connect_delay_max > 0
            // The network itself is slow at times.
            || scenario.pool.timeout.is_some_and(|timeout| timeout.as_secs() < 1);
        if slow && scenario.pool.timeout.is_some() || scenario.may_cut() {
            for texts in &mut harm {
                texts.insert(engine::fault::TIMED_OUT);
            }
        }
        Truth {
            deviations: HashMap::new(),
            harm,
            received: HashSet::new(),
            strays: HashSet::new(),
            asks: HashMap::new(),
            sharder: scenario.sharder(),
            scenario: scenario.clone(),
            violation: None,
            tally: Tally::new(),
        }
    }

    /// Notes the first violation.
    pub(crate) fn accuse(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// Server `server` behaves in a way that explains errors with `text`.
    pub(crate) fn note_harm(&mut self, server: u32, text: &'static str) {
        self.harm[server as usize].insert(text);
    }

    pub(crate) fn note_deviation(&mut self, token: Token, server: u32, deviation: Deviation) {
        self.deviations.entry(token).or_default().push((server, deviation));
    }

    /// A request, or its part, arrived; returns whether it is the first time.
    pub(crate) fn note_received(&mut self, token: Token, server: u32) -> bool {
        self.received.insert((token, server))
    }

    pub(crate) fn note_stray(&mut self, reply: Vec<u8>) {
        self.strays.insert(reply);
    }

    /// Something happened that runs should not lack.
    pub(crate) fn note_event(&mut self, what: &str) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    /// A client sends a memcached request.
    pub(crate) fn note_ask(&mut self, ask: &Rc<Ask>) {
        for name in ask.names() {
            self.asks.insert(name.to_vec(), Rc::clone(ask));
        }
    }

    /// The memcached request that a server knows by `name`.
    pub(crate) fn ask_named(&self, name: &[u8]) -> Option<Rc<Ask>> {
        self.asks.get(name).map(Rc::clone)
    }

    /// Whether everything that must reach a server without a word did so.
    pub(crate) fn check_silences(&mut self) -> Result<(), String> {
        if !self.scenario.loses_nothing() || self.harm.iter().any(|texts| !texts.is_empty()) {
            return Ok(());
        }
        let arrived = |ask: &Ask| {
            (0..self.harm.len()).any(|s| self.received.contains(&(ask.token, s as u32)))
        };
        match self.asks.values().find(|ask| ask.is_silent() && !arrived(ask)) {
            Some(lost) => Err(format!("{} reached no server", shown(&lost.bytes))),
            None => {
                if self.asks.values().any(|ask| ask.is_silent()) {
                    self.note_event("a run whose silent requests all arrived");
                }
                Ok(())
            }
        }
    }

    /// The shard of `key`, while none is ejected.
    pub(crate) fn shard(&self, key: &[u8]) -> u32 {
        self.sharder.shard(key, || 0) as u32
    }

    /// Whether `server` may receive a command over `key`.
    pub(crate) fn belongs(&self, key: &[u8], server: u32) -> bool {
        !self.scenario.is_placement_fixed() || self.shard(key) == server
    }

    /// What servers answered to a request instead of the truth.
    pub(crate) fn deviations(&self, token: Token) -> &[(u32, Deviation)] {
        self.deviations.get(&token).map_or(&[], Vec::as_slice)
    }

    /// Judges the reply to a request.
    pub(crate) fn judge(&mut self, expected: &Expected, reply: &[u8]) {
        let outcome = match &expected.form {
            Form::Batch(asks) => self.batch(asks, reply),
            form => {
                self.verdict(expected.token, form, reply).map(|kind| vec![(kind, reply.to_vec())])
            }
        };
        match outcome {
            Ok(kinds) => kinds.into_iter().for_each(|(kind, reply)| {
                self.note_event(&kind);
                if !self.may_share_reply(&expected.form) {
                    self.strays.remove(&reply);
                }
            }),
            Err(reason) => self.accuse(|| {
                let form = expected.form.shown();
                format!("{:?} ({form}) got {}: {reason}", expected.token, shown(reply))
            }),
        }
    }

    /// Whether what one server said once, and not as a value, may be the reply to others, too.
    fn may_share_reply(&self, form: &Form) -> bool {
        let is_joined = match form {
            Form::Memcached(ask) => ask.is_plain_get(),
            Form::Batch(asks) => asks.iter().any(|ask| ask.is_plain_get()),
            _ => false,
        };
        is_joined && self.scenario.pool.joins_gets
    }

    /// The kind of a right reply, or what is wrong.
    fn verdict(&self, token: Token, form: &Form, reply: &[u8]) -> Result<String, String> {
        let own = |wanted: bool| wanted.then(|| "local".to_owned()).ok_or("not that".to_owned());
        match form {
            _ if self.may_shed() && is_shed(reply) => Ok("shed".into()),
            Form::Exact(bytes) => own(bytes == reply),
            Form::Prefix(bytes) => own(reply.starts_with(bytes)),
            Form::Blunder(bytes) => own(reply.starts_with(bytes) || self.is_fault(reply)),
            Form::Resp(name, keys) => self.resp(token, name, keys, reply),
            Form::Memcached(ask) => self.memcached(ask, reply),
            Form::Batch(_) => Err("a batch has more than one reply".into()),
        }
    }

    /// Whether a server may have failed, or refused, a request that flowed to it.
    fn is_fault(&self, reply: &[u8]) -> bool {
        let text = own_words(self.scenario.pool.protocol, reply);
        let is_explained = text.is_some_and(|text| self.is_explained(&text, &[]));
        self.scenario.limits.upload_bytes_min < 100 && (is_explained || self.strays.contains(reply))
    }

    /// Whether a connection may end behind `begun`, the beginning of a reply of this form: it flowed while it arrived, and
    /// its server failed, or its client took too little of it.
    pub(crate) fn may_end_within(&self, form: &Form, begun: &[u8]) -> bool {
        let keys: &[Vec<u8>] = match form {
            Form::Resp(_, keys) => keys,
            Form::Memcached(ask) => &ask.keys,
            Form::Batch(_) => &[],
            Form::Exact(_) | Form::Prefix(_) | Form::Blunder(_) => return false,
        };
        let has_failed = self.servers_of(keys).any(|server| !self.harm[server].is_empty());
        let is_explained = has_failed && !begun.is_empty() || self.may_shed();
        let last = match form {
            Form::Batch(_) => memcached::wire_format::behind_replies(begun),
            _ => begun,
        };
        let begins = |reply: &[u8]| reply.len() > last.len() && reply.starts_with(last);
        let is_garbage = self.scenario.faults.garbage > 0
            && RESP_GARBAGE.iter().chain(&MEMCACHED_GARBAGE).any(|reply| begins(reply));
        let is_begun = match form {
            Form::Resp(name, keys) => {
                let truth = resp::keyspace::answer(&resp::keyspace::arguments(name, keys));
                truth.is_some_and(|truth| begins(&truth))
            }
            Form::Memcached(ask) => self.begins_answer(ask, last),
            Form::Batch(asks) => asks.iter().any(|ask| self.begins_answer(ask, last)),
            Form::Exact(_) | Form::Prefix(_) | Form::Blunder(_) => false,
        };
        self.scenario.streams() && is_explained && (is_begun || is_garbage)
    }

    /// Whether an answer of a server to `ask` may begin so.
    fn begins_answer(&self, ask: &Ask, begun: &[u8]) -> bool {
        let begins = |reply: &[u8]| reply.len() > begun.len() && reply.starts_with(begun);
        let deviates = self.deviations(ask.token).iter().any(|(_, deviation)| match deviation {
            Deviation::Error(reply) | Deviation::WrongType(reply) => begins(reply),
        });
        deviates || memcached::keyspace::answer(&ask.request).is_some_and(|truth| begins(&truth))
    }

    pub(crate) fn may_shed(&self) -> bool {
        self.scenario.limits.worker_memory_bytes_max > 0
    }

    /// Whether a request over `keys` may have failed with `text`.
    pub(crate) fn is_explained(&self, text: &str, keys: &[Vec<u8>]) -> bool {
        // With every server ejected.
        let refused = self.scenario.pool.ejection.is_some()
            && text == engine::fault::CONNECTION_REFUSED
            && (self.harm.iter().any(|texts| !texts.is_empty()) || self.scenario.faults.loading);
        refused || self.servers_of(keys).any(|server| self.harm[server].contains(text))
    }

    /// Whether a request may be answered before its server has seen it.
    pub(crate) fn may_time_out(&self) -> bool {
        self.harm.iter().any(|texts| texts.contains(engine::fault::TIMED_OUT))
    }

    /// Whether the error line of a server must reach the client that asked.
    pub(crate) fn are_errors_certain(&self) -> bool {
        let is_broken = |texts: &HashSet<_>| texts.contains(engine::fault::INVALID_ARGUMENT);
        !self.scenario.faults.breaks_links()
            && !self.may_time_out()
            && !self.harm.iter().any(is_broken)
    }

    /// Whether `reply` is what servers said instead of the truth and what the client must get for it. `is_whole` if one
    /// server was asked all of it.
    pub(crate) fn is_deviation(
        &self,
        is_whole: bool,
        reply: &[u8],
        deviations: &[(u32, Deviation)],
    ) -> bool {
        let mut errors: Vec<_> = deviations
            .iter()
            .filter_map(|(server, deviation)| match deviation {
                Deviation::Error(line) => Some((*server, line)),
                Deviation::WrongType(_) => None,
            })
            .collect();
        errors.sort_unstable();
        if !self.are_errors_certain() {
            if errors.iter().any(|(_, line)| *line == reply) {
                return true;
            }
        } else if let Some((_, first)) = errors.first() {
            return *first == reply;
        }
        // What is forwarded whole is passed on whatever it is.
        let as_is = |deviation: &Deviation| *deviation == Deviation::WrongType(reply.to_vec());
        is_whole && deviations.iter().any(|(_, deviation)| as_is(deviation))
    }

    /// The servers that may have been asked for `keys`.
    fn servers_of<'t>(&'t self, keys: &'t [Vec<u8>]) -> impl Iterator<Item = usize> + 't {
        let fixed = self.scenario.is_placement_fixed() && !keys.is_empty();
        let all = if fixed { 0 } else { self.harm.len() };
        let of_keys = keys.iter().filter(move |_| fixed).map(|key| self.shard(key) as usize);
        (0..all).chain(of_keys)
    }
}

/// The error text of the proxy in `reply`.
pub(crate) fn own_words(protocol: Protocol, reply: &[u8]) -> Option<String> {
    let prefix: &[u8] = match protocol {
        Protocol::Redis => b"-ERR ",
        Protocol::Memcached => b"SERVER_ERROR ",
    };
    let text = reply.strip_prefix(prefix)?.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Whether a reply says that the proxy wants memory.
pub(crate) fn is_shed(reply: &[u8]) -> bool {
    MEMORY.iter().any(|words| reply.starts_with(words))
}

/// Bytes for people, cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(160)];
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    format!("\"{}\"{more} ({} bytes)", cut.escape_ascii(), bytes.len())
}
