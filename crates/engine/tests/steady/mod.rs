//! An engine in steady state: clients that send the same requests again and again, servers that answer, a reactor without
//! sockets. Apart from the simulation because nothing here allocates while it runs, fails or varies: what is counted
//! around a round, allocations or instructions, is the engine's.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use engine::counters::Counts;
use engine::topology::{Address, CrossShard, FlushAll, Limits, Pool, Protocol, Server, Topology};
use engine::{Engine, Environment, Event, Identity, Now, Slot};
use sharding::{Distribution, Hash, Node, Sharder};

/// Rounds of single requests before anything is asked of new clients.
const WARM_UP: usize = 100;

/// More than the connections of any rig.
const SLOTS: usize = 4096;

struct NoText;

impl Environment for NoText {
    fn info(&self, _section: Option<&[u8]>, _text: &mut String) {}
    fn stats(&self, _tell: &mut dyn FnMut(&str, &str)) {}
}

fn pool(protocol: Protocol, servers: usize, joins_gets: bool) -> Pool {
    let server = |i: usize| Server {
        name: format!("server{i:02}"),
        display_name: format!("10.0.0.{i}:6379:1"),
        address: Address::Tcp { host: format!("10.0.0.{i}"), port: 6379 },
        weight: 1,
    };
    Pool {
        name: "pool".into(),
        protocol,
        hash: Hash::Fnv1a64,
        hash_tag: None,
        distribution: Distribution::Ketama,
        timeout: Some(Duration::from_millis(400)),
        redis_auth: None,
        redis_db: 0,
        preconnect: true,
        server_connections: 1,
        ejection: None,
        retry_timeout: Duration::from_secs(30),
        cross_shard: CrossShard::FirstKey,
        flush_all: FlushAll::Refuse,
        item_bytes_max: u32::MAX,
        joins_gets,
        servers: (0..servers).map(server).collect(),
    }
}

/// What is exchanged in each round. Everything is made before counting begins.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) protocol: Protocol,
    /// The bytes of each client in a round.
    pub(crate) request: Vec<u8>,
    /// What each server answers for one client.
    pub(crate) replies: Vec<Vec<u8>>,
    /// What each client gets.
    pub(crate) answer: Vec<u8>,
    pub(crate) clients: usize,
    /// Longest piece of a read.
    pub(crate) piece: usize,
    /// memcached: the gets of all clients are joined, and `replies` are the ones to all of them.
    pub(crate) joined: bool,
}

/// An engine with clients and established server connections.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    clients: Vec<Slot>,
    links: Vec<Slot>,
    /// Of each slot, whether it is a server connection.
    is_link: Vec<bool>,
    flush: Vec<Slot>,
    events: Vec<Event>,
    /// How much of its answer each slot got in this round.
    got: Vec<usize>,
    now: Now,
}

impl Rig {
    /// As many clients and servers as `exchange` has.
    pub(crate) fn new(exchange: &Exchange) -> Rig {
        let servers = exchange.replies.len();
        let pool = Arc::new(pool(exchange.protocol, servers, exchange.joined));
        let topology = Topology { epoch: 1, pools: vec![pool], limits: Limits::default() };
        let identity = Identity { worker: 0, workers: 1, seed: 1 };
        let mut engine = Engine::new(identity, Arc::new(NoText));
        let now = Now { mono_us: 1_000_000, wall_us: 1_000_000 };
        engine.publish(&topology, &Counts::for_topology(&topology), now);
        let mut links = vec![0; servers];
        for (slot, _, server) in engine.actions().connect.drain(..) {
            links[server as usize] = slot;
        }
        links.iter().for_each(|link| engine.connected(*link));
        let clients: Vec<_> = (0..exchange.clients).map(|_| engine.accept(0, None)).collect();
        let is_link = (0..SLOTS as Slot).map(|slot| links.contains(&slot)).collect();
        Rig {
            engine,
            clients,
            links,
            is_link,
            flush: Vec::new(),
            events: Vec::new(),
            got: vec![0; SLOTS],
            now,
        }
    }

    /// Serves single requests until clients may have as many under way as `exchange` wants: a new client may have few,
    /// and every reply allows it more.
    pub(crate) fn warm_up(&mut self, exchange: &Exchange) {
        let one_by_one = exchange.one_by_one();
        for _ in 0..WARM_UP {
            self.round(&one_by_one);
        }
    }

    /// Every client sends its request, every server answers, the last server first.
    pub(crate) fn round(&mut self, exchange: &Exchange) {
        self.ask(exchange);
        self.answer(exchange);
    }

