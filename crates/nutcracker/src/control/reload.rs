//! Reloading the configuration: the file is read on a thread of its own, everything that can fail happens before anything
//! changes, and whatever comes of it is told in the log.
//!
//! ```text
//!   Idle ── asked ──▶ Reading ── read ──▶ Waiting (listeners of the last reload close) ──▶ Idle
//!                        ▲  asked again meanwhile: once more                                │
//!                        └──────────────────────────────────────────────────────────────────┘
//! ```

use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Event;
use super::file_state::{FileState, Watch};
use super::fleet::Fleet;
use super::startup::open_files;
use crate::cli::Options;
use crate::config::{self, Config, LoadError, Loaded, Settings};
use crate::logging::{EVERY, notice};
use crate::process::notify::Supervisor;
use crate::process::os_error_text;
use crate::stats::published::Reload;

/// A file that was changed less long ago may still be in the making: it is read again unless it rests for this long.
const REST: Duration = Duration::from_millis(50);

/// How long a file that cannot be used is given to become one.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was read for a reload.
#[derive(Debug)]
pub struct Reading {
    outcome: Result<Loaded, LoadError>,
    /// The file as it was then.
    state: Option<FileState>,
}

/// Carries out one reload after the other.
#[derive(Debug)]
pub(super) struct Reloader {
    options: Options,
    /// What is served.
    config: Config,
    /// Those of the start, which hold until the end.
    settings: Settings,
    phase: Phase,
    /// Asked for while one was under way.
    again: bool,
    /// Listeners of earlier reloads that are not closed yet.
    closing: usize,
    watch: Watch,
    events: Sender<Event>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Reading,
    Waiting(Box<Reading>),
}

/// What a reload works on.
pub(super) struct Scene<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) supervisor: &'a mut Supervisor,
}

impl Reloader {
    /// Begins with `config`, which was read from a file in the state `read`.
    pub(super) fn new(
        options: &Options,
        config: &Config,
        settings: &Settings,
        read: Option<FileState>,
        events: Sender<Event>,
    ) -> Reloader {
        Reloader {
            watch: Watch::new(&options.conf_file(), read),
            options: options.clone(),
            config: config.clone(),
            settings: settings.clone(),
            phase: Phase::Idle,
            again: false,
            closing: 0,
            events,
        }
    }

    /// What is served.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the file has changed, where that is to be looked for.
    pub(super) fn has_file_changed(&mut self, now: Instant) -> bool {
        let is_idle = matches!(self.phase, Phase::Idle);
        self.config.global.reload_on_change && is_idle && self.watch.has_changed(now)
    }

    /// Begins a reload; one more follows if one is under way.
    pub(super) fn begin(&mut self, scene: &mut Scene<'_>) {
        if !matches!(self.phase, Phase::Idle) {
            self.again = true;
            return;
        }
        scene.supervisor.reloading();
        self.phase = Phase::Reading;
        let (path, events) = (self.options.conf_file(), self.events.clone());
        let read = move || {
            let reading = Box::new(read_at_rest(&path));
            // The control loop is gone only when the process ends anyway.
            let _ = events.send(Event::Read(reading));
        };
        if let Err(error) = thread::Builder::new().name("reload".into()).spawn(read) {
            log::error!("starting a thread for the reload failed: {}", os_error_text(&error));
            self.finish(false, scene);
        }
    }

    /// The file was read.
    pub(super) fn on_read(&mut self, reading: Box<Reading>, scene: &mut Scene<'_>) {
        self.phase = Phase::Waiting(reading);
        self.carry_on(scene);
    }

    /// A listener is closed.
    pub(super) fn on_listener_closed(&mut self, scene: &mut Scene<'_>) {
        self.closing = self.closing.saturating_sub(1);
        self.carry_on(scene);
    }

    fn carry_on(&mut self, scene: &mut Scene<'_>) {
        if self.closing > 0 {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(reading) => {
                self.watch.note_read(reading.state);
                let succeeded = self.apply(reading.outcome, scene.fleet);
                self.finish(succeeded, scene);
            }
            other => self.phase = other,
        }
    }

