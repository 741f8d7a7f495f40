//! One measurement: a fresh proxy, one case, what came out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use super::cases::{Case, Course, Third};
use super::extremes;
use super::fleet::{self, Fleet};
use super::load::redis_benchmark::RedisBenchmark;
use super::load::script::Script;
use super::load::{Load, NEXT, REQUESTS_MIN, Shape, stream};
use super::machine::{self, Busy, Cores, Cpu, Memory};
use super::samples::{Metric, Sample};
use super::subject::{Scene, Serving, Subject};
use crate::started::Folder;

/// Requests that each idle connection sends in its burst.
const BURST: usize = 16;
/// Idle connections whose bursts are under way at a time.
const BURSTING: usize = 100;
/// Clients of the server that hangs, and what each of them has under way.
const WAITING: usize = 50;
const WAITING_REQUESTS: usize = 64;
/// What makes a p99.9: thirty requests lie above it.
const TAIL_REQUESTS: u64 = 30_000;
/// Who asks for less time only wants to see that it works.
const TAIL_SPAN: Duration = Duration::from_millis(500);
/// How long the last pool may take to listen.
const START_MAX: Duration = Duration::from_secs(20);
/// Open files beside those of the connections.
const FILES_SPARE: u64 = 200;

/// How latencies are told.
const LATENCIES: [Metric; 4] = [Metric::P50, Metric::P99, Metric::P999, Metric::Max];

/// How long each part of a measurement takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) warm_up: Duration,
    pub(crate) span: Duration,
}

/// What a measurement needs beside case and subject.
pub(crate) struct Setting<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) script: &'a Script,
    pub(crate) cores: &'a Cores,
    pub(crate) folder: &'a Folder,
    pub(crate) pace: Pace,
    /// Requests per second of half load.
    pub(crate) half: f64,
}

/// What the kernel knows at one moment.
struct Observation {
    cpu: Option<Cpu>,
    others: Busy,
}

impl Observation {
    fn of(serving: &Serving, cores: &Cores) -> Result<Observation> {
        let cpu = serving.process.map(machine::cpu).transpose()?;
        Ok(Observation { cpu, others: Busy::of(&cores.others())? })
    }
}

/// Starts the subject, drives the case, and stops the subject. What it cannot do is recorded.
pub(crate) fn measure(
    case: &Case,
    subject: &Subject,
    round: usize,
    setting: &Setting<'_>,
) -> Sample {
    let mut sample = Sample::new(&case.name, &subject.to_string(), round);
    if let Err(error) = try_to_measure(case, subject, setting, &mut sample) {
        sample.fail(&format!("{error:#}"));
    }
    sample
}

fn try_to_measure(
    case: &Case,
    subject: &Subject,
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let Setting { fleet, cores, script, folder, .. } = *setting;
    fleet.pin(&cores.servers)?;
    let scene = Scene {
        protocol: case.dataset.protocol,
        servers: &fleet.addresses,
        entries: case.entries,
        pools: case.pools,
        cores: &cores.proxy,
        script,
        folder,
    };
    let begun = Instant::now();
    let mut serving = subject.start(&scene)?;
    if case.tells_first_reply() {
        // The last pool may listen later than the first.
        let last = *serving.listen.last().context("no address")?;
        while let Err(error) = open(last) {
            ensure!(begun.elapsed() < START_MAX, error);
        }
        burst(&mut [open(last)?], script, 1)?;
        sample.set(Metric::FirstReply, begun.elapsed().as_secs_f64() * 1e3);
    }
    let at_start = resident(&serving)?;
    if let Some(at_start) = at_start {
        sample.set(Metric::ResidentAtStart, at_start.resident_kib);
    }
    let outcome = run(case, (subject, &serving), setting, sample);
    // That it ended says more than what came of that.
    serving.check()?;
    if let Some(process) = serving.process.filter(|_| at_start.is_some()) {
        let Memory { resident_kib, peak_kib } = machine::settled(process)?;
        sample.set(Metric::ResidentPeak, peak_kib);
        if case.course != Course::SlowReaders {
            sample.set(Metric::ResidentSettled, resident_kib);
        }
    }
    outcome?;
    serving.stop()
}

