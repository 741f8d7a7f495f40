//! Whether the reply to a Redis command is right.

use engine::topology::{CrossShard, Protocol};
use sharding::Distribution;

use super::{is_split, keyspace};
use crate::truth::{Deviation, Token, Truth, own_words};

const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same shard\r\n";

impl Truth {
    /// The kind of a right reply to command `name` over `keys`, or what is wrong.
    pub(crate) fn resp(
        &self,
        token: Token,
        name: &str,
        keys: &[Vec<u8>],
        reply: &[u8],
    ) -> Result<String, String> {
        if name == "sinter" && self.is_refused_for_shards(keys, reply)? {
            return Ok("cross shard".into());
        }
        let deviations = self.deviations(token);
        let truth = keyspace::answer(&keyspace::arguments(name, keys)).ok_or("no such command")?;
        if reply == truth {
            let none = deviations.is_empty();
            return none.then(|| name.into()).ok_or(format!("but servers said {deviations:?}"));
        }
        if self.scenario.misses() && self.is_miss(name, keys, reply) {
            return Ok("miss".into());
        }
        let whole = !is_split(name) || keys.len() < 2;
        if self.is_deviation(whole, reply, deviations) {
            return Ok("deviation".into());
        }
        let hidden = deviations.iter().any(|(_, d)| matches!(d, Deviation::Error(_)));
        let wrong_type = deviations.iter().any(|(_, d)| matches!(d, Deviation::WrongType(_)));
        if self.strays.contains(reply) {
            return Ok("stray".into());
        }
        let text = own_words(Protocol::Redis, reply).ok_or("neither true nor an error")?;
        if hidden && self.are_errors_certain() {
            return Err(format!("but a server said an error of its own for {token:?}"));
        }
        let part_failed = wrong_type && text == engine::fault::INVALID_ARGUMENT && keys.len() > 1;
        let right = part_failed || self.is_explained(&text, keys);
        right.then_some(text).ok_or("nothing explains this error".into())
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
}
