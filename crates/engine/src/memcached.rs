//! A memcached request on its way: key → shard → connection, split if its keys live on several, answered here if it
//! concerns the proxy alone.
//!
//! It stands beside `route` because almost nothing is the same: one key per command save for the four that read,
//! requests that want no reply, and commands whose success is silent on demand (flag `q`). The latter are forwarded with
//! the flag blanked out: a server that answers always can be matched by position, and what the client did not want to
//! hear is dropped here, where its order among other servers' replies is known.

use proto::memcached::command::{Local, Policy};
use proto::memcached::{Request, Silence, key};
use proto::{Span, argument};

use crate::client::Ending;
use crate::fragment::{Kind, Part};
use crate::link::Asked;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::reply::{self, fault};
use crate::topology::{FlushAll, Protocol};
use crate::{Engine, Now};

impl Engine {
    /// Serves one request of client `c`: forwards it, splits it or answers it.
    pub(crate) fn route_memcached(
        &mut self,
        c: u32,
        request: Message<'_>,
        parsed: &Request,
        args: &[Span],
        now: Now,
    ) {
        match parsed.command.policy {
            Policy::Local(local) => {
                self.counts.local_replies.add(1);
                self.answer_memcached(c, local, parsed, args.len());
                request.discard(&mut self.buffers);
            }
            Policy::Unsupported => {
                self.note_unsupported(c, parsed.command.name.as_bytes());
                request.discard(&mut self.buffers);
                self.answer_with(c, |out| {
                    reply::unsupported_memcached(parsed.command.name, out);
                });
            }
            Policy::AllShards if !self.may_flush(c) => {
                self.note_unsupported(c, parsed.command.name.as_bytes());
                request.discard(&mut self.buffers);
                self.answer_unless_silent(c, parsed, reply::FLUSH_ALL_REFUSED);
            }
            _ if self.is_refused(c, parsed, now) => request.discard(&mut self.buffers),
            Policy::AllShards => self.broadcast(c, request, parsed, now),
            Policy::Split { keys } if args.len() > keys + 1 => {
                self.split_values(c, request, parsed, args, keys, now);
            }
            Policy::SingleShard { key } | Policy::Split { keys: key } => {
                let shard = self.shard_of_key(c, request.bytes(), parsed, args, key);
                self.forward_memcached(c, shard, request, parsed, args, now);
            }
            Policy::Keyless => {
                let shard = self.keyless_shard(self.clients[c as usize].pool);
                self.forward_memcached(c, shard, request, parsed, args, now);
            }
        }
    }

    /// Answers a command that concerns the proxy alone.
    fn answer_memcached(&mut self, c: u32, local: Local, parsed: &Request, words: usize) {
        match local {
            Local::Quit => self.end_requests(c, Ending::ByClient),
            Local::NoOp => self.answer(c, reply::META_NO_OP),
            Local::Verbosity if matches!(parsed.silence, Silence::NoReply(_)) => {}
            Local::Verbosity => self.answer(c, reply::MEMCACHED_OK),
            Local::Stats if words > 1 => self.answer(c, reply::STATS_REFUSED),
            Local::Stats => {
                let environment = std::sync::Arc::clone(&self.environment);
                self.answer_with(c, |out| {
                    environment.stats(&mut |name, value| {
                        for text in ["STAT ", name, " ", value, "\r\n"] {
                            out.extend_from_slice(text.as_bytes());
                        }
                    });
                    out.extend_from_slice(reply::END);
                });
            }
        }
    }

    /// Whether the pool of `c` lets its clients flush its servers.
    fn may_flush(&self, c: u32) -> bool {
        let pool = self.clients[c as usize].pool;
        self.pools[pool as usize].pool.flush_all == FlushAll::Forward
    }