fn run(
    case: &Case,
    (subject, serving): (&Subject, &Serving),
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let half = Shape::Open { rate: setting.half };
    match case.course {
        Course::Idle => idle(case, subject, serving, setting, sample),
        Course::Saturated { pipeline } => {
            drive(case, Shape::Closed { pipeline }, serving, setting, sample)
        }
        Course::RedisBenchmark { pipeline } => {
            redis_benchmark(case, pipeline, serving, setting, sample)
        }
        Course::HalfLoad => drive(case, half, serving, setting, sample),
        Course::Churn => drive(case, Shape::Churn, serving, setting, sample),
        Course::TwoOfThree(third) => {
            let waiting = Waiting::begin(case, third, serving, setting)?;
            drive(case, half, serving, setting, sample)?;
            drop(waiting);
            Ok(())
        }
        Course::SlowReaders => extremes::slow_readers(case, serving, setting, sample),
        Course::Huge(verb) => extremes::huge(case, verb, (subject, serving), setting, sample),
    }
}

fn resident(serving: &Serving) -> Result<Option<Memory>> {
    serving.process.map(machine::memory).transpose()
}

/// Runs the load of every case but those about memory.
fn drive(
    case: &Case,
    shape: Shape,
    serving: &Serving,
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let Setting { script, cores, pace, .. } = setting;
    let load = Load {
        targets: &serving.listen,
        script,
        connections: case.connections,
        shape,
        cores: &cores.load,
        warm_up: pace.warm_up,
        span: pace.span,
        requests_min: match case.course {
            Course::TwoOfThree(_) if pace.span >= TAIL_SPAN => TAIL_REQUESTS,
            _ => REQUESTS_MIN,
        },
        while_set: None,
    };
    let outcome = load.run(|| Observation::of(serving, cores))?;
    let (requests, seconds) = (outcome.requests as f64, outcome.elapsed.as_secs_f64());
    ensure!(outcome.requests > 0, "not one request was answered within {seconds:.0} s");
    sample.set(Metric::Throughput, requests / seconds);
    record(&outcome.latency, LATENCIES, sample);
    record_usage(&outcome.before, &outcome.after, (requests, seconds), cores, sample);
    let threads = cores.load.len().min(case.connections) as f64;
    sample.set(Metric::LoadBusy, outcome.generator.as_secs_f64() / (seconds * threads));
    ensure!(
        outcome.unanswered == 0,
        "{} requests were not answered within {NEXT:?} of the answer before",
        outcome.unanswered
    );
    Ok(())
}

/// The same for a load by `redis-benchmark`.
fn redis_benchmark(
    case: &Case,
    pipeline: usize,
    serving: &Serving,
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let Setting { cores, pace, folder, .. } = setting;
    let load = RedisBenchmark {
        target: *serving.listen.first().context("no address")?,
        dataset: case.dataset,
        operation: case.operation,
        connections: case.connections,
        pipeline,
        cores: &cores.load,
        span: pace.span,
        folder,
    };
    let report = load.run(|| Observation::of(serving, cores))?;
    let (requests, seconds) = (report.requests as f64, report.elapsed.as_secs_f64());
    sample.set(Metric::Throughput, report.figures.requests_per_second);
    for (metric, latency_us) in LATENCIES.into_iter().zip(report.figures.latencies) {
        sample.set(metric, latency_us);
    }
    record_usage(&report.before, &report.after, (requests, seconds), cores, sample);
    sample.set(Metric::LoadBusy, report.generator.as_secs_f64() / seconds);
    Ok(())
}

/// What so many requests within so many seconds took.
fn record_usage(
    before: &Observation,
    after: &Observation,
    (requests, seconds): (f64, f64),
    cores: &Cores,
    sample: &mut Sample,
) {
    if let (Some(before), Some(after)) = (before.cpu, after.cpu) {
        let spent = after.total_us - before.total_us;
        sample.set(Metric::Cpu, spent / requests);
        sample.set(Metric::ProxyBusy, spent / (seconds * 1e6 * cores.proxy.len() as f64));
        let user = after.user_us - before.user_us;
        let both = user + after.system_us - before.system_us;
        if both > 0.0 {
            sample.set(Metric::UserShare, user / both);
        }
    }
    sample.set(Metric::OthersBusy, after.others.share_since(before.others));
}

