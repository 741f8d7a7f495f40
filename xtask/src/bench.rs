//! CPU per request beside twemproxy 0.5: both proxies in turn before the same Redis servers, each alone on one core.
//!
//! CPU time is what the kernel accounts to the proxy's threads, divided by the requests served. It is steadier than
//! throughput on a machine that others use too; even so only the ratio of neighbouring runs means something.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::started::{self, Folder, Running};

const SERVERS: usize = 3;
const CLIENTS: &str = "50";
/// The proxy's core, and the one that load and servers share.
const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

/// One row of the table.
struct Case {
    name: &'static str,
    pipeline: &'static str,
    requests: u32,
    keys_per_request: usize,
}

const CASES: [Case; 4] = [
    Case { name: "GET 32 B, pipeline 1", pipeline: "1", requests: 150_000, keys_per_request: 1 },
    Case {
        name: "GET 32 B, pipeline 16",
        pipeline: "16",
        requests: 1_500_000,
        keys_per_request: 1,
    },
    Case {
        name: "GET 32 B, pipeline 64",
        pipeline: "64",
        requests: 3_000_000,
        keys_per_request: 1,
    },
    Case { name: "MGET of 100 keys", pipeline: "1", requests: 30_000, keys_per_request: 100 },
];

/// One run of one proxy.
#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    requests_per_second: f64,
}

/// Measures every case `rounds` times and prints a Markdown table of medians.
///
/// # Errors
/// When something needed is missing or a run fails.
pub(crate) fn run(rounds: usize) -> Result<()> {
    ensure!(rounds > 0, "at least one round");
    setup::install(&setup::FOR_TESTS)?;
    started::build_release()?;
    let folder = Folder::create()?;
    let mut servers = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..SERVERS {
        let address = free_address()?;
        let server = started::start_redis(address, &folder)?;
        pin(server.id(), OTHER_CORE)?;
        servers.push(server);
        addresses.push(address);
    }
    fill(&addresses, &folder)?;
    println!(
        "| case | ours, µs CPU per request | twemproxy 0.5 | ratio | requests/s, ours / 0.5 |"
    );
    println!("|---|---|---|---|---|");
    for case in &CASES {
        let pairs = (0..rounds).map(|round| pair(case, round, &addresses, &folder));
        let pairs = pairs.collect::<Result<Vec<_>>>()?;
        let of = |value: fn(&(Sample, Sample)) -> f64| median(pairs.iter().map(value).collect());
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.0} / {:.0} |",
            case.name,
            of(|(ours, _)| ours.cpu_us),
            of(|(_, theirs)| theirs.cpu_us),
            of(|(ours, theirs)| ours.cpu_us / theirs.cpu_us),
            of(|(ours, _)| ours.requests_per_second),
            of(|(_, theirs)| theirs.requests_per_second),
        );
    }
    servers.into_iter().try_for_each(Running::stop)
}

/// Runs both proxies, the one first that was second the round before.
fn pair(
    case: &Case,
    round: usize,
    servers: &[SocketAddr],
    folder: &Folder,
) -> Result<(Sample, Sample)> {
    let ours = || measure(case, &started::release_binary(), &["--workers", "1"], servers, folder);
    let theirs = || measure(case, "/usr/sbin/nutcracker".as_ref(), &[], servers, folder);
    if round.is_multiple_of(2) {
        let first = ours()?;
        Ok((first, theirs()?))
    } else {
        let first = theirs()?;
        Ok((ours()?, first))
    }
}

/// Sets nearly all of the keys that the cases read, where both proxies look for them.
fn fill(servers: &[SocketAddr], folder: &Folder) -> Result<()> {
    let (proxy, listen) = start(&started::release_binary(), &[], servers, folder)?;
    benchmark(listen, "64", 500_000, &["-t", "set"])?;
    proxy.stop()
}

/// Starts a fresh proxy, warms it up, and measures one case.
fn measure(
    case: &Case,
    binary: &Path,
    flags: &[&str],
    servers: &[SocketAddr],
    folder: &Folder,
) -> Result<Sample> {
    let (proxy, listen) = start(binary, flags, servers, folder)?;
    pin(proxy.id(), PROXY_CORE)?;
    load(case, listen, case.requests / 20)?;
    let before = cpu_us(proxy.id())?;
    let seconds = load(case, listen, case.requests)?.as_secs_f64();
    let spent = cpu_us(proxy.id())? - before;
    proxy.stop()?;
    let requests = f64::from(case.requests);
    Ok(Sample { cpu_us: spent / requests, requests_per_second: requests / seconds })
}

/// Starts a proxy in front of `servers`; returns where it listens.
fn start(
    binary: &Path,
    flags: &[&str],
    servers: &[SocketAddr],
    folder: &Folder,
) -> Result<(Running, SocketAddr)> {
    let (listen, stats) = (free_address()?, free_address()?);
    let conf = folder.path().join("bench.yml");
    let list: String = servers.iter().map(|server| format!("   - {server}:1\n")).collect();
    let pool = "redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  timeout: 5000";
    fs::write(&conf, format!("bench:\n  listen: {listen}\n  {pool}\n  servers:\n{list}"))?;
    let log = folder.path().join("proxy.log");
    let mut command = Command::new(binary);
    command.arg("-c").arg(&conf).arg("-o").arg(&log).args(["-a", "127.0.0.1"]);
    command.args(["-s", &stats.port().to_string()]).args(flags);
    let proxy = Running::start(binary.display().to_string(), &mut command, listen, log)?;
    Ok((proxy, listen))
}

/// Sends the requests of a case; returns how long it took.
fn load(case: &Case, listen: SocketAddr, requests: u32) -> Result<Duration> {
    let mget: Vec<&str> =
        std::iter::once("mget").chain(vec!["key:__rand_int__"; case.keys_per_request]).collect();
    match case.keys_per_request {
        1 => benchmark(listen, case.pipeline, requests, &["-t", "get"]),
        _ => benchmark(listen, case.pipeline, requests, &mget),
    }
}

/// Runs redis-benchmark with values of 32 bytes over 100,000 keys.
fn benchmark(listen: SocketAddr, pipeline: &str, requests: u32, what: &[&str]) -> Result<Duration> {
    let mut command = Command::new("taskset");
    command.args(["-c", OTHER_CORE, "redis-benchmark", "-p", &listen.port().to_string()]);
    command.args(["-c", CLIENTS, "-P", pipeline, "-n", &requests.to_string()]);
    command.args(["-r", "100000", "-d", "32", "-q"]).args(what);
    let begun = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(status.context("cannot start redis-benchmark")?.success(), "redis-benchmark failed");
    Ok(begun.elapsed())
}

/// CPU time that all threads of a process have used.
fn cpu_us(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let used = text.split(' ').next().context("an empty schedstat")?;
        nanoseconds += used.parse::<u64>().context("schedstat")?;
    }
    Ok(nanoseconds as f64 / 1000.0)
}

/// Keeps every thread of a process on one core.
fn pin(process: u32, core: &str) -> Result<()> {
    let id = process.to_string();
    let status = Command::new("taskset").args(["-acp", core, &id]).stdout(Stdio::null()).status();
    ensure!(status.context("cannot start taskset")?.success(), "cannot pin process {id}");
    Ok(())
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}
