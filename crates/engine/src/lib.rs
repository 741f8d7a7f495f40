//! The core of a worker: requests in, requests out, replies back. No socket, thread, lock, clock or random source.
//!
//! ```text
//!   bytes of a client                                                         bytes for a client
//!         │ client: scan, pause, close                                              ▲ one flush per turn
//!         ▼                                                                         │
//!   route: command row ─ key ─ shard ──▶ link: output, FIFO of owed replies ──▶ pipeline: order, release
//!         │ several shards                       │ ▲ scan replies                   ▲
//!         └──▶ fragment: split ──────────────────┘ └── fragment: merge ─────────────┘
//! ```
//!
//! A reactor lends bytes ([`Engine::received`]), tells what is connected, ended, failed and written, and what time it is.
//! The engine lends back the output of each connection ([`Engine::output`]) and keeps lists of what it wants done
//! ([`Engine::actions`]) and of what others should know ([`Engine::take_events`]). A simulated network drives it exactly
//! as the real one does.
#![forbid(unsafe_code)]

mod actions;
mod buffer;
mod client;
pub mod counters;
mod fragment;
mod glob;
mod health;
mod intake;
mod introspect;
mod link;
mod local;
mod memcached;
mod message;
mod pace;
mod peer;
mod pipeline;
mod pools;
mod probe;
mod publish;
mod reply;
mod route;
mod scan;
mod silence;
pub mod topology;
mod upload;

use std::io::IoSlice;
use std::sync::Arc;

use proto::Span;
use slab::Slab;

pub use actions::{Actions, Close, Event, Flow, Slot, Text};
pub use reply::fault;

use actions::{Owner, Slots};
use buffer::Buffers;
use client::Client;
use counters::WorkerCounts;
use fragment::Split;
use intake::Partial;
use link::{Break, Link, Owed};
use pace::Pace;
use pipeline::{Kept, Request, Requests};
use pools::PoolState;
use publish::Remnant;
use topology::{Limits, Pool, Server};

/// What a request under way takes beside its bytes: a place in its client's pipeline and one at its server.
const RECORD_BYTES: usize = size_of::<Request>() + size_of::<Owed>();
/// Records of requests (3 MiB) and of clients that are kept for the next ones when there are none.
const REQUESTS_KEPT_MAX: usize = 64 << 10;
const CLIENTS_KEPT_MAX: usize = 1 << 10;
/// Beyond that, room for clients is taken in pieces so large that the allocator maps them apart: memory nobody has
/// touched costs nothing there, and a table that grows leaves no hole behind.
const CLIENTS_STEP_BYTES: usize = 4 << 20;

/// The time of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic microseconds; the same origin for all workers of a process.
    pub mono_us: u64,
    /// Unix time in microseconds.
    pub wall_us: u64,
}

/// What the engine asks of the process around it, rarely.
pub trait Environment: Send + Sync {
    /// Appends the text of INFO, all sections or the one named.
    fn info(&self, section: Option<&[u8]>, text: &mut String);
    /// Tells the statistics of the proxy as names and values, for memcached clients. Neither holds a line end.
    fn stats(&self, tell: &mut dyn FnMut(&str, &str));
    /// Whether the ejection of a server of `pool`, until `retry_at` (monotonic µs), is one that no other worker has counted.
    /// Workers that reach the limit in the same instant all ask here before they hear of each other; `known` is the latest
    /// `retry_at` that the one who asks has heard of, 0 for none.
    fn is_first_ejection(
        &self,
        _pool: &Pool,
        _server: &Server,
        _known: u64,
        _retry_at: u64,
    ) -> bool {
        true
    }
    /// Takes one of the open files that are there for clients, for a connection to a server that nobody has planned with;
    /// whether there was one. [`Environment::return_file`] gives it back.
    fn lend_file(&self) -> bool {
        true
    }
    /// A file that was lent is closed, or its connection took the place of a planned one.
    fn return_file(&self) {}
}

/// What makes one worker's engine differ from its siblings.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Index of the worker, and how many there are: client numbers are unique over all of them.
    pub worker: u32,
    /// At least 1.
    pub workers: u32,
    /// Seed of the random distribution.
    pub seed: u64,
}

