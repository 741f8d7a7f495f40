//! A proxy under test in a directory of its own, stopped by its pid whatever happens to the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// No step takes nearly as long; only a hang does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A directory with a configuration of one pool that listens on the unix socket `x.sock` in it.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place { directory: TempDir::new().unwrap() };
        place.configure(&place.path("x.sock").display().to_string());
        place
    }

    /// Rewrites the configuration with another listen address.
    pub(crate) fn configure(&self, listen: &str) {
        self.configure_with(listen, "127.0.0.1:1", 10_000);
    }

    pub(crate) fn configure_with(&self, listen: &str, server: &str, drain_timeout_ms: u32) {
        let global = format!("global:\n  drain_timeout: {drain_timeout_ms}\n");
        let pool =
            format!("alpha:\n  listen: {listen}\n  redis: true\n  servers:\n    - {server}:1\n");
        fs::write(self.path("n.yml"), global + &pool).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The binary with the arguments of every test: paths are relative, so the working directory counts too.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_nutcracker")), arguments)
    }

    /// The same, started by a shell after `setup`.
    pub(crate) fn command_after(&self, setup: &str, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("{setup} && exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_nutcracker"),
        ]);
        self.prepare(shell, arguments)
    }

    fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        // The statistics on a unix socket need no port that another test could take.
        let stats = self.path("stats.sock").display().to_string();
        command.args(["-c", "n.yml", "-a", &stats]).args(arguments);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments))
    }

    /// Starts in the foreground and waits until it listens.
    pub(crate) fn start(&self, arguments: &[&str]) -> Proxy {
        self.start_command(self.command(arguments))
    }

    /// Starts in the foreground and does not wait.
    pub(crate) fn spawn(&self, mut command: Command) -> Proxy {
        Proxy(command.stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn start_command(&self, command: Command) -> Proxy {
        let mut proxy = self.spawn(command);
        wait_until("the proxy listens", || {
            assert_eq!(
                proxy.0.try_wait().unwrap(),
                None,
                "the proxy ended: {}",
                self.read("n.log")
            );
            std::os::unix::net::UnixStream::connect(self.path("x.sock")).is_ok()
        });
        proxy
    }
}

/// A proxy in the foreground.
pub(crate) struct Proxy(Child);

impl Proxy {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy in the background, known by its pid file.
pub(crate) struct Daemon(pub(crate) u32);

impl Daemon {
    pub(crate) fn of(pid_file: &Path) -> Daemon {
        Daemon(fs::read_to_string(pid_file).unwrap().parse().unwrap())
    }

    pub(crate) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let unreaped = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        !unreaped && test_kill_process(pid(self.0)).is_ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(pid(self.0), Signal::KILL);
    }
}

pub(crate) fn send(to: u32, signal: Signal) {
    kill_process(pid(to), signal).unwrap();
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Runs a command to its end, which has to come.
pub(crate) fn output(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child);
    child.wait_with_output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn wait_for(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("the process did not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
