//! What is measured: ours, twemproxy, a proxy that only relays, no proxy, and whatever else listens somewhere.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::load::script::Protocol;
use super::{fleet, machine};
use crate::started::{self, Folder, Running};

pub(crate) const TWEMPROXY: &str = "/usr/sbin/nutcracker";
/// Open files of a proxy beside those of its connections.
const FILES_SPARE: u64 = 200;

/// A proxy under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Ours(Ours),
    /// Another build of ours, started like it.
    Build(Build, Ours),
    /// twemproxy 0.5, as Debian has it.
    Twemproxy,
    /// HAProxy that relays connections without a look at what they carry: the least a proxy can do.
    Haproxy,
    /// The first server itself.
    Direct,
    /// Somebody else's, running already.
    Peer(Peer),
}

/// How ours is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) workers: usize,
    /// Whether the window that gathers work under load is on, as it is by default.
    pub(crate) has_window: bool,
}

impl Ours {
    pub(crate) const PLAIN: Ours = Ours { workers: 1, has_window: true };
}

/// An executable of ours from another time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Something that listens, and its process if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Option<u32>,
    pub(crate) protocol: Protocol,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Ours(Ours { workers: 1, .. }) => write!(f, "ours"),
            Subject::Ours(Ours { workers, .. }) => write!(f, "ours, {workers} workers"),
            Subject::Build(build, Ours { workers: 1, .. }) => write!(f, "{}", build.name),
            Subject::Build(build, Ours { workers, .. }) => {
                write!(f, "{}, {workers} workers", build.name)
            }
            Subject::Twemproxy => write!(f, "twemproxy 0.5"),
            Subject::Haproxy => write!(f, "HAProxy, TCP"),
            Subject::Direct => write!(f, "no proxy"),
            Subject::Peer(peer) => write!(f, "{}", peer.name),
        }
    }
}

/// A subject that serves. What was started for it ends with this value.
pub(crate) struct Serving {
    running: Option<Running>,
    pub(crate) listen: SocketAddr,
    /// The process whose time and memory are measured.
    pub(crate) process: Option<u32>,
}

impl Serving {
    /// Ends what was started.
    pub(crate) fn stop(self) -> Result<()> {
        self.running.map_or(Ok(()), Running::stop)
    }
}

impl Subject {
    /// Whether it can be measured here.
    pub(crate) fn is_present(&self) -> bool {
        match self {
            Subject::Twemproxy => Path::new(TWEMPROXY).exists(),
            Subject::Haproxy => crate::setup::HAPROXY.is_present(),
            _ => true,
        }
    }

    /// How ours is started, if it is ours.
    pub(crate) fn as_ours(&self) -> Option<Ours> {
        match self {
            Subject::Ours(ours) => Some(*ours),
            _ => None,
        }
    }

    /// Threads that serve.
    pub(crate) fn workers(&self) -> usize {
        match self {
            Subject::Ours(ours) | Subject::Build(_, ours) => ours.workers,
            _ => 1,
        }
    }

    /// Starts it afresh in front of `servers`, kept on `cores`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(
        &self,
        protocol: Protocol,
        servers: &[SocketAddr],
        cores: &[usize],
        folder: &Folder,
    ) -> Result<Serving> {
        let serving = match self {
            Subject::Ours(ours) => {
                start_ours(&started::release_binary(), *ours, protocol, servers, folder)?
            }
            Subject::Build(build, ours) => {
                start_ours(&build.path, *ours, protocol, servers, folder)?
            }
            Subject::Twemproxy => {
                let conf = pool(protocol, servers)?;
                start_nutcracker(Path::new(TWEMPROXY), &[], &conf, folder)?
            }
            Subject::Haproxy => start_haproxy(servers, folder)?,
            Subject::Direct => {
                let listen = *servers.first().context("no server")?;
                Serving { running: None, listen, process: None }
            }
            Subject::Peer(peer) => {
                Serving { running: None, listen: peer.address, process: peer.process }
            }
        };
        if let Some(process) = serving.process {
            machine::pin(process, cores)?;
        }
        Ok(serving)
    }
}

/// A pool of servers as twemproxy's file has it, and where it listens.
struct Conf {
    listen: SocketAddr,
    text: String,
}

fn pool(protocol: Protocol, servers: &[SocketAddr]) -> Result<Conf> {
    let listen = fleet::free_address()?;
    let list: String = servers
        .iter()
        .enumerate()
        .map(|(index, server)| format!("   - {server}:1 {}\n", fleet::name(index)))
        .collect();
    let is_redis = protocol == Protocol::Redis;
    let text = format!(
        "bench:\n  listen: {listen}\n  redis: {is_redis}\n  hash: fnv1a_64\n  distribution: ketama\n  timeout: 60000\n  \
         preconnect: true\n  servers:\n{list}"
    );
    Ok(Conf { listen, text })
}

fn start_ours(
    binary: &Path,
    ours: Ours,
    protocol: Protocol,
    servers: &[SocketAddr],
    folder: &Folder,
) -> Result<Serving> {
    let mut conf = pool(protocol, servers)?;
    if !ours.has_window {
        conf.text.insert_str(0, "global:\n  batch_window_us: 0\n");
    }
    let workers = ours.workers.to_string();
    start_nutcracker(binary, &["--workers", &workers], &conf, folder)
}

fn start_nutcracker(
    binary: &Path,
    flags: &[&str],
    conf: &Conf,
    folder: &Folder,
) -> Result<Serving> {
    let path = folder.path().join("bench.yml");
    fs::write(&path, &conf.text)?;
    let log = folder.path().join("proxy.log");
    let stats = fleet::free_address()?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&path).arg("-o").arg(&log).args(["-a", "127.0.0.1"]);
    command.args(["-s", &stats.port().to_string()]).args(flags);
    let running = Running::start(binary.display().to_string(), &mut command, conf.listen, log)?;
    let process = Some(running.id());
    Ok(Serving { running: Some(running), listen: conf.listen, process })
}

fn start_haproxy(servers: &[SocketAddr], folder: &Folder) -> Result<Serving> {
    let listen = fleet::free_address()?;
    let list: String = servers
        .iter()
        .enumerate()
        .map(|(index, server)| format!("  server {} {server}\n", fleet::name(index)))
        .collect();
    // A connection that is relayed is two files.
    let connections = machine::open_files().saturating_sub(FILES_SPARE) / 2;
    let text = format!(
        "global\n  nbthread 1\n  maxconn {connections}\ndefaults\n  mode tcp\n  timeout connect 30s\n  timeout client 60s\n  \
         timeout server 60s\nlisten bench\n  bind {listen}\n{list}"
    );
    let conf = folder.path().join("haproxy.cfg");
    fs::write(&conf, text)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(&conf);
    let log = folder.path().join("haproxy.log");
    let running = Running::start("haproxy".into(), &mut command, listen, log)?;
    let process = Some(running.id());
    Ok(Serving { running: Some(running), listen, process })
}
