//! Processes that a verb starts, and sees ended whatever happens.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(10);

/// Where cargo puts the release binary.
pub(crate) fn release_binary() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Path::new(&target).join("release").join("nutcracker")
}

/// Builds the binary that [`release_binary`] names.
pub(crate) fn build_release() -> Result<()> {
    println!("building the release binary");
    let status = Command::new(crate::cargo())
        .args(["build", "--quiet", "--release", "--package", "nutcracker"])
        .status()?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

/// A folder for logs, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create() -> Result<Folder> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("nutcracker-xtask-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
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
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` and waits until `address` accepts connections. The process gets a group of its own, so that
    /// Ctrl-C reaches it only through us and in the right order.
    pub(crate) fn start(
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
            thread::sleep(Duration::from_millis(1));
        }
        Ok(running)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{} ended with {status}:\n{}", self.name, log.trim_end());
        }
        Ok(())
    }

    /// Asks it to end and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
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

/// Starts a Redis server that keeps nothing.
pub(crate) fn start_redis(address: SocketAddr, folder: &Folder) -> Result<Running> {
    let log = folder.0.join(format!("redis-{}.log", address.port()));
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()]);
    command
        // It listens on a loopback address; clients may come from any of those.
        .args(["--save", "", "--appendonly", "no", "--protected-mode", "no"])
        .arg("--dir")
        .arg(&folder.0)
        .arg("--logfile")
        .arg(&log);
    Running::start(format!("redis-server on {address}"), &mut command, address, log)
}
