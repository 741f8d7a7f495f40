//! From flags to a running proxy, in an order that lets every failure be seen by who started it.
//!
//! ```text
//! flags ─► configuration ─► log ─► detach (-d) ─► signals ─► pid file ─► banner ─► limits ─► listeners ─► workers ─► stats ─► ready
//! ```
//!
//! COMPAT: twemproxy 0.5 detaches before it reads the configuration, so its foreground process always exits with 0.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use reactor::process::bound_free_memory;

use super::Event;
use super::file_state::FileState;
use super::fleet::{Fleet, FleetError, FleetSpec};
use super::listeners::BindError;
use super::resolver::{ResolveError, Resolver};
use super::signals::Signals;
use super::stats_server::{self, StatsServer};
use crate::cli::{COMPATIBLE_VERSION, Options, Workers};
use crate::config::{self, Config, Global, LoadError, Pool, Settings};
use crate::logging::{EVERY, Logger, OpenError, always};
use crate::process::complain;
use crate::process::limits::{FileBudget, cores, files_reserved, raise_open_files};
use crate::process::os_error_text;
use crate::process::pid_file::{PidFile, PidFileError};

/// What can be had before anything outside the process changes: the configuration, and where its progress is told.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    /// The file it is from, as it was then.
    pub(super) read: Option<FileState>,
    pub(super) settings: Settings,
    pub(super) logger: Logger,
}

/// A proxy that is up. Dropping it gives up what it holds, the pid file last.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) fleet: Fleet,
    pub(super) events: Receiver<Event>,
    /// For those who report what they have done; keeps the channel open.
    pub(super) events_sender: Sender<Event>,
    _signals: Signals,
    _stats: StatsServer,
    _pid_file: Option<PidFile>,
}

/// Why a proxy is not up.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("installing signal handlers failed: {}", os_error_text(.0))]
    Signals(io::Error),
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("{0}; give -a or stats_addr an address of this machine")]
    StatsAddress(ResolveError),
    #[error("starting the stats server failed: {}", os_error_text(.0))]
    Stats(io::Error),
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

impl Plan {
    /// Reads the configuration and opens the log. `None` when that failed, with all reasons told.
    pub(super) fn make(options: &Options) -> Option<Plan> {
        let path = options.conf_file();
        let read = FileState::of(&path);
        let loaded = match config::load(&path) {
            Ok(loaded) => loaded,
            Err(error) => {
                reject(options, &path, &error);
                return None;
            }
        };
        let settings = Settings::resolve(options, &loaded.config().global);
        let logger = open_log(&settings)?;
        logger.install();
        for warning in loaded.warnings(&settings) {
            log::warn!(target: EVERY, "{}:{warning}", path.display());
        }
        if options.daemonize && logger.on_stderr() {
            log::warn!("log lines are lost once in the background; name a log file with -o");
        }
        Some(Plan { config: loaded.into_config(), read, settings, logger })
    }

    /// Brings everything up; `related` are processes that belong to this start. What was made is undone on failure.
    pub(super) fn start(&self, related: &[u32]) -> Result<Running, StartError> {
        let (sender, events) = channel();
        let signal_sender = sender.clone();
        let signals = Signals::watch(move |signal| {
            let _ = signal_sender.send(Event::Signal(signal));
        })
        .map_err(StartError::Signals)?;
        let pid_file = self.settings.pid_file.as_deref();
        let pid_file = pid_file.map(|path| PidFile::create(path, related)).transpose()?;
        banner();
        let workers = worker_count(self.settings.workers);
        let budget = open_files(&self.config, workers);
        let stats = stats_server::bind(&self.settings)?;
        let spec = FleetSpec {
            config: &self.config,
            workers,
            budget,
            resolver: Resolver::new(),
            events: sender.clone(),
        };
        bound_free_memory();
        let fleet = Fleet::start(spec)?;
        let stats = StatsServer::start(stats, &fleet).map_err(StartError::Stats)?;
        Ok(Running {
            fleet,
            events,
            events_sender: sender,
            _signals: signals,
            _stats: stats,
            _pid_file: pid_file,
        })
    }
}

/// Tells all that is wrong with the file at `path`: on standard error and, if flags name one, in the log file.
fn reject(options: &Options, path: &Path, error: &LoadError) {
    let Some(logger) = open_log(&Settings::resolve(options, &Global::default())) else { return };
    logger.install();
    for line in error.to_string().lines() {
        complain(line);
        if !logger.on_stderr() {
            log::error!(target: EVERY, "{line}");
        }
    }
    // COMPAT: 0.5 gives no verdict on a file that it cannot open.
    if matches!(error, LoadError::Invalid { .. }) {
        complain(&format!("configuration file '{}' syntax is invalid", path.display()));
    }
    always!("done, rabbit done");
}

fn open_log(settings: &Settings) -> Option<Logger> {
    let tell = |error: &OpenError| {
        complain(&format!(
            "{error}; see that its folder exists and lets this user write, or name another file with -o"
        ));
    };
    Logger::open(settings.log_output.as_deref(), settings.log_level.into()).inspect_err(tell).ok()
}

/// COMPAT: form of twemproxy 0.5; tools take version and pid from it.
fn banner() {
    let system = rustix::system::uname();
    let (name, release) = (system.sysname().to_string_lossy(), system.release().to_string_lossy());
    let machine = system.machine().to_string_lossy();
    let pid = std::process::id();
    always!(
        "nutcracker-{COMPATIBLE_VERSION} built for {name} {release} {machine} started on pid {pid}"
    );
    always!("run, rabbit run, there are requests to carry");
}

fn worker_count(workers: Workers) -> usize {
    match workers {
        Workers::Auto => cores(),
        Workers::Count(count) => count.get().into(),
    }
}

/// Raises the limit on open files and shares it out.
pub(super) fn open_files(config: &Config, workers: usize) -> FileBudget {
    let connections = |pool: &Pool| u64::from(pool.server_connections) * pool.servers.len() as u64;
    let servers = config
        .pools
        .iter()
        .map(|pool| connections(pool).saturating_mul(workers as u64).saturating_add(1));
    let servers = servers.fold(0, u64::saturating_add);
    let reserved = files_reserved(workers as u64, config.pools.len() as u64);
    let budget = FileBudget::new(raise_open_files(), servers, reserved);
    let FileBudget { files, clients, servers } = budget;
    log::info!("max fds {files} max client conns {clients} max server conns {servers}");
    if budget.is_tight() {
        log::warn!(
            "only {clients} client connections fit beside {servers} server connections into {files} open files; \
             raise the limit (ulimit -n, LimitNOFILE)"
        );
    }
    budget
}
