//! What a run is about: the pools, the workers, the clients and what will go wrong, all drawn from the seed.

use std::time::Duration;

use engine::topology::{
    Address, CrossShard, Ejection, FlushAll, Limits, OnEject, Pool, Protocol, Server,
};
use sharding::{Distribution, Hash, Node, Sharder};

use crate::random::Random;
use crate::reactor::Grain;

/// One pool of a run, its clients and its servers. Workers, limits, pipes and the drain are the same for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) workers: u32,
    pub(crate) clients: u32,
    /// Requests of each client.
    pub(crate) requests: u32,
    /// Requests a client has under way at once.
    pub(crate) depth: usize,
    /// Bytes of a pipe.
    pub(crate) room: usize,
    pub(crate) grain: Grain,
    pub(crate) value_max: usize,
    pub(crate) keys_max: usize,
    pub(crate) faults: Faults,
    /// Chance, out of 1000 for each round, that a worker is given another topology.
    pub(crate) reloads: usize,
}

/// What may go wrong. Chances are out of 1000, for each reply or each look at a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Error replies of the server's own.
    pub(crate) errors: usize,
    /// `-LOADING` among them.
    pub(crate) loading: bool,
    /// Whole replies that a split command's part must not get.
    pub(crate) wrong_types: usize,
    /// memcached: answers to requests that want none.
    pub(crate) broken_silences: usize,
    /// Bytes that are no reply.
    pub(crate) garbage: usize,
    /// Replies that nobody asked for.
    pub(crate) strays: usize,
    /// Refusals of requests that have not arrived whole.
    pub(crate) early: usize,
    /// Server connections reset, closed, or left alone for ever.
    pub(crate) resets: usize,
    pub(crate) closes: usize,
    pub(crate) mutes: usize,
    /// Servers that refuse connects for a while.
    pub(crate) refusals: usize,
    /// Connects that are never answered.
    pub(crate) hangs: usize,
    /// Longest wait before a reply, µs.
    pub(crate) reply_delay_max: usize,
    /// Longest wait before a connect succeeds, µs.
    pub(crate) connect_delay_max: usize,
    /// AUTH or SELECT refused.
    pub(crate) handshakes: usize,
    /// Clients that break the framing, reset, close without reading on.
    pub(crate) malformed_clients: usize,
    pub(crate) vanishing_clients: usize,
    /// Clients that stop reading for a while.
    pub(crate) lazy_clients: usize,
    /// The workers are drained in the middle.
    pub(crate) drain: bool,
}

impl Faults {
    /// Whether connections to servers may end.
    pub(crate) fn breaks_links(&self) -> bool {
        self.garbage
            + self.strays
            + self.early
            + self.resets
            + self.closes
            + self.mutes
            + self.refusals
            + self.hangs
            + self.handshakes
            > 0
    }
}

/// Kinds of runs, by the remainder of the seed.
pub(crate) const KINDS: u64 = 3;

impl Scenario {
    fn draw(random: &mut Random) -> Scenario {
        let mut faults = Faults::default();
        // One run in five is without any fault of a peer, most have a few kinds, one in five has all.
        let kinds = match random.below(5) {
            0 => 0,
            4 => 1000,
            _ => random.within(50..=400),
        };
        let mut some = |max: usize| match random.chance(kinds, 1000) {
            true => random.within(1..=max),
            false => 0,
        };
        faults.errors = some(200);
        faults.loading = some(1) == 1;
        faults.wrong_types = some(100);
        faults.garbage = some(20);
        faults.strays = some(20);
        faults.early = some(300);
        faults.resets = some(20);
        faults.closes = some(20);
        faults.mutes = some(10);
        faults.refusals = some(30);
        faults.hangs = some(15);
        faults.handshakes = some(300);
        faults.malformed_clients = some(500);
        faults.vanishing_clients = some(500);
        faults.lazy_clients = some(300);
        faults.drain = some(8) == 1;
        let slow = some(1) == 1;
        faults.reply_delay_max = some(3_000);
        faults.connect_delay_max = some(5_000);
        if slow {
            faults.reply_delay_max = random.within(1_000..=400_000);
            faults.connect_delay_max = random.within(1_000..=400_000);
        }
        let patient = !slow && !faults.breaks_links() && faults.reply_delay_max == 0;
        let mut pool = draw_pool(random, patient);
        if pool.ejection.is_some_and(|ejection| ejection.probe) {
            // A server that never connects in time would be probed for ever, and the run never come to rest.
            pool.timeout = pool.timeout.map(|timeout| timeout.max(Duration::from_millis(100)));
            faults.connect_delay_max = faults.connect_delay_max.min(50_000);
        }
        if pool.timeout.is_none() && random.chance(1, 2) {
            faults.mutes = 0;
        }
        let big = random.chance(1, 8);
        let grain = draw_grain(random, big);
        let room = if big { 65_536 } else { random.pick(&[7, 64, 1_000, 4_096, 65_536]) };
        // Byte by byte, large values take for ever.
        let fine = room.min(grain.read_max).min(grain.write_max) < 100;
        let reloads = if random.chance(1, 3) { random.within(1..=30) } else { 0 };
        Scenario {
            pool,
            limits: draw_limits(random),
            reloads,
            workers: random.within(1..=3) as u32,
            clients: random.within(1..=10) as u32,
            requests: random.within(1..=if big { 12 } else { 60 }) as u32,
            depth: random.pick(&[1, 2, 8, 40, 200]),
            room,
            grain,
            value_max: match (big, fine) {
                (true, _) => 200_000,
                (false, true) => random.pick(&[8, 40, 300]),
                (false, false) => random.pick(&[40, 300, 3_000, 9_000]),
            },
            keys_max: if big { 4 } else { random.pick(&[2, 5, 12, 40]) },
            faults,
        }
    }

