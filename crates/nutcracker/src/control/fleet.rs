//! The workers as the control side sees them: started together, drained together, counted as they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;
use std::time::Duration;

use engine::counters::Counts;
use engine::topology::{Pool, Topology};
use reactor::{Clock, Mailbox};

use super::Event;
use super::doors::{Change, Doors};
use super::listeners::BindError;
use super::resolver::Resolver;
use crate::config::Config;
use crate::process::limits::FileBudget;
use crate::process::os_error_text;
use crate::stats::info::Info;
use crate::stats::published::{Published, Snapshot};
use crate::worker::{
    Admission, Gate, Message, Publication, Receipt, Resolve, Shared, Worker, WorkerSpec,
};

/// Everything workers are made of.
#[derive(Debug)]
pub struct FleetSpec<'a> {
    /// What they serve.
    pub config: &'a Config,
    /// How many there are, at least 1.
    pub workers: usize,
    /// How many connections fit.
    pub budget: FileBudget,
    /// Turns names of servers into addresses.
    pub resolver: Resolver,
    /// Where workers report to.
    pub events: Sender<Event>,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A pool cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or its event loop cannot be made.
    #[error("starting the workers failed: {}", os_error_text(.0))]
    Workers(#[from] io::Error),
}

/// The running workers.
#[derive(Debug)]
pub struct Fleet {
    doors: Doors,
    gates: Vec<Arc<Gate>>,
    /// The number of the newest gate.
    last_gate: u64,
    workers: Vec<Mailbox<Message>>,
    shared: Arc<Shared>,
    published: Arc<Published>,
    events: Sender<Event>,
    clock: Clock,
    alive: usize,
}

impl Fleet {
    /// Binds the listeners and starts every worker.
    ///
    /// # Errors
    /// A listener, a thread or its event loop cannot be made.
    pub fn start(spec: FleetSpec<'_>) -> Result<Fleet, FleetError> {
        let clock = Clock::start();
        let mut doors = Doors::default();
        let plan = doors.plan(spec.config)?;
        let topology = Arc::new(spec.config.topology(1, spec.workers));
        let pools = spec.config.pools.iter();
        let gates: Vec<_> = (1..).zip(pools).map(|(n, p)| Gate::new(n, admission(p))).collect();
        let change = doors.change(plan, &numbers(&gates));
        let shared = Shared::new(spec.workers, spec.budget.clients);
        let counts: Vec<_> = (0..spec.workers).map(|_| Counts::for_topology(&topology)).collect();
        let published = Published::new(Snapshot { topology: Arc::clone(&topology), counts });
        let publications = publications(&published.snapshot(), &gates, &change);
        let environment = Arc::new(Info::new(&published, &shared, clock));
        let resolve: Arc<dyn Resolve> = Arc::new(spec.resolver);
        let mut workers = Vec::with_capacity(spec.workers);
        for (index, publication) in publications.into_iter().enumerate() {
            workers.push(Worker::new(WorkerSpec {
                index,
                publication,
                shared: Arc::clone(&shared),
                environment: Arc::clone(&environment) as _,
                resolve: Arc::clone(&resolve),
                clock,
                seed: seed(index, clock),
            })?);
        }
        let sender = spec.events.clone();
        let ended = move |worker, failure| {
            // The control loop is gone only when the process ends anyway.
            let _ = sender.send(Event::WorkerEnded { worker, failure });
        };
        let workers = Worker::start_all(workers, &shared, &ended)?;
        let last_gate = gates.len() as u64;
        let (alive, events) = (workers.len(), spec.events);
        let fleet =
            Fleet { doors, gates, last_gate, workers, shared, published, events, clock, alive };
        fleet.hand_out(change);
        Ok(fleet)
    }

    /// Serves `config` from now on. Returns how many listeners are being closed; each is told with
    /// [`Event::ListenerClosed`] when its address is free.
    ///
    /// # Errors
    /// A listener cannot be made. Nothing has changed then.
    pub fn publish(&mut self, config: &Config, budget: FileBudget) -> Result<usize, BindError> {
        let plan = self.doors.plan(config)?;
        // From here on nothing can fail.
        let before = self.published.snapshot();
        let topology = Arc::new(config.topology(before.topology.epoch + 1, self.workers.len()));
        self.gates = self.gates_for(config, &before.topology, &topology);
        let change = self.doors.change(plan, &numbers(&self.gates));
        let succeed = |counts: &Arc<Counts>| counts.succeed(&before.topology.pools, &topology);
        let counts = before.counts.iter().map(succeed).collect();
        let snapshot = Snapshot { topology: Arc::clone(&topology), counts };
        let publications = publications(&snapshot, &self.gates, &change);
        self.published.replace(snapshot);
        self.shared.limit_clients(budget.clients);
        self.shared.forget_ejections();
        for (worker, publication) in self.workers.iter().zip(publications) {
            worker.send(Message::Publish(publication));
        }
        let closing = change.closed.len();
        self.hand_out(change);
        Ok(closing)
    }