    /// Whether nothing can be forwarded at this moment; answers the client if so.
    fn is_refused(&mut self, c: u32, parsed: &Request, now: Now) -> bool {
        let pool = self.clients[c as usize].pool;
        if self.is_over_memory() {
            self.counts.shed.add(1);
            self.answer_unless_silent(c, parsed, reply::request_shed(Protocol::Memcached));
            // Refusals would add up behind what is not answered yet.
            self.settle_client(c);
            return true;
        }
        if !self.is_any_server_live(pool, now) {
            self.refuse_unless_silent(c, parsed, fault::CONNECTION_REFUSED);
            return true;
        }
        false
    }

    fn answer_unless_silent(&mut self, c: u32, parsed: &Request, reply: &[u8]) {
        if !matches!(parsed.silence, Silence::NoReply(_)) {
            self.answer(c, reply);
        }
    }

    fn refuse_unless_silent(&mut self, c: u32, parsed: &Request, text: &'static str) {
        if !matches!(parsed.silence, Silence::NoReply(_)) {
            let pool = self.clients[c as usize].pool;
            self.refuse_request(c, pool, text, Message::Lent(&[]));
        }
    }

    /// The shard of the key at `args[key]`, as it is hashed.
    fn shard_of_key(
        &mut self,
        c: u32,
        bytes: &[u8],
        parsed: &Request,
        args: &[Span],
        key: usize,
    ) -> u32 {
        let pool = self.clients[c as usize].pool;
        let sharder = &self.pools[pool as usize].sharder;
        let mut decoded = key::Decoded::default();
        let key = match parsed.is_base64 {
            true => parsed.key(args, bytes, &mut decoded),
            false => argument(bytes, args, key),
        };
        sharder.shard(key, || self.random.next()) as u32
    }

    /// Sends a whole request to one shard.
    fn forward_memcached(
        &mut self,
        c: u32,
        shard: u32,
        request: Message<'_>,
        parsed: &Request,
        args: &[Span],
        now: Now,
    ) {
        let pool = self.clients[c as usize].pool;
        if parsed.command.is_read && self.is_missed(pool, shard, now) {
            self.answer_memcached_miss(c, request.bytes(), parsed, args);
            return request.discard(&mut self.buffers);
        }
        match self.link_for(pool, shard, c, now) {
            Ok(l) => self.forward_memcached_over(l, c, request, parsed, args, now),
            Err(text) => {
                request.discard(&mut self.buffers);
                self.refuse_unless_silent(c, parsed, text);
            }
        }
    }

    /// Sends a whole request of `c` over server connection `l`.
    fn forward_memcached_over(
        &mut self,
        l: u32,
        c: u32,
        request: Message<'_>,
        parsed: &Request,
        args: &[Span],
        now: Now,
    ) {
        let bytes = request.bytes().len();
        let link = &self.links[l as usize];
        let state = &self.pools[link.pool as usize];
        let (server, joins_gets) = (&state.servers[link.server as usize], state.pool.joins_gets);
        // A trial without an answer would prove nothing, nor would it tell when a connection may be closed.
        let answers = server.answers_noreply || server.health.is_on_trial() || link.is_detached;
        match parsed.silence {
            Silence::NoReply(_) if !answers => {
                let (output, buffers) = self.link_output(l);
                request.push_to(output, buffers);
                self.expect_silence(l, c, bytes, now);
            }
            Silence::None => {
                let r = self.await_reply(c);
                let asked = Asked::memcached(parsed.command);
                if joins_gets && let Some(key) = parsed.key_of_plain_get(request.bytes(), args) {
                    return self.ask_value(l, r, request, (key, asked), now);
                }
                let (output, buffers) = self.link_output(l);
                request.push_to(output, buffers);
                self.owe(l, (r, NONE), bytes, asked, now);
            }
            Silence::NoReply(word) | Silence::Quiet(word) => {
                let r = self.await_reply(c);
                self.requests[r as usize].quiet = Some(parsed.command);
                self.push_blanked(l, request, word);
                self.owe(l, (r, NONE), bytes, Asked::memcached(parsed.command), now);
            }
        }
    }

