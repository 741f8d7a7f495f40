//! What a server answers to a read whose keys do not exist. A pool that answers for a server it has taken out of service
//! needs it, and nobody else does, so it is a table beside the rows and not a part of them.

use super::Command;
use crate::resp::encode::{self, on_one_line};
use crate::{Span, argument};

const NULL: &str = "$-1\r\n";
const NULL_ARRAY: &str = "*-1\r\n";
const EMPTY: &str = "*0\r\n";
const EMPTY_TEXT: &str = "$0\r\n\r\n";
const ZERO: &str = ":0\r\n";
const NO_FIELD: &str = ":-2\r\n";
/// Of the commands that call a missing key an error.
const NO_SUCH_KEY: &str = "-ERR no such key\r\n";
/// A walk that ends where it begins.
const END_OF_SCAN: &str = "*2\r\n$1\r\n0\r\n*0\r\n";

/// How the reply of one command looks.
#[derive(Clone, Copy)]
enum Miss {
    /// The same to every request.
    Always(&'static str),
    /// An array with `element` for every argument from the one at `from` on.
    Each { from: usize, element: &'static str },
    /// `else_` with more arguments than `args`: the rest asks for a list.
    UpTo { args: usize, short: &'static str, else_: &'static str },
    /// Of its own kind; tells whether it knew an answer.
    Own(fn(&Request<'_>, &mut Vec<u8>) -> bool),
}

use Miss::{Always, Each, Own, UpTo};

/// By name, in ascending order.
const MISSES: &[(&str, Miss)] = &[
    ("bitcount", Always(ZERO)),
    ("bitfield_ro", Own(bitfield_ro)),
    ("bitpos", Own(bitpos)),
    ("dump", Always(NULL)),
    ("exists", Always(ZERO)),
    ("expiretime", Always(NO_FIELD)),
    ("geodist", Always(NULL)),
    ("geohash", Each { from: 2, element: NULL }),
    ("geopos", Each { from: 2, element: NULL_ARRAY }),
    ("georadius_ro", Always(EMPTY)),
    ("georadiusbymember_ro", Always(EMPTY)),
    ("geosearch", Always(EMPTY)),
    ("get", Always(NULL)),
    ("getbit", Always(ZERO)),
    ("getrange", Always(EMPTY_TEXT)),
    ("hexists", Always(ZERO)),
    ("hexpiretime", Each { from: 4, element: NO_FIELD }),
    ("hget", Always(NULL)),
    ("hgetall", Always(EMPTY)),
    ("hkeys", Always(EMPTY)),
    ("hlen", Always(ZERO)),
    ("hmget", Each { from: 2, element: NULL }),
    ("hpexpiretime", Each { from: 4, element: NO_FIELD }),
    ("hpttl", Each { from: 4, element: NO_FIELD }),
    ("hrandfield", UpTo { args: 2, short: NULL, else_: EMPTY }),
    ("hscan", Always(END_OF_SCAN)),
    ("hstrlen", Always(ZERO)),
    ("httl", Each { from: 4, element: NO_FIELD }),
    ("hvals", Always(EMPTY)),
    ("lcs", Own(lcs)),
    ("lindex", Always(NULL)),
    ("llen", Always(ZERO)),
    ("lpos", Own(lpos)),
    ("lrange", Always(EMPTY)),
    ("memory|usage", Always(NULL)),
    ("mget", Each { from: 1, element: NULL }),
    ("object|encoding", Always(NULL)),
    ("object|freq", Always(NULL)),
    ("object|idletime", Always(NULL)),
    ("object|refcount", Always(NULL)),
    ("pexpiretime", Always(NO_FIELD)),
    ("pfcount", Always(ZERO)),
    ("pttl", Always(NO_FIELD)),
    ("scard", Always(ZERO)),
    ("sdiff", Always(EMPTY)),
    ("sinter", Always(EMPTY)),
    ("sintercard", Always(ZERO)),
    ("sismember", Always(ZERO)),
    ("smembers", Always(EMPTY)),
    ("smismember", Each { from: 2, element: ZERO }),
    ("sort_ro", Always(EMPTY)),
    ("srandmember", UpTo { args: 2, short: NULL, else_: EMPTY }),
    ("sscan", Always(END_OF_SCAN)),
    ("strlen", Always(ZERO)),
    ("substr", Always(EMPTY_TEXT)),
    ("sunion", Always(EMPTY)),
    ("touch", Always(ZERO)),
    ("ttl", Always(NO_FIELD)),
    ("type", Always("+none\r\n")),
    ("xinfo|consumers", Always(NO_SUCH_KEY)),
    ("xinfo|groups", Always(NO_SUCH_KEY)),
    ("xinfo|stream", Always(NO_SUCH_KEY)),
    ("xlen", Always(ZERO)),
    ("xpending", Own(xpending)),
    ("xrange", Always(EMPTY)),
    ("xread", Always(NULL_ARRAY)),
    ("xrevrange", Always(EMPTY)),
    ("zcard", Always(ZERO)),
    ("zcount", Always(ZERO)),
    ("zdiff", Always(EMPTY)),
    ("zinter", Always(EMPTY)),
    ("zintercard", Always(ZERO)),
    ("zlexcount", Always(ZERO)),
    ("zmscore", Each { from: 2, element: NULL }),
    ("zrandmember", UpTo { args: 2, short: NULL, else_: EMPTY }),
    ("zrange", Always(EMPTY)),
    ("zrangebylex", Always(EMPTY)),
    ("zrangebyscore", Always(EMPTY)),
    // COMPAT: with a score from Redis 7.2 on.
    ("zrank", UpTo { args: 3, short: NULL, else_: NULL_ARRAY }),
    ("zrevrange", Always(EMPTY)),
    ("zrevrangebylex", Always(EMPTY)),
    ("zrevrangebyscore", Always(EMPTY)),
    ("zrevrank", UpTo { args: 3, short: NULL, else_: NULL_ARRAY }),
    ("zscan", Always(END_OF_SCAN)),
    ("zscore", Always(NULL)),
    ("zunion", Always(EMPTY)),
];

impl Command {
    /// Appends what a Redis 7 server on which none of the keys exists answers to this request, in RESP2. Returns `false`,
    /// having appended nothing, for what is no read of keys: what may write, and what runs a script. Arguments that a
    /// server would find fault with are taken as they are.
    pub fn write_miss(&self, bytes: &[u8], args: &[Span], out: &mut Vec<u8>) -> bool {
        let Ok(at) = MISSES.binary_search_by_key(&self.name, |(name, _)| name) else {
            return false;
        };
        let Some((_, miss)) = MISSES.get(at) else { return false };
        match *miss {
            Always(reply) => out.extend_from_slice(reply.as_bytes()),
            Each { from, element } => repeat(args.len().saturating_sub(from), element, out),
            UpTo { args: most, short, else_ } => {
                let reply = if args.len() <= most { short } else { else_ };
                out.extend_from_slice(reply.as_bytes());
            }
            Own(write) => return write(&Request { bytes, args }, out),
        }
        true
    }
}

fn repeat(times: usize, element: &str, out: &mut Vec<u8>) {
    encode::array_header(out, times);
    for _ in 0..times {
        out.extend_from_slice(element.as_bytes());
    }
}

/// The words of a request.
struct Request<'r> {
    bytes: &'r [u8],
    args: &'r [Span],
}

impl Request<'_> {
    /// Empty behind the last one.
    fn word(&self, at: usize) -> &[u8] {
        argument(self.bytes, self.args, at)
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.word(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether `option` is among the words from the one at `from` on, `step` words apart.
    fn has(&self, option: &str, from: usize, step: usize) -> bool {
        (from..self.args.len()).step_by(step).any(|at| self.is(at, option))
    }
}

/// `BITFIELD_RO key [GET encoding offset | OVERFLOW kind] …`: a zero for each GET.
fn bitfield_ro(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let mut at = 2;
    let mut fields = 0_usize;
    while at < request.args.len() {
        let words = if request.is(at, "GET") {
            fields = fields.saturating_add(1);
            3
        } else if request.is(at, "OVERFLOW") {
            2
        } else {
            return false;
        };
        at = at.saturating_add(words);
    }
    repeat(fields, ZERO, out);
    true
}

/// `BITPOS key bit …`: a key that does not exist is zeroes for ever.
fn bitpos(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let wants_zero = request.word(2) == b"0";
    encode::integer(out, if wants_zero { 0 } else { -1 });
    true
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`
fn lcs(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let reply = if request.has("IDX", 3, 1) {
        "*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n"
    } else if request.has("LEN", 3, 1) {
        ZERO
    } else {
        EMPTY_TEXT
    };
    out.extend_from_slice(reply.as_bytes());
    true
}

/// `LPOS key element [RANK n] [COUNT n] [MAXLEN n]`
fn lpos(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let reply = if request.has("COUNT", 3, 2) { EMPTY } else { NULL };
    out.extend_from_slice(reply.as_bytes());
    true
}

/// `XPENDING key group …`
fn xpending(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"-NOGROUP No such key '");
    out.extend(request.word(1).iter().map(|byte| on_one_line(*byte)));
    out.extend_from_slice(b"' or consumer group '");
    out.extend(request.word(2).iter().map(|byte| on_one_line(*byte)));
    out.extend_from_slice(b"'\r\n");
    true
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Policy, all};
    use super::*;

    /// Scripts may read, but nobody knows what.
    const SCRIPTS: [&str; 3] = ["eval_ro", "evalsha_ro", "fcall_ro"];

    #[test]
    fn the_table_is_in_order() {
        assert!(MISSES.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn every_read_of_keys_has_a_miss_and_nothing_else_has() {
        for row in all() {
            let is_forwarded = matches!(row.policy, Policy::SingleShard | Policy::Split(_));
            let is_read = row.flags.has(Flags::READONLY)
                && !row.key_specs.is_empty()
                && is_forwarded
                && !SCRIPTS.contains(&row.name);
            let has_miss = MISSES.iter().any(|(name, _)| *name == row.name);
            assert_eq!(has_miss, is_read, "{}", row.name);
        }
    }
}
