//! From a scanned request to the server connections that carry it.
//!
//! Command row (arity, policy) → key → hash tag, hash, distribution → shard → connection. What cannot be forwarded is
//! answered here, in its place in the client's pipeline.

use proto::resp::command::{self, Command, Policy};
use proto::resp::encode;
use proto::{Span, argument};

use crate::actions::Event;
use crate::fragment::{Kind, Part, Split};
use crate::link::Asked;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::reply::{self, fault};
use crate::topology::{CrossShard, OnEject, Protocol};
use crate::{Engine, Now};

impl Engine {
    /// Serves one request of client `c`: forwards it, splits it or answers it.
    pub(crate) fn route(&mut self, c: u32, request: Message<'_>, args: &[Span], now: Now) {
        let command = match command::resolve(request.bytes(), args) {
            Ok(command) => command,
            Err(rejection) => return self.reject(c, rejection, request, args),
        };
        if let Some(key) = command.sole_key().and_then(|key| args.get(key))
            && let Some(l) = self.usual_link(c, key.of(request.bytes()), request.bytes().len(), now)
        {
            return self.forward_over(l, c, request, now);
        }
        self.route_unusual(c, command, request, args, now);
    }

    /// The connection of client `c` to the server of `key`, the one of a request of `bytes` bytes, if there is one and
    /// nothing about the worker, the pool or the server has to be looked at before it gets a request.
    ///
    /// PERF: nearly every request; each thing is looked up once.
    #[inline]
    fn usual_link(&mut self, c: u32, key: &[u8], bytes: usize, now: Now) -> Option<u32> {
        let client = &self.clients[c as usize];
        let state = &self.pools[client.pool as usize];
        if !client.is_authenticated(&state.pool)
            || self.lacks_memory_for_request(client, bytes)
            || !state.is_settled(now)
        {
            return None;
        }
        let shard = state.sharder.shard(key, || self.random.next());
        state.servers[shard].usual_link(client.affinity)
    }

    /// As [`Engine::route`], for what it did not forward at once.
    fn route_unusual(
        &mut self,
        c: u32,
        command: &'static Command,
        request: Message<'_>,
        args: &[Span],
        now: Now,
    ) {
        if !self.is_allowed(c, command) {
            request.discard(&mut self.buffers);
            return self.answer(c, reply::NO_AUTH);
        }
        match command.policy_for(request.bytes(), args) {
            Policy::Local(local) => {
                self.answer_locally(c, local, command, request.bytes(), args, now);
                request.discard(&mut self.buffers);
            }
            Policy::Unsupported(_) => {
                self.note_unsupported(c, argument(request.bytes(), args, 0));
                request.discard(&mut self.buffers);
                self.answer_with(c, |out| reply::unsupported(command.name, out));
            }
            policy => self.send(c, command, policy, request, args, now),
        }
    }

    /// A request that no command row accepts.
    fn reject(
        &mut self,
        c: u32,
        rejection: command::Rejection,
        request: Message<'_>,
        args: &[Span],
    ) {
        if !matches!(rejection, command::Rejection::WrongArity(_)) {
            self.note_unsupported(c, argument(request.bytes(), args, 0));
        }
        self.answer_with(c, |out| rejection.write_reply(request.bytes(), args, out));
        request.discard(&mut self.buffers);
    }

    /// Answers with what `write` appends to an empty buffer.
    pub(crate) fn answer_with(&mut self, c: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = std::mem::take(&mut self.scratch.reply);
        out.clear();
        write(&mut out);
        self.answer(c, &out);
        self.scratch.reply = out;
    }

