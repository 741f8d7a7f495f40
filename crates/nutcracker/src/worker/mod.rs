//! One worker: an engine in a reactor, on a thread of its own.
//!
//! ```text
//!   listener ──▶ worker that accepts ──▶ the worker with the fewest clients (through its mailbox, or itself)
//!   control ── topologies, listeners, drain ──▶ mailbox ──▶ worker ── ended ──▶ control
//!   resolver ── addresses ──▶ mailbox
//!   worker ── failures, ejections of servers ──▶ mailboxes of its siblings
//! ```
//!
//! Workers share nothing on the request path. What they do share ([`Shared`]) is touched when a client comes or goes, or
//! when a server fails.

mod addresses;
mod dial;
mod ejections;
mod fault;
#[cfg(all(test, loom))]
mod models;
mod newcomers;
mod proxy_header;
mod publication;
mod report;
mod shared;

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::topology::{Pool, Protocol};
use engine::{Engine, Environment, Event, Identity};
use reactor::{
    Clock, Close, Core, Errno, Flow, Mailbox, Now, Ops, Peer, Reactor, Slot, Stream, Verdict,
};
use socket2::Socket;

pub use addresses::{Addresses, Place};
use dial::Dialer;
pub use dial::{Resolve, Resolved};
use ejections::Ejections;
use newcomers::{Newcomer, Newcomers};
pub use proxy_header::fuzz_proxy_header;
use publication::Attendance;
pub use publication::Publication;
pub use shared::{Admission, Gate, Shared};

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

/// A listener that a worker accepts from.
#[derive(Debug)]
pub struct Accepting {
    /// Never that of another listener; publications say where it leads.
    pub listener: u32,
    /// Bound and listening.
    pub socket: Socket,
}

/// Dropped when what was asked for is done.
pub struct Receipt(Option<Box<dyn FnOnce() + Send>>);

impl Receipt {
    /// Calls `told` when it is dropped.
    pub fn new(told: impl FnOnce() + Send + 'static) -> Receipt {
        Receipt(Some(Box::new(told)))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told();
        }
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Receipt").finish_non_exhaustive()
    }
}

/// What another thread may send to a worker.
#[derive(Debug)]
pub enum Message {
    /// A client accepted by a sibling for this worker to serve.
    Client {
        /// What it came through; it is counted there already.
        gate: Arc<Gate>,
        /// Where it comes from.
        peer: Option<SocketAddr>,
        /// Its place among the clients of its address.
        place: Option<Place>,
        /// The connection.
        stream: Stream,
    },
    /// What a sibling learned about a server.
    Sibling {
        /// The pool that it is about, as the sibling knows it.
        pool: Arc<Pool>,
        /// What happened.
        event: Event,
    },
    /// Serve this from now on. Sent to every worker before any listener that leads to a new pool.
    Publish(Publication),
    /// Accept from one more listener.
    Listen(Accepting),
    /// Accept who waits at a listener, then close it.
    Unlisten {
        /// Its number.
        listener: u32,
        /// Dropped once it is closed.
        receipt: Receipt,
    },
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

/// Everything one worker is made of.
pub struct WorkerSpec {
    /// Which of its siblings it is.
    pub index: usize,
    /// What it serves at first.
    pub publication: Publication,
    /// What it shares with its siblings.
    pub shared: Arc<Shared>,
    /// The text of INFO.
    pub environment: Arc<dyn Environment>,
    /// Names to addresses.
    pub resolve: Arc<dyn Resolve>,
    /// The clock of the process.
    pub clock: Clock,
    /// Seed of its random choices.
    pub seed: u64,
}

/// A worker that has its event queue but no thread yet. Workers are made side by side: what one writes all the time must
/// not lie in a cache line of the next.
#[repr(align(128))]
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
        shared.introduce(workers.iter().map(|worker| worker.reactor.mailbox()).collect());
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
        self.core.shared.end(self.core.index);
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
    shared: Arc<Shared>,
    dialer: Dialer,
    ops: Ops,
    events: Vec<Event>,
    /// Clients that a load balancer has yet to announce.
    newcomers: Newcomers,
    /// The places of clients whose number by address is limited.
    places: HashMap<Slot, Place>,
    attendance: Attendance,
    /// Listeners this worker accepts from.
    accepting: Vec<u32>,
    /// Of listeners that are closed by the end of the turn.
    receipts: Vec<Receipt>,
    draining_until_us: Option<u64>,
    clock: Clock,
}

