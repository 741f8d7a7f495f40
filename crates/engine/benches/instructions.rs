//! Instructions per operation, from single steps to a whole request: the cases that `cargo xtask count` runs under
//! valgrind and holds against `reference.json`. Apart from wall-clock benchmarks because a count is the same on a busy
//! machine and on a quiet one, so that a test can fail on it.
//!
//! Run by itself (`cargo bench -p engine --bench instructions`) it goes through the cases and counts nothing. The two
//! functions `counted` and `case_done` are what the counter knows of this program: the one is what it counts, the other
//! where the count of one case ends.

#[path = "../tests/steady/mod.rs"]
mod steady;

use std::hint::black_box;

use proto::resp::{self, command};
use proto::{Span, memcached};
use sharding::{Distribution, Hash, Node, Sharder};
use steady::{
    Exchange, Rig, bulk, gets, joined_gets, keys, memcached_get, memcached_set, mget, mset,
    request, set, sharder,
};

/// Rounds before counting and counted. Everything is deterministic: one round is like the next but for the keys.
const WARM_UP: usize = 40;
const ROUNDS: usize = 16;
/// Keys that are hashed and routed in turn.
const KEYS: usize = 32;

/// One thing that is counted.
trait Case {
    /// What must happen before, uncounted.
    fn before(&mut self) {}
    /// What is counted.
    fn step(&mut self);
    /// What must follow, uncounted.
    fn after(&mut self) {}
}

/// A step that needs nothing around it.
struct Alone<F>(F);

impl<F: FnMut()> Case for Alone<F> {
    fn step(&mut self) {
        (self.0)();
    }
}

/// Which part of a round is counted.
enum Half {
    /// From the bytes of clients to those for servers.
    Ask,
    /// From the bytes of servers to those for clients.
    Answer,
    Both,
}

/// A round of the engine.
struct Round {
    rig: Rig,
    exchange: Exchange,
    half: Half,
}

impl Round {
    fn new(exchange: Exchange, half: Half) -> Round {
        let mut rig = Rig::new(&exchange);
        rig.warm_up(&exchange);
        Round { rig, exchange, half }
    }
}

impl Case for Round {
    fn before(&mut self) {
        if matches!(self.half, Half::Answer) {
            self.rig.ask(&self.exchange);
        }
    }

    fn step(&mut self) {
        match self.half {
            Half::Ask => self.rig.ask(&self.exchange),
            Half::Answer => self.rig.answer(&self.exchange),
            Half::Both => self.rig.round(&self.exchange),
        }
    }

    fn after(&mut self) {
        if matches!(self.half, Half::Ask) {
            self.rig.answer(&self.exchange);
        }
    }
}

fn main() {
    scan();
    hash();
    route();
    fragment_and_merge();
    whole_requests();
}

/// Runs a case and prints its name and how many operations its count is of.
fn run(name: &str, operations_per_step: usize, mut case: impl Case) {
    for _ in 0..WARM_UP {
        case.before();
        case.step();
        case.after();
    }
    for _ in 0..ROUNDS {
        case.before();
        counted(&mut case);
        case.after();
    }
    case_done();
    println!("{name} {}", ROUNDS * operations_per_step);
}

/// Everything between entering and leaving this function is counted.
#[inline(never)]
fn counted(case: &mut dyn Case) {
    case.step();
}

/// The counter ends the count of one case here.
#[inline(never)]
fn case_done() {
    black_box(());
}

fn scan() {
    let mget =
        request(&[&[b"MGET".as_slice()], &[b"key:000000000042".as_slice(); 100][..]].concat());
    let set = request(&[b"SET", b"key:000000000042", &[b'x'; 32]]);
    for (name, bytes) in [
        ("scan/redis get", request(&[b"GET", b"key:000000000042"])),
        ("scan/redis set of 32 bytes", set),
        ("scan/redis mget of 100 keys", mget),
    ] {
        let mut args: Vec<Span> = Vec::new();
        let scan = move || {
            args.clear();
            let scan = resp::RequestScanner::default().scan(black_box(&bytes), &mut args);
            assert_eq!(scan, resp::Scan::Complete(bytes.len()));
        };
        run(name, 1, Alone(scan));
    }
    let value = bulk(&[b'x'; 32]);
    let values = [b"*100\r\n".as_slice(), &value.repeat(100)].concat();
    for (name, bytes) in
        [("scan/redis reply of 32 bytes", value), ("scan/redis reply of 100 values", values)]
    {
        let scan = move || {
            let scan = resp::ReplyScanner::default().scan(black_box(&bytes));
            assert_eq!(scan, resp::ReplyScan::Complete(bytes.len()));
        };
        run(name, 1, Alone(scan));
    }
    scan_memcached();
}

