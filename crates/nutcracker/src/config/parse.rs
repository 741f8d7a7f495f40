//! From the tree of a file to a [`Config`], or to all that is wrong with it: every pool and key is looked at before
//! anything is reported, and what is reported is in the order of the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::topology::{CrossShard, OnEject, Protocol, Server};
use sharding::{Distribution, Hash, compare_names};

use super::address::{self, Resolver};
use super::document::{Node, Value};
use super::fault::{Fault, Position, Problem, Subject};
use super::keys::{self, Key};
use super::value::nearest;
use super::{Config, Global, Listen, Pool};

/// More faults than anybody reads; the rest of them are dropped.
const FAULTS_MAX: usize = 200;

/// A valid configuration together with the places its warnings point to.
#[derive(Debug)]
pub(super) struct Placed {
    /// What the file says.
    pub(super) config: Config,
    /// One for each pool, in the order of `config.pools`.
    pub(super) places: Vec<Places>,
}

/// Where the parts of one pool stand in the file.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The name of the pool.
    pub(super) at: Position,
    /// The value of each key that is there.
    pub(super) keys: HashMap<&'static str, Position>,
    /// The item of each server, in the order of the pool's servers.
    pub(super) servers: Vec<Position>,
}

/// Reads `root`; hosts of `listen` are resolved by `resolver`.
pub(super) fn parse(root: &Node, resolver: Resolver<'_>) -> Result<Placed, Vec<Fault>> {
    let mut reader = Reader { resolver, faults: Vec::new() };
    let read = reader.root(root);
    match read {
        Some(placed) if reader.faults.is_empty() => Ok(placed),
        _ => {
            reader.faults.sort_by_key(|fault| fault.at);
            Err(reader.faults)
        }
    }
}

struct Reader<'r> {
    resolver: Resolver<'r>,
    faults: Vec<Fault>,
}

/// A mapping whose keys are known to be scalars: key, its place, value.
type Pairs<'n> = Vec<(&'n str, Position, &'n Node)>;