impl WorkerCore {
    fn new(spec: WorkerSpec, mailbox: Mailbox<Message>) -> WorkerCore {
        let identity = Identity {
            worker: spec.index as u32,
            workers: spec.shared.workers() as u32,
            seed: spec.seed,
        };
        let mut core = WorkerCore {
            index: spec.index,
            engine: Engine::new(identity, spec.environment),
            dialer: Dialer::new(spec.resolve, mailbox),
            shared: spec.shared,
            ops: Ops::default(),
            events: Vec::new(),
            newcomers: Newcomers::default(),
            places: HashMap::new(),
            attendance: Attendance::default(),
            accepting: Vec::new(),
            receipts: Vec::new(),
            draining_until_us: None,
            clock: spec.clock,
        };
        core.follow(&spec.publication, spec.clock.now());
        core
    }

    /// Serves what was published.
    fn follow(&mut self, publication: &Publication, at: Now) {
        // What is not told yet is about the topology before.
        self.publish_events();
        self.dialer.forget_order();
        self.engine.publish(&publication.topology, &publication.counts, now(at));
        self.attendance.follow(publication);
    }

    fn listen(&mut self, Accepting { listener, socket }: Accepting) {
        if self.draining_until_us.is_none() {
            self.accepting.push(listener);
            self.ops.listen.push((listener, socket));
        }
    }

    fn unlisten(&mut self, listener: u32, receipt: Receipt) {
        if let Some(at) = self.accepting.iter().position(|known| *known == listener) {
            self.accepting.swap_remove(at);
            self.ops.unlisten.push(listener);
        }
        self.receipts.push(receipt);
    }

    /// The name of a server was resolved, or not.
    fn resolved(&mut self, resolved: Resolved, at: Now) {
        let slot = resolved.slot;
        match self.dialer.resolved(resolved) {
            dial::Outcome::Stale => {}
            dial::Outcome::Targets(targets) => self.ops.connect.push((slot, targets)),
            dial::Outcome::Unknown => {
                self.engine.failed(slot, engine::fault::HOST_IS_DOWN, now(at));
            }
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
        let mut connect = std::mem::take(&mut actions.connect);
        for (slot, pool, server) in connect.drain(..) {
            let Some(pool) = self.engine.pool(pool) else { continue };
            let server = &pool.servers[server as usize].address;
            if let Some(targets) = self.dialer.dial(slot, server) {
                self.ops.connect.push((slot, targets));
            }
        }
        self.engine.actions().connect = connect;
    }

    /// Tells the siblings and the log what happened.
    fn publish_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.engine.take_events(&mut events);
        for event in &events {
            let Some((index, pool)) = self.pool_of(event) else { continue };
            if self.shared.is_news(event) {
                report::log(event, index, pool);
            }
            if event.concerns_siblings() {
                let siblings = (0..self.shared.workers()).filter(|worker| *worker != self.index);
                for mailbox in siblings.filter_map(|worker| self.shared.mailbox(worker)) {
                    let pool = Arc::clone(pool);
                    mailbox.send(Message::Sibling { pool, event: event.clone() });
                }
            }
        }
        self.events = events;
    }

    fn pool_of(&self, event: &Event) -> Option<(u32, &Arc<Pool>)> {
        let index = event.pool();
        Some((index, self.engine.pool(index)?))
    }

    /// Gives back the places of clients that have gone.
    fn count_departures(&mut self) {
        let (shared, index) = (&self.shared, self.index);
        let clients = self.engine.clients() as u64;
        self.attendance.count_departures(clients, |gate, n| shared.dismiss(gate, index, n));
    }

    fn pool_name(&self, pool: u32) -> &str {
        self.engine.pool(pool).map_or("", |pool| &pool.name)
    }