    /// The pools of the run of `seed`: one of Redis, one of memcached, or one of each.
    pub(crate) fn all(seed: u64, random: &mut Random) -> Vec<Scenario> {
        let mut first = Scenario::draw(random);
        match seed % KINDS {
            0 => vec![first],
            1 => {
                first.speak_memcached(random);
                vec![first]
            }
            _ => {
                let mut second = Scenario::draw(random);
                second.stand_beside(&first);
                second.speak_memcached(random);
                vec![first, second]
            }
        }
    }

    /// Makes it one of a memcached pool.
    fn speak_memcached(&mut self, random: &mut Random) {
        let pool = &mut self.pool;
        pool.protocol = Protocol::Memcached;
        pool.redis_auth = None;
        pool.redis_db = 0;
        pool.flush_all = random.pick(&[FlushAll::Refuse, FlushAll::Forward]);
        pool.joins_gets = !random.chance(1, 4);
        pool.item_bytes_max = random.pick(&[u32::MAX, 50, 300, 5_000]);
        self.faults.handshakes = 0;
        self.faults.loading = false;
        if self.faults.errors > 0 && random.chance(1, 2) {
            self.faults.broken_silences = random.within(1..=200);
        }
    }

    /// Makes it the second pool of a process.
    fn stand_beside(&mut self, first: &Scenario) {
        self.limits = first.limits;
        self.workers = first.workers;
        self.room = first.room;
        self.grain = first.grain;
        self.value_max = self.value_max.min(first.value_max);
        self.faults.drain = first.faults.drain;
        self.reloads = first.reloads;
        self.pool.name = "beside".into();
        for (i, server) in self.pool.servers.iter_mut().enumerate() {
            server.address = address(1, 0, i);
        }
    }

    /// Whether a request that servers do nothing against must reach one. What wants no reply is with the server once it is
    /// written: a connection that another topology has no use for may be closed before a server reads that never does.
    pub(crate) fn loses_nothing(&self) -> bool {
        let reads_all = self.faults.mutes == 0 || self.reloads == 0;
        reads_all
            && self.faults.vanishing_clients == 0
            && !self.faults.drain
            && self.limits.worker_memory_bytes_max == 0
    }

    /// The pool as another topology may have it, with every key where it is: its servers may be reached under another of
    /// their addresses, over more or fewer connections.
    pub(crate) fn variation(&self, place: usize, random: &mut Random) -> Pool {
        let mut pool = self.pool.clone();
        for (i, server) in pool.servers.iter_mut().enumerate() {
            server.address = address(place, random.below(FACES), i);
        }
        pool.server_connections = random.pick(&[1, 2, 4]);
        pool.preconnect = random.chance(1, 2);
        pool
    }

    /// Whether replies may be given up because a topology has no use for their connections.
    pub(crate) fn may_cut(&self) -> bool {
        self.reloads > 0 && self.limits.drain_us_max != u64::MAX
    }

    /// Whether replies may flow to their clients before they have arrived whole.
    pub(crate) fn streams(&self) -> bool {
        self.limits.cut_through_bytes_min != usize::MAX
    }

    /// The router of this pool, to know where keys belong while no server is ejected.
    pub(crate) fn sharder(&self) -> Sharder {
        let nodes: Vec<_> = (self.pool.servers.iter())
            .map(|server| Node { name: server.name.as_bytes(), weight: server.weight })
            .collect();
        Sharder::new(self.pool.hash, self.pool.hash_tag, self.pool.distribution, &nodes)
    }