fn scan_memcached() {
    let (get, set) = (memcached_get(1, 1), memcached_set());
    for (name, bytes) in [
        ("scan/memcached get", get.request),
        ("scan/memcached set of 32 bytes", set.request),
        ("scan/memcached get of 100 keys", memcached_get(1, 100).request),
    ] {
        let mut args: Vec<Span> = Vec::new();
        let scan = move || {
            args.clear();
            let scan = memcached::RequestScanner::default().scan(black_box(&bytes), &mut args);
            assert!(matches!(scan, memcached::Scan::Complete { len, .. } if len == bytes.len()));
        };
        run(name, 1, Alone(scan));
    }
    let bytes = get.answer;
    let scan = move || {
        let scan = memcached::ReplyScanner::default().scan(black_box(&bytes));
        assert_eq!(scan, memcached::ReplyScan::Complete(bytes.len()));
    };
    run("scan/memcached reply of 32 bytes", 1, Alone(scan));
}

fn hash() {
    for hash in Hash::ALL {
        let keys = keys(1, KEYS);
        let step = || {
            for (key, _) in &keys {
                black_box(hash.of(black_box(key)));
            }
        };
        run(&format!("hash/{} of 16 bytes", hash.name()), KEYS, Alone(step));
    }
}

/// From a scanned request to its shard, and from a hash to its shard alone.
fn route() {
    for servers in [3, 30] {
        let sharder = sharder(servers);
        let requests: Vec<_> =
            keys(servers, KEYS).iter().map(|(key, _)| request(&[b"GET", key])).collect();
        let requests: Vec<_> = requests.into_iter().map(scanned).collect();
        let step = || {
            for (bytes, args) in &requests {
                let row = command::resolve(black_box(bytes), args).expect("GET is a command");
                let key = row.first_key(bytes, args).expect("GET has a key");
                black_box(sharder.shard(args[key].of(bytes), || 0));
            }
        };
        run(&format!("route/redis get over {servers} servers"), KEYS, Alone(step));
    }
    for distribution in [Distribution::Ketama, Distribution::Modula] {
        let names: Vec<_> = (0..300).map(|i| format!("server{i:03}")).collect();
        let nodes: Vec<_> =
            names.iter().map(|name| Node { name: name.as_bytes(), weight: 1 }).collect();
        let sharder = Sharder::new(Hash::Fnv1a64, None, distribution, &nodes);
        let keys = keys(1, KEYS);
        let step = || {
            for (key, _) in &keys {
                black_box(sharder.shard(black_box(key), || 0));
            }
        };
        run(&format!("route/{} over 300 servers", distribution.name()), KEYS, Alone(step));
    }
}

/// A request with its arguments.
fn scanned(bytes: Vec<u8>) -> (Vec<u8>, Vec<Span>) {
    let mut args = Vec::new();
    assert_eq!(
        resp::RequestScanner::default().scan(&bytes, &mut args),
        resp::Scan::Complete(bytes.len())
    );
    (bytes, args)
}

/// The two halves of commands over several shards, per command.
fn fragment_and_merge() {
    for (name, exchange) in [
        ("redis mget of 10 keys over 3 servers", mget(3, 10)),
        ("redis mget of 100 keys over 3 servers", mget(3, 100)),
        ("redis mget of 100 keys over 30 servers", mget(30, 100)),
        ("redis mset of 100 keys over 3 servers", mset(3, 100)),
        ("memcached get of 10 keys over 3 servers", memcached_get(3, 10)),
        ("memcached get of 100 keys over 3 servers", memcached_get(3, 100)),
    ] {
        for (step, half) in [("fragment", Half::Ask), ("merge", Half::Answer)] {
            run(&format!("{step}/{name}"), 1, Round::new(exchange.clone(), half));
        }
    }
}

/// From the bytes of clients to the bytes for clients, per request.
fn whole_requests() {
    for (name, requests, exchange) in [
        ("redis get", 1, gets(3, 1)),
        ("redis get, 50 clients", 50, gets(3, 1).by(50)),
        ("redis get, pipeline of 16", 16, gets(3, 16)),
        ("redis get, pipeline of 64, 10 clients", 10 * 64, gets(3, 64).by(10)),
        ("redis get, pipeline of 64 to one server, 10 clients", 10 * 64, gets(1, 64).by(10)),
        ("redis set of 32 bytes, 50 clients", 50, set().by(50)),
        ("redis mget of 10 keys, 50 clients", 50, mget(3, 10).by(50)),
        ("redis mget of 100 keys, 50 clients", 50, mget(3, 100).by(50)),
        ("memcached get, 50 clients", 50, memcached_get(3, 1).by(50)),
        ("memcached get, 16 clients, joined", 16, joined_gets(16)),
        ("memcached set of 32 bytes, 50 clients", 50, memcached_set().by(50)),
        ("memcached get of 100 keys, 50 clients", 50, memcached_get(3, 100).by(50)),
    ] {
        run(&format!("request/{name}"), requests, Round::new(exchange, Half::Both));
    }
}
