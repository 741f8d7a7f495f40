//! One pool of a configuration, as the YAML text an operator would write.

use std::fmt::{self, Display};

/// Every hash function that a pool can name.
pub(crate) const HASHES: [&str; 12] = [
    "one_at_a_time",
    "md5",
    "crc16",
    "crc32",
    "crc32a",
    "fnv1_64",
    "fnv1a_64",
    "fnv1_32",
    "fnv1a_32",
    "hsieh",
    "murmur",
    "jenkins",
];

/// Something a pool can list as a server.
pub(crate) trait Location {
    /// `HOST:PORT` or the path of a unix socket.
    fn location(&self) -> String;
}

impl Location for &str {
    fn location(&self) -> String {
        (*self).into()
    }
}

impl Location for String {
    fn location(&self) -> String {
        self.clone()
    }
}

impl<L: Location> Location for &L {
    fn location(&self) -> String {
        (*self).location()
    }
}

/// The text of one pool. Servers are named `server1`, `server2`, … so that placement does not depend on their ports.
#[derive(Clone)]
pub(crate) struct Pool {
    name: String,
    keys: Vec<(String, String)>,
    servers: Vec<String>,
}

impl Pool {
    /// A Redis pool called `alpha` on the first address of the proxy.
    pub(crate) fn redis<L: Location>(servers: &[L]) -> Pool {
        let pool = Pool { name: "alpha".into(), keys: Vec::new(), servers: Vec::new() };
        pool.set("listen", "@0").set("redis", true).servers(servers)
    }

    /// A memcached pool called `alpha` on the first address of the proxy.
    pub(crate) fn memcached<L: Location>(servers: &[L]) -> Pool {
        let pool = Pool { name: "alpha".into(), keys: Vec::new(), servers: Vec::new() };
        pool.set("listen", "@0").servers(servers)
    }

    /// Another name.
    pub(crate) fn named(mut self, name: &str) -> Pool {
        self.name = name.into();
        self
    }

    /// Sets or replaces a key.
    pub(crate) fn set(mut self, key: &str, value: impl Display) -> Pool {
        self.keys.retain(|(present, _)| present != key);
        self.keys.push((key.into(), value.to_string()));
        self
    }

    /// Listens on the `n`th address of the proxy.
    pub(crate) fn listen(self, n: usize) -> Pool {
        self.set("listen", format!("@{n}"))
    }

    /// Adds a server exactly as written: `HOST:PORT:WEIGHT NAME`.
    pub(crate) fn server(mut self, line: impl Into<String>) -> Pool {
        self.servers.push(line.into());
        self
    }

    fn servers<L: Location>(mut self, servers: &[L]) -> Pool {
        for server in servers {
            let name = format!("server{}", self.servers.len() + 1);
            self.servers.push(format!("{}:1 {name}", server.location()));
        }
        self
    }
}

impl Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.name)?;
        for (key, value) in &self.keys {
            writeln!(f, "  {key}: {value}")?;
        }
        writeln!(f, "  servers:")?;
        for server in &self.servers {
            writeln!(f, "   - {server}")?;
        }
        Ok(())
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> String {
        pool.to_string()
    }
}

impl From<&Pool> for String {
    fn from(pool: &Pool) -> String {
        pool.to_string()
    }
}
