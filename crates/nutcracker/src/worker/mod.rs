//! One worker: an engine in a reactor, on a thread of its own.
//!
//! ```text
//!   listener ──▶ worker that accepts ──▶ the worker with the fewest clients (through its mailbox, or itself)
//!   control ── drain, resolved names ──▶ mailbox ──▶ worker ── ended ──▶ control
//!   worker ── failures, ejections of servers ──▶ mailboxes of its siblings
//! ```
//!
//! Workers share nothing on the request path. What they do share ([`Shared`]) is touched when a client comes or goes, or
//! when a server fails.

mod addresses;
mod dial;
mod fault;
mod newcomers;
mod proxy_header;
mod report;

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use engine::counters::Counts;
use engine::topology::{Protocol, Topology};
use engine::{Engine, Environment, Event, Identity};
use reactor::{
    Clock, Close, Core, Errno, Flow, Mailbox, Now, Ops, Peer, Reactor, Slot, Stream, Verdict,
};
use socket2::Socket;

pub use addresses::{Addresses, Place};
use dial::Dialer;
pub use dial::{Resolve, Resolved};
use newcomers::{Newcomer, Newcomers};
pub use proxy_header::fuzz_proxy_header;

/// What a client is told when there is no room for it; Redis' words.
const MAX_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
/// The same for memcached clients.
const MAX_CLIENTS_MEMCACHED: &[u8] = b"SERVER_ERROR max number of clients reached\r\n";

/// What a refused client is told.
fn words_of_refusal(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Redis => MAX_CLIENTS,
        Protocol::Memcached => MAX_CLIENTS_MEMCACHED,
    }
}

/// Hosts remembered to speak memcached's binary protocol; further ones are not logged.
const BINARY_HOSTS_MAX: usize = 1024;

/// A listener that a worker accepts from.
#[derive(Debug)]
pub struct Accepting {
    /// Index of the pool its clients belong to.
    pub pool: u32,
    /// Bound and listening.
    pub socket: Socket,
}

/// What a pool's listener does with new clients.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Clients of the pool at once, 0 for any number.
    pub clients_max: u64,
    /// `SO_KEEPALIVE` on client sockets.
    pub keepalive: bool,
    /// Whether every client is announced by a PROXY header.
    pub proxy_protocol: bool,
    /// The clients of the pool by address.
    pub addresses: Arc<Addresses>,
    /// Decides the wording of refusals.
    pub protocol: Protocol,
}

/// What another thread may send to a worker.
#[derive(Debug)]
pub enum Message {
    /// A client accepted by a sibling for this worker to serve.
    Client {
        /// Index of its pool.
        pool: u32,
        /// Where it comes from.
        peer: Option<SocketAddr>,
        /// Its place among the clients of its address.
        place: Option<Place>,
        /// The connection.
        stream: Stream,
    },
    /// What a sibling learned about a server.
    Sibling(Event),
    /// The addresses of a server's host.
    Resolved(Resolved),
    /// Show that this worker is not stuck, by adding one.
    RollCall(Arc<AtomicUsize>),
    /// Stop accepting, answer what is in flight, end; at this monotonic time at the latest, µs.
    Drain {
        /// End of the patience.
        until_us: u64,
    },
}

/// What the workers of a process share.
#[derive(Debug)]
pub struct Shared {
    /// One for each worker; set once all exist.
    mailboxes: OnceLock<Vec<Mailbox<Message>>>,
    /// Clients that each worker serves or is about to.
    clients: Vec<AtomicU64>,
    /// Clients of each pool.
    pool_clients: Vec<AtomicU64>,
    admissions: Vec<Admission>,
    /// Clients of the process at once: what open files allow.
    clients_max: u64,
    /// A client was refused since the last look.
    refused: AtomicBool,
    /// Hosts whose clients were told of in the log to speak memcached's binary protocol.
    binary: Mutex<HashSet<Option<IpAddr>>>,
}

impl Shared {
    /// For `workers` workers; one admission for each pool.
    #[must_use]
    pub fn new(workers: usize, admissions: Vec<Admission>, clients_max: u64) -> Arc<Shared> {
        let zeroes = |n| std::iter::repeat_with(AtomicU64::default).take(n).collect();
        Arc::new(Shared {
            mailboxes: OnceLock::new(),
            clients: zeroes(workers),
            pool_clients: zeroes(admissions.len()),
            admissions,
            clients_max,
            refused: AtomicBool::new(false),
            binary: Mutex::default(),
        })
    }