    /// Whether the pool's password, if it has one, was presented or is not needed for this command.
    fn is_allowed(&self, c: u32, command: &Command) -> bool {
        use command::Local;
        let client = &self.clients[c as usize];
        client.is_authenticated(&self.pools[client.pool as usize].pool)
            || matches!(
                command.policy,
                Policy::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset)
            )
    }

    /// Sends a request to the shards of its keys.
    fn send(
        &mut self,
        c: u32,
        command: &'static Command,
        policy: Policy,
        request: Message<'_>,
        args: &[Span],
        now: Now,
    ) {
        let client = &self.clients[c as usize];
        let pool = client.pool;
        if self.lacks_memory_for_request(client, request.bytes().len()) {
            self.counts.shed.add(1);
            request.discard(&mut self.buffers);
            self.answer(c, reply::request_shed(Protocol::Redis));
            return self.hold_refused(c);
        }
        if !self.is_any_server_live(pool, now) {
            return self.refuse_request(c, pool, fault::CONNECTION_REFUSED, request);
        }
        match policy {
            Policy::Split(kind) if args.len() > 2 + kind.values_per_key() => {
                self.split(c, kind, request, args, now);
            }
            Policy::Keyless => {
                let shard = self.keyless_shard(pool);
                self.forward(c, shard, request, now);
            }
            _ => self.send_whole(c, command, request, args, now),
        }
    }

    /// Sends a request to the shard of its first key, checked against its other keys.
    fn send_whole(
        &mut self,
        c: u32,
        command: &'static Command,
        request: Message<'_>,
        args: &[Span],
        now: Now,
    ) {
        let pool = self.clients[c as usize].pool;
        let Some(first) = command.first_key(request.bytes(), args) else {
            let shard = self.keyless_shard(pool);
            return self.forward(c, shard, request, now);
        };
        let shard = self.shard_of(pool, request.bytes(), args, first);
        if !command.is_single_key() && !self.keys_agree(c, command, &request, args, shard) {
            request.discard(&mut self.buffers);
            return;
        }
        if self.is_missed(pool, shard, now) && self.answer_miss(c, command, &request, args) {
            return request.discard(&mut self.buffers);
        }
        self.forward(c, shard, request, now);
    }

    fn shard_of(&mut self, pool: u32, request: &[u8], args: &[Span], key: usize) -> u32 {
        let key = argument(request, args, key);
        self.pools[pool as usize].sharder.shard(key, || self.random.next()) as u32
    }

    /// The shard of a command without keys.
    pub(crate) fn keyless_shard(&mut self, pool: u32) -> u32 {
        self.pools[pool as usize].sharder.keyless_shard(|| self.random.next()) as u32
    }

    /// Whether a command of several keys may go to `shard`; answers the client when it may not.
    fn keys_agree(
        &mut self,
        c: u32,
        command: &'static Command,
        request: &Message<'_>,
        args: &[Span],
        shard: u32,
    ) -> bool {
        let pool = self.clients[c as usize].pool;
        let state = &self.pools[pool as usize];
        let tolerant = command.known_to_0_5 && state.pool.cross_shard == CrossShard::FirstKey;
        let mut keys = std::mem::take(&mut self.scratch.keys);
        keys.clear();
        let found = command.keys(request.bytes(), args, &mut keys);
        let sharder = &state.sharder;
        let elsewhere = |key: &u32| {
            let key = argument(request.bytes(), args, *key as usize);
            sharder.shard(key, || 0) as u32 != shard
        };
        let crosses = state.is_hashed() && keys.iter().any(elsewhere);
        self.scratch.keys = keys;
        match found {
            Err(rejection) if !tolerant => {
                self.answer_with(c, |out| rejection.write_reply(out));
                false
            }
            _ if crosses && !tolerant => {
                self.answer(c, reply::CROSS_SLOT);
                false
            }
            _ => {
                if crosses {
                    self.note_cross_shard(pool, command);
                }
                true
            }
        }
    }

    fn note_cross_shard(&mut self, pool: u32, command: &'static Command) {
        let state = &mut self.pools[pool as usize];
        state.counts.cross_shard.add(1);
        if !state.cross_shard_told.contains(&command.name) {
            state.cross_shard_told.push(command.name);
            self.events.push(Event::CrossShard { pool, command: command.name });
        }
    }

    /// Sends a whole request to one shard.
    fn forward(&mut self, c: u32, shard: u32, request: Message<'_>, now: Now) {
        let pool = self.clients[c as usize].pool;
        match self.link_for(pool, shard, c, now) {
            Err(text) => self.refuse_request(c, pool, text, request),
            Ok(l) => self.forward_over(l, c, request, now),
        }
    }

    /// Sends a whole request of `c` over server connection `l`.
    #[inline]
    fn forward_over(&mut self, l: u32, c: u32, request: Message<'_>, now: Now) {
        let r = self.await_reply(c);
        self.send_over(l, r, request, now);
    }

    /// Whether reads of keys on `shard` are answered as if the keys did not exist.
    pub(crate) fn is_missed(&self, pool: u32, shard: u32, now: Now) -> bool {
        let ejection = self.pools[pool as usize].pool.ejection;
        ejection.is_some_and(|ejection| ejection.on_eject == OnEject::Miss)
            && self.is_left_alone(pool, shard, now)
    }

    /// Answers a read as if its keys did not exist; returns whether it was one.
    fn answer_miss(
        &mut self,
        c: u32,
        command: &'static Command,
        request: &Message<'_>,
        args: &[Span],
    ) -> bool {
        let mut out = std::mem::take(&mut self.scratch.reply);
        out.clear();
        let is_read = command.write_miss(request.bytes(), args, &mut out);
        if is_read {
            let pool = self.clients[c as usize].pool;
            self.pools[pool as usize].counts.missed.add(1);
            self.answer(c, &out);
        }
        self.scratch.reply = out;
        is_read
    }

    /// Answers a request that cannot be sent.
    pub(crate) fn refuse_request(
        &mut self,
        c: u32,
        pool: u32,
        text: &'static str,
        request: Message<'_>,
    ) {
        request.discard(&mut self.buffers);
        let state = &self.pools[pool as usize];
        let protocol = state.pool.protocol;
        state.counts.forward_error.add(1);
        self.answer_with(c, |out| reply::fault_line(protocol, text, out));
    }

    /// Groups the keys by shard and sends one fragment to each.
    // PERF: not inside of the way of commands of one key, which it would make dearer.
    #[inline(never)]
    fn split(
        &mut self,
        c: u32,
        kind: command::Split,
        request: Message<'_>,
        args: &[Span],
        now: Now,
    ) {
        let mut split = self.spare_split(Kind::Resp(kind));
        let keys = bulks(args, 1 + kind.values_per_key());
        self.group_keys(c, &mut split, request.bytes(), keys.clone());
        let (s, r) = self.begin_split(c, split);
        self.link_parts(c, s, now);
        let head = |part: &Part, out: &mut Vec<u8>| {
            encode::array_header(out, 1 + part.keys as usize * (1 + kind.values_per_key()));
            out.extend_from_slice(kind.bulk());
        };
        let bulks = keys.map(|(_, bulks)| bulks);
        let (links, buffers) = (&mut self.links, &mut self.buffers);
        self.splits[s as usize].write(request.bytes(), bulks, head, b"", links, buffers);
        request.discard(&mut self.buffers);
        self.owe_fragments(c, s, r, Asked::RESP, now);
    }

    /// A split without parts.
    pub(crate) fn spare_split(&mut self, kind: Kind) -> Split {
        let mut split = self.spare_splits.pop().unwrap_or_else(|| Split::new(kind));
        split.reuse(kind);
        split
    }

    /// Gives a split whose parts are known its place in the pipeline of `c`; returns its index and that of the request.
    pub(crate) fn begin_split(&mut self, c: u32, mut split: Split) -> (u32, u32) {
        split.open_all();
        let s = self.splits.insert(split) as u32;
        (s, self.await_split(c, s))
    }

    /// Finds the part of every key of `request`. With each comes the piece of the request that its fragment gets for it.
    pub(crate) fn group_keys(
        &mut self,
        c: u32,
        split: &mut Split,
        request: &[u8],
        keys: impl Iterator<Item = (Span, Span)>,
    ) {
        let state = &self.pools[self.clients[c as usize].pool as usize];
        let part_of_shard = &mut self.scratch.part_of_shard;
        part_of_shard.clear();
        part_of_shard.resize(state.servers.len(), NONE);
        let random = &mut self.random;
        split.group(request, keys, part_of_shard, |key| state.sharder.shard(key, || random.next()));
    }

    /// Finds a connection for every part; a part without one is refused.
    pub(crate) fn link_parts(&mut self, c: u32, s: u32, now: Now) {
        let pool = self.clients[c as usize].pool;
        for part in 0..self.splits[s as usize].parts.len() {
            let shard = self.splits[s as usize].parts[part].shard;
            if self.splits[s as usize].is_read() && self.is_missed(pool, shard, now) {
                self.splits[s as usize].parts[part].miss();
                self.pools[pool as usize].counts.missed.add(1);
                continue;
            }
            let link = self.link_for(pool, shard, c, now);
            let part = &mut self.splits[s as usize].parts[part];
            match link {
                Err(text) => part.refuse(text),
                Ok(l) => part.link = l,
            }
        }
    }

    /// Queues the fragments; parts without a connection fail at once.
    pub(crate) fn owe_fragments(&mut self, c: u32, s: u32, r: u32, asked: Asked, now: Now) {
        let pool = self.clients[c as usize].pool;
        let parts = self.splits[s as usize].parts.len();
        for fragment in 0..parts {
            let part = &self.splits[s as usize].parts[fragment];
            if part.link != NONE {
                let (link, bytes) = (part.link, part.bytes);
                self.pools[pool as usize].counts.fragments.add(1);
                self.owe(link, (r, fragment as u32), bytes, asked, now);
            }
        }
        self.settle_refused(r, s);
    }
}

/// The keys of a request, every `per_key` arguments, each with where it and its values are as bulk strings: these lie side
/// by side, from the line end behind the argument before to the one behind the last of them.
fn bulks(args: &[Span], per_key: usize) -> impl Iterator<Item = (Span, Span)> + Clone {
    let behind = |span: Span| span.end + 2;
    let (name, args) = args.split_at(1);
    let mut at = behind(name[0]);
    args.chunks_exact(per_key).map(move |args| {
        let bulks = Span { start: at, end: behind(args[per_key - 1]) };
        at = bulks.end;
        (args[0], bulks)
    })
}
