//! `make run`: three Redis servers and nutcracker, tried out, then left running until Ctrl-C.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::quickstart::Quickstart;
use crate::redis::Connection;
use crate::setup;
use crate::started::{self, Folder, Running};

const CONF: &str = "conf/quickstart.yml";
const KEYS: usize = 1000;

/// Runs the demo, for `span` if given.
///
/// # Errors
/// When anything is missing, a port is taken, or something started ends by itself.
pub(crate) fn run(span: Option<Duration>) -> Result<()> {
    setup::install(&setup::FOR_THE_DEMO)?;
    let text = fs::read_to_string(CONF)
        .with_context(|| format!("cannot read {CONF}; run this in the project's folder"))?;
    let demo = Quickstart::parse(&text)?;
    started::build_release()?;
    let stop = stop_on_signals()?;
    check_ports(&demo)?;
    let folder = Folder::create()?;
    let mut started = Vec::new();
    for (_, address) in &demo.servers {
        started.push(started::start_redis(*address, &folder)?);
    }
    started.push(start_nutcracker(demo.listen, &folder)?);
    try_out(&demo)?;
    println!("\nCtrl-C stops everything that was started here and nothing else.");
    serve(&mut started, &stop, span)?;
    // The proxy goes first, so that it does not see its servers go.
    started.into_iter().rev().try_for_each(Running::stop)?;
    println!("stopped");
    Ok(())
}

fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn check_ports(demo: &Quickstart) -> Result<()> {
    let servers = demo.servers.iter().map(|(_, address)| *address);
    for address in servers.chain([demo.listen, demo.stats]) {
        if let Err(error) = TcpListener::bind(address) {
            bail!("{address} cannot be used ({error}): free it, or change it in {CONF}");
        }
    }
    Ok(())
}

fn start_nutcracker(listen: SocketAddr, folder: &Folder) -> Result<Running> {
    let log = folder.path().join("nutcracker.log");
    let mut command = Command::new(started::release_binary());
    command.args(["-c", CONF]).arg("-o").arg(&log);
    Running::start(format!("nutcracker on {listen}"), &mut command, listen, log)
}

/// Writes and reads keys through the proxy and shows where they went.
fn try_out(demo: &Quickstart) -> Result<()> {
    let mut proxy = Connection::open(demo.listen)?;
    let pairs: Vec<(String, String)> =
        (0..KEYS).map(|n| (format!("key:{n}"), format!("value {n}"))).collect();
    for (key, value) in &pairs {
        proxy.send(&["SET", key, value])?;
    }
    for (key, _) in &pairs {
        ensure!(proxy.reply()? == "OK", "SET {key} failed");
    }
    for (key, _) in &pairs {
        proxy.send(&["GET", key])?;
    }
    for (key, value) in &pairs {
        ensure!(proxy.reply()? == *value, "GET {key} returned another value");
    }
    println!("\nnutcracker listens on {} and wrote and read {KEYS} keys:", demo.listen);
    let mut total = 0;
    for (name, address) in &demo.servers {
        let count: usize = Connection::open(*address)?.call(&["DBSIZE"])?.parse()?;
        println!("  {name} on {address} holds {count}");
        total += count;
    }
    ensure!(total == KEYS, "the servers hold {total} keys and not {KEYS}");
    let (host, port, stats) = (demo.listen.ip(), demo.listen.port(), demo.stats);
    println!(
        "\ntry:\n  redis-cli -h {host} -p {port} SET greeting hello\n  redis-cli -h {host} -p {port} MGET greeting key:1 key:2\n  \
         redis-cli -h {host} -p {port} INFO\n  redis-benchmark -h {host} -p {port} -t get,set -P 16 -q\n  \
         curl http://{stats}/",
    );
    Ok(())
}

fn serve(started: &mut [Running], stop: &AtomicBool, span: Option<Duration>) -> Result<()> {
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) && span.is_none_or(|span| begun.elapsed() < span) {
        started.iter_mut().try_for_each(Running::check)?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
