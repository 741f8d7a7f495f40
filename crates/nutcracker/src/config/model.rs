//! What a valid configuration holds, and the topology it becomes. No text of the file survives past this point, except
//! where it is an identity (names, listen addresses).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::topology::{
    self, CrossShard, Ejection, FlushAll, Limits, OnEject, Protocol, Server, Topology,
};
use sharding::{Distribution, Hash, HashTag};

use crate::cli::Workers;

/// A whole configuration: valid by construction when it comes from [`load()`](super::load()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one, names unique, in the order of [`sharding::compare_names`].
    pub pools: Vec<Pool>,
    /// Settings of the whole process.
    pub global: Global,
}

/// The root key `global:`. `None` where a flag has a default of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Threads that serve; `--workers` wins.
    pub workers: Option<Workers>,
    /// Ceiling on buffered bytes of the whole process, 0 for none.
    pub max_memory_bytes: u64,
    /// A client with more unsent reply bytes than this is not read any further.
    pub client_output_bytes_max: u64,
    /// A client with more unanswered requests than this is not read any further.
    pub client_requests_max: u32,
    /// Longest wait for more work in a turn under load, 0 for none.
    pub batch_window_us: u64,
    /// Whether SIGHUP also reloads the configuration.
    pub reload_on_hup: bool,
    /// Whether the file is watched and reloaded when it changes.
    pub reload_on_change: bool,
    /// How long an orderly stop waits for what is in flight.
    pub drain_timeout: Duration,
    /// Host of the stats listener; `-a` wins.
    pub stats_addr: Option<String>,
    /// Port of the stats listener; `-s` wins.
    pub stats_port: Option<u16>,
    /// Time between two aggregations, which nothing needs any more; `-i` wins.
    pub stats_interval: Option<Duration>,
    /// Pid file; `-p` wins.
    pub pid_file: Option<PathBuf>,
    /// Log file; `-o` wins.
    pub log_output: Option<PathBuf>,
    /// 0..=11; `-v` wins.
    pub log_level: Option<u8>,
}

impl Default for Global {
    fn default() -> Self {
        let limits = Limits::default();
        Global {
            workers: None,
            max_memory_bytes: 0,
            client_output_bytes_max: limits.client_output_bytes_max as u64,
            client_requests_max: limits.client_requests_max,
            batch_window_us: limits.window_us_max,
            reload_on_hup: true,
            reload_on_change: false,
            drain_timeout: Duration::from_secs(10),
            stats_addr: None,
            stats_port: None,
            stats_interval: None,
            pid_file: None,
            log_output: None,
            log_level: None,
        }
    }
}

/// Where a pool accepts clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp {
        /// As written, without brackets.
        host: String,
        /// 1..=65535.
        port: u16,
        /// The first address the host resolved to when the file was read.
        resolved: SocketAddr,
        /// The whole value as written.
        text: String,
    },
    /// A unix stream socket.
    Unix {
        /// Shorter than 108 bytes.
        path: PathBuf,
        /// Permissions to set on the socket, 1..=0o777; `None` leaves them to the umask.
        mode: Option<u32>,
        /// The whole value as written.
        text: String,
    },
}

impl Listen {
    /// The value as written in the file.
    pub fn text(&self) -> &str {
        match self {
            Listen::Tcp { text, .. } | Listen::Unix { text, .. } => text,
        }
    }
}

