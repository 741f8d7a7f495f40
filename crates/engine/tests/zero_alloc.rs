//! In steady state a request costs no allocation, whatever its kind: counted over the whole engine, from the bytes of
//! clients to the bytes for clients. Apart from the simulation because nothing but the engine may allocate here.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use engine::counters::Counts;
use engine::topology::{Address, CrossShard, FlushAll, Limits, Pool, Protocol, Server, Topology};
use engine::{Engine, Environment, Event, Identity, Now, Slot};
use sharding::{Distribution, Hash, Node, Sharder};

/// Rounds before counting, and counted.
const WARM_UP: usize = 300;
const ROUNDS: usize = 100;

struct NoText;

impl Environment for NoText {
    fn info(&self, _section: Option<&[u8]>, _text: &mut String) {}
    fn stats(&self, _tell: &mut dyn FnMut(&str, &str)) {}
}

fn pool(protocol: Protocol, servers: usize) -> Pool {
    let server = |i: usize| Server {
        name: format!("server{i}"),
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
        servers: (0..servers).map(server).collect(),
    }
}

/// What is exchanged in each round. Everything is made before counting begins.
struct Exchange {
    protocol: Protocol,
    /// The bytes of each client in a round.
    request: Vec<u8>,
    /// What each server answers for one client.
    replies: Vec<Vec<u8>>,
    /// What each client gets.
    answer: Vec<u8>,
    clients: usize,
    /// Longest piece of a read.
    piece: usize,
}

impl Exchange {
    fn empty(protocol: Protocol, servers: usize, clients: usize) -> Exchange {
        Exchange {
            protocol,
            request: Vec::new(),
            replies: vec![Vec::new(); servers],
            answer: Vec::new(),
            clients,
            piece: usize::MAX,
        }
    }

    /// `request` is answered by the only server, with `reply`.
    fn single(protocol: Protocol, clients: usize, request: &[u8], reply: &[u8]) -> Exchange {
        Exchange {
            request: request.to_vec(),
            replies: vec![reply.to_vec()],
            answer: reply.to_vec(),
            ..Exchange::empty(protocol, 1, clients)
        }
    }
}

/// An engine with clients and established server connections.
struct Rig {
    engine: Engine,
    clients: Vec<Slot>,
    links: Vec<Slot>,
    flush: Vec<Slot>,
    events: Vec<Event>,
    /// How much of its answer each slot got in this round.
    got: Vec<usize>,
    now: Now,
}

impl Rig {
    fn new(protocol: Protocol, servers: usize, clients: usize) -> Rig {
        let pools = vec![Arc::new(pool(protocol, servers))];
        let topology = Topology { epoch: 1, pools, limits: Limits::default() };
        let identity = Identity { worker: 0, workers: 1, seed: 1 };
        let mut engine = Engine::new(identity, Arc::new(NoText));
        let now = Now { mono_us: 1_000_000, wall_us: 1_000_000 };
        engine.publish(&topology, &Counts::for_topology(&topology), now);
        let mut links = vec![0; servers];
        for (slot, _, server) in engine.actions().connect.drain(..) {
            links[server as usize] = slot;
        }
        links.iter().for_each(|link| engine.connected(*link));
        let clients: Vec<_> = (0..clients).map(|_| engine.accept(0, None)).collect();
        Rig {
            engine,
            clients,
            links,
            flush: Vec::new(),
            events: Vec::new(),
            got: vec![0; 4096],
            now,
        }
    }

