//! The table of keys: one row per key of a pool and of `global:`. Parsing, `--print-config` and the reference manual
//! follow it, so a key cannot be in one of them only.

use engine::topology::{CrossShard, OnEject, Protocol};
use sharding::{Distribution, Hash, HashTag};

use super::address::{self, Resolver};
use super::fault::Problem;
use super::value::{self, NUMBER_MAX, boolean, milliseconds, number};
use super::{Global, Pool};
use crate::cli::{self, Workers};

/// Which release first had a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// twemproxy 0.5.
    Twemproxy,
    /// The development branch of twemproxy after 0.5.
    TwemproxyNext,
    /// This program.
    Nutcracker,
}

/// One key of a mapping that becomes a `T`.
pub struct Key<T> {
    /// As written in the file.
    pub name: &'static str,
    /// The valid values, for people.
    pub takes: &'static str,
    /// The value when the key is absent, for people; empty for a key that must be there.
    pub default: &'static str,
    /// Who had it first.
    pub since: Since,
    /// What it does.
    pub doc: &'static str,
    /// Reads a scalar, never empty, into its place.
    pub(super) set: fn(&mut T, &str, Resolver<'_>) -> Result<(), Problem>,
    /// The value to print, `None` when nothing was set and nothing needs to be.
    pub(super) show: fn(&T) -> Option<Shown>,
}

/// A value on its way out.
pub(super) enum Shown {
    /// Digits, words of a fixed set: never in quotes.
    Bare(String),
    /// Anything: in quotes where YAML needs them.
    Text(String),
}

#[expect(clippy::needless_pass_by_value, reason = "the rows of the table read better")]
fn bare(value: impl ToString) -> Option<Shown> {
    Some(Shown::Bare(value.to_string()))
}

fn text(value: impl Into<String>) -> Option<Shown> {
    Some(Shown::Text(value.into()))
}

/// The list of servers is the one key that is no scalar; it has no row.
pub const SERVERS: &str = "servers";
/// The root key of [`Global`].
pub const GLOBAL: &str = "global";

const NUMBER: &str = "number";
const MSEC: &str = "milliseconds";
const BOOL: &str = "true or false";

/// Keys of a pool, in the order of the manual.
pub const POOL: &[Key<Pool>] = &[
    Key {
        name: "listen",
        takes: "HOST:PORT, [IPV6]:PORT or /PATH [PERMISSIONS]",
        default: "",
        since: Since::Twemproxy,
        doc: "Where clients connect. A host name is resolved when the file is read, and the first address is used. A value that starts with `/` is a unix socket; octal permissions may follow, otherwise the umask decides. No two pools may share a value.",
        set: |pool, text, resolver| {
            address::listen(text, resolver).map(|listen| pool.listen = listen)
        },
        show: |pool| text(pool.listen.text()),
    },
    Key {
        name: "redis",
        takes: BOOL,
        default: "false",
        since: Since::Twemproxy,
        doc: "`true` for Redis (RESP), `false` for the memcached text protocol, on both sides.",
        set: |pool, text, _| {
            boolean(text).map(|redis| {
                pool.protocol = if redis { Protocol::Redis } else { Protocol::Memcached }
            })
        },
        show: |pool| bare(pool.protocol == Protocol::Redis),
    },
    Key {
        name: "redis_auth",
        takes: "text",
        default: "none",
        since: Since::Twemproxy,
        doc: "Password. Clients must present it with AUTH, and the proxy presents it to every server. Redis pools only.",
        set: |pool, text, _| {
            pool.redis_auth = Some(text.as_bytes().into());
            Ok(())
        },
        show: |pool| pool.redis_auth.as_ref().and_then(|auth| text(String::from_utf8_lossy(auth))),
    },
    Key {
        name: "redis_db",
        takes: NUMBER,
        default: "0",
        since: Since::Twemproxy,
        doc: "Database selected on every server connection. Without meaning in memcached pools.",
        set: |pool, text, _| number(text).map(|db| pool.redis_db = db),
        show: |pool| bare(pool.redis_db),
    },
    Key {
        name: "hash",
        takes: "one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur or jenkins",
        default: "fnv1a_64",
        since: Since::Twemproxy,
        doc: "Hash function applied to keys. All are bit-identical to twemproxy 0.5; `crc32` is the 15-bit variant of libmemcached and spreads badly with ketama, `crc32a` is the usual CRC-32.",
        set: |pool, text, _| {
            value::one_of(text, &Hash::ALL, Hash::name).map(|hash| pool.hash = hash)
        },
        show: |pool| bare(pool.hash.name()),
    },
    Key {
        name: "hash_tag",
        takes: "two characters",
        default: "none",
        since: Since::Twemproxy,
        doc: "Only the part of a key between these two characters is hashed, so related keys share a server: with `\"{}\"` both `user:{7}:name` and `user:{7}:mail` go where `7` goes. Exactly two bytes; quote them.",
        set: |pool, text, _| hash_tag(text).map(|tag| pool.hash_tag = Some(tag)),
        show: |pool| {
            pool.hash_tag.and_then(|tag| text(String::from_utf8_lossy(&[tag.open, tag.close])))
        },
    },
    Key {
        name: "distribution",
        takes: "ketama, modula or random",
        default: "ketama",
        since: Since::Twemproxy,
        doc: "How a hash becomes a server: consistent hashing, hash modulo the sum of weights, or any server.",
        set: |pool, text, _| {
            value::one_of(text, &Distribution::ALL, Distribution::name)
                .map(|distribution| pool.distribution = distribution)
        },
        show: |pool| bare(pool.distribution.name()),
    },
    Key {
        name: "timeout",
        takes: MSEC,
        default: "none",
        since: Since::Twemproxy,
        doc: "Longest wait for a connection to a server or for its reply; the request then fails with an error. 0 or absent waits for ever, which is rarely wanted.",
        set: |pool, text, _| {
            milliseconds(text)
                .map(|timeout| pool.timeout = Some(timeout).filter(|timeout| !timeout.is_zero()))
        },
        show: |pool| pool.timeout.and_then(|timeout| bare(timeout.as_millis())),
    },
    Key {
        name: "backlog",
        takes: NUMBER,
        default: "512",
        since: Since::Twemproxy,
        doc: "Length of the accept queue asked of the kernel, which may cap it.",
        set: |pool, text, _| number(text).map(|backlog| pool.backlog = backlog),
        show: |pool| bare(pool.backlog),
    },
    Key {
        name: "client_connections",
        takes: NUMBER,
        default: "0",
        since: Since::Twemproxy,
        doc: "Read and without effect, as in twemproxy 0.5. Use `max_clients`.",
        set: |pool, text, _| number(text).map(|count| pool.client_connections = count),
        show: |pool| bare(pool.client_connections),
    },
    Key {
        name: "max_clients",
        takes: NUMBER,
        default: "0",
        since: Since::Nutcracker,
        doc: "Clients served at once; further ones get an error and are closed. 0 for any number.",
        set: |pool, text, _| number(text).map(|count| pool.max_clients = count),
        show: |pool| bare(pool.max_clients),
    },
    Key {
        name: "max_clients_per_address",
        takes: NUMBER,
        default: "0",
        since: Since::Nutcracker,
        doc: "Clients of one IP address served at once; further ones get the same error and are closed. With `proxy_protocol` the address is the one that the load balancer tells. Clients of unix sockets have none and do not count. 0 for any number.",
        set: |pool, text, _| number(text).map(|count| pool.max_clients_per_address = count),
        show: |pool| bare(pool.max_clients_per_address),
    },
    Key {
        name: "proxy_protocol",
        takes: BOOL,
        default: "false",
        since: Since::Nutcracker,
        doc: "`true` where clients come through a load balancer that announces each of them with a PROXY protocol header, version 1 or 2 (HAProxy's `send-proxy` and `send-proxy-v2`, an AWS Network Load Balancer): logs and limits then speak of the client instead of the balancer. A connection that does not begin with a header, or not within 3 seconds, is closed. Whoever can reach the listener can claim any address: let only the balancer reach it.",
        set: |pool, text, _| boolean(text).map(|on| pool.proxy_protocol = on),
        show: |pool| bare(pool.proxy_protocol),
    },
    Key {
        name: "tcpkeepalive",
        takes: BOOL,
        default: "false",
        since: Since::Twemproxy,
        doc: "Keep-alive probes on client connections.",
        set: |pool, text, _| boolean(text).map(|on| pool.tcpkeepalive = on),
        show: |pool| bare(pool.tcpkeepalive),
    },
    Key {
        name: "reuseport",
        takes: BOOL,
        default: "false",
        since: Since::TwemproxyNext,
        doc: "Lets several processes listen on the same address; the kernel spreads clients over them.",
        set: |pool, text, _| boolean(text).map(|on| pool.reuseport = on),
        show: |pool| bare(pool.reuseport),
    },
    Key {
        name: "preconnect",
        takes: BOOL,
        default: "false",
        since: Since::Twemproxy,
        doc: "Connects to every server at start instead of at the first request.",
        set: |pool, text, _| boolean(text).map(|on| pool.preconnect = on),
        show: |pool| bare(pool.preconnect),
    },
    Key {
        name: "server_connections",
        takes: "number, at least 1",
        default: "1",
        since: Since::Twemproxy,
        doc: "Connections to each server from each worker. One client always uses the same one, so its requests stay in order. Up to 4 more exist while very large replies are under way.",
        set: |pool, text, _| {
            value::number_within(text, 1..=NUMBER_MAX).map(|count| pool.server_connections = count)
        },
        show: |pool| bare(pool.server_connections),
    },
    Key {
        name: "auto_eject_hosts",
        takes: BOOL,
        default: "false",
        since: Since::Twemproxy,
        doc: "Ejects a server that fails `server_failure_limit` times in a row for `server_retry_timeout`; its keys go to the others meanwhile, unless `on_eject` says otherwise. With data that must not move, leave it off or set `on_eject`.",
        set: |pool, text, _| boolean(text).map(|on| pool.auto_eject_hosts = on),
        show: |pool| bare(pool.auto_eject_hosts),
    },
    Key {
        name: "server_retry_timeout",
        takes: MSEC,
        default: "30000",
        since: Since::Twemproxy,
        doc: "How long an ejected server is left alone.",
        set: |pool, text, _| milliseconds(text).map(|timeout| pool.server_retry_timeout = timeout),
        show: |pool| bare(pool.server_retry_timeout.as_millis()),
    },
    Key {
        name: "server_failure_limit",
        takes: NUMBER,
        default: "2",
        since: Since::Twemproxy,
        doc: "Consecutive failures that eject a server; 0 behaves like 1.",
        set: |pool, text, _| number(text).map(|limit| pool.server_failure_limit = limit),
        show: |pool| bare(pool.server_failure_limit),
    },
    Key {
        name: "on_eject",
        takes: "rehash, error or miss",
        default: "rehash",
        since: Since::Nutcracker,
        doc: "What becomes of the keys of an ejected server. `rehash` builds the ring without it, so that its keys go to the others, as twemproxy 0.5 did: what the others take meanwhile is not seen once it is back, and the next ejection brings it to light again. `error` keeps every key where it is, and requests for the server fail at once with `Connection refused`. `miss` is `error`, but what only reads is answered as if the keys did not exist. After `server_retry_timeout` one request goes out as a trial, and the others follow when it is answered, unless `probe` saves even that one. Needs `auto_eject_hosts: true`.",
        set: |pool, text, _| {
            value::one_of(text, &ON_EJECT, on_eject_name).map(|policy| pool.on_eject = policy)
        },
        show: |pool| bare(on_eject_name(pool.on_eject)),
    },
    Key {
        name: "probe",
        takes: BOOL,
        default: "false",
        since: Since::Nutcracker,
        doc: "`false` sends requests of clients to an ejected server once `server_retry_timeout` is over, as twemproxy 0.5 did, so that some of them fail as long as it is down. `true` has the proxy ask it first, with `PING` or `version`, after AUTH and SELECT, and brings it back only with a proper answer: not while it refuses, is silent for `timeout` (a second without one), loads its data (`-LOADING`), or is a replica that lost its master (`-MASTERDOWN`). Each worker asks every `server_retry_timeout`, give or take a tenth. The first failure after its return ejects it again. Needs `auto_eject_hosts: true`.",
        set: |pool, text, _| boolean(text).map(|on| pool.probe = on),
        show: |pool| bare(pool.probe),
    },
    Key {
        name: "max_ejected_percent",
        takes: "number from 0 to 100",
        default: "100",
        since: Since::Nutcracker,
        doc: "The share of the servers of the pool that may be ejected at once. A server that fails beyond it stays, and its requests get their errors, so that trouble with the network does not send every key to the last server. Needs `auto_eject_hosts: true`.",
        set: |pool, text, _| {
            value::number_within(text, 0..=100)
                .map(|percent| pool.max_ejected_percent = percent as u8)
        },
        show: |pool| bare(pool.max_ejected_percent),
    },
    Key {
        name: "cross_shard",
        takes: "first_key or error",
        default: "first_key",
        since: Since::Nutcracker,
        doc: "What happens to a command with several keys that cannot be split and whose keys live on different servers: `first_key` sends all of it to the server of the first key, as twemproxy 0.5 did; `error` answers `-CROSSSLOT Keys in request don't hash to the same shard`. Commands that 0.5 did not know always answer the error.",
        set: |pool, text, _| {
            value::one_of(text, &CROSS_SHARD, cross_shard_name)
                .map(|policy| pool.cross_shard = policy)
        },
        show: |pool| bare(cross_shard_name(pool.cross_shard)),
    },
    Key {
        name: "allow_flush",
        takes: BOOL,
        default: "false",
        since: Since::Nutcracker,
        doc: "Memcached pools: whether `flush_all` empties every server of the pool; otherwise it is refused.",
        set: |pool, text, _| boolean(text).map(|on| pool.allow_flush = on),
        show: |pool| bare(pool.allow_flush),
    },
    Key {
        name: "max_item_size",
        takes: "bytes (k, m, g)",
        default: "0",
        since: Since::Nutcracker,
        doc: "Memcached pools: a longer value is refused with `SERVER_ERROR object too large for cache` before it is sent to a server. 0 leaves that to the server.",
        set: |pool, text, _| value::bytes(text).map(|bytes| pool.item_bytes_max = bytes),
        show: |pool| bare(value::show_bytes(pool.item_bytes_max)),
    },
    Key {
        name: "join_gets",
        takes: BOOL,
        default: "true",
        since: Since::Nutcracker,
        doc: "Memcached pools: whether `get`s of one key that wait to be sent to the same server are sent as one `get` of several keys, which costs the server and the proxy a fraction. Clients see no difference, unless a server answers such a line with an error for one of its keys: it is the answer to all of them, where memcached itself never does that.",
        set: |pool, text, _| boolean(text).map(|on| pool.join_gets = on),
        show: |pool| bare(pool.join_gets),
    },
    Key {
        name: SERVERS,
        takes: "list of HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]",
        default: "",
        since: Since::Twemproxy,
        doc: "The servers that share the keys of the pool. Their order in the file has no meaning: they are sorted by name, shorter names first. The name, when absent, is `HOST:PORT`, `HOST` alone when the port is 11211, or `PATH:`; keys are placed by name, so a server with a name of its own can change its address without moving keys.",
        // The parser reads and prints lists on its own.
        set: |_, _, _| Ok(()),
        show: |_| None,
    },
];

const CROSS_SHARD: [CrossShard; 2] = [CrossShard::FirstKey, CrossShard::Error];

fn cross_shard_name(policy: CrossShard) -> &'static str {
    match policy {
        CrossShard::FirstKey => "first_key",
        CrossShard::Error => "error",
    }
}