    /// The first half of a round: every client sends its request, and the servers get their parts.
    pub(crate) fn ask(&mut self, exchange: &Exchange) {
        self.now.mono_us += 50;
        for i in 0..self.clients.len() {
            for piece in exchange.request.chunks(exchange.piece) {
                self.engine.received(self.clients[i], piece, self.now);
            }
        }
        self.turn(exchange);
    }

    /// The second half: every server answers, the last one first, and the clients get all of their answers.
    pub(crate) fn answer(&mut self, exchange: &Exchange) {
        for server in (0..self.links.len()).rev() {
            for _ in 0..if exchange.joined { 1 } else { self.clients.len() } {
                for piece in exchange.replies[server].chunks(exchange.piece) {
                    self.engine.received(self.links[server], piece, self.now);
                }
            }
        }
        self.turn(exchange);
        while self.engine.deadline() == Some(0) {
            self.turn(exchange);
        }
        for client in &self.clients {
            assert_eq!(self.got[*client as usize], exchange.answer.len(), "an answer is missing");
            self.got[*client as usize] = 0;
        }
    }

    /// Ends a phase and a turn: writes everything, and checks what is written to clients.
    fn turn(&mut self, exchange: &Exchange) {
        self.engine.turn(self.now);
        self.engine.take_events(&mut self.events);
        self.engine.end_phase();
        let actions = self.engine.actions();
        assert!(actions.close.is_empty() && actions.connect.is_empty());
        actions.resume.clear();
        std::mem::swap(&mut actions.flush, &mut self.flush);
        for slot in self.flush.drain(..) {
            let is_client = !self.is_link[slot as usize];
            loop {
                let mut slices = [IoSlice::new(&[]); 64];
                let filled = self.engine.output(slot, &mut slices);
                let mut written = 0;
                for slice in &slices[..filled] {
                    if is_client {
                        let from = self.got[slot as usize] + written;
                        assert_eq!(exchange.answer.get(from..from + slice.len()), Some(&**slice));
                    }
                    written += slice.len();
                }
                if written == 0 {
                    break;
                }
                self.got[slot as usize] += written;
                self.engine.written(slot, written);
            }
        }
    }
}

impl Exchange {
    /// Clients that all send `request` and get `answer`; `replies` are those of the servers.
    pub(crate) fn new(request: Vec<u8>, replies: Vec<Vec<u8>>, answer: Vec<u8>) -> Exchange {
        let protocol = Protocol::Redis;
        Exchange {
            protocol,
            request,
            replies,
            answer,
            clients: 1,
            piece: usize::MAX,
            joined: false,
        }
    }

    /// The same for so many clients.
    pub(crate) fn by(self, clients: usize) -> Exchange {
        Exchange { clients, ..self }
    }

    /// A get of one key, for the same clients and servers.
    pub(crate) fn one_by_one(&self) -> Exchange {
        if self.joined {
            return self.clone();
        }
        let servers = self.replies.len();
        let get = match self.protocol {
            Protocol::Redis => gets(servers, 1),
            Protocol::Memcached => memcached_get(servers, 1),
        };
        get.by(self.clients)
    }

    /// The same in the other protocol; an exchange of Redis if nothing is said.
    pub(crate) fn in_memcached(self) -> Exchange {
        Exchange { protocol: Protocol::Memcached, ..self }
    }
}

fn array(elements: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", elements.len()).into_bytes(), elements.concat()].concat()
}

pub(crate) fn bulk(payload: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

/// A request of Redis.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    array(&words.iter().map(|word| bulk(word)).collect::<Vec<_>>())
}

/// A key and the shard it lives on.
pub(crate) type Placed = (Vec<u8>, usize);

/// `n` keys that live on the shards of a pool of `servers` in turn.
pub(crate) fn keys(servers: usize, n: usize) -> Vec<Placed> {
    let sharder = sharder(servers);
    let mut keys = (0..).map(|i| format!("key:{i:012}").into_bytes());
    let mut next = |wanted| keys.by_ref().find(|key| sharder.shard(key, || 0) == wanted);
    (0..n).map(|i| (next(i % servers).unwrap_or_default(), i % servers)).collect()
}

/// What a pool of `servers` routes with.
pub(crate) fn sharder(servers: usize) -> Sharder {
    let pool = pool(Protocol::Redis, servers, false);
    let names = pool.servers.iter().map(|server| server.name.as_bytes());
    let nodes: Vec<_> = names.map(|name| Node { name, weight: 1 }).collect();
    Sharder::new(pool.hash, None, pool.distribution, &nodes)
}

