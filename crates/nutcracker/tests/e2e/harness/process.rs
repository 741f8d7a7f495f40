//! A child process that never outlives the value that stands for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::eventually;

/// A running or ended child. Dropping it kills it, by its process id.
pub(crate) struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Process {
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Process::from(child)
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for a child");
        }
        self.status
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("a process ends", || self.ended())
    }

    /// Sends a signal; nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
            kill_process(id, signal).expect("signal a child");
        }
    }

    /// Stops all of its threads where they are, until it gets a `CONT`.
    #[track_caller]
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
        // A thread may still do a little after the signal was sent.
        eventually("a process is stopped", || {
            let mut threads = fs::read_dir(self.proc("task")).ok()?.flatten();
            threads
                .all(|thread| {
                    let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
                })
                .then_some(())
        });
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most it ever was.
    #[track_caller]
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    #[track_caller]
    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the status of a process");
        let line = status.lines().find(|line| line.starts_with(field)).expect("that line");
        let kib: u64 =
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kib << 10
    }

    /// How many file descriptors it holds.
    #[track_caller]
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("the descriptors of a process").count()
    }

    /// What its file descriptors are, a line each: what they lead to, and for a TCP socket the kernel's line about it.
    #[track_caller]
    pub(crate) fn describe_open_files(&self) -> String {
        let tcp = fs::read_to_string("/proc/net/tcp").expect("the TCP sockets of this machine");
        let files = fs::read_dir(self.proc("fd")).expect("the descriptors of a process");
        let describe = |file: fs::DirEntry| {
            // One that is closed meanwhile leads nowhere.
            let target = fs::read_link(file.path()).unwrap_or_default().display().to_string();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let is_this = |line: &&str| line.split_whitespace().nth(9) == inode;
            let socket = inode.and_then(|_| tcp.lines().find(is_this)).unwrap_or_default();
            format!("{} -> {target}{socket}\n", file.file_name().display())
        };
        files.flatten().map(describe).collect()
    }

    /// Processor time it has used so far, in user and kernel mode.
    #[track_caller]
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("the status of a process");
        // The name in parentheses may hold anything; what follows is numbers.
        let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks: u64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_millis(ticks * 1000 / clock_ticks_per_second())
    }

    fn proc(&self, entry: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(entry)
    }
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        Process { child, status: None }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
