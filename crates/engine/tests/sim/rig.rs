//! One worker on the simulated network, with its peers played by a test: for behaviour that is exact to the byte and to
//! the microsecond.

use engine::topology::{Limits, Pool, Topology};
use engine::{Event, Identity};
use sharding::{Node, Sharder};
use std::sync::Arc;

use crate::network::{Door, Network, WireId};
use crate::random::Random;
use crate::reactor::{Grain, Worker};

/// Bytes that a pipe of a rig holds: enough for every test that does not want it full.
const ROOM: usize = 64 << 20;

/// A worker and its network.
pub(crate) struct Rig {
    pub(crate) worker: Worker,
    pub(crate) network: Network,
    pub(crate) now: u64,
    random: Random,
    sharder: Sharder,
    limits: Limits,
}

impl Rig {
    pub(crate) fn new(pool: Pool) -> Rig {
        Rig::with(pool, Limits::default(), ROOM)
    }

    /// With random choices of its own.
    pub(crate) fn seeded(pool: Pool, seed: u64) -> Rig {
        Rig::of(Identity { worker: 0, workers: 1, seed }, pool)
    }

    /// One worker of several.
    pub(crate) fn of(identity: Identity, pool: Pool) -> Rig {
        Rig::build(pool, Limits::default(), ROOM, identity)
    }

    pub(crate) fn with(pool: Pool, limits: Limits, room: usize) -> Rig {
        Rig::build(pool, limits, room, Identity { worker: 0, workers: 1, seed: 1 })
    }

    fn build(pool: Pool, limits: Limits, room: usize, identity: Identity) -> Rig {
        let servers = pool.servers.len();
        let sharder = sharder(&pool);
        let topology = Topology { epoch: 1, pools: vec![Arc::new(pool)], limits };
        let mut network = Network::new(&[servers], room);
        let grain = Grain { read_max: 1 << 16, write_max: 1 << 16, reads_max: 4 };
        let worker = Worker::new(identity, &topology, grain, &mut network);
        Rig { worker, network, now: 0, random: Random::new(1), sharder, limits }
    }

    /// A newer topology takes the place of the one before. A server at an address that was never there before gets the
    /// next free number.
    pub(crate) fn publish(&mut self, pools: Vec<Pool>) {
        if let Some(first) = pools.first() {
            self.sharder = sharder(first);
        }
        let pools = pools.into_iter().map(Arc::new).collect();
        let topology = Topology { epoch: 2, pools, limits: self.limits };
        self.worker.publish(&topology, &mut self.network, self.now);
        self.settle();
    }

    /// A connected client.
    pub(crate) fn client(&mut self) -> WireId {
        self.client_of(0)
    }

    /// A client connected to pool `pool`.
    pub(crate) fn client_of(&mut self, pool: u32) -> WireId {
        let wire = self.network.connect();
        self.worker.accept(pool, wire);
        self.settle();
        wire
    }

    /// A peer, client or server, sends all of `bytes`; the worker does what follows from it.
    pub(crate) fn send(&mut self, wire: WireId, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        assert_eq!(self.network.send(wire, bytes), bytes.len(), "the pipe is full");
        self.settle();
    }

    /// Everything a peer can read now.
    pub(crate) fn read(&mut self, wire: WireId) -> String {
        let bytes = self.network.read(wire, usize::MAX);
        self.settle();
        String::from_utf8(bytes).expect("tests speak ASCII")
    }

    /// The next new connection to server `index`.
    #[track_caller]
    pub(crate) fn server(&mut self, index: u32) -> WireId {
        self.network.accept(0, index).expect("a new connection to the server")
    }

    /// Whether nobody connected to server `index` since the last look.
    pub(crate) fn nobody_connects_to(&mut self, index: u32) -> bool {
        self.network.accept(0, index).is_none()
    }

    /// The worker has closed this connection, everything sent before has been read.
    pub(crate) fn is_closed(&self, wire: WireId) -> bool {
        self.network.is_at_end(wire)
    }

    pub(crate) fn reset(&mut self, wire: WireId) {
        self.network.reset(wire);
        self.settle();
    }

    pub(crate) fn close(&mut self, wire: WireId) {
        self.network.close(wire);
        self.settle();
    }

    pub(crate) fn half_close(&mut self, wire: WireId) {
        self.network.half_close(wire);
        self.settle();
    }

    pub(crate) fn set_door(&mut self, server: u32, door: Door) {
        self.network.set_door(0, server, door);
    }

    /// Lets `micros` pass; what is due on the way happens when it is due.
    pub(crate) fn pass(&mut self, micros: u64) {
        let end = self.now + micros;
        while let Some(due) = self.worker.wake_at().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn pass_ms(&mut self, millis: u64) {
        self.pass(millis * 1000);
    }

    /// The worker turns until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.worker.is_ready(&self.network, self.now) {
                return;
            }
            self.worker.turn(&mut self.network, &mut self.random, self.now);
        }
        panic!("the worker never comes to rest");
    }

    /// The `n`-th key that lives on `shard`.
    pub(crate) fn key(&self, shard: usize, n: usize) -> String {
        let mut keys = (0..).map(|i| format!("key{i:04}"));
        let lives_there = |key: &String| self.sharder.shard(key.as_bytes(), || 0) == shard;
        keys.by_ref().filter(lives_there).nth(n).unwrap_or_default()
    }

    /// What happened since the last look.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.worker.events)
    }

    /// The worker is at rest and holds nothing.
    #[track_caller]
    pub(crate) fn assert_at_rest(&self) {
        assert_eq!(self.worker.engine.buffered_bytes(), 0, "buffers at rest");
        let lent = self.worker.surroundings.lent();
        assert_eq!(lent, 0, "files lent at rest");
        assert_eq!(self.worker.engine.requests(), 0, "requests at rest");
        assert_eq!(self.worker.engine.connections(), self.worker.connections());
        for server in &self.worker.counts.pools[0].servers {
            assert_eq!(server.in_queue.value(), 0);
            assert_eq!(server.out_queue.value(), 0);
            assert_eq!(server.in_queue_bytes.value(), 0);
            assert_eq!(server.out_queue_bytes.value(), 0);
        }
    }
}

fn sharder(pool: &Pool) -> Sharder {
    let nodes: Vec<_> = (pool.servers.iter())
        .map(|server| Node { name: server.name.as_bytes(), weight: server.weight })
        .collect();
    Sharder::new(pool.hash, pool.hash_tag, pool.distribution, &nodes)
}

/// A request in the form that clients send.
pub(crate) fn command(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    String::from_utf8(crate::resp::wire_format::request(&words)).expect("words are text")
}

/// A bulk string.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
