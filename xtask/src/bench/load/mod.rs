//! The load: `redis-benchmark` where it fits, and a small generator of our own. Neither is to be the bottleneck unnoticed.
//!
//! Closed loop with a pipeline, open loop at a rate with latencies from when a request was due (so that a stall is not
//! omitted), or a connection for each request. One thread for each core it is given, each with connections of its own;
//! requests and replies are known beforehand, so that a request costs little more than its system calls.

mod drive;
pub(crate) mod redis_benchmark;
pub(crate) mod script;
pub(crate) mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::machine;
use script::Script;

/// Fewer requests than this say nothing.
pub(crate) const REQUESTS_MIN: u64 = 200;
/// How long the next reply is awaited at the end.
pub(crate) const NEXT: Duration = Duration::from_secs(2);
/// A measurement lasts at most so many times as long as was asked for.
const LONGER: u32 = 10;

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
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Connections go to each in turn.
    pub(crate) targets: &'a [SocketAddr],
    pub(crate) script: &'a Script,
    pub(crate) connections: usize,
    pub(crate) shape: Shape,
    /// Cores, one thread on each.
    pub(crate) cores: &'a [usize],
    pub(crate) warm_up: Duration,
    pub(crate) span: Duration,
    /// A measurement of fewer requests goes on, for [`LONGER`] times what was asked for at most.
    pub(crate) requests_min: u64,
    /// And so does one while this is set.
    pub(crate) while_set: Option<&'a AtomicBool>,
}

/// What was measured, with what `observe` saw at the beginning and at the end.
pub(crate) struct Outcome<T> {
    pub(crate) requests: u64,
    /// Requests that were still under way when nothing was answered any more at the end.
    pub(crate) unanswered: usize,
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

    /// Lets `span` pass, and up to [`LONGER`] times as much while it is not enough.
    fn wait(&self, span: Duration, is_enough: impl Fn(&Shared) -> bool) {
        let begun = Instant::now();
        thread::sleep(span);
        while !is_enough(self) && begun.elapsed() < span * LONGER {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
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
            let has_failed = || drivers.iter().any(thread::ScopedJoinHandle::is_finished);
            let all = self.under_way() as u64;
            shared.wait(self.warm_up, |shared| shared.completed() >= all || has_failed());
            let before = observe();
            let (begun, completed) = (Instant::now(), shared.completed());
            shared.enter(Phase::Recording);
            shared.wait(self.span, |shared| {
                let is_held = self.while_set.is_some_and(|set| set.load(Ordering::Relaxed));
                shared.completed() - completed >= self.requests_min && !is_held || has_failed()
            });
            let after = observe();
            let elapsed = begun.elapsed();
            let requests = shared.completed() - completed;
            shared.enter(Phase::Ending);
            let mut latency = histogram()?;
            let (mut generator, mut unanswered) = (Duration::ZERO, 0);
            for driver in drivers {
                let part =
                    driver.join().map_err(|_| anyhow!("a thread of the load panicked"))??;
                latency.add(part.latency)?;
                generator += part.cpu;
                unanswered += part.unanswered;
            }
            let (before, after) = (before?, after?);
            Ok(Outcome { requests, unanswered, elapsed, latency, generator, before, after })
        })
    }

    /// Requests that are under way at the same time, if that is known.
    fn under_way(&self) -> usize {
        match self.shape {
            Shape::Closed { pipeline } => self.connections * pipeline,
            Shape::Churn => self.connections,
            Shape::Open { .. } => 0,
        }
    }

    /// Where a connection of a thread goes.
    fn target(&self, index: usize, thread: usize) -> SocketAddr {
        self.targets[(index * self.cores.len() + thread) % self.targets.len()]
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
    unanswered: usize,
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::script::{Dataset, Operation, Protocol, Script};
    use super::{Load, Outcome, Shape};

    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);

    /// A server that answers every request of `script` with `reply`. Its threads end with the test.
    fn server(script: &Script, reply: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let request_len = script.start(1);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, reply) = (client.expect("a client"), reply.clone());
                ACCEPTED.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    let (mut buffer, mut received) = ([0; 4096], 0);
                    while let Ok(read @ 1..) = client.read(&mut buffer) {
                        received += read;
                        let replies = reply.repeat(received / request_len);
                        received %= request_len;
                        if client.write_all(&replies).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn run(shape: Shape, reply: &str) -> anyhow::Result<Outcome<()>> {
        let dataset = Dataset { protocol: Protocol::Redis, value_bytes: 32 };
        let script = Script::new(dataset, Operation::Get, |_| true);
        let target = server(&script, reply.as_bytes().to_vec());
        let cores = crate::bench::machine::cores()?;
        let load = Load {
            targets: &[target],
            script: &script,
            connections: 5,
            shape,
            cores: &cores,
            warm_up: Duration::from_millis(10),
            span: Duration::from_millis(50),
            requests_min: super::REQUESTS_MIN,
            while_set: None,
        };
        load.run(|| Ok(()))
    }

    fn value() -> String {
        format!("$32\r\n{}\r\n", "x".repeat(32))
    }

    #[test]
    fn every_shape_counts_and_times_the_requests_that_were_answered() {
        for shape in [Shape::Closed { pipeline: 16 }, Shape::Open { rate: 5_000.0 }, Shape::Churn] {
            let outcome = run(shape, &value()).expect("an outcome");
            assert!(outcome.requests > 0, "{shape:?}");
            assert!(outcome.latency.value_at_quantile(0.5) > 0, "{shape:?}");
            assert!(!outcome.generator.is_zero(), "{shape:?}");
        }
        assert!(ACCEPTED.load(Ordering::Relaxed) > 10, "each request of a churn has a connection");
    }

    #[test]
    fn an_unexpected_reply_is_an_error_and_not_a_figure() {
        for shape in [Shape::Closed { pipeline: 4 }, Shape::Open { rate: 1_000.0 }, Shape::Churn] {
            let error = run(shape, "-ERR no\r\n").err().expect("an error");
            assert!(format!("{error:#}").contains("-ERR no"), "{shape:?}: {error:#}");
        }
    }

    #[test]
    fn what_a_server_never_answers_is_counted() {
        let outcome = run(Shape::Closed { pipeline: 2 }, "").expect("an outcome");
        assert_eq!((outcome.requests, outcome.unanswered), (0, 10));
    }
}
