//! Whether the reply to a memcached request is right, and whether silence is.

use std::rc::Rc;

use engine::topology::Protocol;
use sharding::Distribution;

use super::ask::{Ask, Voice};
use super::keyspace::{self, is_kept_quiet};
use super::wire_format::replies;
use crate::truth::{Deviation, Truth, is_shed, own_words, shown};

/// Replies that were judged, each with its kind.
type Judged = Vec<(String, Vec<u8>)>;

impl Truth {
    /// The kinds of the replies to a batch that `mn` ends, or what is wrong with them.
    pub(crate) fn batch(&self, asks: &[Rc<Ask>], reply: &[u8]) -> Result<Judged, String> {
        let replies = replies(reply)?;
        let (last, replies) = replies.split_last().ok_or("nothing")?;
        if *last != b"MN\r\n" {
            return Err(format!("{} where the reply to mn is due", shown(last)));
        }
        let mut why = String::new();
        self.assign(asks, replies, &mut why).ok_or(why)
    }

    /// Finds for each of `replies` the request it answers, in order; quiet requests may have none. Notes in `why` what
    /// was wrong last.
    fn assign(&self, asks: &[Rc<Ask>], replies: &[&[u8]], why: &mut String) -> Option<Judged> {
        let Some((ask, others)) = asks.split_first() else {
            if let Some(reply) = replies.first() {
                *why = format!("{} answers nothing", shown(reply));
            }
            return replies.is_empty().then(Vec::new);
        };
        if let Some((reply, rest)) = replies.split_first() {
            match self.memcached(ask, reply) {
                Ok(kind) => {
                    if let Some(mut judged) = self.assign(others, rest, why) {
                        judged.push((kind, reply.to_vec()));
                        return Some(judged);
                    }
                }
                Err(reason) => {
                    *why = format!("{} got {}: {reason}", shown(&ask.bytes), shown(reply));
                }
            }
        }
        if !self.may_be_silence(ask) {
            return None;
        }
        let mut judged = self.assign(others, replies, why)?;
        judged.push(("memcached silence".into(), Vec::new()));
        Some(judged)
    }

    /// Whether a client may hear nothing of `ask`.
    fn may_be_silence(&self, ask: &Ask) -> bool {
        let name = ask.request.name();
        let truth = keyspace::answer(&ask.request).unwrap_or_default();
        let is_missed = self.scenario.misses() && name == "mg";
        let is_kept = is_kept_quiet(name, &truth) || is_missed;
        ask.voice == Voice::Quiet && is_kept && self.deviations(ask.token).is_empty()
    }

    /// The kind of a right reply to `ask`, or what is wrong.
    pub(crate) fn memcached(&self, ask: &Ask, reply: &[u8]) -> Result<String, String> {
        if self.may_shed() && is_shed(reply) {
            return Ok("memcached shed".into());
        }
        let name = ask.request.name();
        if ask.voice == Voice::Quiet && is_kept_quiet(name, reply) {
            return Err("this should have been kept quiet".into());
        }
        let deviations = self.deviations(ask.token);
        let truth = keyspace::answer(&ask.request).ok_or("no such command")?;
        if reply == truth {
            let none = deviations.is_empty();
            let kind = format!("memcached {name}");
            return none.then_some(kind).ok_or(format!("but servers said {deviations:?}"));
        }
        if self.scenario.misses() && self.is_item_missed(ask, reply, &truth) {
            return Ok("memcached miss".into());
        }
        if self.is_deviation(!ask.is_split(), reply, deviations) {
            return Ok("memcached deviation".into());
        }
        if self.strays.contains(reply) {
            return Ok("memcached stray".into());
        }
        let text = own_words(Protocol::Memcached, reply).ok_or("neither true nor an error")?;
        let hidden = deviations.iter().any(|(_, d)| matches!(d, Deviation::Error(_)));
        if hidden && self.are_errors_certain() {
            return Err("but a server said an error of its own".into());
        }
        let wrong_type = deviations.iter().any(|(_, d)| matches!(d, Deviation::WrongType(_)));
        let part_failed = wrong_type && text == engine::fault::INVALID_ARGUMENT && ask.is_split();
        let right = part_failed || self.is_explained(&text, &ask.keys);
        let kind = format!("memcached {text}");
        right.then_some(kind).ok_or("nothing explains this error".into())
    }

    /// Whether `reply` is what is answered while some servers are taken to hold nothing.
    fn is_item_missed(&self, ask: &Ask, reply: &[u8], truth: &[u8]) -> bool {
        let Some(first) = ask.first_key() else {
            let is_read = matches!(ask.request.name(), "mg" | "me");
            return is_read && reply == keyspace::miss(&ask.request);
        };
        if self.scenario.pool.distribution == Distribution::Random {
            // Any key may have gone to any server.
            return reply.ends_with(b"END\r\n") && reply.len() < truth.len();
        }
        let words = &ask.request.words[first..];
        let shard = |word: &[u8]| {
            let at = words.iter().position(|own| own == word);
            at.map_or(0, |at| self.shard(&ask.keys[at]))
        };
        (1..1_usize << self.harm.len()).any(|missed| {
            let is_missed = |word: &[u8]| missed & (1 << shard(word)) != 0;
            reply == keyspace::values(&ask.request, first, is_missed)
        })
    }
}