    /// The gates of the pools of `after`: those that were there before keep their number and their clients.
    fn gates_for(
        &mut self,
        config: &Config,
        before: &Topology,
        after: &Topology,
    ) -> Vec<Arc<Gate>> {
        let mut gate = |(config, pool): (&crate::config::Pool, &Arc<Pool>)| {
            let known = before.pools.iter().position(|old| old.continues_as(pool));
            match known {
                Some(at) => self.gates[at].with(admission(config)),
                None => {
                    self.last_gate += 1;
                    Gate::new(self.last_gate, admission(config))
                }
            }
        };
        config.pools.iter().zip(&after.pools).map(&mut gate).collect()
    }

    /// Gives new listeners to workers in turn and has others closed. Every worker knows of its pools already.
    fn hand_out(&self, change: Change) {
        let of = |listener: u32| &self.workers[listener as usize % self.workers.len()];
        for accepting in change.opened {
            of(accepting.listener).send(Message::Listen(accepting));
        }
        for (listener, ours) in change.closed {
            let events = self.events.clone();
            let told = move || drop(events.send(Event::ListenerClosed));
            of(listener).send(Message::Unlisten { listener, receipt: Receipt::new(told) });
            drop(ours);
        }
    }

    /// Stops accepting, removes the socket files, and asks every worker to end once what is in flight is answered,
    /// within `bound` at most. Each reports with [`Event::WorkerEnded`].
    pub fn drain(&mut self, bound: Duration) {
        self.doors.close_all();
        let until_us = self.clock.mono_us() + bound.as_micros() as u64;
        for worker in &self.workers {
            worker.send(Message::Drain { until_us });
        }
    }

    /// Asks every worker for a sign of life: each adds one to the number returned when it next takes its mail.
    #[must_use]
    pub fn call_roll(&self) -> Arc<AtomicUsize> {
        let answers = Arc::new(AtomicUsize::new(0));
        for worker in &self.workers {
            worker.send(Message::RollCall(Arc::clone(&answers)));
        }
        answers
    }

    /// To be called for each [`Event::WorkerEnded`].
    pub fn worker_ended(&mut self) {
        self.alive = self.alive.saturating_sub(1);
    }

    /// Workers that have not ended.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// What the workers serve and count.
    #[must_use]
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Whether clients still find every listener: no socket file was removed or replaced.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.doors.are_reachable()
    }

    /// How many workers there were at the start.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Bytes of buffers that the workers gave back to the allocator since they exist.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.published.snapshot().sum(|counts| counts.freed_bytes.value())
    }
}

impl Resolve for Resolver {
    fn resolve(
        &self,
        host: &str,
        port: u16,
        answer: Box<dyn FnOnce(Option<Vec<SocketAddr>>) + Send>,
    ) {
        // The resolver has logged the failure, once for all who wait.
        Resolver::resolve(self, host, port, Box::new(|found| answer(found.ok())));
    }
}

fn admission(pool: &crate::config::Pool) -> Admission {
    Admission {
        clients_max: u64::from(pool.max_clients),
        keepalive: pool.tcpkeepalive,
        proxy_protocol: pool.proxy_protocol,
        clients_per_address_max: pool.max_clients_per_address,
        protocol: pool.protocol,
    }
}

fn numbers(gates: &[Arc<Gate>]) -> Vec<u64> {
    gates.iter().map(|gate| gate.number()).collect()
}

/// What each worker is given.
fn publications(snapshot: &Snapshot, gates: &[Arc<Gate>], change: &Change) -> Vec<Publication> {
    let gates: Arc<[Arc<Gate>]> = gates.into();
    let doors = Arc::new(change.leading.clone());
    let publication = |counts: &Arc<Counts>| Publication {
        topology: Arc::clone(&snapshot.topology),
        counts: Arc::clone(counts),
        gates: Arc::clone(&gates),
        doors: Arc::clone(&doors),
    };
    snapshot.counts.iter().map(publication).collect()
}

/// Different for every worker and every start; nothing secret depends on it.
fn seed(index: usize, clock: Clock) -> u64 {
    let spread = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    clock.now().wall_us.rotate_left(20) ^ spread
}