    /// Serves what was read, or tells why not. Returns which.
    fn apply(&mut self, outcome: Result<Loaded, LoadError>, fleet: &mut Fleet) -> bool {
        let path = self.options.conf_file();
        let loaded = match outcome {
            Ok(loaded) => loaded,
            Err(error) => {
                error.to_string().lines().for_each(|line| log::error!(target: EVERY, "{line}"));
                return refuse(&path);
            }
        };
        let settings = Settings::resolve(&self.options, &loaded.config().global);
        for warning in loaded.warnings(&settings) {
            log::warn!(target: EVERY, "{}:{warning}", path.display());
        }
        let config = loaded.into_config();
        let changes = changes(&self.config, &config);
        if config != self.config || !fleet.is_reachable() {
            match fleet.publish(&config, open_files(&config, fleet.workers())) {
                Ok(closing) => self.closing = closing,
                Err(error) => {
                    log::error!("{error}");
                    return refuse(&path);
                }
            }
        }
        self.config = config;
        notice!("configuration file '{}' reloaded: {changes}", path.display());
        for key in fixed(&self.settings, &settings) {
            log::warn!(target: EVERY, "'{key}' has changed, which takes effect with the next start");
        }
        true
    }

    fn finish(&mut self, succeeded: bool, scene: &mut Scene<'_>) {
        self.phase = Phase::Idle;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at_s = now.map_or(0, |now| now.as_secs());
        scene.fleet.published().note(Reload { at_s, succeeded });
        let workers = scene.fleet.alive();
        scene.supervisor.ready(&super::serve::serving(self.config.pools.len(), workers));
        if std::mem::take(&mut self.again) {
            self.begin(scene);
        }
    }
}

fn refuse(path: &Path) -> bool {
    log::error!(
        "configuration file '{}' not reloaded; the running configuration stays",
        path.display()
    );
    false
}

/// Reads the file once nobody writes to it any more, as far as can be told. One that cannot be used may be half written,
/// so it is given some time.
fn read_at_rest(path: &Path) -> Reading {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = FileState::of(path);
        let outcome = config::load(path);
        let is_over = Instant::now() >= until;
        let rests = state.is_some_and(|state| state.is_older_than(REST));
        if is_over || outcome.is_ok() && rests && FileState::of(path) == state {
            return Reading { outcome, state };
        }
        thread::sleep(REST);
    }
}

/// What an operator wants to know about a change, in one line.
fn changes(before: &Config, after: &Config) -> String {
    let of = |config: &Config, keep: &dyn Fn(&config::Pool) -> bool| -> Vec<String> {
        config.pools.iter().filter(|pool| keep(pool)).map(|pool| pool.name.clone()).collect()
    };
    let named = |config: &Config, name: &str| config.pools.iter().any(|pool| pool.name == name);
    let added = of(after, &|pool| !named(before, &pool.name));
    let removed = of(before, &|pool| !named(after, &pool.name));
    let is_other =
        |pool: &config::Pool| before.pools.iter().any(|old| old.name == pool.name && old != pool);
    let changed = of(after, &is_other);
    let mut parts = Vec::new();
    for (what, pools) in [("added", added), ("changed", changed), ("removed", removed)] {
        if !pools.is_empty() {
            let plural = if pools.len() == 1 { "" } else { "s" };
            parts.push(format!("pool{plural} {what}: '{}'", pools.join("', '")));
        }
    }
    if before.global != after.global {
        parts.push("settings of the process changed".into());
    }
    if parts.is_empty() { "nothing has changed".into() } else { parts.join("; ") }
}

/// Keys whose values cannot be changed while the process runs and differ.
fn fixed(start: &Settings, wanted: &Settings) -> Vec<&'static str> {
    let keys = [
        ("workers", start.workers == wanted.workers),
        ("stats_addr", start.stats_addr == wanted.stats_addr),
        ("stats_port", start.stats_port == wanted.stats_port),
        ("stats_interval", start.stats_interval == wanted.stats_interval),
        ("pid_file", start.pid_file == wanted.pid_file),
        ("log_output", start.log_output == wanted.log_output),
        ("log_level", start.log_level == wanted.log_level),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}