    /// Whether an event has to be logged: all but the binary protocol from a host known for it, which tries again and
    /// again.
    fn is_news(&self, event: &Event) -> bool {
        let Event::BinaryProtocol { peer, .. } = event else { return true };
        let Ok(mut hosts) = self.binary.lock() else { return true };
        hosts.len() < BINARY_HOSTS_MAX && hosts.insert(peer.map(|peer| peer.ip()))
    }

    /// Clients that worker `worker` serves.
    #[must_use]
    pub fn clients_of(&self, worker: usize) -> u64 {
        self.clients[worker].load(Ordering::Relaxed)
    }

    /// The worker with the fewest clients; `me` among equals.
    fn least_loaded(&self, me: usize) -> usize {
        let load = |worker: &usize| (self.clients_of(*worker), *worker != me);
        (0..self.clients.len()).min_by_key(load).unwrap_or(me)
    }

    /// Whether one more client of `pool` fits; counts it if so.
    fn admit(&self, pool: u32, worker: usize) -> bool {
        let total: u64 = (0..self.clients.len()).map(|worker| self.clients_of(worker)).sum();
        let of_pool = &self.pool_clients[pool as usize];
        let pool_max = self.admissions[pool as usize].clients_max;
        let fits = total < self.clients_max
            && (pool_max == 0 || of_pool.load(Ordering::Relaxed) < pool_max);
        if fits {
            of_pool.fetch_add(1, Ordering::Relaxed);
            self.clients[worker].fetch_add(1, Ordering::Relaxed);
        } else if !self.refused.swap(true, Ordering::Relaxed) {
            log::warn!("max number of clients reached ({total} connected), refusing new ones");
        }
        fits
    }

    /// `n` clients of `pool` left worker `worker`.
    fn dismiss(&self, pool: usize, worker: usize, n: u64) {
        self.pool_clients[pool].fetch_sub(n, Ordering::Relaxed);
        self.clients[worker].fetch_sub(n, Ordering::Relaxed);
        self.refused.store(false, Ordering::Relaxed);
    }
}

/// Everything one worker is made of.
pub struct WorkerSpec {
    /// Which of its siblings it is.
    pub index: usize,
    /// What it serves.
    pub topology: Arc<Topology>,
    /// Where it counts.
    pub counts: Arc<Counts>,
    /// What it shares with its siblings.
    pub shared: Arc<Shared>,
    /// The text of INFO.
    pub environment: Arc<dyn Environment>,
    /// Names to addresses.
    pub resolve: Arc<dyn Resolve>,
    /// The clock of the process.
    pub clock: Clock,
    /// What it accepts from.
    pub listeners: Vec<Accepting>,
    /// Seed of its random choices.
    pub seed: u64,
}

/// A worker that has its event queue but no thread yet.
pub struct Worker {
    core: WorkerCore,
    reactor: Reactor<WorkerCore>,
}

impl Worker {
    /// Makes the worker's event queue and gives it its pools.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn new(spec: WorkerSpec) -> io::Result<Worker> {
        let reactor = Reactor::new(spec.clock)?;
        let core = WorkerCore::new(spec, reactor.mailbox());
        Ok(Worker { core, reactor })
    }

    /// Introduces the workers to each other, starts a thread for each and returns their mailboxes; `ended` is told the
    /// index of each that ends, and why unless it drained.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_all(
        workers: Vec<Worker>,
        shared: &Shared,
        ended: &(impl Fn(usize, Option<String>) + Clone + Send + 'static),
    ) -> io::Result<Vec<Mailbox<Message>>> {
        let mailboxes = workers.iter().map(|worker| worker.reactor.mailbox()).collect();
        let _ = shared.mailboxes.set(mailboxes);
        let start = |worker: Worker| {
            let ended = ended.clone();
            let index = worker.core.index;
            let mailbox = worker.reactor.mailbox();
            std::thread::Builder::new()
                .name(format!("worker {index}"))
                .spawn(move || ended(index, worker.run()))?;
            Ok(mailbox)
        };
        workers.into_iter().map(start).collect()
    }

    /// Serves until drained. Returns why it failed, if it did.
    fn run(mut self) -> Option<String> {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.reactor.run(&mut self.core)
        }));
        match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("event loop failed: {error}")),
            Err(_) => Some("panicked".into()),
        }
    }
}

