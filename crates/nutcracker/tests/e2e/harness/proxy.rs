//! The proxy as a process of its own, with a configuration in a temporary folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::ports::unused_port;
use super::process::Process;
use super::sandbox;
use super::wait::{PATIENCE, eventually};

/// The numbers of workers that a test of the data plane runs with.
pub(crate) const WORKER_COUNTS: [u32; 2] = [1, 2];

/// Where Debian puts twemproxy 0.5; `NUTCRACKER_REFERENCE` names another place.
const REFERENCE: &str = "/usr/sbin/nutcracker";

/// The binary the tests are about: ours, unless `NUTCRACKER_UNDER_TEST` names another one.
pub(crate) fn binary_under_test() -> PathBuf {
    match std::env::var_os("NUTCRACKER_UNDER_TEST") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_nutcracker").into(),
    }
}

/// The twemproxy 0.5 binary to compare with, where one is installed.
pub(crate) fn reference_binary() -> Option<PathBuf> {
    let path =
        std::env::var_os("NUTCRACKER_REFERENCE").map_or_else(|| REFERENCE.into(), PathBuf::from);
    path.exists().then_some(path)
}

/// How to start a proxy.
#[derive(Clone)]
pub(crate) struct Launch {
    binary: PathBuf,
    knows_workers: bool,
    yaml: String,
    arguments: Vec<String>,
    workers: Option<u32>,
    shell_limits: String,
    private_files: Vec<(String, String)>,
}

/// A running proxy. When the test fails its log is printed; when it died or one of its threads panicked, the test fails.
pub(crate) struct Proxy {
    process: Process,
    listen: Vec<SocketAddr>,
    stats: SocketAddr,
    dir: TempDir,
    may_end: bool,
}

impl Launch {
    /// Passes further command-line arguments; `@dir` in them stands for the folder of this proxy.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Launch {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Runs this many workers; left out for a binary that knows no workers.
    pub(crate) fn workers(mut self, count: u32) -> Launch {
        self.workers = Some(count);
        self
    }

    /// Starts under what `limits` sets in a shell, such as `ulimit -n 128` or `umask 077`.
    pub(crate) fn under(mut self, limits: &str) -> Launch {
        self.shell_limits = limits.into();
        self
    }

    /// Shows the proxy, and nobody else, a file of the system with other content.
    ///
    /// Only where [`sandbox::private_files_allowed`].
    pub(crate) fn private_file(mut self, path: &str, content: impl Into<String>) -> Launch {
        self.private_files.push((path.into(), content.into()));
        self
    }

    /// Runs a twemproxy 0.5 binary instead of the one under test.
    pub(crate) fn reference(mut self, binary: &Path) -> Launch {
        self.binary = binary.into();
        self.knows_workers = false;
        self
    }

    /// Starts it and waits until every pool accepts connections.
    ///
    /// # Panics
    /// With the log when it ends instead.
    #[track_caller]
    pub(crate) fn start(self) -> Proxy {
        for _ in 0..20 {
            let mut proxy = self.spawn();
            match proxy.settle() {
                None => return proxy,
                Some(status) => {
                    let log = proxy.log();
                    assert!(
                        log.contains("in use"),
                        "the proxy ended with {status} and this log:\n{log}"
                    );
                }
            }
        }
        panic!("found no free ports for the proxy");
    }

    /// Starts it and waits for its end; returns the exit status and everything it wrote.
    #[track_caller]
    pub(crate) fn run_to_end(self) -> (ExitStatus, String) {
        let mut proxy = self.spawn();
        let status = proxy.wait_for_end();
        (status, proxy.log())
    }