    /// Every client sends its request, every server answers, the last server first.
    fn round(&mut self, exchange: &Exchange) {
        self.now.mono_us += 50;
        for i in 0..self.clients.len() {
            for piece in exchange.request.chunks(exchange.piece) {
                self.engine.received(self.clients[i], piece, self.now);
            }
        }
        self.turn(exchange);
        for server in (0..self.links.len()).rev() {
            for _ in 0..self.clients.len() {
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
            let is_client = !self.links.contains(&slot);
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

/// Allocations of the rounds that are counted, after those that are not.
#[track_caller]
fn assert_no_allocation(exchange: &Exchange) {
    let servers = exchange.replies.len();
    let mut rig = Rig::new(exchange.protocol, servers, exchange.clients);
    // A new client may have few requests under way; every reply allows it more.
    let one_by_one = match exchange.protocol {
        Protocol::Redis => gets(servers, exchange.clients, 1),
        Protocol::Memcached => values(servers, exchange.clients, 1),
    };
    for _ in 0..WARM_UP {
        rig.round(&one_by_one);
    }
    for _ in 0..WARM_UP {
        rig.round(exchange);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..ROUNDS {
            rig.round(exchange);
        }
    });
    assert_eq!(
        counted.count_total, 0,
        "allocations in {ROUNDS} rounds of {} clients",
        exchange.clients
    );
    assert_eq!(rig.engine.buffered_bytes(), 0);
}

fn array(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", elements.len()).into_bytes();
    elements.iter().for_each(|element| out.extend(element));
    out
}

fn bulk(payload: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

fn request(words: &[Vec<u8>]) -> Vec<u8> {
    array(&words.iter().map(|word| bulk(word)).collect::<Vec<_>>())
}

/// Keys that live on the shards of a pool of `servers` in turn.
fn keys(servers: usize, n: usize) -> Vec<Vec<u8>> {
    let mut keys = (0..).map(|i| format!("key:{i:012}").into_bytes());
    let mut next = |wanted| keys.by_ref().find(|key| shard(servers, key) == wanted);
    (0..n).map(|i| next(i % servers).unwrap_or_default()).collect()
}

fn value(key: &[u8]) -> Vec<u8> {
    let mut value = key.to_vec();
    value.resize(32, b'.');
    value
}

/// The shard of a key in a pool of `servers`.
fn shard(servers: usize, key: &[u8]) -> usize {
    let pool = pool(Protocol::Redis, servers);
    let nodes: Vec<_> = pool
        .servers
        .iter()
        .map(|server| Node { name: server.name.as_bytes(), weight: 1 })
        .collect();
    Sharder::new(pool.hash, None, pool.distribution, &nodes).shard(key, || 0)
}

/// `clients` clients that pipeline `depth` GETs over all servers.
fn gets(servers: usize, clients: usize, depth: usize) -> Exchange {
    let mut exchange = Exchange::empty(Protocol::Redis, servers, clients);
    for key in keys(servers, depth) {
        exchange.request.extend(request(&[b"GET".to_vec(), key.clone()]));
        let reply = bulk(&value(&key));
        exchange.replies[shard(servers, &key)].extend(&reply);
        exchange.answer.extend(reply);
    }
    exchange
}

/// Clients that ask for `n` keys at once.
fn mget(servers: usize, clients: usize, n: usize) -> Exchange {
    let keys = keys(servers, n);
    let mut words = vec![b"MGET".to_vec()];
    words.extend(keys.iter().cloned());
    let of_shard = |server: usize| {
        let own = keys.iter().filter(|key| shard(servers, key) == server);
        array(&own.map(|key| bulk(&value(key))).collect::<Vec<_>>())
    };
    Exchange {
        request: request(&words),
        replies: (0..servers).map(of_shard).collect(),
        answer: array(&keys.iter().map(|key| bulk(&value(key))).collect::<Vec<_>>()),
        ..Exchange::empty(Protocol::Redis, servers, clients)
    }
}

/// A value as memcached answers it.
fn block(key: &[u8]) -> Vec<u8> {
    [b"VALUE ", key, b" 0 32\r\n", &value(key), b"\r\n"].concat()
}

/// `clients` memcached clients that pipeline `depth` reads of one key over all servers.
fn values(servers: usize, clients: usize, depth: usize) -> Exchange {
    let mut exchange = Exchange::empty(Protocol::Memcached, servers, clients);
    for key in keys(servers, depth) {
        exchange.request.extend([b"get ", &key[..], b"\r\n"].concat());
        let reply = [&block(&key)[..], b"END\r\n"].concat();
        exchange.replies[shard(servers, &key)].extend(&reply);
        exchange.answer.extend(reply);
    }
    exchange
}

/// Memcached clients that ask for `n` keys at once, every fifth of which does not exist.
fn multi_get(servers: usize, clients: usize, n: usize) -> Exchange {
    let mut exchange = Exchange::empty(Protocol::Memcached, servers, clients);
    exchange.request.extend(b"get");
    for (i, key) in keys(servers, n).iter().enumerate() {
        exchange.request.extend([b" ", &key[..]].concat());
        if i % 5 != 4 {
            exchange.replies[shard(servers, key)].extend(block(key));
            exchange.answer.extend(block(key));
        }
    }
    exchange.request.extend(b"\r\n");
    exchange.replies.iter_mut().for_each(|reply| reply.extend(b"END\r\n"));
    exchange.answer.extend(b"END\r\n");
    exchange
}

/// Memcached clients that ask quietly for `n` keys, every other of which does not exist, and end that with `mn`.
fn quiet_gets(servers: usize, clients: usize, n: usize) -> Exchange {
    let mut exchange = Exchange::empty(Protocol::Memcached, servers, clients);
    for (i, key) in keys(servers, n).iter().enumerate() {
        exchange.request.extend([b"mg ", &key[..], b" v q\r\n"].concat());
        let hit = [b"VA 32\r\n", &value(key)[..], b"\r\n"].concat();
        let reply = if i % 2 == 0 { &hit[..] } else { b"EN\r\n" };
        exchange.replies[shard(servers, key)].extend(reply);
        if i % 2 == 0 {
            exchange.answer.extend(reply);
        }
    }
    exchange.request.extend(b"mn\r\n");
    exchange.answer.extend(b"MN\r\n");
    exchange
}

#[test]
fn a_get_allocates_nothing() {
    assert_no_allocation(&gets(1, 1, 1));
    assert_no_allocation(&gets(1, 50, 1));
}

#[test]
fn a_set_of_32_bytes_allocates_nothing() {
    let key = keys(1, 1).remove(0);
    let set = request(&[b"SET".to_vec(), key.clone(), value(&key)]);
    let ok = b"+OK\r\n".to_vec();
    for clients in [1, 50] {
        assert_no_allocation(&Exchange::single(Protocol::Redis, clients, &set, &ok));
    }
}

#[test]
fn an_mget_of_10_or_100_keys_over_three_servers_allocates_nothing() {
    for n in [10, 100] {
        for clients in [1, 50] {
            let exchange = mget(3, clients, n);
            assert_no_allocation(&exchange);
        }
    }
}

#[test]
fn pipelines_over_three_servers_that_answer_in_the_wrong_order_allocate_nothing() {
    for depth in [1, 16, 64] {
        for clients in [1, 8, 50] {
            assert_no_allocation(&gets(3, clients, depth));
        }
    }
}

#[test]
fn requests_and_replies_in_pieces_allocate_nothing() {
    for piece in [1, 7, 100] {
        assert_no_allocation(&Exchange { piece, ..gets(3, 8, 16) });
        assert_no_allocation(&Exchange { piece, ..mget(3, 8, 10) });
    }
}

/// Bytes that a round of `spike` leaves allocated in an engine that has served small requests before.
fn bytes_left_by(spike: &Exchange) -> i64 {
    let mut rig = Rig::new(spike.protocol, spike.replies.len(), spike.clients);
    let small = gets(spike.replies.len(), spike.clients, 1);
    for _ in 0..2_500 {
        rig.round(&small);
    }
    allocation_counter::measure(|| {
        rig.round(spike);
        rig.round(&small);
    })
    .bytes_current
}

#[test]
fn a_large_message_that_the_proxy_echoes_leaves_nothing_behind() {
    let message = vec![b'x'; 8 << 20];
    let request = request(&[b"ECHO".to_vec(), message.clone()]);
    let (answer, piece) = (bulk(&message), 64 << 10);
    let empty = Exchange::empty(Protocol::Redis, 1, 1);
    let left = bytes_left_by(&Exchange { request, answer, piece, ..empty });
    assert!(left < 256 << 10, "{left} bytes");
}

#[test]
fn a_spike_of_requests_leaves_little_behind() {
    let left = bytes_left_by(&Exchange { piece: 64 << 10, ..gets(1, 40, 4_000) });
    assert!(left < 8 << 20, "{left} bytes");
}

#[test]
fn commands_the_proxy_answers_itself_allocate_nothing() {
    let words = |words: &[&str]| {
        request(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    };
    let request =
        [words(&["PING"]), words(&["ECHO", "hello"]), words(&["nonsense"]), b"ping\r\n".to_vec()];
    let unknown = "-ERR unknown command 'nonsense', with args beginning with: \r\n";
    let answer = format!("+PONG\r\n$5\r\nhello\r\n{unknown}+PONG\r\n").into_bytes();
    let empty = Exchange::empty(Protocol::Redis, 1, 8);
    assert_no_allocation(&Exchange { request: request.concat(), answer, ..empty });
}

#[test]
fn reads_of_one_key_from_memcached_allocate_nothing() {
    for clients in [1, 50] {
        assert_no_allocation(&values(1, clients, 1));
        assert_no_allocation(&values(3, clients, 16));
    }
}

#[test]
fn a_multi_get_of_100_keys_over_three_servers_allocates_nothing() {
    // Each holds three buffers of 16 KiB (keys, and parts that wait for the last one), and the pool keeps 128.
    for clients in [1, 40] {
        assert_no_allocation(&multi_get(3, clients, 100));
    }
}

#[test]
fn memcached_sets_with_and_without_a_reply_allocate_nothing() {
    let key = keys(1, 1).remove(0);
    let set = |words: &[u8]| {
        [b"set ", &key[..], b" 0 0 32", words, b"\r\n", &value(&key), b"\r\n"].concat()
    };
    for clients in [1, 50] {
        assert_no_allocation(&Exchange::single(
            Protocol::Memcached,
            clients,
            &set(b""),
            b"STORED\r\n",
        ));
        let silent = set(b" noreply").repeat(8);
        assert_no_allocation(&Exchange::single(Protocol::Memcached, clients, &silent, b""));
    }
}

#[test]
fn meta_gets_loud_and_quiet_ones_ended_by_mn_allocate_nothing() {
    let key = keys(1, 1).remove(0);
    let request = [b"mg ", &key[..], b" v k t O7\r\n"].concat();
    let reply = [b"VA 32 k", &key[..], b" t-1 O7\r\n", &value(&key), b"\r\n"].concat();
    for clients in [1, 50] {
        assert_no_allocation(&Exchange::single(Protocol::Memcached, clients, &request, &reply));
        assert_no_allocation(&quiet_gets(3, clients, 30));
    }
}

#[test]
fn memcached_requests_and_replies_in_pieces_allocate_nothing() {
    for piece in [1, 7, 100] {
        assert_no_allocation(&Exchange { piece, ..values(3, 8, 16) });
        assert_no_allocation(&Exchange { piece, ..multi_get(3, 8, 10) });
        assert_no_allocation(&Exchange { piece, ..quiet_gets(3, 8, 10) });
    }
}

#[test]
fn what_the_proxy_answers_memcached_clients_itself_allocates_nothing() {
    let request = b"verbosity 1\r\nbogus\r\nset a x 0 3\r\nabc\r\nmn\r\nstats\r\n".to_vec();
    let refused = "CLIENT_ERROR bad command line format\r\n";
    let answer = format!("OK\r\nERROR\r\n{refused}MN\r\nEND\r\n").into_bytes();
    let empty = Exchange::empty(Protocol::Memcached, 1, 8);
    assert_no_allocation(&Exchange { request, answer, ..empty });
}