/// The engine as the reactor sees it.
struct WorkerCore {
    index: usize,
    engine: Engine,
    topology: Arc<Topology>,
    counts: Arc<Counts>,
    shared: Arc<Shared>,
    dialer: Dialer,
    ops: Ops,
    events: Vec<Event>,
    /// Clients that a load balancer has yet to announce.
    newcomers: Newcomers,
    /// The places of clients whose number by address is limited.
    places: HashMap<Slot, Place>,
    /// Clients of each pool that this worker has been given and has not reported gone.
    admitted: Vec<u64>,
    /// Pools this worker accepts for.
    accepting: Vec<u32>,
    draining_until_us: Option<u64>,
    clock: Clock,
}

impl WorkerCore {
    fn new(spec: WorkerSpec, mailbox: Mailbox<Message>) -> WorkerCore {
        let identity = Identity {
            worker: spec.index as u32,
            workers: spec.shared.clients.len() as u32,
            seed: spec.seed,
        };
        let mut engine = Engine::new(identity, spec.environment);
        engine.publish(&spec.topology, &spec.counts, now(spec.clock.now()));
        let mut ops = Ops::default();
        let accepting = spec.listeners.iter().map(|listener| listener.pool).collect();
        ops.listen
            .extend(spec.listeners.into_iter().map(|listener| (listener.pool, listener.socket)));
        WorkerCore {
            index: spec.index,
            engine,
            admitted: vec![0; spec.topology.pools.len()],
            dialer: Dialer::new(&spec.topology, spec.resolve, mailbox),
            topology: spec.topology,
            counts: spec.counts,
            shared: spec.shared,
            ops,
            events: Vec::new(),
            newcomers: Newcomers::default(),
            places: HashMap::new(),
            accepting,
            draining_until_us: None,
            clock: spec.clock,
        }
    }

    /// Moves connections to close and to open to the reactor's list.
    fn gather_connections(&mut self) {
        let actions = self.engine.actions();
        if actions.close.is_empty() && actions.connect.is_empty() {
            return;
        }
        for (slot, close) in actions.close.drain(..) {
            self.newcomers.forget(slot);
            self.places.remove(&slot);
            if !self.dialer.forget(slot) {
                let close = match close {
                    engine::Close::Now => Close::Now,
                    engine::Close::Linger => Close::Linger,
                };
                self.ops.close.push((slot, close));
            }
        }
        for (slot, pool, server) in actions.connect.drain(..) {
            if let Some(targets) = self.dialer.dial(slot, pool, server) {
                self.ops.connect.push((slot, targets));
            }
        }
    }

    /// Tells the siblings and the log what happened.
    fn publish_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.engine.take_events(&mut events);
        for event in &events {
            if self.shared.is_news(event) {
                report::log(event, &self.topology);
            }
            if event.concerns_siblings() {
                let siblings = self.shared.mailboxes.get().into_iter().flatten().enumerate();
                for (_, mailbox) in siblings.filter(|(i, _)| *i != self.index) {
                    mailbox.send(Message::Sibling(event.clone()));
                }
            }
        }
        self.events = events;
    }

    /// Gives back the places of clients that have gone.
    fn count_departures(&mut self) {
        let admitted: u64 = self.admitted.iter().sum();
        if admitted == self.engine.clients() as u64 {
            return;
        }
        for (pool, admitted) in self.admitted.iter_mut().enumerate() {
            let left = *admitted - self.counts.pools[pool].client_connections.value();
            if left > 0 {
                *admitted -= left;
                self.shared.dismiss(pool, self.index, left);
            }
        }
    }

    fn adopt(
        &mut self,
        pool: u32,
        peer: Option<SocketAddr>,
        place: Option<Place>,
        at: Now,
    ) -> Slot {
        self.admitted[pool as usize] += 1;
        let slot = self.engine.accept(pool, peer);
        self.places.extend(place.map(|place| (slot, place)));
        let admission = &self.shared.admissions[pool as usize];
        let pool = &self.topology.pools[pool as usize];
        if admission.proxy_protocol {
            let (pool, addresses) = (Arc::clone(pool), Arc::clone(&admission.addresses));
            self.newcomers.expect(slot, Newcomer { pool, addresses, sender: peer }, at);
        } else {
            report::accepted(peer, &pool.name, None);
        }
        slot
    }
}

impl Core for WorkerCore {
    type Message = Message;

