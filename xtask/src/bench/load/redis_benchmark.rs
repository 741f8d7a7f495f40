//! `redis-benchmark` as the load: what everybody has at hand to repeat a closed loop of simple commands.
//!
//! It sends a number of requests rather than for a time, says nothing while it runs, and looks at no reply but for
//! errors. So a short run tells how many requests take as long as asked for, and its report is read at the end.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::LONGER;
use super::script::{Dataset, Operation};
use crate::bench::machine;
use crate::started::Folder;

pub(crate) const PROGRAM: &str = "redis-benchmark";
/// What it replaces with as many digits as [`Dataset::key`] has for the number.
const RANDOM: &str = "__rand_int__";
/// Requests of each connection at least: connecting, which is part of a run, is not to count.
const REQUESTS_EACH: usize = 200;
/// The part of them that tells how many are needed, and warms up.
const TRIAL_PARTS: usize = 4;
/// Beside what it was asked for, a run may take this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A closed loop: each connection sends a pipeline, waits for all replies, and sends the next.
pub(crate) struct RedisBenchmark<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) dataset: Dataset,
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    /// Where it runs; it has one thread.
    pub(crate) cores: &'a [usize],
    pub(crate) span: Duration,
    pub(crate) folder: &'a Folder,
}

/// What it reports, with what `observe` saw before and after.
pub(crate) struct Report<T> {
    pub(crate) requests: usize,
    /// From its start to its end.
    pub(crate) elapsed: Duration,
    /// CPU time of the program itself, to a hundredth of a second.
    pub(crate) generator: Duration,
    pub(crate) figures: Figures,
    pub(crate) before: T,
    pub(crate) after: T,
}

/// The figures in its text.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    /// Median, p99, p99.9 and maximum, in µs.
    pub(crate) latencies: [f64; 4],
}

impl RedisBenchmark<'_> {
    /// Runs for about the time asked for, longer where that is too short for so many connections.
    ///
    /// # Errors
    /// When it cannot be started, ends with an error or not at all, or says something else than expected.
    pub(crate) fn run<T>(&self, mut observe: impl FnMut() -> Result<T>) -> Result<Report<T>> {
        let requests_min = REQUESTS_EACH * self.connections * self.pipeline;
        let trial = self.send(requests_min / TRIAL_PARTS)?;
        let wanted = trial.requests_per_second * self.span.as_secs_f64();
        let requests = requests_min.max(wanted as usize);
        let (before, generator) = (observe()?, machine::cpu_of_children()?);
        let begun = Instant::now();
        let figures = self.send(requests)?;
        let elapsed = begun.elapsed();
        let (after, generator) = (observe()?, machine::cpu_of_children()? - generator);
        Ok(Report { requests, elapsed, generator, figures, before, after })
    }

    /// Sends so many requests and waits for the end.
    fn send(&self, requests: usize) -> Result<Figures> {
        let path = self.folder.path().join(format!("{PROGRAM}.txt"));
        let mut child = Command::new(PROGRAM)
            .args(["-h", &self.target.ip().to_string(), "-p", &self.target.port().to_string()])
            .args(["-n", &requests.to_string(), "-c", &self.connections.to_string()])
            .args(["-P", &self.pipeline.to_string(), "-r", &self.dataset.keys().to_string()])
            .args(self.words())
            .stdin(Stdio::null())
            .stdout(File::create(&path)?)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let outcome = machine::pin(child.id(), self.cores).and_then(|()| {
            let deadline = Instant::now() + self.span * LONGER + PATIENCE;
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                ensure!(Instant::now() < deadline, "{PROGRAM} does not come to its end");
                thread::sleep(Duration::from_millis(1));
            }
        });
        if outcome.is_err() {
            let _ended_already = child.kill();
            let _ended_already = child.wait();
        }
        let status = outcome?;
        let text = fs::read_to_string(&path)?;
        if !status.success() {
            let last = text.rsplit(['\n', '\r']).find(|line| !line.trim().is_empty());
            bail!("{PROGRAM} ended with {status}: {}", last.unwrap_or_default());
        }
        Figures::parse(&text).with_context(|| format!("{PROGRAM} reports something else"))
    }

    /// The command to be sent: the same as in a [`Script`](super::script::Script), for random keys.
    fn words(&self) -> Vec<String> {
        let (dataset, keys) = (self.dataset, self.operation.keys());
        let key = dataset.named(RANDOM);
        let value = "x".repeat(dataset.value_bytes);
        let mut words = vec![self.operation.redis_name().to_owned()];
        for _ in 0..keys {
            words.push(key.clone());
            words.extend(self.operation.sets().then(|| value.clone()));
        }
        words
    }
}