const ON_EJECT: [OnEject; 3] = [OnEject::Rehash, OnEject::Error, OnEject::Miss];

fn on_eject_name(policy: OnEject) -> &'static str {
    match policy {
        OnEject::Rehash => "rehash",
        OnEject::Error => "error",
        OnEject::Miss => "miss",
    }
}

fn hash_tag(text: &str) -> Result<HashTag, Problem> {
    match *text.as_bytes() {
        [open, close] => Ok(HashTag { open, close }),
        _ => Err(Problem::Value {
            found: text.to_owned(),
            expected: String::from("exactly two characters"),
            fix: String::from("write for example \"{}\", with the quotes"),
        }),
    }
}

/// Keys of `global:`, in the order of the manual.
pub const GLOBAL_KEYS: &[Key<Global>] = &[
    Key {
        name: "workers",
        takes: "number or auto",
        default: "auto",
        since: Since::Nutcracker,
        doc: "Threads that serve. `auto` is one per core this process may use. Servers see this many times `server_connections` connections. The flag `--workers` wins.",
        set: |global, text, _| workers(text).map(|workers| global.workers = Some(workers)),
        show: |global| {
            global.workers.and_then(|workers| match workers {
                Workers::Auto => bare("auto"),
                Workers::Count(count) => bare(count),
            })
        },
    },
    Key {
        name: "max_memory",
        takes: "bytes (k, m, g)",
        default: "0",
        since: Since::Nutcracker,
        doc: "Ceiling on buffered requests and replies of the whole process, shared evenly by the workers. Above it requests are refused with an error instead of growing; what is larger than 4 KiB, and requests of a client that has 16 or more under way, are refused from seven eighths of it. 0 for none.",
        set: |global, text, _| value::bytes(text).map(|bytes| global.max_memory_bytes = bytes),
        show: |global| bare(value::show_bytes(global.max_memory_bytes)),
    },
    Key {
        name: "client_output_max",
        takes: "bytes (k, m, g)",
        default: "1m",
        since: Since::Nutcracker,
        doc: "A client with more unsent reply bytes than this is not read any further until it reads.",
        set: |global, text, _| {
            value::bytes(text).map(|bytes| global.client_output_bytes_max = bytes)
        },
        show: |global| bare(value::show_bytes(global.client_output_bytes_max)),
    },
    Key {
        name: "client_requests_max",
        takes: "number, at least 1",
        default: "4096",
        since: Since::Nutcracker,
        doc: "A client with more unanswered requests than this is not read any further until some are answered.",
        set: |global, text, _| {
            value::number_within(text, 1..=NUMBER_MAX)
                .map(|count| global.client_requests_max = count)
        },
        show: |global| bare(global.client_requests_max),
    },
    Key {
        name: "batch_window_us",
        takes: "microseconds, at most 1000",
        default: "100",
        since: Since::Nutcracker,
        doc: "Under load, a worker waits up to half a round trip to its servers, and never longer than this, so that one read and one write serve many clients: between two turns of its loop, or after each where it finds that to bring more throughput or to cost no latency. The replies to a pipeline wait for each other for up to two such round trips, 500 microseconds at most. It never waits at low load. 0 switches the wait off.",
        set: |global, text, _| {
            value::number_within(text, 0..=1000).map(|us| global.batch_window_us = us.into())
        },
        show: |global| bare(global.batch_window_us),
    },
    Key {
        name: "reload_on_hup",
        takes: BOOL,
        default: "true",
        since: Since::Nutcracker,
        doc: "Whether SIGHUP reloads this file besides reopening the log; SIGUSR1 reloads it in any case. `false` only reopens the log, as twemproxy 0.5 does.",
        set: |global, text, _| boolean(text).map(|on| global.reload_on_hup = on),
        show: |global| bare(global.reload_on_hup),
    },
    Key {
        name: "reload_on_change",
        takes: BOOL,
        default: "false",
        since: Since::Nutcracker,
        doc: "Whether this file is looked at every second and reloaded when it has changed and rests: written anew, replaced, or a link that leads elsewhere, as with a ConfigMap of Kubernetes.",
        set: |global, text, _| boolean(text).map(|on| global.reload_on_change = on),
        show: |global| bare(global.reload_on_change),
    },
    Key {
        name: "drain_timeout",
        takes: MSEC,
        default: "10000",
        since: Since::Nutcracker,
        doc: "How long an orderly stop (SIGTERM, SIGINT) waits for requests in flight, and how long a reload leaves them to servers and pools that it removes.",
        set: |global, text, _| milliseconds(text).map(|timeout| global.drain_timeout = timeout),
        show: |global| bare(global.drain_timeout.as_millis()),
    },
    Key {
        name: "stats_addr",
        takes: "host",
        default: "0.0.0.0",
        since: Since::Nutcracker,
        doc: "Address of the stats listener. The flag `-a` wins.",
        set: |global, text, _| {
            global.stats_addr = Some(text.to_owned());
            Ok(())
        },
        show: |global| global.stats_addr.as_deref().and_then(text),
    },
    Key {
        name: "stats_port",
        takes: "port",
        default: "22222",
        since: Since::Nutcracker,
        doc: "Port of the stats listener. The flag `-s` wins.",
        set: |global, text, _| port(text).map(|port| global.stats_port = Some(port)),
        show: |global| global.stats_port.and_then(bare),
    },
    Key {
        name: "stats_interval",
        takes: MSEC,
        default: "30000",
        since: Since::Nutcracker,
        doc: "Read and without effect: the numbers on the stats port are always live. The flag `-i` wins.",
        set: |global, text, _| {
            milliseconds(text).map(|interval| global.stats_interval = Some(interval))
        },
        show: |global| global.stats_interval.and_then(|interval| bare(interval.as_millis())),
    },
    Key {
        name: "pid_file",
        takes: "path",
        default: "none",
        since: Since::Nutcracker,
        doc: "File that holds the process id while running. The flag `-p` wins.",
        set: |global, text, _| {
            global.pid_file = Some(text.into());
            Ok(())
        },
        show: |global| global.pid_file.as_ref().and_then(|path| text(path.to_string_lossy())),
    },
    Key {
        name: "log_output",
        takes: "path",
        default: "standard error",
        since: Since::Nutcracker,
        doc: "Log file. The flag `-o` wins.",
        set: |global, text, _| {
            global.log_output = Some(text.into());
            Ok(())
        },
        show: |global| global.log_output.as_ref().and_then(|path| text(path.to_string_lossy())),
    },
    Key {
        name: "log_level",
        takes: "number from 0 to 11",
        default: "5",
        since: Since::Nutcracker,
        doc: "How much is logged: 0 nothing, 1 errors, 4 warnings, 5 notices, 6 and more for debugging. The flag `-v` wins.",
        set: |global, text, _| {
            number(text).map(|level| global.log_level = Some(super::settings::log_level(level)))
        },
        show: |global| global.log_level.and_then(bare),
    },
];

fn workers(text: &str) -> Result<Workers, Problem> {
    cli::workers(text.as_bytes()).ok_or_else(|| Problem::Value {
        found: text.to_owned(),
        expected: format!("auto or a number from 1 to {}", cli::WORKERS_MAX),
        fix: String::from("write auto for one per core"),
    })
}

fn port(text: &str) -> Result<u16, Problem> {
    value::port(text).ok_or_else(|| Problem::Value {
        found: text.to_owned(),
        expected: String::from("a port from 1 to 65535"),
        fix: String::from("write for example 22222"),
    })
}
