//! What really happened, as the simulated servers know it, and the judgement of replies by it.

use std::collections::{BTreeMap, HashMap, HashSet};

use engine::topology::CrossShard;
use sharding::{Distribution, Sharder};

use crate::keyspace::{self, Token};
use crate::scenario::Scenario;
use crate::wire_format::shown;

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
    /// Made by servers: the command's name and its keys.
    Forwarded(&'static str, Vec<Vec<u8>>),
}

/// The knowledge of all peers.
pub(crate) struct Truth {
    deviations: HashMap<Token, Vec<(u32, Deviation)>>,
    /// For each server the error texts that its behaviour so far explains.
    harm: Vec<HashSet<&'static str>>,
    /// Which request reached which server.
    received: HashSet<(Token, u32)>,
    /// Replies that were sent unasked; each may reach one client at most.
    strays: HashSet<Vec<u8>>,
    sharder: Sharder,
    scenario: Scenario,
    /// What was wrong, first of all.
    pub(crate) violation: Option<String>,
    pub(crate) tally: Tally,
}

/// How many replies of each kind were judged right.
pub(crate) type Tally = BTreeMap<String, u64>;

const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same shard\r\n";
const MEMORY: &[u8] = b"-ERR max_memory of the proxy is reached";

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

    /// The shard of `key`, while none is ejected.
    pub(crate) fn shard(&self, key: &[u8]) -> u32 {
        self.sharder.shard(key, || 0) as u32
    }

    /// Whether `server` may receive a command over `key`.
    pub(crate) fn belongs(&self, key: &[u8], server: u32) -> bool {
        !self.scenario.is_placement_fixed() || self.shard(key) == server
    }

    /// Judges the reply to a request.
    pub(crate) fn judge(&mut self, expected: &Expected, reply: &[u8]) {
        let token = expected.token;
        match self.verdict(expected, reply) {
            Ok(kind) => *self.tally.entry(kind).or_default() += 1,
            Err(reason) => self.accuse(|| {
                let form = match &expected.form {
                    Form::Exact(bytes) => shown(bytes),
                    Form::Prefix(bytes) => shown(bytes),
                    Form::Forwarded(name, keys) => format!("{name} of {} keys", keys.len()),
                };
                format!("{token:?} ({form}) got {}: {reason}", shown(reply))
            }),
        }
    }

    /// The kind of a right reply, or what is wrong.
    fn verdict(&mut self, expected: &Expected, reply: &[u8]) -> Result<String, String> {
        let own = |wanted: bool| wanted.then(|| "local".to_owned()).ok_or("not that".to_owned());
        let shed = self.scenario.limits.worker_memory_bytes_max > 0;
        match &expected.form {
            _ if shed && is_shed(reply) => Ok("shed".into()),
            Form::Exact(bytes) => own(bytes == reply),
            Form::Prefix(bytes) => own(reply.starts_with(bytes)),
            Form::Forwarded(name, keys) => self.forwarded(expected.token, name, keys, reply),
        }
    }

    fn forwarded(
        &mut self,
        token: Token,
        name: &str,
        keys: &[Vec<u8>],
        reply: &[u8],
    ) -> Result<String, String> {
        if name == "sinter" && self.is_refused_for_shards(keys, reply)? {
            return Ok("cross shard".into());
        }
        let deviations = self.deviations.get(&token).map_or(&[][..], Vec::as_slice);
        let truth = keyspace::answer(&keyspace::arguments(name, keys)).ok_or("no such command")?;
        if reply == truth {
            let none = deviations.is_empty();
            return none.then(|| name.into()).ok_or(format!("but servers said {deviations:?}"));
        }
        if self.scenario.misses() && self.is_miss(name, keys, reply) {
            return Ok("miss".into());
        }
        if self.is_deviation(name, keys, reply, deviations) {
            return Ok("deviation".into());
        }
        let hidden = deviations.iter().any(|(_, d)| matches!(d, Deviation::Error(_)));
        let wrong_type = deviations.iter().any(|(_, d)| matches!(d, Deviation::WrongType(_)));
        if self.strays.remove(reply) {
            return Ok("stray".into());
        }
        let text = reply.strip_prefix(b"-ERR ").and_then(|rest| rest.strip_suffix(b"\r\n"));
        let text = text.map(String::from_utf8_lossy).ok_or("neither true nor an error")?;
        if hidden && !self.scenario.faults.breaks_links() && !self.may_time_out() {
            return Err(format!("but a server said an error of its own for {token:?}"));
        }
        let part_failed = wrong_type && text == engine::fault::INVALID_ARGUMENT && keys.len() > 1;
        let explained = self.servers_of(keys).any(|server| self.harm[server].contains(&*text));
        // With every server ejected.
        let refused = self.scenario.pool.ejection.is_some()
            && text == engine::fault::CONNECTION_REFUSED
            && (self.harm.iter().any(|texts| !texts.is_empty()) || self.scenario.faults.loading);
        let right = part_failed || explained || refused;
        right.then(|| text.into_owned()).ok_or("nothing explains this error".into())
    }

    /// Whether a command over several keys was refused because they live on several shards, and rightly.
    fn is_refused_for_shards(&self, keys: &[Vec<u8>], reply: &[u8]) -> Result<bool, String> {
        let pool = &self.scenario.pool;
        let hashed = pool.servers.len() > 1 && pool.distribution != Distribution::Random;
        let crosses = keys.iter().any(|key| self.shard(key) != self.shard(&keys[0]));
        let must = hashed && crosses && pool.cross_shard == CrossShard::Error;
        let may = hashed && pool.cross_shard == CrossShard::Error && self.scenario.rehashes();
        let refused = reply == CROSS_SLOT;
        if may || must == refused {
            return Ok(refused);
        }
        Err("wrongly judged to cross shards or not to".into())
    }

    /// Whether `reply` is what is answered while some servers are taken to hold nothing.
    fn is_miss(&self, name: &str, keys: &[Vec<u8>], reply: &[u8]) -> bool {
        let servers = self.harm.len();
        let by_key = self.scenario.pool.distribution != Distribution::Random;
        (1..1_usize << servers).any(|missed: usize| {
            let is_missed = |key: &Vec<u8>| missed & (1 << self.shard(key)) != 0;
            match name {
                "get" => reply == b"$-1\r\n",
                "hgetall" | "sinter" => reply == b"*0\r\n",
                "mget" | "exists" | "touch" if by_key => {
                    reply == keyspace::answer_without(name, keys, is_missed)
                }
                // Any key may have gone to any server.
                "mget" => reply.starts_with(format!("*{}\r\n", keys.len()).as_bytes()),
                "exists" | "touch" => reply.starts_with(b":"),
                _ => false,
            }
        })
    }

    /// Whether a request may be answered before its server has seen it.
    pub(crate) fn may_time_out(&self) -> bool {
        self.harm.iter().any(|texts| texts.contains(engine::fault::TIMED_OUT))
    }

    /// Whether `reply` is what servers said instead of the truth and what the client must get for it.
    fn is_deviation(
        &self,
        name: &str,
        keys: &[Vec<u8>],
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
        if self.scenario.faults.breaks_links() || self.may_time_out() {
            if errors.iter().any(|(_, line)| *line == reply) {
                return true;
            }
        } else if let Some((_, first)) = errors.first() {
            return *first == reply;
        }
        // What is forwarded whole is passed on whatever it is.
        let whole = !is_split(name) || keys.len() < 2;
        let as_is = |deviation: &Deviation| *deviation == Deviation::WrongType(reply.to_vec());
        whole && deviations.iter().any(|(_, deviation)| as_is(deviation))
    }

    /// The servers that may have been asked for `keys`.
    fn servers_of<'t>(&'t self, keys: &'t [Vec<u8>]) -> impl Iterator<Item = usize> + 't {
        let fixed = self.scenario.is_placement_fixed() && !keys.is_empty();
        let all = if fixed { 0 } else { self.harm.len() };
        let of_keys = keys.iter().filter(move |_| fixed).map(|key| self.shard(key) as usize);
        (0..all).chain(of_keys)
    }
}

/// Whether a reply says that the proxy wants memory.
pub(crate) fn is_shed(reply: &[u8]) -> bool {
    reply.starts_with(MEMORY)
}

/// Whether a command of several keys is split over shards.
pub(crate) fn is_split(name: &str) -> bool {
    matches!(name, "mget" | "mset" | "del" | "unlink" | "touch" | "exists")
}
