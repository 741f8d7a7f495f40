//! What the load sends and what it expects: requests made beforehand in one piece of memory, and the one shape that all
//! of their replies have.
//!
//! Nothing is formatted or parsed while measuring. Keys have one length and values one size, and every key exists, so
//! each reply begins with the same bytes and has the same length; anything else ends the run with an error.

use std::fmt::Write as _;

/// The protocol of servers and clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Redis,
    Memcached,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    /// One request for so many values.
    MultiGet(usize),
    /// One request that sets so many keys; of Redis only.
    MultiSet(usize),
}

impl Operation {
    /// Keys of one request.
    pub(crate) fn keys(self) -> usize {
        match self {
            Operation::Get | Operation::Set => 1,
            Operation::MultiGet(keys) | Operation::MultiSet(keys) => keys,
        }
    }

    /// Its command of Redis.
    pub(crate) fn redis_name(self) -> &'static str {
        match self {
            Operation::Get => "GET",
            Operation::Set => "SET",
            Operation::MultiGet(_) => "MGET",
            Operation::MultiSet(_) => "MSET",
        }
    }

    /// Whether it has a value for each key.
    pub(crate) fn sets(self) -> bool {
        matches!(self, Operation::Set | Operation::MultiSet(_))
    }
}

/// Memory that the requests of a script may take, and the values of a server.
const SCRIPT_BYTES_MAX: usize = 32 << 20;
const DATASET_BYTES_MAX: usize = 64 << 20;
const REQUESTS_MAX: usize = 8192;
const KEYS_MAX: usize = 10_000;

/// Keys with values of one size. Every server holds all of them, so that they are found whatever stands in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dataset {
    pub(crate) protocol: Protocol,
    pub(crate) value_bytes: usize,
}

impl Dataset {
    pub(crate) fn keys(self) -> usize {
        (DATASET_BYTES_MAX / self.value_bytes).clamp(1, KEYS_MAX)
    }

    pub(crate) fn key(self, number: usize) -> String {
        self.named(&format!("{number:012}"))
    }

    /// The key whose number is written so.
    pub(crate) fn named(self, number: &str) -> String {
        format!("{}:{number}", self.value_bytes)
    }

    /// A request that sets one key.
    pub(crate) fn set(self, number: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, Operation::Set, &[number]);
        out
    }

    /// Appends one request.
    fn write(self, out: &mut Vec<u8>, operation: Operation, keys: &[usize]) {
        let value = "x".repeat(self.value_bytes);
        let keys = keys.iter().map(|key| self.key(*key));
        let mut text = String::new();
        match (self.protocol, operation) {
            (Protocol::Redis, _) => {
                let (name, sets) = (operation.redis_name(), operation.sets());
                let words = 1 + operation.keys() * if sets { 2 } else { 1 };
                let _ = write!(text, "*{words}\r\n${}\r\n{name}\r\n", name.len());
                for key in keys {
                    let _ = write!(text, "${}\r\n{key}\r\n", key.len());
                    if sets {
                        let _ = write!(text, "${}\r\n{value}\r\n", value.len());
                    }
                }
            }
            (Protocol::Memcached, Operation::Get | Operation::MultiGet(_)) => {
                text.push_str("get");
                keys.for_each(|key| text.extend([" ", &key]));
                text.push_str("\r\n");
            }
            (Protocol::Memcached, Operation::Set | Operation::MultiSet(_)) => {
                for key in keys {
                    let _ = write!(text, "set {key} 0 0 {}\r\n{value}\r\n", value.len());
                }
            }
        }
        out.extend_from_slice(text.as_bytes());
    }

    /// The reply that each request of this kind gets.
    fn reply(self, operation: Operation) -> Reply {
        let value_bytes = self.value_bytes;
        let (head, len) = match (self.protocol, operation) {
            (Protocol::Redis, Operation::Set | Operation::MultiSet(_)) => ("+OK\r\n".into(), 5),
            (Protocol::Redis, Operation::Get) => {
                let head = format!("${value_bytes}\r\n");
                let len = head.len() + value_bytes + 2;
                (head, len)
            }
            (Protocol::Redis, Operation::MultiGet(keys)) => {
                let array = format!("*{keys}\r\n");
                let element = format!("${value_bytes}\r\n");
                let len = array.len() + keys * (element.len() + value_bytes + 2);
                (array + &element, len)
            }
            (Protocol::Memcached, Operation::Set | Operation::MultiSet(_)) => {
                ("STORED\r\n".into(), 8)
            }
            (Protocol::Memcached, Operation::Get | Operation::MultiGet(_)) => {
                let item = format!("VALUE {} 0 {value_bytes}\r\n", self.key(0)).len();
                ("VALUE ".into(), operation.keys() * (item + value_bytes + 2) + 5)
            }
        };
        Reply { head: head.into_bytes(), len }
    }
}

