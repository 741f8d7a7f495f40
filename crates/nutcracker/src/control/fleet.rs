//! The workers as the control side sees them: started together, drained together, counted as they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;
use std::time::Duration;

use engine::counters::Counts;
use engine::topology::Topology;
use reactor::{Clock, Mailbox};

use super::Event;
use super::listeners::Listener;
use super::resolver::Resolver;
use crate::config::Config;
use crate::process::limits::FileBudget;
use crate::stats::info::Info;
use crate::worker::{
    Accepting, Addresses, Admission, Message, Resolve, Shared, Worker, WorkerSpec,
};

/// Everything workers are made of.
#[derive(Debug)]
pub struct FleetSpec<'a> {
    /// What they serve.
    pub config: &'a Config,
    /// How many there are, at least 1.
    pub workers: usize,
    /// One for each pool, in the order of the configuration.
    pub listeners: Vec<Listener>,
    /// How many connections fit.
    pub budget: FileBudget,
    /// Turns names of servers into addresses.
    pub resolver: Resolver,
    /// Where workers report to.
    pub events: Sender<Event>,
}

/// The running workers.
#[derive(Debug)]
pub struct Fleet {
    listeners: Vec<Listener>,
    workers: Vec<Mailbox<Message>>,
    topology: Arc<Topology>,
    counts: Vec<Arc<Counts>>,
    clock: Clock,
    alive: usize,
}

impl Fleet {
    /// Starts every worker.
    ///
    /// # Errors
    /// A thread or its event loop cannot be made.
    pub fn start(spec: FleetSpec<'_>) -> io::Result<Fleet> {
        let clock = Clock::start();
        let topology = Arc::new(spec.config.topology(1, spec.workers));
        let admissions = spec.config.pools.iter().map(admission).collect();
        let shared = Shared::new(spec.workers, admissions, spec.budget.clients);
        let counts: Vec<_> = (0..spec.workers).map(|_| Counts::for_topology(&topology)).collect();
        let environment = Arc::new(Info::new(&topology, &counts, &shared, clock));
        let resolve: Arc<dyn Resolve> = Arc::new(spec.resolver);
        let mut accepting = share_out(&spec.listeners, spec.workers)?;
        let mut workers = Vec::with_capacity(spec.workers);
        for (index, counts) in counts.iter().enumerate() {
            workers.push(Worker::new(WorkerSpec {
                index,
                topology: Arc::clone(&topology),
                counts: Arc::clone(counts),
                shared: Arc::clone(&shared),
                environment: Arc::clone(&environment) as _,
                resolve: Arc::clone(&resolve),
                clock,
                listeners: std::mem::take(&mut accepting[index]),
                seed: seed(index, clock),
            })?);
        }
        let events = spec.events;
        let ended = move |worker, failure| {
            // The control loop is gone only when the process ends anyway.
            let _ = events.send(Event::WorkerEnded { worker, failure });
        };
        let workers = Worker::start_all(workers, &shared, &ended)?;
        Ok(Fleet {
            listeners: spec.listeners,
            alive: workers.len(),
            workers,
            topology,
            counts,
            clock,
        })
    }

    /// Stops accepting, removes the socket files, and asks every worker to end once what is in flight is answered,
    /// within `bound` at most. Each reports with [`Event::WorkerEnded`].
    pub fn drain(&mut self, bound: Duration) {
        self.listeners.clear();
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

    /// What the workers serve.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What each worker counts, live.
    #[must_use]
    pub fn counts(&self) -> &[Arc<Counts>] {
        &self.counts
    }

    /// Bytes of buffers that the workers gave back to the allocator since they exist.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.counts.iter().map(|counts| counts.freed_bytes.value()).sum()
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
        addresses: Addresses::new(pool.max_clients_per_address),
        protocol: pool.protocol,
    }
}

/// Gives each listener to one worker, in turn.
fn share_out(listeners: &[Listener], workers: usize) -> io::Result<Vec<Vec<Accepting>>> {
    let mut shares: Vec<Vec<Accepting>> = (0..workers).map(|_| Vec::new()).collect();
    for (pool, listener) in listeners.iter().enumerate() {
        let socket = listener.socket.try_clone()?;
        shares[pool % workers].push(Accepting { pool: pool as u32, socket });
    }
    Ok(shares)
}

/// Different for every worker and every start; nothing secret depends on it.
fn seed(index: usize, clock: Clock) -> u64 {
    let spread = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    clock.now().wall_us.rotate_left(20) ^ spread
}
