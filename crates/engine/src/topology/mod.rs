//! The immutable snapshot a worker serves: pools, their shards and servers.
//!
//! It is built whole by the configuration, validated before it is published, and never changed afterwards; a worker
//! that receives a newer one compares identities and keeps what is the same. Nothing here is mutable or shared state.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sharding::{Distribution, Hash, HashTag, Node};

/// Everything a worker needs to route, published as one value.
#[derive(Debug)]
pub struct Topology {
    /// Grows by one with every publication.
    pub epoch: u64,
    /// Pools in the order of [`sharding::compare_names`] over their names.
    pub pools: Vec<Arc<Pool>>,
    /// Bounds on memory and pending work.
    pub limits: Limits,
}

/// The wire format spoken by the clients and the servers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, the Redis protocol.
    Redis,
    /// The memcached text protocol.
    Memcached,
}

/// What happens to a multi-key command that cannot be split and whose keys live on different shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossShard {
    /// The whole command goes to the shard of its first key, as in twemproxy 0.5.
    FirstKey,
    /// `-CROSSSLOT Keys in request don't hash to the same shard`.
    Error,
}

/// What happens to memcached's `flush_all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushAll {
    /// A clear error.
    Refuse,
    /// Every server of the pool gets it.
    Forward,
}

/// When a failing server is ejected (`auto_eject_hosts: true`), and what that means. The default is twemproxy 0.5's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Consecutive failures that eject a server; 0 behaves like 1.
    pub failure_limit: u32,
    /// How long an ejected server is left alone.
    pub retry_timeout: Duration,
    /// What becomes of its keys meanwhile.
    pub on_eject: OnEject,
    /// Whether it returns only after it has answered a probe, instead of when its time has come.
    pub probe: bool,
    /// The share of the servers that may be ejected at once, 0..=100; a failing server beyond it stays.
    pub max_ejected_percent: u8,
}

impl Ejection {
    /// Whether an ejected server returns when its time has come and a request asks, as in 0.5.
    pub(crate) fn returns_by_time(&self) -> bool {
        self.on_eject == OnEject::Rehash && !self.probe
    }

    /// Whether the keys of an ejected server stay where they are.
    pub(crate) fn keeps_keys(&self) -> bool {
        self.on_eject != OnEject::Rehash
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Ejection {
            failure_limit: 2,
            retry_timeout: Duration::from_secs(30),
            on_eject: OnEject::Rehash,
            probe: false,
            max_ejected_percent: 100,
        }
    }
}

/// What becomes of the keys of an ejected server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEject {
    /// They go to the others: the ring is built without it, as in twemproxy 0.5.
    Rehash,
    /// They stay where they are, and requests for them fail at once.
    Error,
    /// They stay where they are; reads are answered as if the keys did not exist, everything else fails at once.
    Miss,
}

/// One pool: a set of servers that clients see as a single one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// Wire format of clients and servers.
    pub protocol: Protocol,
    /// Hash function applied to keys.
    pub hash: Hash,
    /// Two bytes that delimit the hashed part of a key.
    pub hash_tag: Option<HashTag>,
    /// How a hash becomes a shard.
    pub distribution: Distribution,
    /// Bound on connecting and on each request; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Password that clients must present and that is presented to servers.
    pub redis_auth: Option<Box<[u8]>>,
    /// Database selected on every server connection, 0 for none.
    pub redis_db: u32,
    /// Connect to every server as soon as the pool is published.
    pub preconnect: bool,
    /// Connections to each server from each worker, at least 1.
    pub server_connections: u32,
    /// `None` when servers never leave the ring.
    pub ejection: Option<Ejection>,
    /// The longest wait between two attempts to connect to a server that refuses, when it is not ejected.
    pub retry_timeout: Duration,
    /// Policy for commands that 0.5 knew; newer ones always answer an error.
    pub cross_shard: CrossShard,
    /// Memcached: whether `flush_all` goes to all servers or is refused.
    pub flush_all: FlushAll,
    /// Memcached: a longer value is refused, `u32::MAX` for none.
    pub item_bytes_max: u32,
    /// Memcached: whether gets of one key that follow each other to the same server are sent as one.
    pub joins_gets: bool,
    /// At least one, in the order of [`sharding::compare_names`] over their names; a shard is an index into it.
    pub servers: Vec<Server>,
}

impl Pool {
    /// Whether `next`, of a later topology, is this pool, changed or not: clients and counts of it stay.
    #[must_use]
    pub fn continues_as(&self, next: &Pool) -> bool {
        self.name == next.name && self.protocol == next.protocol
    }
}

/// One server of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Identity used for hashing and statistics; unique within the pool.
    pub name: String,
    /// `HOST:PORT:WEIGHT` or `PATH:WEIGHT` as written in the configuration, for people.
    pub display_name: String,
    /// Where to connect to.
    pub address: Address,
    /// At least 1.
    pub weight: u32,
}

impl Server {
    /// What decides which keys it gets.
    #[must_use]
    pub fn node(&self) -> Node<'_> {
        Node { name: self.name.as_bytes(), weight: self.weight }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or address literal, resolved on every connect, and a port.
    Tcp {
        /// Without brackets for IPv6 literals.
        host: String,
        /// 1..=65535.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

/// `HOST:PORT`, an IPv6 literal in brackets, or the path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Bounds that keep memory finite whatever the peers do. The root key `global:` sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A client with more unsent reply bytes than this is not read any further.
    pub client_output_bytes_max: usize,
    /// A client with more unanswered requests than this is not read any further.
    pub client_requests_max: u32,
    /// Ceiling on buffered bytes of one worker; above it requests are refused with an error. 0 for none.
    pub worker_memory_bytes_max: usize,
    /// Longest wait for more work in a turn under load, µs; 0 never waits.
    pub window_us_max: u64,
    /// A reply at least so long, as far as is known, is passed on while it arrives.
    pub cut_through_bytes_min: usize,
    /// Longest wait for what is in flight on connections that a newer topology has no use for, µs.
    pub drain_us_max: u64,
    /// A request known to be of at least so many bytes flows to its server while it arrives.
    pub upload_bytes_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            client_output_bytes_max: 1 << 20,
            client_requests_max: 4096,
            worker_memory_bytes_max: 0,
            window_us_max: 100,
            cut_through_bytes_min: 2 << 20,
            drain_us_max: 10_000_000,
            upload_bytes_min: 2 << 20,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pool of Redis servers with these names, on ports of their own.
    pub(crate) fn pool(name: &str, servers: &[&str]) -> Pool {
        let server = |(at, name): (usize, &&str)| Server {
            name: (*name).into(),
            display_name: format!("{name}:1"),
            address: Address::Tcp { host: "127.0.0.1".into(), port: 6000 + at as u16 },
            weight: 1,
        };
        Pool {
            name: name.into(),
            protocol: Protocol::Redis,
            hash: Hash::Fnv1a64,
            hash_tag: None,
            distribution: Distribution::Ketama,
            timeout: None,
            redis_auth: None,
            redis_db: 0,
            preconnect: false,
            server_connections: 1,
            ejection: None,
            retry_timeout: Duration::from_secs(30),
            cross_shard: CrossShard::Error,
            flush_all: FlushAll::Refuse,
            item_bytes_max: u32::MAX,
            joins_gets: true,
            servers: servers.iter().enumerate().map(server).collect(),
        }
    }
}
