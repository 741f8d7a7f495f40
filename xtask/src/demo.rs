//! `make run`: three Redis servers and nutcracker, tried out, then left running until Ctrl-C.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::quickstart::Quickstart;
use crate::redis::Connection;
use crate::setup;

const CONF: &str = "conf/quickstart.yml";
const KEYS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo, for `span` if given.
///
/// # Errors
/// When anything is missing, a port is taken, or something started ends by itself.
pub(crate) fn run(span: Option<Duration>) -> Result<()> {
    setup::install(&setup::FOR_THE_DEMO)?;
    let text = fs::read_to_string(CONF)
        .with_context(|| format!("cannot read {CONF}; run this in the project's folder"))?;
    let demo = Quickstart::parse(&text)?;
    build()?;
    let stop = stop_on_signals()?;
    check_ports(&demo)?;
    let folder = Folder::create()?;
    let mut started = Vec::new();
    for (_, address) in &demo.servers {
        started.push(start_redis(*address, &folder)?);
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

fn build() -> Result<()> {
    println!("building the release binary");
    let status = Command::new(crate::cargo())
        .args(["build", "--quiet", "--release", "--package", "nutcracker"])
        .status()?;
    ensure!(status.success(), "the build failed");
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

/// A folder for logs, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("nutcracker-demo-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} is left behind: {error}", self.0.display());
        }
    }
}

/// A process started here. It ends with this value at the latest, also on an error.
struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` and waits until `address` accepts connections. The process gets a group of its own, so that
    /// Ctrl-C reaches it only through us and in the right order.
    fn start(
        name: String,
        command: &mut Command,
        address: SocketAddr,
        log: PathBuf,
    ) -> Result<Running> {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut running = Running { name, child, log };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            running.check()?;
            ensure!(Instant::now() < deadline, "{} does not listen on {address}", running.name);
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Fails when the process has ended.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{} ended with {status}:\n{}", self.name, log.trim_end());
        }
        Ok(())
    }

    /// Asks it to end and waits.
    fn stop(mut self) -> Result<()> {
        let id =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(id, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "{} does not stop", self.name);
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_already = self.child.kill();
            let _ended_already = self.child.wait();
        }
    }
}

fn start_redis(address: SocketAddr, folder: &Folder) -> Result<Running> {
    let log = folder.0.join(format!("redis-{}.log", address.port()));
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()]);
    command
        .args(["--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(&folder.0)
        .arg("--logfile")
        .arg(&log);
    Running::start(format!("redis-server on {address}"), &mut command, address, log)
}

fn start_nutcracker(listen: SocketAddr, folder: &Folder) -> Result<Running> {
    let log = folder.0.join("nutcracker.log");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let binary = Path::new(&target).join("release").join("nutcracker");
    let mut command = Command::new(binary);
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