/// Median, p99, p99.9 and maximum, in µs.
pub(super) fn record(latency: &Histogram<u64>, metrics: [Metric; 4], sample: &mut Sample) {
    for (metric, quantile) in metrics.into_iter().zip([0.5, 0.99, 0.999, 1.0]) {
        sample.set(metric, latency.value_at_quantile(quantile) as f64 / 1000.0);
    }
}

/// Clients of the third server, whose requests are under way while others are measured.
struct Waiting {
    _clients: Vec<TcpStream>,
    /// Ends before the clients do.
    _hanging: Option<fleet::Hanging>,
}

impl Waiting {
    fn begin(
        case: &Case,
        third: Third,
        serving: &Serving,
        setting: &Setting<'_>,
    ) -> Result<Waiting> {
        let hanging = match third {
            Third::Answers => None,
            Third::Hangs => Some(setting.fleet.hang_last()?),
        };
        let listen = *serving.listen.first().context("no address")?;
        let last = case.servers - 1;
        let sharder = fleet::sharder(case.servers);
        let is_its = |key: &str| sharder.shard(key.as_bytes(), || 0) == last;
        let script = Script::new(case.dataset, case.operation, is_its);
        let requests = &script.bytes[..script.start(WAITING_REQUESTS)];
        let clients = (0..WAITING).map(|_| {
            let mut client = TcpStream::connect(listen)?;
            client.write_all(requests)?;
            Ok(client)
        });
        Ok(Waiting { _clients: clients.collect::<Result<_>>()?, _hanging: hanging })
    }
}

/// Opens connections, looks at the memory, lets each send a burst, and looks again.
fn idle(
    case: &Case,
    subject: &Subject,
    serving: &Serving,
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let process = serving.process.context("the memory of an unknown process cannot be measured")?;
    let script = setting.script;
    // What the first connection and request cost is not what one more costs.
    let listen = *serving.listen.first().context("no address")?;
    burst(&mut [open(listen)?], script, BURST)?;
    let before = machine::settled(process)?.resident_kib;
    // A relay has a server connection for each client.
    let each = if *subject == Subject::Haproxy { 2 } else { 1 };
    let files = machine::open_files().saturating_sub(FILES_SPARE) as usize / each;
    let connections = case.connections.min(files);
    let mut clients: Vec<TcpStream> =
        (0..connections).map(|_| open(listen)).collect::<Result<_>>()?;
    // The last one is accepted when it is served; those before it were accepted before.
    if let Some(last) = clients.last_mut() {
        burst(std::slice::from_mut(last), script, BURST)?;
    }
    let opened = machine::settled(process)?.resident_kib;
    for clients in clients.chunks_mut(BURSTING) {
        burst(clients, script, BURST)?;
    }
    let used = machine::settled(process)?.resident_kib;
    let per_connection = |kib: f64| (kib - before) * 1024.0 / connections as f64;
    sample.set(Metric::Connections, connections as f64);
    sample.set(Metric::IdleConnection, per_connection(opened));
    sample.set(Metric::UsedConnection, per_connection(used));
    Ok(())
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let socket = stream::one_of_many(address)?;
    socket.connect(&address.into()).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket.into())
}

/// Every client sends so many requests, then all are answered.
fn burst(clients: &mut [TcpStream], script: &Script, requests: usize) -> Result<()> {
    for client in clients.iter_mut() {
        client.write_all(&script.bytes[..script.start(requests)])?;
    }
    let mut replies = vec![0; requests * script.reply.len];
    for client in clients {
        client.read_exact(&mut replies).context("a burst was not answered")?;
        ensure!(replies.starts_with(&script.reply.head), "a burst was answered otherwise");
    }
    Ok(())
}