impl Reader<'_> {
    fn report(&mut self, at: Position, subject: Subject, problem: Problem) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { at, subject, problem });
        }
    }

    fn root(&mut self, root: &Node) -> Option<Placed> {
        let pairs =
            self.pairs(root, &Subject::default(), "pools as 'name:' with indented keys below")?;
        let mut global = Global::default();
        let mut pools = Vec::new();
        let mut seen: HashMap<&str, Position> = HashMap::new();
        for (name, at, node) in pairs {
            if let Some(first) = seen.insert(name, at) {
                self.report(at, Subject::pool(name), Problem::SamePool { first: first.line });
            } else if is_global(name, node) {
                global = self.global(node);
            } else if let Some(pool) = self.pool(name, at, node) {
                pools.push(pool);
            }
        }
        if pools.is_empty() && self.faults.is_empty() {
            self.report(root.at, Subject::default(), Problem::NoPool);
        }
        self.check_listen(&pools);
        pools.sort_by(|(a, _), (b, _)| compare_names(a.name.as_bytes(), b.name.as_bytes()));
        let (pools, places) = pools.into_iter().unzip();
        Some(Placed { config: Config { pools, global }, places })
    }

    /// The pairs of a mapping; its keys are checked to be text.
    fn pairs<'n>(
        &mut self,
        node: &'n Node,
        subject: &Subject,
        expected: &'static str,
    ) -> Option<Pairs<'n>> {
        let Value::Mapping(pairs) = &node.value else {
            let fix = String::from(
                "write 'key: value' lines, with a blank after the colon and equal indentation",
            );
            self.report(
                node.at,
                subject.clone(),
                Problem::Shape { found: node.describe(), expected, fix },
            );
            return None;
        };
        let mut named = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match key_name(key) {
                Ok(name) => named.push((name, key.at, value)),
                Err(problem) => self.report(key.at, subject.clone(), problem),
            }
        }
        Some(named)
    }

    fn global(&mut self, node: &Node) -> Global {
        let mut global = Global::default();
        let subject = Subject::pool(keys::GLOBAL);
        let pairs = self
            .pairs(node, &subject, "settings of the process as 'key: value'")
            .unwrap_or_default();
        let mut seen = HashMap::new();
        for (name, at, value) in pairs {
            let Some(key) =
                self.known(keys::GLOBAL_KEYS, keys::GLOBAL, "'global'", name, at, &mut seen)
            else {
                continue;
            };
            if let Some(text) = self.scalar(keys::GLOBAL, key, value) {
                let set = (key.set)(&mut global, text, self.resolver);
                self.check(value.at, keys::GLOBAL, key.name, set);
            }
        }
        global
    }

    /// The row of the key `name`, once.
    fn known<'k, T>(
        &mut self,
        table: &'k [Key<T>],
        pool: &str,
        of: &'static str,
        name: &str,
        at: Position,
        seen: &mut HashMap<&'static str, Position>,
    ) -> Option<&'k Key<T>> {
        let Some(key) = table.iter().find(|key| key.name == name) else {
            self.report(at, Subject::key(pool, name), unknown_key(table, of, name));
            return None;
        };
        if let Some(first) = seen.get(key.name) {
            self.report(at, Subject::key(pool, name), Problem::DuplicateKey { first: first.line });
            return None;
        }
        seen.insert(key.name, at);
        Some(key)
    }

    /// The text of a scalar that is not empty.
    fn scalar<'n, T>(&mut self, pool: &str, key: &Key<T>, node: &'n Node) -> Option<&'n str> {
        let problem = match &node.value {
            Value::Scalar(text) if text.is_empty() => {
                let fix = "write a value, or remove the key to get the default";
                Problem::Empty { expected: key.takes.to_owned(), fix }
            }
            // COMPAT: a password may hold any byte; elsewhere twemproxy 0.5 would cut the text there.
            Value::Scalar(text) if text.contains('\0') && key.name != "redis_auth" => nul(text),
            Value::Scalar(text) => return Some(text),
            _ => Problem::Shape {
                found: node.describe(),
                expected: key.takes,
                fix: match key.name {
                    "hash_tag" => String::from("put it in quotes: hash_tag: \"{}\""),
                    _ => format!("write '{}: VALUE' on one line", key.name),
                },
            },
        };
        self.report(node.at, Subject::key(pool, key.name), problem);
        None
    }

    fn check(&mut self, at: Position, pool: &str, key: &str, result: Result<(), Problem>) {
        if let Err(problem) = result {
            self.report(at, Subject::key(pool, key), problem);
        }
    }

    fn pool(&mut self, name: &str, at: Position, node: &Node) -> Option<(Pool, Places)> {
        let pairs = self.pairs(node, &Subject::pool(name), "the keys of a pool as 'key: value'")?;
        // COMPAT: twemproxy 0.5 asks for one list in each pool, whichever key it belongs to.
        let lists =
            pairs.iter().filter(|(_, _, value)| matches!(value.value, Value::List(_))).count();
        let mut pool = Pool::new(name);
        let mut places = Places { at, keys: HashMap::new(), servers: Vec::new() };
        let mut seen = HashMap::new();
        for (key_name, key_at, value) in pairs {
            let Some(key) = self.known(keys::POOL, name, "a pool", key_name, key_at, &mut seen)
            else {
                continue;
            };
            places.keys.insert(key.name, value.at);
            if key.name == keys::SERVERS {
                (pool.servers, places.servers) = self.servers(name, value, lists);
            } else if let Some(text) = self.scalar(name, key, only_item(value, lists)) {
                let set = (key.set)(&mut pool, text, self.resolver);
                self.check(value.at, name, key.name, set);
            }
        }
        self.check_whole(&pool, &places);
        Some((pool, places))
    }

    /// What no key can tell alone.
    fn check_whole(&mut self, pool: &Pool, places: &Places) {
        for (key, example) in [
            ("listen", "listen: 127.0.0.1:22121"),
            (keys::SERVERS, "servers:' and '- HOST:PORT:WEIGHT"),
        ] {
            if !places.keys.contains_key(key) {
                self.report(
                    places.at,
                    Subject::pool(&pool.name),
                    Problem::MissingKey { key, example },
                );
            }
        }
        if let Some(&at) = places.keys.get("redis_auth")
            && pool.protocol != Protocol::Redis
            && !self.is_reported(&pool.name, "redis")
        {
            self.report(at, Subject::key(&pool.name, "redis_auth"), Problem::AuthWithoutRedis);
        }
    }

    /// Whether the value of a key was found wrong, so nothing follows from it.
    fn is_reported(&self, pool: &str, key: &str) -> bool {
        let subject = Subject::key(pool, key);
        self.faults.iter().any(|fault| fault.subject == subject)
    }

    /// The servers in their order, each with its place.
    fn servers(&mut self, pool: &str, node: &Node, lists: usize) -> (Vec<Server>, Vec<Position>) {
        let subject = Subject::key(pool, keys::SERVERS);
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Scalar(text) if !text.is_empty() && lists == 1 => std::slice::from_ref(node),
            _ => &[],
        };
        if items.is_empty() {
            let found = if matches!(node.value, Value::List(_)) {
                String::from("an empty list")
            } else {
                node.describe()
            };
            let fix =
                String::from("write each server on a line of its own: '- HOST:PORT:WEIGHT [NAME]'");
            self.report(
                node.at,
                subject,
                Problem::Shape { found, expected: "a list with at least one server", fix },
            );
            return (Vec::new(), Vec::new());
        }
        let mut servers = Vec::with_capacity(items.len());
        for item in items {
            match read_server(item) {
                Ok(server) => servers.push((server, item.at)),
                Err(problem) => self.report(item.at, subject.clone(), problem),
            }
        }
        servers.sort_by(|(a, _), (b, _)| compare_names(a.name.as_bytes(), b.name.as_bytes()));
        self.check_names(&subject, &servers);
        servers.into_iter().unzip()
    }

    fn check_names(&mut self, subject: &Subject, sorted: &[(Server, Position)]) {
        for pair in sorted.windows(2) {
            let [(first, first_at), (second, second_at)] = pair else { continue };
            if first.name == second.name {
                let problem = Problem::SameServer {
                    name: second.name.clone(),
                    first: first_at.line,
                    example: second.display_name.clone(),
                };
                self.report(*second_at, subject.clone(), problem);
            }
        }
    }

    /// COMPAT: the texts are compared, as in twemproxy 0.5; two names of one address fail when they are bound.
    fn check_listen(&mut self, pools: &[(Pool, Places)]) {
        let mut seen: HashMap<&str, (&str, Position)> = HashMap::new();
        for (pool, places) in pools {
            let Some(&at) = places.keys.get("listen") else { continue };
            let listen = pool.listen.text();
            if listen.is_empty() {
                continue;
            }
            if let Some((other, first)) = seen.insert(listen, (&pool.name, at)) {
                let (listen, other) = (listen.to_owned(), other.to_owned());
                let problem = Problem::SameListen { listen, other, first: first.line };
                self.report(at, Subject::key(&pool.name, "listen"), problem);
            }
        }
    }
}