/// The core of one worker.
pub struct Engine {
    /// Those of the topology, in its order, and behind them what is left of earlier ones.
    pools: Vec<PoolState>,
    /// How many are the topology's.
    published: usize,
    remnants: Vec<Remnant>,
    /// No remnant is to be looked at before this moment, unless something happens; `u64::MAX` for none.
    remnants_due: u64,
    limits: Limits,
    slots: Slots,
    clients: Slab<Client>,
    links: Slab<Link>,
    requests: Requests,
    splits: Slab<Split>,
    buffers: Buffers,
    actions: Actions,
    events: Vec<Event>,
    counts: Arc<WorkerCounts>,
    environment: Arc<dyn Environment>,
    random: Random,
    pace: Pace,
    /// No timeout can pass before this moment, µs; `u64::MAX` for none.
    deadline: u64,
    /// No probe is due before this moment, µs; `u64::MAX` for none.
    probe_at: u64,
    last_client_id: u64,
    client_id_first: u64,
    client_id_step: u64,
    /// Numbers connects and failures.
    last_event: u64,
    /// Clients whose backlog has drained and whose earlier bytes are to be served.
    resumed: Vec<u32>,
    /// Server connections on which what is to be done with a reply that flows has changed; each may be there twice, or
    /// have ended.
    stirred: Vec<u32>,
    draining: bool,
    scratch: Scratch,
    spare_partials: SparePartials,
    spare_splits: Vec<Split>,
    spare_kept: SpareKept,
}

/// Boxes that go back to clients as they are.
type SparePartials = Vec<Box<Partial>>;
type SpareKept = Vec<Box<Kept>>;

/// Memory reused from request to request.
#[derive(Default)]
struct Scratch {
    args: Vec<Span>,
    keys: Vec<u32>,
    part_of_shard: Vec<u32>,
    /// Replies of the proxy itself.
    reply: Vec<u8>,
    /// Fault lines and heads of fragments.
    fault: Vec<u8>,
    /// An inline request rewritten.
    array: Vec<u8>,
    links: Vec<u32>,
}

impl Scratch {
    /// What is kept of the buffers whose size a client decides.
    const BYTES_KEPT_MAX: usize = 64 << 10;

    /// Gives back what an unusual request left behind.
    fn trim(&mut self) {
        if self.reply.capacity() > Scratch::BYTES_KEPT_MAX {
            self.reply = Vec::new();
        }
        if self.keys.capacity() > Scratch::BYTES_KEPT_MAX / size_of::<u32>() {
            self.keys = Vec::new();
        }
    }
}

/// xorshift64*: spreads the random distribution evenly; no secrets depend on it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// `value`, give or take a tenth.
    fn near(&mut self, value: u64) -> u64 {
        let spread = (u128::from(value / 5) * u128::from(self.next())) >> 32;
        value - value / 10 + spread as u64
    }
}

impl Engine {
    /// An engine without pools; [`Engine::publish`] gives it some.
    pub fn new(identity: Identity, environment: Arc<dyn Environment>) -> Engine {
        Engine {
            pools: Vec::new(),
            published: 0,
            remnants: Vec::new(),
            remnants_due: u64::MAX,
            limits: Limits::default(),
            slots: Slots::default(),
            clients: Slab::new(),
            links: Slab::new(),
            requests: Slab::new(),
            splits: Slab::new(),
            buffers: Buffers::default(),
            actions: Actions::default(),
            events: Vec::new(),
            counts: Arc::default(),
            environment,
            random: Random(identity.seed | 1),
            pace: Pace::default(),
            deadline: u64::MAX,
            probe_at: u64::MAX,
            last_client_id: 0,
            client_id_first: u64::from(identity.worker),
            client_id_step: u64::from(identity.workers),
            last_event: 0,
            resumed: Vec::new(),
            stirred: Vec::new(),
            draining: false,
            scratch: Scratch::default(),
            spare_partials: Vec::new(),
            spare_splits: Vec::new(),
            spare_kept: Vec::new(),
        }
    }

    /// Bytes arrived on a connection; all of them are taken.
    pub fn received(&mut self, slot: Slot, bytes: &[u8], now: Now) -> Flow {
        self.pace.note_arrival(now);
        match self.slots.owner(slot) {
            Owner::Client(c) => self.client_received(c, bytes, now),
            Owner::Link(l) => self.link_received(l, bytes, now),
            Owner::Free => Flow::Continue,
        }
    }

    /// The peer will send nothing more.
    pub fn ended(&mut self, slot: Slot, now: Now) {
        match self.slots.owner(slot) {
            Owner::Client(c) => self.client_ended(c),
            Owner::Link(l) => self.break_link(l, Break::Eof, now),
            Owner::Free => {}
        }
    }

    /// A server connection is established.
    pub fn connected(&mut self, slot: Slot) {
        if let Owner::Link(l) = self.slots.owner(slot) {
            self.link_connected(l);
        }
    }