    /// Answers a read as if its key did not exist.
    fn answer_memcached_miss(&mut self, c: u32, bytes: &[u8], parsed: &Request, args: &[Span]) {
        let pool = self.clients[c as usize].pool;
        self.pools[pool as usize].counts.missed.add(1);
        let mut out = std::mem::take(&mut self.scratch.reply);
        out.clear();
        parsed.command.write_miss(bytes, args, &mut out);
        if parsed.silence == Silence::None || !parsed.command.is_suppressed(&out) {
            self.answer(c, &out);
        }
        self.scratch.reply = out;
    }

    /// Appends a request with one word of it blanked out.
    fn push_blanked(&mut self, l: u32, request: Message<'_>, word: Span) {
        let word = word.start as usize..word.end as usize;
        let (output, buffers) = self.link_output(l);
        match request {
            Message::Owned(mut buffer) => {
                if let Some(word) = buffer.get_mut(word) {
                    word.fill(b' ');
                }
                output.push_owned(buffer, buffers);
            }
            Message::Lent(bytes) => {
                output.push(&bytes[..word.start], buffers);
                word.clone().for_each(|_| output.push(b" ", buffers));
                output.push(&bytes[word.end..], buffers);
            }
        }
    }

    /// Sends the same request to every server of the pool.
    fn broadcast(&mut self, c: u32, request: Message<'_>, parsed: &Request, now: Now) {
        let state = &self.pools[self.clients[c as usize].pool as usize];
        let shards = state.servers.len() as u32;
        let bytes = request.bytes().len();
        if matches!(parsed.silence, Silence::NoReply(_)) {
            for shard in 0..shards {
                let copy = Message::Lent(request.bytes());
                self.forward_memcached(c, shard, copy, parsed, &[], now);
            }
            return request.discard(&mut self.buffers);
        }
        let mut split = self.spare_split(Kind::AllOk);
        split.parts.extend((0..shards).map(Part::new));
        let (s, r) = self.begin_split(c, split);
        self.link_parts(c, s, now);
        for part in &mut self.splits[s as usize].parts {
            if let Some(link) = self.links.get_mut(part.link as usize) {
                link.output.push(request.bytes(), &mut self.buffers);
                part.bytes = bytes;
            }
        }
        request.discard(&mut self.buffers);
        self.owe_fragments(c, s, r, Asked::memcached(parsed.command), now);
    }

    /// Groups the keys by shard and asks each for its own: the words before the keys, the keys, each followed by a blank.
    ///
    /// COMPAT: the blank behind the last key is twemproxy's.
    fn split_values(
        &mut self,
        c: u32,
        request: Message<'_>,
        parsed: &Request,
        args: &[Span],
        first: usize,
        now: Now,
    ) {
        let (words, keys) = args.split_at(first);
        let mut asked = request.into_buffer(&mut self.buffers);
        if let Some(behind) = keys.last().and_then(|last| asked.get_mut(last.end as usize)) {
            *behind = b' ';
        }
        let with_blank = |key: &Span| Span { start: key.start, end: key.end + 1 };
        let mut split = self.spare_split(Kind::Values);
        split.keys.extend_from_slice(keys);
        self.group_keys(c, &mut split, &asked, keys.iter().map(|key| (*key, with_blank(key))));
        let (s, r) = self.begin_split(c, split);
        self.link_parts(c, s, now);
        let head = |_: &Part, out: &mut Vec<u8>| {
            words.iter().for_each(|word| {
                out.extend_from_slice(word.of(&asked));
                out.push(b' ');
            });
        };
        let split = &mut self.splits[s as usize];
        let pieces = keys.iter().map(with_blank);
        split.write(&asked, pieces, head, b"\r\n", &mut self.links, &mut self.buffers);
        split.asked = asked;
        self.owe_fragments(c, s, r, Asked::memcached(parsed.command), now);
    }
}
