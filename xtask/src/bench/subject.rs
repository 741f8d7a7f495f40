//! What is measured: ours, twemproxy, a proxy that only relays, no proxy, and whatever else listens somewhere.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::load::script::{Protocol, Script};
use super::{echo, fleet, machine};
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
    /// An echo without servers: what the system calls of a proxy cost alone.
    Echo,
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
            Subject::Echo => write!(f, "echo (floor)"),
            Subject::Peer(peer) => write!(f, "{}", peer.name),
        }
    }
}

/// A subject that serves. What was started for it ends with this value.
pub(crate) struct Serving {
    running: Option<Running>,
    /// One address for each pool.
    pub(crate) listen: Vec<SocketAddr>,
    /// The process whose time and memory are measured.
    pub(crate) process: Option<u32>,
}

impl Serving {
    /// Fails when what was started has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Running::check)
    }

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

    /// Whether it has to do every case.
    pub(crate) fn is_ours(&self) -> bool {
        self.as_ours().is_some()
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

    /// Starts it afresh in front of the servers of `scene`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(&self, scene: &Scene<'_>) -> Result<Serving> {
        let serving = match self {
            Subject::Ours(ours) => start_ours(&started::release_binary(), *ours, scene)?,
            Subject::Build(build, ours) => start_ours(&build.path, *ours, scene)?,
            Subject::Twemproxy => {
                start_nutcracker(Path::new(TWEMPROXY), &[], &scene.conf()?, scene.folder)?
            }
            Subject::Haproxy => start_haproxy(scene.servers, scene.folder)?,
            Subject::Direct => {
                let listen = *scene.servers.first().context("no server")?;
                Serving { running: None, listen: vec![listen], process: None }
            }
            Subject::Echo => start_echo(scene)?,
            Subject::Peer(peer) => {
                Serving { running: None, listen: vec![peer.address], process: peer.process }
            }
        };
        if let Some(process) = serving.process {
            machine::pin(process, scene.cores)?;
        }
        Ok(serving)
    }
}

/// What a subject is started for.
pub(crate) struct Scene<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) servers: &'a [SocketAddr],
    /// Servers in the list of a pool; beyond those that there are, the same under further names.
    pub(crate) entries: usize,
    pub(crate) pools: usize,
    /// Where it is kept.
    pub(crate) cores: &'a [usize],
    pub(crate) script: &'a Script,
    pub(crate) folder: &'a Folder,
}

/// Pools as twemproxy's file has them, and where they listen.
struct Conf {
    listen: Vec<SocketAddr>,
    text: String,
}

impl Scene<'_> {
    fn conf(&self) -> Result<Conf> {
        let listen = fleet::free_addresses(self.pools)?;
        let servers = self.servers.iter().cycle().take(self.entries).enumerate();
        let list: String = servers
            .map(|(index, server)| format!("   - {server}:1 {}\n", fleet::name(index)))
            .collect();
        let is_redis = self.protocol == Protocol::Redis;
        let mut text = String::new();
        for (pool, listen) in listen.iter().enumerate() {
            let _ = write!(
                text,
                "bench{pool}:\n  listen: {listen}\n  redis: {is_redis}\n  hash: fnv1a_64\n  distribution: ketama\n  \
                 timeout: 60000\n  preconnect: true\n  servers:\n{list}"
            );
        }
        Ok(Conf { listen, text })
    }
}

fn start_ours(binary: &Path, ours: Ours, scene: &Scene<'_>) -> Result<Serving> {
    let mut conf = scene.conf()?;
    if !ours.has_window {
        conf.text.insert_str(0, "global:\n  batch_window_us: 0\n");
    }
    let workers = ours.workers.to_string();
    start_nutcracker(binary, &["--workers", &workers], &conf, scene.folder)
}

/// This program again, as [`echo`].
fn start_echo(scene: &Scene<'_>) -> Result<Serving> {
    let listen = fleet::free_address()?;
    let script = scene.script;
    let request_bytes = (script.start(1) - script.start(0)).to_string();
    let head = String::from_utf8(script.reply.head.clone())?;
    let mut reply = head;
    reply.extend(std::iter::repeat_n('x', script.reply.len - reply.len()));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", echo::VERB, &listen.to_string(), &request_bytes, &reply]);
    let log = scene.folder.path().join("echo.log");
    let running = Running::start("the echo".into(), &mut command, listen, log)?;
    let process = Some(running.id());
    Ok(Serving { running: Some(running), listen: vec![listen], process })
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
    let listening = *conf.listen.first().context("no pool")?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&path).arg("-o").arg(&log).args(["-a", "127.0.0.1"]);
    command.args(["-s", &stats.port().to_string()]).args(flags);
    let running = Running::start(binary.display().to_string(), &mut command, listening, log)?;
    let process = Some(running.id());
    Ok(Serving { running: Some(running), listen: conf.listen.clone(), process })
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
    Ok(Serving { running: Some(running), listen: vec![listen], process })
}
