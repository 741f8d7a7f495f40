//! What a valid configuration makes dangerous: never a reason to reject a file, always a line to read.

use std::net::IpAddr;

use engine::topology::{Address, OnEject, Protocol, Server};
use sharding::{Distribution, Hash, Sharder};

use super::address::permissions_are_odd;
use super::fault::{Position, Subject, shown};
use super::parse::{Placed, Places};
use super::{Listen, Pool, Settings};

/// One warning. Its text starts with `line:column: warning: `; put the name of the file in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: warning: {subject}{caution}")]
pub struct Warning {
    /// Where.
    pub at: Position,
    /// Whose.
    pub subject: Subject,
    /// What.
    pub caution: Caution,
}

/// What is dangerous.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caution {
    /// No `timeout`.
    #[error(
        "no timeout: requests to a server that hangs wait for ever; fix: add 'timeout: 400' or what your clients can wait, in milliseconds"
    )]
    NoTimeout,
    /// `hash: crc32` with `distribution: ketama`.
    #[error(
        "crc32 gives only 32768 values, all at the start of the ketama ring, so one server gets (nearly) every key; fix: for a new pool use 'hash: fnv1a_64' or crc32a (keys move)"
    )]
    KetamaCrc32,
    /// `auto_eject_hosts: true` with `distribution: modula`.
    #[error(
        "with modula the ejection of one server moves nearly all keys of the pool; fix: use 'distribution: ketama', 'on_eject: error' or 'auto_eject_hosts: false'"
    )]
    ModulaEject,
    /// A key about ejected servers where none is ever ejected.
    #[error(
        "the key has no effect without ejection; fix: add 'auto_eject_hosts: true' or remove it"
    )]
    NothingEjected,
    /// A share of the servers that is less than one of them.
    #[error(
        "the share is less than one server, so none is ever ejected; fix: raise it, or write 'auto_eject_hosts: false'"
    )]
    NoneMayBeEjected,
    /// A server that owns nothing of the table.
    #[error("server '{name}' weighs {weight}, too little beside the others to get any key; fix: raise its weight or lower theirs (keys move)", name = shown(.name))]
    Starved {
        /// The server.
        name: String,
        /// Its weight.
        weight: u32,
    },
    /// The key without effect.
    #[error(
        "the key has no effect, as in twemproxy 0.5; fix: use 'max_clients' to limit clients, or remove it"
    )]
    ClientConnections,
    /// The stats listener will collide with a pool.
    #[error("'{listen}' is also the address of the stats listener ({stats}), so one of them will fail to start; fix: choose another port with -s or here", listen = shown(.listen))]
    StatsAddress {
        /// The pool's address as written.
        listen: String,
        /// The listener's host and port.
        stats: String,
    },
    /// A server whose name is empty.
    #[error("the blank at the end of '{item} ' gives the server an empty name; fix: remove the blank (keys move unless it is the only server)", item = shown(.item))]
    EmptyName {
        /// The server without its name.
        item: String,
    },
    /// `listen: *:PORT`.
    #[error(
        "the host '*' means the loopback address only; fix: write 127.0.0.1, or 0.0.0.0 for every address"
    )]
    Star,
    /// Permissions of a unix socket that are not all octal digits.
    #[error("'{listen}' does not end in octal permissions, so they are read as {read}; fix: write for example 0660", listen = shown(.listen), read = .mode.map_or(String::from("not given"), |mode| format!("{mode:04o}")))]
    OddPermissions {
        /// As written.
        listen: String,
        /// As read.
        mode: Option<u32>,
    },
    /// A Redis key in a memcached pool.
    #[error("the key has no effect in a memcached pool; fix: add 'redis: true' or remove it")]
    RedisOnly,
    /// A memcached key in a Redis pool.
    #[error("the key has no effect in a Redis pool; fix: remove it")]
    MemcachedOnly,
}

/// All that the file alone can tell.
pub(super) fn warnings(placed: &Placed) -> Vec<Warning> {
    let mut all = Vec::new();
    for (pool, places) in placed.config.pools.iter().zip(&placed.places) {
        let mut warn = |at: Option<Position>, key: Option<&str>, caution: Caution| {
            let subject = Subject { pool: Some(pool.name.clone()), key: key.map(String::from) };
            all.push(Warning { at: at.unwrap_or(places.at), subject, caution });
        };
        for (key, caution) in of_keys(pool, places) {
            warn(places.keys.get(key).copied(), Some(key), caution);
        }
        if pool.timeout.is_none() {
            warn(places.keys.get("timeout").copied(), None, Caution::NoTimeout);
        }
        for (shard, caution) in of_servers(pool) {
            warn(places.servers.get(shard).copied(), Some(super::keys::SERVERS), caution);
        }
    }
    all.sort_by_key(|warning| warning.at);
    all
}