/// What every reply to a script looks like.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Its first bytes.
    pub(crate) head: Vec<u8>,
    /// All of its bytes; not fewer than those of `head`.
    pub(crate) len: usize,
}

/// Requests one after the other, sent in a circle.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) bytes: Vec<u8>,
    /// Where each request begins.
    starts: Vec<usize>,
    pub(crate) reply: Reply,
}

impl Script {
    /// Requests for keys that `wants` lets pass, in an order that is random and always the same.
    pub(crate) fn new(
        dataset: Dataset,
        operation: Operation,
        wants: impl Fn(&str) -> bool,
    ) -> Script {
        let keys: Vec<usize> =
            (0..dataset.keys()).filter(|key| wants(&dataset.key(*key))).collect();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut script =
            Script { bytes: Vec::new(), starts: Vec::new(), reply: dataset.reply(operation) };
        while script.starts.len() < REQUESTS_MAX
            && (script.starts.len() < 8 || script.bytes.len() < SCRIPT_BYTES_MAX)
        {
            // Neighbours in a list from a random place on: a request never names a key twice.
            let first = random.below(keys.len());
            let chosen: Vec<usize> =
                (0..operation.keys()).map(|n| keys[(first + n) % keys.len()]).collect();
            script.starts.push(script.bytes.len());
            dataset.write(&mut script.bytes, operation, &chosen);
        }
        script
    }

    /// How many requests.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where a request begins; the one behind the last is the first again.
    pub(crate) fn start(&self, request: usize) -> usize {
        self.starts[request % self.starts.len()]
    }
}

/// xorshift64*: the same numbers in every run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// The time to the next of events that come at random, `mean` apart.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        let uniform = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        -uniform.ln() * mean
    }
}

#[cfg(test)]
mod tests {
    use super::{Dataset, Operation, Protocol, Random, Script};

    fn script(protocol: Protocol, operation: Operation) -> Script {
        Script::new(Dataset { protocol, value_bytes: 32 }, operation, |_| true)
    }

    #[test]
    fn requests_follow_each_other_in_a_circle() {
        let script = script(Protocol::Redis, Operation::Get);
        let request = &script.bytes[script.start(5)..script.start(6)];
        assert!(request.starts_with(b"*2\r\n$3\r\nGET\r\n$15\r\n32:"), "{request:?}");
        assert_eq!(script.start(script.len()), 0);
    }

    #[test]
    fn replies_are_as_long_as_servers_make_them() {
        let get = script(Protocol::Redis, Operation::Get).reply;
        assert_eq!((get.head.as_slice(), get.len), (&b"$32\r\n"[..], "$32\r\n\r\n".len() + 32));
        let mget = script(Protocol::Redis, Operation::MultiGet(10)).reply;
        assert_eq!(mget.len, "*10\r\n".len() + 10 * ("$32\r\n\r\n".len() + 32));
        let gets = script(Protocol::Memcached, Operation::MultiGet(2)).reply;
        let item = "VALUE 32:000000000000 0 32\r\n\r\n".len() + 32;
        assert_eq!(gets.len, 2 * item + "END\r\n".len());
    }

    #[test]
    fn only_keys_that_are_wanted_are_asked_for() {
        let dataset = Dataset { protocol: Protocol::Memcached, value_bytes: 32 };
        let script = Script::new(dataset, Operation::Get, |key| key.ends_with('7'));
        let text = String::from_utf8(script.bytes).expect("text");
        assert!(text.lines().all(|line| line.ends_with('7')));
    }

    #[test]
    fn large_values_make_short_scripts() {
        let dataset = Dataset { protocol: Protocol::Redis, value_bytes: 1 << 20 };
        let script = Script::new(dataset, Operation::Set, |_| true);
        assert!((8..64).contains(&script.len()), "{} requests", script.len());
    }

    #[test]
    fn random_distances_have_the_mean_that_was_asked_for() {
        let mut random = Random(1);
        let sum: f64 = (0..100_000).map(|_| random.exponential(50.0)).sum();
        assert!((sum / 100_000.0 - 50.0).abs() < 1.0, "{}", sum / 100_000.0);
    }
}