    fn accepted(&mut self, pool: u32, stream: Stream, peer: Peer, at: Now) -> Verdict {
        let target = self.shared.least_loaded(self.index);
        let admission = &self.shared.admissions[pool as usize];
        let refuse = |stream| Verdict::Refuse(words_of_refusal(admission.protocol), stream);
        let peer = match peer {
            Peer::Tcp(address) => Some(addresses::canonical(address)),
            Peer::Unix => None,
        };
        // Behind a load balancer the address is known with the header only.
        let own = peer.filter(|_| !admission.proxy_protocol);
        let Ok(place) = own.map(|peer| admission.addresses.admit(peer.ip())).transpose() else {
            let name = &self.topology.pools[pool as usize].name;
            report::refused(peer, name, admission.addresses.max());
            return refuse(stream);
        };
        let place = place.flatten();
        if !self.shared.admit(pool, target) {
            return refuse(stream);
        }
        if admission.keepalive {
            // Fails only where the client is gone already, which reading will find out.
            let _ = stream.keepalive();
        }
        match self.shared.mailboxes.get() {
            Some(mailboxes) if target != self.index => {
                mailboxes[target].send(Message::Client { pool, peer, place, stream });
                Verdict::Gone
            }
            _ => Verdict::Keep(self.adopt(pool, peer, place, at), stream),
        }
    }

    fn accept_failed(&mut self, pool: u32, errno: Errno) {
        let name = &self.topology.pools[pool as usize].name;
        log::warn!("accept in pool '{name}' failed: {}", fault::text(errno));
    }

    fn received(&mut self, slot: Slot, bytes: &[u8], at: Now) -> Flow {
        if self.newcomers.awaits(slot) {
            return self.greet(slot, bytes, at);
        }
        self.engine_received(slot, bytes, at)
    }

    fn ended(&mut self, slot: Slot, at: Now) {
        self.newcomer_ended(slot);
        self.engine.ended(slot, now(at));
    }

    fn connected(&mut self, slot: Slot, _now: Now) {
        self.dialer.succeeded(slot);
        self.engine.connected(slot);
    }

    fn failed(&mut self, slot: Slot, errno: Errno, at: Now) {
        self.dialer.forget(slot);
        self.newcomers.forget(slot);
        self.places.remove(&slot);
        self.engine.failed(slot, fault::text(errno), now(at));
    }

    fn output<'c>(&'c self, slot: Slot, slices: &mut [IoSlice<'c>]) -> usize {
        self.engine.output(slot, slices)
    }

    fn written(&mut self, slot: Slot, n: usize, _now: Now) {
        self.engine.written(slot, n);
    }

    fn message(&mut self, message: Message, at: Now) {
        match message {
            Message::Client { pool, peer, place, stream } => {
                let slot = self.adopt(pool, peer, place, at);
                self.ops.attach.push((slot, stream));
            }
            Message::Sibling(event) => self.engine.heed(&event, now(at)),
            Message::Resolved(resolved) => {
                let slot = resolved.slot;
                match self.dialer.resolved(resolved) {
                    dial::Outcome::Stale => {}
                    dial::Outcome::Targets(targets) => self.ops.connect.push((slot, targets)),
                    dial::Outcome::Unknown => {
                        self.engine.failed(slot, engine::fault::HOST_IS_DOWN, now(at));
                    }
                }
            }
            Message::RollCall(answers) => {
                answers.fetch_add(1, Ordering::Relaxed);
            }
            Message::Drain { until_us } => {
                self.draining_until_us = Some(until_us);
                self.ops.unlisten.append(&mut self.accepting);
                self.engine.drain();
            }
        }
    }

    fn turn(&mut self, at: Now) {
        self.give_up_newcomers(at);
        self.engine.turn(now(at));
        self.publish_events();
        self.count_departures();
    }

    fn end_phase(&mut self) {
        self.engine.end_phase();
        let actions = self.engine.actions();
        self.ops.flush.append(&mut actions.flush);
        self.ops.resume.append(&mut actions.resume);
    }

    fn ops(&mut self) -> &mut Ops {
        self.gather_connections();
        &mut self.ops
    }

    fn deadline(&self) -> Option<u64> {
        let deadlines = [self.engine.deadline(), self.draining_until_us, self.newcomers.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn window(&mut self, at: Now) -> Duration {
        Duration::from_micros(self.engine.window_us(now(at)))
    }

    fn running(&self) -> bool {
        match self.draining_until_us {
            None => true,
            Some(until_us) => self.engine.clients() > 0 && self.clock.mono_us() < until_us,
        }
    }
}

/// The reactor's time in the engine's terms.
fn now(at: Now) -> engine::Now {
    engine::Now { mono_us: at.mono_us, wall_us: at.wall_us }
}
