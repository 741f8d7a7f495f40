//! Private views of the system for a test: files that only one proxy sees, and a network of its own.
//!
//! Both are namespaces of Linux. They need root, or, for files, user namespaces. Where they are not to be had the test
//! says so and passes; as root under `CI` they must be, so that no test is lost silently.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::Process;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Tells that a test cannot run here; the caller then passes.
///
/// # Panics
/// As root under `CI`, where it has to run.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let must_run = is_root() && std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!must_run, "{why}; as root with CI=true this test may not be skipped");
    eprintln!("skipped: {why}");
}

fn unshare_flags() -> &'static str {
    if is_root() { "-m" } else { "-rm" }
}

/// Whether a proxy can be shown private files here; says so when not, and the caller then passes.
#[track_caller]
pub(crate) fn private_files_allowed() -> bool {
    let probe = Command::new("unshare")
        .args([unshare_flags(), "mount", "--bind", "/etc/hosts", "/etc/hosts"])
        .stderr(Stdio::null())
        .status();
    let allowed = probe.is_ok_and(|status| status.success());
    if !allowed {
        skip("private mounts are not allowed here");
    }
    allowed
}

/// The shell that starts a proxy.
pub(super) fn shell(with_private_files: bool) -> Command {
    if !with_private_files {
        return Command::new("sh");
    }
    let mut command = Command::new("unshare");
    command.args([unshare_flags(), "sh"]);
    command
}

/// Where the private content of a system file is kept.
pub(super) fn private_path(dir: &Path, path: &str) -> PathBuf {
    dir.join(path.replace('/', "_"))
}

/// Writes the private files to `dir`; returns the lines of shell that put them in their places.
pub(super) fn prepare(dir: &Path, files: &[(String, String)]) -> String {
    let place = |(path, content): &(String, String)| {
        let file = private_path(dir, path);
        fs::write(&file, content).expect("write a private file");
        format!("mount --bind '{}' '{path}' || exit 1\n", file.display())
    };
    files.iter().map(place).collect()
}

/// Runs `test` on a thread in a network of its own, where only loopback is up and nothing else is reachable. Sockets,
/// threads and processes that it creates belong to that network. Passes without running it where that is not allowed.
#[track_caller]
pub(crate) fn in_private_network(test: impl FnOnce() + Send) {
    if let Some(network) = PrivateNetwork::create() {
        network.inside(test);
    }
}

/// A network of its own: only loopback is up and nothing else is reachable, until links are made. Dropping it takes its
/// links along; processes in it are the business of who started them.
pub(crate) struct PrivateNetwork(Process);

impl PrivateNetwork {
    /// `None`, which is said, where private networks are not allowed.
    #[track_caller]
    pub(crate) fn create() -> Option<PrivateNetwork> {
        let network = PrivateNetwork::start();
        if network.is_none() {
            skip("private networks are not allowed here, or `unshare` or `ip` is missing");
        }
        network
    }

    /// A process that does nothing keeps the network alive.
    fn start() -> Option<PrivateNetwork> {
        if !is_root() {
            return None;
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"]);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        let child = command.spawn().ok()?;
        // The command keeps the writing end, and the pipe would never end.
        drop(command);
        let network = PrivateNetwork(Process::from(child));
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).expect("a pipe can be read");
        (line == "up\n").then_some(network)
    }

    /// Names it in `ip link set … netns`.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Runs `work` on a thread in this network. Sockets, threads and processes that it creates belong to it.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let outcome = thread::scope(|scope| {
            let inside = || {
                let network = File::open(format!("/proc/{}/ns/net", self.id()))
                    .expect("the network of a process");
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a network");
                work()
            };
            scope.spawn(inside).join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