    /// A connection failed with the error that `text` names ([`fault`] or another text of the C library); it is gone.
    pub fn failed(&mut self, slot: Slot, text: &'static str, now: Now) {
        match self.slots.owner(slot) {
            Owner::Client(c) => self.client_failed(c),
            Owner::Link(l) => self.lose_link(l, Break::Fault(text), now),
            Owner::Free => {}
        }
    }

    /// Fills in what is to be written to a connection, oldest first; returns how many slices were filled.
    pub fn output<'e>(&'e self, slot: Slot, slices: &mut [IoSlice<'e>]) -> usize {
        match self.slots.owner(slot) {
            Owner::Client(c) => self.clients[c as usize].output.slices(slices),
            Owner::Link(l) => self.links[l as usize].sendable().slices(slices),
            Owner::Free => 0,
        }
    }

    /// The first `bytes` of a connection's output were written.
    pub fn written(&mut self, slot: Slot, bytes: usize) {
        match self.slots.owner(slot) {
            Owner::Client(c) => self.client_written(c, bytes),
            Owner::Link(l) => self.link_written(l, bytes),
            Owner::Free => {}
        }
    }

    /// End of a turn: timeouts, the earlier bytes of clients that may be read again, and replies held long enough.
    pub fn turn(&mut self, now: Now) {
        self.attend_streams(now);
        self.expire(now);
        self.probe_ejected(now);
        self.serve_resumed(now);
        self.release_held(now);
        if !self.remnants.is_empty() {
            self.sweep_remnants(now);
        }
        self.scratch.trim();
        self.trim_records();
        self.counts.buffered_bytes.set(self.bytes_under_way() as u64);
        self.counts.freed_bytes.set(self.buffers.freed());
    }

    /// Makes room for one more client.
    fn make_room_for_client(&mut self) {
        let room = self.clients.capacity();
        if self.clients.len() == room && room >= CLIENTS_KEPT_MAX {
            self.clients.reserve_exact(room.max(CLIENTS_STEP_BYTES / size_of::<Client>()));
        }
    }

    /// Gives back what a spike of requests or of clients left behind, once all are gone.
    fn trim_records(&mut self) {
        if self.requests.is_empty() && self.requests.capacity() > REQUESTS_KEPT_MAX {
            self.requests = Slab::new();
        }
        if self.clients.is_empty() && self.clients.capacity() > CLIENTS_KEPT_MAX {
            self.clients = Slab::new();
        }
    }

    /// When [`Engine::turn`] must be called at the latest, monotonic µs.
    pub fn deadline(&self) -> Option<u64> {
        if !self.resumed.is_empty() || !self.stirred.is_empty() {
            return Some(0);
        }
        let held_until = self.held_until().unwrap_or(u64::MAX);
        let due = self.deadline.min(self.remnants_due).min(self.probe_at).min(held_until);
        (due != u64::MAX).then_some(due)
    }

    /// What the reactor is to do. Whoever empties the list calls [`Engine::end_phase`] first.
    pub fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// The actions gathered so far are about to be executed: connections may be flushed and slots assigned again.
    pub fn end_phase(&mut self) {
        for i in 0..self.actions.flush.len() {
            match self.slots.owner(self.actions.flush[i]) {
                Owner::Client(c) => self.client_flushed(c),
                Owner::Link(l) => self.link_flushed(l),
                Owner::Free => {}
            }
        }
        self.slots.end_phase();
    }

    /// What happened that others should know; `into` is emptied first.
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.clear();
        std::mem::swap(&mut self.events, into);
    }

    /// Stops reading clients and closes each as soon as it is answered.
    pub fn drain(&mut self) {
        self.draining = true;
        self.stop_reading_all();
    }

    /// Clients connected at this moment.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Connections of clients and to servers, those that are being established included.
    pub fn connections(&self) -> usize {
        self.slots.assigned()
    }

    /// Requests whose reply has not left, and those of clients that have gone until they are answered.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Bytes of buffers in use by connections.
    pub fn buffered_bytes(&self) -> usize {
        self.buffers.lent()
    }

    /// Bytes that requests and replies under way take, records included.
    fn bytes_under_way(&self) -> usize {
        self.buffers.lent() + self.requests.len() * RECORD_BYTES
    }

    /// Whether requests are refused for want of memory.
    fn is_over_memory(&self) -> bool {
        let ceiling = self.limits.worker_memory_bytes_max;
        ceiling != 0 && self.bytes_under_way() > ceiling
    }
}
