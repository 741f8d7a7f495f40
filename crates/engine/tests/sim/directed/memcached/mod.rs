//! Exact behaviours of memcached pools.

mod early_errors;
mod ejection;
mod joined;
mod large_replies;
mod local_commands;
mod noreply;
mod quiet;
mod reads;
mod refusals;

use engine::topology::{Limits, Pool, Protocol};

use crate::network::WireId;
use crate::rig::Rig;
use crate::scenario;

const REFUSED: &str = "SERVER_ERROR Connection refused\r\n";
const TIMED_OUT: &str = "SERVER_ERROR Connection timed out\r\n";
const INVALID: &str = "SERVER_ERROR Invalid argument\r\n";
const UNKNOWN: &str = "SERVER_ERROR unknown\r\n";
const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format\r\n";
const CONTROL_BYTE: &str = "CLIENT_ERROR control byte in command line\r\n";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";

/// A plain pool of `servers` memcached servers.
fn pool(servers: usize) -> Pool {
    Pool { protocol: Protocol::Memcached, ..scenario::pool(servers) }
}

fn get(key: &str) -> String {
    format!("get {key}\r\n")
}

/// Unlike `get` it is never joined with others.
fn gets(key: &str) -> String {
    format!("gets {key}\r\n")
}

fn set(key: &str, value: &str) -> String {
    format!("set {key} 0 0 {}\r\n{value}\r\n", value.len())
}

fn set_noreply(key: &str, value: &str) -> String {
    format!("set {key} 0 0 {} noreply\r\n{value}\r\n", value.len())
}

/// A value as `get` answers it, without the END behind the last one.
fn value(key: &str, value: &str) -> String {
    format!("VALUE {key} 7 {}\r\n{value}\r\n", value.len())
}

/// The whole reply to a `get` of one key.
fn found(key: &str, text: &str) -> String {
    value(key, text) + "END\r\n"
}

/// A worker that is connected to each of its servers, and a client.
struct Cache {
    rig: Rig,
    client: WireId,
    servers: Vec<WireId>,
    /// One key of each shard.
    keys: Vec<String>,
}

impl Cache {
    fn new(servers: usize) -> Cache {
        Cache::of(pool(servers))
    }

    fn of(pool: Pool) -> Cache {
        Cache::with(pool, 64 << 20)
    }

    /// With pipes that hold `room` bytes.
    fn with(pool: Pool, room: usize) -> Cache {
        Cache::within(pool, Limits::default(), room)
    }

    fn within(pool: Pool, limits: Limits, room: usize) -> Cache {
        let shards = pool.servers.len();
        let mut rig = Rig::with(pool, limits, room);
        let client = rig.client();
        let keys: Vec<_> = (0..shards).map(|shard| rig.key(shard, 0)).collect();
        let mut cache = Cache { rig, client, servers: Vec::new(), keys };
        for shard in 0..shards {
            cache.ask(get(&cache.keys[shard].clone()));
            let server = cache.rig.server(shard as u32);
            cache.servers.push(server);
            cache.heard(shard);
            cache.answer(shard, "END\r\n");
            assert_eq!(cache.got(), "END\r\n");
        }
        cache
    }

    /// The client sends.
    fn ask(&mut self, bytes: impl AsRef<[u8]>) {
        self.rig.send(self.client, bytes);
    }

    /// What the server of `shard` received since the last look.
    fn heard(&mut self, shard: usize) -> String {
        self.rig.read(self.servers[shard])
    }

    /// The server of `shard` sends.
    fn answer(&mut self, shard: usize, bytes: impl AsRef<[u8]>) {
        self.rig.send(self.servers[shard], bytes);
    }

    /// What the client received since the last look.
    fn got(&mut self) -> String {
        self.rig.read(self.client)
    }

    /// Whether the proxy has not closed the connection to the server of `shard`.
    fn is_connected(&self, shard: usize) -> bool {
        !self.rig.network.look(self.servers[shard]).engine_gone
    }

    /// The server of `shard` notices that it was connected to anew.
    #[track_caller]
    fn reconnect(&mut self, shard: usize) {
        self.servers[shard] = self.rig.server(shard as u32);
    }

    /// The client asks for the key of each shard, each server answers, and the client gets that and nothing else.
    #[track_caller]
    fn assert_in_step(&mut self) {
        for shard in 0..self.servers.len() {
            let key = self.keys[shard].clone();
            self.ask(get(&key));
            if let Some(server) = self.rig.network.accept(0, shard as u32) {
                self.servers[shard] = server;
            }
            let heard = self.heard(shard);
            assert!(heard.ends_with(&get(&key)), "server {shard} received {heard:?}");
            self.answer(shard, found(&key, "in step"));
            assert_eq!(self.got(), found(&key, "in step"));
        }
        self.rig.assert_at_rest();
    }
}