    /// Whether keys of an ejected server go to the others.
    pub(crate) fn rehashes(&self) -> bool {
        self.pool.ejection.is_some_and(|ejection| ejection.on_eject == OnEject::Rehash)
    }

    /// Whether reads of keys of an ejected server are answered as if these did not exist.
    pub(crate) fn misses(&self) -> bool {
        self.pool.ejection.is_some_and(|ejection| ejection.on_eject == OnEject::Miss)
    }

    /// Whether ejected servers are probed.
    pub(crate) fn probes(&self) -> bool {
        self.pool.ejection.is_some_and(|ejection| ejection.probe)
    }

    /// Whether a key always goes to the same server.
    pub(crate) fn is_placement_fixed(&self) -> bool {
        !self.rehashes()
            && (self.pool.distribution != Distribution::Random || self.pool.servers.len() == 1)
    }
}

fn draw_grain(random: &mut Random, big: bool) -> Grain {
    let sizes: &[usize] = if big { &[16_384, 65_536] } else { &[1, 5, 100, 1_000, 65_536] };
    Grain {
        read_max: random.pick(sizes),
        write_max: random.pick(sizes),
        reads_max: random.within(1..=3),
    }
}

fn draw_limits(random: &mut Random) -> Limits {
    Limits {
        client_output_bytes_max: random.pick(&[1, 500, 20_000, 1 << 20]),
        client_requests_max: random.pick(&[1, 2, 3, 16, 4_096]),
        worker_memory_bytes_max: random.pick(&[0, 0, 0, 0, 0, 30_000, 300_000]),
        window_us_max: 100,
        drain_us_max: random.pick(&[1_000_000, u64::MAX]),
        upload_bytes_min: random.pick(&[1, 60, 200, 2_000, 50_000, 2 << 20]),
        cut_through_bytes_min: random.pick(&[usize::MAX, usize::MAX, 1, 30, 300, 5_000]),
    }
}

fn draw_pool(random: &mut Random, patient: bool) -> Pool {
    let timeout = match random.below(4) {
        0 => None,
        _ if patient => Some(Duration::from_secs(1_000)),
        _ => Some(Duration::from_millis(random.pick(&[1, 20, 100, 400]))),
    };
    let ejection = Ejection {
        failure_limit: random.within(0..=3) as u32,
        retry_timeout: Duration::from_millis(random.pick(&[0, 1, 50, 2_000])),
        on_eject: random.pick(&[OnEject::Rehash, OnEject::Error, OnEject::Miss]),
        probe: random.chance(1, 2),
        max_ejected_percent: random.pick(&[100, 100, 50, 0]),
    };
    let distributions = [Distribution::Ketama, Distribution::Modula, Distribution::Random];
    let auth = random.chance(1, 4);
    let mut pool = pool(random.within(1..=4));
    pool.hash = random.pick(&Hash::ALL);
    pool.distribution = random.pick(&distributions);
    pool.timeout = timeout;
    pool.redis_auth = auth.then(|| b"open sesame"[..].into());
    pool.redis_db = if random.chance(1, 4) { 7 } else { 0 };
    pool.preconnect = random.chance(1, 4);
    pool.server_connections = random.pick(&[1, 1, 2, 4]);
    pool.ejection = random.chance(1, 3).then_some(ejection);
    pool.retry_timeout = ejection.retry_timeout;
    pool.cross_shard = random.pick(&[CrossShard::Error, CrossShard::FirstKey]);
    pool
}

/// Addresses of each server.
pub(crate) const FACES: usize = 3;

/// One of the addresses of server `i` of the pool at `place`.
pub(crate) fn address(place: usize, face: usize, i: usize) -> Address {
    Address::Tcp { host: format!("10.{place}.{face}.{i}"), port: 6379 }
}

/// A plain pool of `servers` servers.
pub(crate) fn pool(servers: usize) -> Pool {
    let server = |i: usize| Server {
        name: format!("server{i}"),
        display_name: format!("10.0.0.{i}:6379:1"),
        address: address(0, 0, i),
        weight: 1,
    };
    Pool {
        name: "pool".into(),
        protocol: Protocol::Redis,
        hash: Hash::Fnv1a64,
        hash_tag: None,
        distribution: Distribution::Modula,
        timeout: Some(Duration::from_millis(400)),
        redis_auth: None,
        redis_db: 0,
        preconnect: false,
        server_connections: 1,
        ejection: None,
        retry_timeout: Duration::from_secs(30),
        cross_shard: CrossShard::FirstKey,
        flush_all: FlushAll::Refuse,
        item_bytes_max: u32::MAX,
        joins_gets: true,
        servers: (0..servers).map(server).collect(),
    }
}