/// 32 bytes.
pub(crate) fn value(key: &[u8]) -> Vec<u8> {
    let mut value = key.to_vec();
    value.resize(32, b'.');
    value
}

/// A value as memcached answers it.
pub(crate) fn block(key: &[u8]) -> Vec<u8> {
    [b"VALUE ", key, b" 0 32\r\n", value(key).as_slice(), b"\r\n"].concat()
}

/// For each server what `of` makes of its keys, nothing if it has none.
fn by_server(servers: usize, keys: &[Placed], of: impl Fn(&[&[u8]]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let own = |server| keys.iter().filter(move |(_, shard)| *shard == server);
    let own = |server| own(server).map(|(key, _)| key.as_slice()).collect::<Vec<_>>();
    (0..servers).map(own).map(|keys| if keys.is_empty() { Vec::new() } else { of(&keys) }).collect()
}

/// GETs in a pipeline of `depth`, over all servers.
pub(crate) fn gets(servers: usize, depth: usize) -> Exchange {
    let keys = keys(servers, depth);
    let requests: Vec<_> = keys.iter().map(|(key, _)| request(&[b"GET", key])).collect();
    let values = |keys: &[&[u8]]| keys.iter().flat_map(|key| bulk(&value(key))).collect();
    let answer = keys.iter().flat_map(|(key, _)| bulk(&value(key))).collect();
    Exchange::new(requests.concat(), by_server(servers, &keys, values), answer)
}

/// A SET of 32 bytes.
pub(crate) fn set() -> Exchange {
    let (key, _) = keys(1, 1).remove(0);
    let ok = b"+OK\r\n".to_vec();
    Exchange::new(request(&[b"SET", &key, &value(&key)]), vec![ok.clone()], ok)
}

/// An MGET of `n` keys.
pub(crate) fn mget(servers: usize, n: usize) -> Exchange {
    let keys = keys(servers, n);
    let words: Vec<&[u8]> = std::iter::once(b"MGET".as_slice())
        .chain(keys.iter().map(|(key, _)| key.as_slice()))
        .collect();
    let values =
        |keys: &[&[u8]]| array(&keys.iter().map(|key| bulk(&value(key))).collect::<Vec<_>>());
    let answer = array(&keys.iter().map(|(key, _)| bulk(&value(key))).collect::<Vec<_>>());
    Exchange::new(request(&words), by_server(servers, &keys, values), answer)
}

/// An MSET of `n` keys to values of 32 bytes.
pub(crate) fn mset(servers: usize, n: usize) -> Exchange {
    let keys = keys(servers, n);
    let pairs: Vec<_> = keys.iter().flat_map(|(key, _)| [key.clone(), value(key)]).collect();
    let words: Vec<&[u8]> =
        std::iter::once(b"MSET".as_slice()).chain(pairs.iter().map(Vec::as_slice)).collect();
    let ok = b"+OK\r\n".to_vec();
    let replies = by_server(servers, &keys, |_| ok.clone());
    Exchange::new(request(&words), replies, ok)
}

/// A get of `n` keys of memcached.
pub(crate) fn memcached_get(servers: usize, n: usize) -> Exchange {
    let keys = keys(servers, n);
    let values = |keys: &[&[u8]]| {
        let items: Vec<u8> = keys.iter().flat_map(|key| block(key)).collect();
        [items.as_slice(), b"END\r\n"].concat()
    };
    let all: Vec<&[u8]> = keys.iter().map(|(key, _)| key.as_slice()).collect();
    let request = [b"get ", all.join(b" ".as_slice()).as_slice(), b"\r\n"].concat();
    Exchange::new(request, by_server(servers, &keys, values), values(&all)).in_memcached()
}

/// A get of one key by each of so many clients of memcached, which go to the one server as one.
pub(crate) fn joined_gets(clients: usize) -> Exchange {
    let (key, _) = keys(1, 1).remove(0);
    let reply = [block(&key).repeat(clients).as_slice(), b"END\r\n"].concat();
    Exchange { replies: vec![reply], joined: true, clients, ..memcached_get(1, 1) }
}

/// A set of 32 bytes of memcached.
pub(crate) fn memcached_set() -> Exchange {
    let (key, _) = keys(1, 1).remove(0);
    let request = [b"set ", key.as_slice(), b" 0 0 32\r\n", &value(&key), b"\r\n"].concat();
    let stored = b"STORED\r\n".to_vec();
    Exchange::new(request, vec![stored.clone()], stored).in_memcached()
}