impl Figures {
    /// Reads its text, that of releases from 6.2 on.
    fn parse(text: &str) -> Option<Figures> {
        let (_, rest) = text.split_once("Latency by percentile distribution:")?;
        let (distribution, rest) = rest.split_once("Cumulative distribution")?;
        // A line for ever larger shares: "99.902% <= 4.879 milliseconds (cumulative count 99904)".
        let p999 = distribution.lines().find_map(|line| {
            let (share, rest) = line.split_once("% <= ")?;
            let (latency, _) = rest.split_once(" milliseconds")?;
            let is_it = share.trim().parse::<f64>().ok()? >= 99.9;
            is_it.then(|| latency.parse::<f64>().ok())?
        })?;
        let (_, rest) = rest.split_once("throughput summary: ")?;
        let (requests_per_second, rest) = rest.split_once(" requests per second")?;
        // A line of names, avg min p50 p95 p99 max, and one of figures.
        let (_, rest) = rest.split_once(" max")?;
        let summary = rest.split_whitespace().map(|figure| figure.parse::<f64>().ok());
        let summary = summary.take(6).collect::<Option<Vec<f64>>>()?;
        let &[_, _, p50, _, p99, max] = summary.as_slice() else { return None };
        Some(Figures {
            requests_per_second: requests_per_second.parse().ok()?,
            latencies: [p50, p99, p999, max].map(|milliseconds| milliseconds * 1000.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use anyhow::{Context, Result};

    use super::{Figures, RedisBenchmark};
    use crate::bench::fleet;
    use crate::bench::load::script::{Dataset, Operation, Protocol};
    use crate::started::{self, Folder};

    const TEXT: &str = "\
        GET k: rps=0.0 (overall: 0.0) avg_msec=-nan (overall: -nan)\r====== GET k ======\n  \
        100000 requests completed in 0.16 seconds\n\n\
        Latency by percentile distribution:\n\
        0.000% <= 0.303 milliseconds (cumulative count 416)\n\
        99.805% <= 4.815 milliseconds (cumulative count 99808)\n\
        99.902% <= 4.879 milliseconds (cumulative count 99904)\n\
        100.000% <= 4.943 milliseconds (cumulative count 100000)\n\n\
        Cumulative distribution of latencies:\n\
        100.000% <= 5.103 milliseconds (cumulative count 100000)\n\n\
        Summary:\n  \
        throughput summary: 628930.81 requests per second\n  \
        latency summary (msec):\n          \
        avg       min       p50       p95       p99       max\n        \
        1.003     0.296     0.879     1.767     2.767     4.943\n";

    #[test]
    fn its_report_is_read() {
        let figures = Figures::parse(TEXT).expect("figures");
        assert!((figures.requests_per_second - 628_930.81).abs() < 1e-6);
        let expected = [879.0, 2_767.0, 4_879.0, 4_943.0];
        for (found, expected) in figures.latencies.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{:?}", figures.latencies);
        }
        assert_eq!(Figures::parse("Could not connect to server"), None);
    }

    /// Keys that were asked for and found.
    fn hits(server: SocketAddr) -> Result<usize> {
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(b"*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n*1\r\n$4\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let hits = text.lines().find_map(|line| line.strip_prefix("keyspace_hits:"));
        Ok(hits.context("no hits")?.parse()?)
    }

    /// Runs for a moment; returns keys found and asked for.
    fn run(operation: Operation) -> Result<(usize, usize)> {
        let folder = Folder::create()?;
        let address = fleet::free_address()?;
        let server = started::start_redis(address, &folder)?;
        let dataset = Dataset { protocol: Protocol::Redis, value_bytes: 32 };
        fleet::fill(address, dataset)?;
        let load = RedisBenchmark {
            target: address,
            dataset,
            operation,
            connections: 2,
            pipeline: 4,
            cores: &crate::bench::machine::cores()?,
            span: Duration::from_millis(20),
            folder: &folder,
        };
        let report = load.run(|| hits(address))?;
        server.stop()?;
        Ok((report.after - report.before, report.requests * operation.keys()))
    }

    #[test]
    fn it_asks_for_keys_that_are_there() {
        for operation in [Operation::Get, Operation::MultiGet(10)] {
            let (found, asked) = run(operation).expect("a report");
            // The last pipelines may hold more requests than were left to send.
            assert!(asked > 0 && found >= asked, "{found} of {asked}, {operation:?}");
        }
    }
}