    fn spawn(&self) -> Proxy {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let here = dir.path().display().to_string();
        let (yaml, listen) = with_addresses(&self.yaml.replace("@dir", &here));
        fs::write(dir.path().join("conf.yml"), yaml).expect("write the configuration");
        let stats: SocketAddr = (Ipv4Addr::LOCALHOST, unused_port()).into();
        let private = sandbox::prepare(dir.path(), &self.private_files);
        let mut command = sandbox::shell(!self.private_files.is_empty());
        command
            .arg("-c")
            .arg(format!("{private}{}\nexec \"$0\" \"$@\"", self.shell_limits))
            .arg(&self.binary);
        command.args(["-c", "conf.yml", "-o", "log", "-a", "127.0.0.1", "-i", "100", "-v", "6"]);
        command.arg("-s").arg(stats.port().to_string());
        if let (Some(count), true) = (self.workers, self.knows_workers) {
            command.arg("--workers").arg(count.to_string());
        }
        command.args(self.arguments.iter().map(|argument| argument.replace("@dir", &here)));
        let output = fs::File::create(dir.path().join("output")).expect("a file for the output");
        let errors = output.try_clone().expect("a second handle");
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(output).stderr(errors);
        Proxy { process: Process::spawn(&mut command), listen, stats, dir, may_end: false }
    }
}

impl Proxy {
    /// Prepares a proxy on a configuration in which `@0`, `@1`, … stand for loopback addresses of its own and `@dir`
    /// for a temporary folder.
    pub(crate) fn with(yaml: impl Into<String>) -> Launch {
        Launch {
            binary: binary_under_test(),
            knows_workers: std::env::var_os("NUTCRACKER_UNDER_TEST").is_none(),
            yaml: yaml.into(),
            arguments: Vec::new(),
            workers: None,
            shell_limits: String::new(),
            private_files: Vec::new(),
        }
    }

    /// Starts a proxy with one worker.
    #[track_caller]
    pub(crate) fn start(yaml: impl Into<String>) -> Proxy {
        Proxy::with(yaml).workers(1).start()
    }

    /// The address that `@n` became.
    pub(crate) fn address(&self, n: usize) -> SocketAddr {
        self.listen[n]
    }