fn of_keys(pool: &Pool, places: &Places) -> Vec<(&'static str, Caution)> {
    let mut found = Vec::new();
    if pool.hash == Hash::Crc32
        && pool.distribution == Distribution::Ketama
        && pool.servers.len() > 1
    {
        found.push(("hash", Caution::KetamaCrc32));
    }
    if !pool.auto_eject_hosts {
        let of_ejection = ["on_eject", "probe", "max_ejected_percent"];
        let written = of_ejection.into_iter().filter(|key| places.keys.contains_key(key));
        found.extend(written.map(|key| (key, Caution::NothingEjected)));
    } else if usize::from(pool.max_ejected_percent) * pool.servers.len() < 100 {
        found.push(("max_ejected_percent", Caution::NoneMayBeEjected));
    }
    if pool.auto_eject_hosts
        && pool.on_eject == OnEject::Rehash
        && pool.distribution == Distribution::Modula
    {
        found.push(("auto_eject_hosts", Caution::ModulaEject));
    }
    if places.keys.contains_key("client_connections") {
        found.push(("client_connections", Caution::ClientConnections));
    }
    if pool.redis_db != 0 && pool.protocol != Protocol::Redis {
        found.push(("redis_db", Caution::RedisOnly));
    }
    if pool.protocol == Protocol::Redis {
        let written = ["allow_flush", "max_item_size", "join_gets"].into_iter();
        let written = written.filter(|key| places.keys.contains_key(key));
        found.extend(written.map(|key| (key, Caution::MemcachedOnly)));
    } else if places.keys.contains_key("cross_shard") {
        found.push(("cross_shard", Caution::RedisOnly));
    }
    match &pool.listen {
        Listen::Tcp { host, .. } if host == "*" => found.push(("listen", Caution::Star)),
        Listen::Unix { mode, text, .. } if permissions_are_odd(text) => {
            found.push(("listen", Caution::OddPermissions { listen: text.clone(), mode: *mode }));
        }
        Listen::Tcp { .. } | Listen::Unix { .. } => {}
    }
    found
}

fn of_servers(pool: &Pool) -> Vec<(usize, Caution)> {
    let mut found = Vec::new();
    for (shard, server) in pool.servers.iter().enumerate() {
        if server.name.is_empty()
            && !matches!(&server.address, Address::Tcp { host, .. } if host.is_empty())
        {
            found.push((shard, Caution::EmptyName { item: server.display_name.clone() }));
        }
    }
    let equal = pool.servers.windows(2).all(|pair| pair[0].weight == pair[1].weight);
    if !equal {
        let sharder = sharder(pool);
        let starved =
            pool.servers.iter().enumerate().filter(|&(shard, _)| sharder.points_of(shard) == 0);
        found.extend(starved.map(|(shard, server)| {
            (shard, Caution::Starved { name: server.name.clone(), weight: server.weight })
        }));
    }
    found
}

/// The routing of `pool` with every server live.
pub(super) fn sharder(pool: &Pool) -> Sharder {
    let nodes: Vec<_> = pool.servers.iter().map(Server::node).collect();
    Sharder::new(pool.hash, pool.hash_tag, pool.distribution, &nodes)
}

/// The pools whose listen address the stats listener will want too.
pub(super) fn stats_collisions(placed: &Placed, settings: &Settings) -> Vec<Warning> {
    let stats = format!("{}:{}", settings.stats_addr, settings.stats_port);
    let mut all = Vec::new();
    for (pool, places) in placed.config.pools.iter().zip(&placed.places) {
        let Listen::Tcp { port, resolved, text, .. } = &pool.listen else { continue };
        if *port == settings.stats_port && may_collide(resolved.ip(), &settings.stats_addr) {
            all.push(Warning {
                at: places.keys.get("listen").copied().unwrap_or(places.at),
                subject: Subject::key(&pool.name, "listen"),
                caution: Caution::StatsAddress { listen: text.clone(), stats: stats.clone() },
            });
        }
    }
    all
}

/// A name that is no literal may be any address.
fn may_collide(pool: IpAddr, stats: &str) -> bool {
    let Ok(stats) = stats.parse::<IpAddr>() else { return true };
    pool == stats || pool.is_unspecified() || stats.is_unspecified()
}