/// One pool, every key filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique, not empty.
    pub name: String,
    /// Where clients connect.
    pub listen: Listen,
    /// Length of the accept queue asked of the kernel.
    pub backlog: u32,
    /// SO_KEEPALIVE on client sockets.
    pub tcpkeepalive: bool,
    /// SO_REUSEPORT on the listener.
    pub reuseport: bool,
    /// Read and without effect, as in twemproxy 0.5.
    pub client_connections: u32,
    /// Clients served at once, 0 for any number.
    pub max_clients: u32,
    /// Clients of one address served at once, 0 for any number.
    pub max_clients_per_address: u32,
    /// Every client is announced by a PROXY header.
    pub proxy_protocol: bool,
    /// Wire format of clients and servers.
    pub protocol: Protocol,
    /// Password of clients and servers; Redis pools only.
    pub redis_auth: Option<Box<[u8]>>,
    /// Database selected on server connections.
    pub redis_db: u32,
    /// Hash function applied to keys.
    pub hash: Hash,
    /// Two bytes that delimit the hashed part of a key.
    pub hash_tag: Option<HashTag>,
    /// How a hash becomes a shard.
    pub distribution: Distribution,
    /// Bound on connecting and on each request; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Connect to every server at once.
    pub preconnect: bool,
    /// Failing servers leave the ring.
    pub auto_eject_hosts: bool,
    /// Connections to each server from each worker, at least 1.
    pub server_connections: u32,
    /// How long an ejected server stays out of the ring.
    pub server_retry_timeout: Duration,
    /// Consecutive failures that eject a server; 0 behaves like 1.
    pub server_failure_limit: u32,
    /// What becomes of the keys of a server that left the ring.
    pub on_eject: OnEject,
    /// An ejected server returns only after it has answered the proxy.
    pub probe: bool,
    /// The share of the servers that may be ejected at once, 0..=100.
    pub max_ejected_percent: u8,
    /// Policy for multi-key commands whose keys live on different shards.
    pub cross_shard: CrossShard,
    /// Whether memcached's `flush_all` goes to all servers.
    pub allow_flush: bool,
    /// Longest value of a memcached pool, 0 for any length.
    pub item_bytes_max: u64,
    /// Whether gets of one key go to their server as one.
    pub join_gets: bool,
    /// At least one, names unique, in the order of [`sharding::compare_names`].
    pub servers: Vec<Server>,
}

impl Config {
    /// The snapshot that `workers` workers serve, published under the number `epoch`.
    pub fn topology(&self, epoch: u64, workers: usize) -> Topology {
        let pools = self.pools.iter().map(|pool| Arc::new(pool.topology())).collect();
        Topology { epoch, pools, limits: self.global.limits(workers) }
    }
}

impl Global {
    /// The bounds of one of `workers` workers: the ceiling on memory is divided evenly.
    pub fn limits(&self, workers: usize) -> Limits {
        let share = self.max_memory_bytes.div_ceil(workers.max(1) as u64);
        Limits {
            client_output_bytes_max: saturate(self.client_output_bytes_max),
            client_requests_max: self.client_requests_max,
            worker_memory_bytes_max: saturate(share),
            window_us_max: self.batch_window_us,
            drain_us_max: saturate_us(self.drain_timeout),
            ..Limits::default()
        }
    }
}

fn saturate_us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn saturate(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Pool {
    /// The part of this pool that the engine needs.
    pub fn topology(&self) -> topology::Pool {
        let ejection = self.auto_eject_hosts.then_some(Ejection {
            failure_limit: self.server_failure_limit,
            retry_timeout: self.server_retry_timeout,
            on_eject: self.on_eject,
            probe: self.probe,
            max_ejected_percent: self.max_ejected_percent,
        });
        topology::Pool {
            name: self.name.clone(),
            protocol: self.protocol,
            hash: self.hash,
            hash_tag: self.hash_tag,
            distribution: self.distribution,
            timeout: self.timeout,
            redis_auth: self.redis_auth.clone(),
            redis_db: self.redis_db,
            preconnect: self.preconnect,
            server_connections: self.server_connections,
            ejection,
            retry_timeout: self.server_retry_timeout,
            cross_shard: self.cross_shard,
            flush_all: if self.allow_flush { FlushAll::Forward } else { FlushAll::Refuse },
            item_bytes_max: match self.item_bytes_max {
                0 => u32::MAX,
                bytes => u32::try_from(bytes).unwrap_or(u32::MAX),
            },
            joins_gets: self.join_gets,
            servers: self.servers.clone(),
        }
    }
}