    /// A client that a sibling accepted.
    fn take_over(
        &mut self,
        gate: Arc<Gate>,
        peer: Option<SocketAddr>,
        place: Option<Place>,
        stream: Stream,
        at: Now,
    ) {
        if let Some(pool) = self.attendance.index_of(gate.number()) {
            let slot = self.adopt(pool, peer, place, at);
            return self.ops.attach.push((slot, stream));
        }
        let own = self.shared.mailbox(self.index);
        match own.filter(|_| self.attendance.is_to_come(gate.number())) {
            // The sibling has heard of a new pool at an old listener, and this worker will the next moment.
            Some(mailbox) => mailbox.send(Message::Client { gate, peer, place, stream }),
            // Its pool is gone since, and so is the client.
            None => self.shared.dismiss(&gate, self.index, 1),
        }
    }

    fn adopt(
        &mut self,
        pool: u32,
        peer: Option<SocketAddr>,
        place: Option<Place>,
        at: Now,
    ) -> Slot {
        self.attendance.admit(pool);
        let slot = self.engine.accept(pool, peer);
        self.places.extend(place.map(|place| (slot, place)));
        let gate = self.attendance.gate(pool);
        match self.engine.pool(pool) {
            Some(pool) if gate.admission().proxy_protocol => {
                let (pool, addresses) = (Arc::clone(pool), Arc::clone(gate.addresses()));
                self.newcomers.expect(slot, Newcomer { pool, addresses, sender: peer }, at);
            }
            _ => report::accepted(peer, self.pool_name(pool), None),
        }
        slot
    }
}

impl Core for WorkerCore {
    type Message = Message;

    fn accepted(&mut self, listener: u32, stream: Stream, peer: Peer, at: Now) -> Verdict {
        let Some((pool, gate)) = self.attendance.door(listener) else { return Verdict::Gone };
        let gate = Arc::clone(gate);
        let admission = gate.admission();
        let refuse = |stream| Verdict::Refuse(words_of_refusal(admission.protocol), stream);
        let peer = match peer {
            Peer::Tcp(address) => Some(addresses::canonical(address)),
            Peer::Unix => None,
        };
        // Behind a load balancer the address is known with the header only.
        let own = peer.filter(|_| !admission.proxy_protocol);
        let Ok(place) = own.map(|peer| gate.addresses().admit(peer.ip())).transpose() else {
            report::refused(peer, self.pool_name(pool), gate.addresses().max());
            return refuse(stream);
        };
        let place = place.flatten();
        let Some(target) = self.shared.admit(&gate, self.index) else {
            self.shared.tell_refusal(&gate, self.pool_name(pool));
            return refuse(stream);
        };
        if admission.keepalive {
            // Fails only where the client is gone already, which reading will find out.
            let _ = stream.keepalive();
        }
        match self.shared.mailbox(target) {
            Some(mailbox) if target != self.index => {
                mailbox.send(Message::Client { gate, peer, place, stream });
                Verdict::Gone
            }
            _ => Verdict::Keep(self.adopt(pool, peer, place, at), stream),
        }
    }

    fn accept_failed(&mut self, listener: u32, errno: Errno) {
        let name = self.attendance.door(listener).map_or("", |(pool, _)| self.pool_name(pool));
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
            Message::Client { gate, peer, place, stream } => {
                self.take_over(gate, peer, place, stream, at);
            }
            Message::Sibling { pool, event } => self.engine.heed_from(&pool, &event, now(at)),
            Message::Publish(publication) => self.follow(&publication, at),
            Message::Listen(accepting) => self.listen(accepting),
            Message::Unlisten { listener, receipt } => self.unlisten(listener, receipt),
            Message::Resolved(resolved) => self.resolved(resolved, at),
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
        self.count_departures();
        self.receipts.clear();
    }

    fn end_phase(&mut self) {
        // Ahead of the replies: who has read of a failure finds every worker counting it.
        self.publish_events();
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
            Some(until_us) => {
                let is_done = self.engine.clients() == 0 && self.shared.leave(self.index);
                !is_done && self.clock.mono_us() < until_us
            }
        }
    }
}

/// The reactor's time in the engine's terms.
fn now(at: Now) -> engine::Now {
    engine::Now { mono_us: at.mono_us, wall_us: at.wall_us }
}