fn key_name(key: &Node) -> Result<&str, Problem> {
    match &key.value {
        Value::Scalar(name) if name.is_empty() => Err(Problem::Empty {
            expected: String::from("a name"),
            fix: "write a name in front of the colon",
        }),
        Value::Scalar(name) if name.contains('\0') => Err(nul(name)),
        Value::Scalar(name) => Ok(name),
        _ => {
            let fix = String::from("write a plain word in front of the colon");
            Err(Problem::Shape { found: key.describe(), expected: "the name of a key", fix })
        }
    }
}

/// Whether the root key holds settings of the process. A mapping with keys that every pool must have is a pool that
/// happens to be called so, as old files may have it.
fn is_global(name: &str, node: &Node) -> bool {
    let is_pool = match &node.value {
        Value::Mapping(pairs) => pairs.iter().any(|(key, _)| match &key.value {
            Value::Scalar(key) => key == "listen" || key == keys::SERVERS,
            _ => false,
        }),
        _ => false,
    };
    name == keys::GLOBAL && !is_pool
}

/// COMPAT: twemproxy 0.5 takes a list of one item for a scalar, when it is the only list of the pool.
fn only_item(node: &Node, lists: usize) -> &Node {
    match &node.value {
        Value::List(items) if lists == 1 && items.len() == 1 => &items[0],
        _ => node,
    }
}

fn read_server(item: &Node) -> Result<Server, Problem> {
    match &item.value {
        Value::Scalar(text) if text.is_empty() => Err(Problem::Empty {
            expected: String::from(address::SERVER_FORM),
            fix: "write a server after the dash, or remove the line",
        }),
        Value::Scalar(text) if text.contains('\0') => Err(nul(text)),
        Value::Scalar(text) => address::server(text),
        _ => Err(Problem::Shape {
            found: item.describe(),
            expected: address::SERVER_FORM,
            fix: String::from("write one server per line without a blank after its colons"),
        }),
    }
}

fn nul(text: &str) -> Problem {
    Problem::Value {
        found: text.to_owned(),
        expected: String::from("text without NUL characters"),
        fix: String::from("remove the \\0"),
    }
}

fn unknown_key<T>(table: &[Key<T>], of: &'static str, name: &str) -> Problem {
    let names: Vec<&str> = table.iter().map(|key| key.name).collect();
    let fix = match nearest(name, &names) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("remove it, or use one of {}", names.join(", ")),
    };
    Problem::UnknownKey { found: name.to_owned(), of, fix }
}

impl Pool {
    /// A pool of that name with every default, listening nowhere and without servers: to be filled by the parser.
    fn new(name: &str) -> Pool {
        Pool {
            name: name.to_owned(),
            listen: Listen::Unix { path: PathBuf::new(), mode: None, text: String::new() },
            backlog: 512,
            tcpkeepalive: false,
            reuseport: false,
            client_connections: 0,
            max_clients: 0,
            max_clients_per_address: 0,
            proxy_protocol: false,
            protocol: Protocol::Memcached,
            redis_auth: None,
            redis_db: 0,
            hash: Hash::Fnv1a64,
            hash_tag: None,
            distribution: Distribution::Ketama,
            timeout: None,
            preconnect: false,
            auto_eject_hosts: false,
            server_connections: 1,
            server_retry_timeout: Duration::from_secs(30),
            server_failure_limit: 2,
            on_eject: OnEject::Rehash,
            probe: false,
            max_ejected_percent: 100,
            cross_shard: CrossShard::FirstKey,
            allow_flush: false,
            item_bytes_max: 0,
            join_gets: true,
            servers: Vec::new(),
        }
    }
}
