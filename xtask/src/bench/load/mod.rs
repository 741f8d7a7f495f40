//! The generator of load: small, our own, and never to be the bottleneck unnoticed.
//!
//! Closed loop with a pipeline, open loop at a rate with latencies from when a request was due (so that a stall is not
//! omitted), or a connection for each request. One thread for each core it is given, each with connections of its own;
//! requests and replies are known beforehand, so that a request costs little more than its system calls.

mod drive;
pub(crate) mod script;
pub(crate) mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::machine;
use script::Script;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Each connection sends so many, waits for all replies, and sends the next.
    Closed { pipeline: usize },
    /// So many per second over all connections, at random moments, whatever has been answered.
    Open { rate: f64 },
    /// Connect, one request, close, as many at a time as there are connections.
    Churn,
}

/// What is to be sent where.
pub(crate) struct Load<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) script: &'a Script,
    pub(crate) connections: usize,
    pub(crate) shape: Shape,
    /// Cores, one thread on each.
    pub(crate) cores: &'a [usize],
    pub(crate) warm_up: Duration,
    pub(crate) span: Duration,
}

/// What was measured, with what `observe` saw at the beginning and at the end.
pub(crate) struct Outcome<T> {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// Latencies in ns.
    pub(crate) latency: Histogram<u64>,
    /// CPU time of the generator itself.
    pub(crate) generator: Duration,
    pub(crate) before: T,
    pub(crate) after: T,
}

/// The course of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Phase {
    Connecting,
    WarmUp,
    Recording,
    Ending,
}

const PHASES: [Phase; 4] = [Phase::Connecting, Phase::WarmUp, Phase::Recording, Phase::Ending];

/// What the threads of a run share.
#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    /// Threads whose connections are established.
    connected: AtomicUsize,
    completed: AtomicU64,
}

impl Shared {
    fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

impl Load<'_> {
    /// Runs to its end. `observe` is called when recording begins and ends.
    ///
    /// # Errors
    /// When a connection fails or a reply is not the one expected.
    pub(crate) fn run<T>(&self, mut observe: impl FnMut() -> Result<T>) -> Result<Outcome<T>> {
        let shared = Shared::default();
        let threads = self.cores.len().min(self.connections).max(1);
        thread::scope(|scope| {
            let drivers: Vec<_> = (0..threads)
                .map(|thread| {
                    let shared = &shared;
                    scope.spawn(move || drive::run(self, shared, thread, threads))
                })
                .collect();
            // A thread that fails to connect ends; the others are told to.
            while shared.connected.load(Ordering::Relaxed) < threads
                && !drivers.iter().any(thread::ScopedJoinHandle::is_finished)
            {
                thread::sleep(Duration::from_millis(1));
            }
            shared.enter(Phase::WarmUp);
            thread::sleep(self.warm_up);
            let before = observe();
            let (begun, completed) = (Instant::now(), shared.completed.load(Ordering::Relaxed));
            shared.enter(Phase::Recording);
            thread::sleep(self.span);
            let after = observe();
            let elapsed = begun.elapsed();
            let requests = shared.completed.load(Ordering::Relaxed) - completed;
            shared.enter(Phase::Ending);
            let mut latency = histogram()?;
            let mut generator = Duration::ZERO;
            for driver in drivers {
                let part =
                    driver.join().map_err(|_| anyhow!("a thread of the load panicked"))??;
                latency.add(part.latency)?;
                generator += part.cpu;
            }
            Ok(Outcome { requests, elapsed, latency, generator, before: before?, after: after? })
        })
    }

    /// How many of the connections are those of `thread`.
    fn share(&self, thread: usize, threads: usize) -> usize {
        self.connections / threads + usize::from(thread < self.connections % threads)
    }
}

/// One thread's part of an outcome.
struct Part {
    latency: Histogram<u64>,
    cpu: Duration,
}

/// Up to a minute in ns, to three digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// What one thread counts.
struct Meter<'a> {
    shared: &'a Shared,
    phase: Phase,
    latency: Histogram<u64>,
    /// Finished since it was last told to the others.
    finished: u64,
    cpu_begun: Duration,
    cpu: Duration,
}

impl<'a> Meter<'a> {
    fn new(shared: &'a Shared) -> Result<Meter<'a>> {
        let (phase, latency) = (Phase::Connecting, histogram()?);
        let (cpu_begun, cpu) = (Duration::ZERO, Duration::ZERO);
        Ok(Meter { shared, phase, latency, finished: 0, cpu_begun, cpu })
    }

    /// A turn of the thread's loop begins.
    fn turn(&mut self) -> Phase {
        if self.finished > 0 {
            self.shared.completed.fetch_add(self.finished, Ordering::Relaxed);
            self.finished = 0;
        }
        let phase = self.shared.phase();
        if phase != self.phase {
            let used = machine::cpu_of_this_thread();
            match phase {
                Phase::Recording => self.cpu_begun = used,
                Phase::Ending => self.cpu = used.saturating_sub(self.cpu_begun),
                Phase::Connecting | Phase::WarmUp => {}
            }
            self.phase = phase;
        }
        phase
    }

    /// A request that was due at `due` is answered.
    fn answered(&mut self, due: u64, now: u64) {
        self.finished += 1;
        if self.phase == Phase::Recording {
            self.latency.saturating_record(now.saturating_sub(due));
        }
    }
}

/// Monotonic time in ns.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