    /// A client of the first pool.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address(0))
    }

    /// A client of the pool that listens on `@n`.
    #[track_caller]
    pub(crate) fn client_of(&self, n: usize) -> Client {
        Client::connect(self.address(n))
    }

    /// Its folder: the configuration is `conf.yml` and the log is `log` in it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Changes what the proxy reads from one of its private files.
    #[track_caller]
    pub(crate) fn rewrite_private_file(&self, path: &str, content: &str) {
        let file = sandbox::private_path(self.dir.path(), path);
        assert!(file.exists(), "{path} is no private file of this proxy");
        fs::write(file, content).expect("write a private file");
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Rewrites the configuration, in which `@0`, `@1`, … stand for the addresses they stood for before, or for new ones.
    pub(crate) fn rewrite(&mut self, yaml: impl Into<String>) {
        let mut text: String = yaml.into().replace("@dir", &self.dir.path().display().to_string());
        for n in (0..64).rev() {
            let mark = format!("@{n}");
            if text.contains(&mark) {
                while self.listen.len() <= n {
                    self.listen.push((Ipv4Addr::LOCALHOST, unused_port()).into());
                }
                text = text.replace(&mark, &self.listen[n].to_string());
            }
        }
        fs::write(self.dir.path().join("conf.yml"), text).expect("rewrite the configuration");
    }

    /// How many reloads were carried out, and how many failed.
    #[track_caller]
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (
            self.metric("nutcracker_config_reloads_total{result=\"ok\"}"),
            self.metric("nutcracker_config_reloads_total{result=\"failed\"}"),
        )
    }

    /// Has a rewritten configuration loaded by a signal and waits until it is.
    #[track_caller]
    pub(crate) fn reload(&mut self, yaml: impl Into<String>) {
        self.rewrite(yaml);
        self.reload_by(Signal::USR1);
    }

    /// Has the configuration loaded by `signal` and waits until it is.
    #[track_caller]
    pub(crate) fn reload_by(&mut self, signal: Signal) {
        let (before, failed) = self.reloads();
        self.signal(signal);
        eventually("a reload", || {
            let (now, failed_now) = self.reloads();
            assert_eq!(failed_now, failed, "a reload failed");
            (now > before).then_some(())
        });
    }

    /// A sample of the metrics, by its name and labels.
    #[track_caller]
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let text = eventually("the metrics", || {
            let mut stream = TcpStream::connect(self.stats).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            let mut text = String::new();
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
            stream.read_to_string(&mut text).ok()?;
            // Whoever asks too late is given the document.
            text.starts_with("HTTP/").then_some(text)
        });
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {sample} in {text}"));
        value.parse().unwrap_or_else(|error| panic!("{sample} is {value}: {error}"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, which is then no fault.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.may_end = true;
        self.process.wait()
    }

    /// How many descriptors are open while nothing happens.
    #[track_caller]
    pub(crate) fn open_files_at_rest(&self) -> usize {
        // Now it is up, and has served whoever connected before.
        self.stats();
        let (mut before, mut same) = (0, 0);
        eventually("the number of descriptors rests", || {
            let now = self.process.open_files();
            same = if now == before { same + 1 } else { 0 };
            before = now;
            (same == 20).then_some(now)
        })
    }

    /// Waits until exactly `expected` descriptors are open.
    #[track_caller]
    pub(crate) fn await_open_files(&self, expected: usize) {
        let reached = super::wait::within(PATIENCE, || self.process.open_files() == expected);
        assert!(
            reached,
            "not {expected} descriptors are open but:\n{}",
            self.process.describe_open_files()
        );
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// The most resident memory it ever had, in bytes.
    #[track_caller]
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.process.peak_resident_bytes()
    }

    /// How far that has grown since it was `before`. The kernel sums up counts of several cores without stopping them, so
    /// that a later sum may even be the smaller one.
    #[track_caller]
    pub(crate) fn peak_growth_since(&self, before: u64) -> u64 {
        self.peak_resident_bytes().saturating_sub(before)
    }

    /// Where the statistics are served.
    pub(crate) fn stats_address(&self) -> SocketAddr {
        self.stats
    }

    /// The statistics document.
    #[track_caller]
    pub(crate) fn stats(&self) -> Value {
        let mut stream = TcpStream::connect(self.stats).expect("connect to the statistics port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read the statistics");
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error} in the statistics {text}"))
    }

    /// A number of the first pool's statistics: `["server_ejects"]` or `["server1", "requests"]`.
    #[track_caller]
    pub(crate) fn stat(&self, path: &[&str]) -> i64 {
        let stats = self.stats();
        let value = path.iter().fold(&stats["alpha"], |value, &key| &value[key]);
        value.as_i64().unwrap_or_else(|| panic!("no number alpha/{} in {stats}", path.join("/")))
    }

    /// Waits until a number of the first pool's statistics is `expected`.
    #[track_caller]
    pub(crate) fn await_stat(&self, path: &[&str], expected: i64) {
        let mut last = None;
        let reached = super::wait::within(PATIENCE, || {
            last = Some(self.stat(path));
            last == Some(expected)
        });
        assert!(reached, "{} is {last:?} and not {expected}", path.join("/"));
    }

    /// Everything it wrote: the log, and standard output and error.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("log"), read("output")].concat()).into_owned()
    }

    /// Waits until every listener accepts; the exit status when it ends instead.
    fn settle(&mut self) -> Option<ExitStatus> {
        eventually("the proxy accepts connections", || {
            if let Some(status) = self.process.ended() {
                self.may_end = true;
                return Some(Some(status));
            }
            let accept = |address: &SocketAddr| TcpStream::connect(address).is_ok();
            self.listen.iter().all(accept).then_some(None)
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.process.ended();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy (it {}) ---\n{}", state(ended), last_lines(&log));
            return;
        }
        assert!(
            self.may_end || ended.is_none(),
            "the proxy {}:\n{}",
            state(ended),
            last_lines(&log)
        );
        assert!(
            !log.contains("panicked at"),
            "a thread of the proxy panicked:\n{}",
            last_lines(&log)
        );
    }
}

fn state(ended: Option<ExitStatus>) -> String {
    ended.map_or_else(|| "was running".to_owned(), |status| format!("had ended: {status}"))
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Replaces `@0`, `@1`, … by addresses of unused ports and returns those too.
fn with_addresses(yaml: &str) -> (String, Vec<SocketAddr>) {
    let mut text = yaml.to_owned();
    let mut listen = Vec::new();
    // Every address in use carries an index below the count of pools, and `@1` is a prefix of `@10`: highest first.
    for n in (0..64).rev() {
        let mark = format!("@{n}");
        if text.contains(&mark) {
            let address: SocketAddr = (Ipv4Addr::LOCALHOST, unused_port()).into();
            text = text.replace(&mark, &address.to_string());
            listen.insert(0, address);
        }
    }
    (text, listen)
}
