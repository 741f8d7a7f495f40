//! The process log: twemproxy's line format, levels 0 to 11, a file that can be reopened.
//!
//! The rest of the trunk logs through the macros of the `log` crate, plus `always!` and `notice!` for the two
//! kinds of lines that crate has no level for. It stands apart because any thread may log at any time: a line is built
//! outside the lock and leaves in one write(2), so lines of several threads never mix.

mod line;
mod repeats;
mod sink;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};

use repeats::{Repeats, Site, Summary};
use sink::Sink;

/// The most verbose level; higher ones mean this one.
pub const LEVEL_MAX: u8 = 11;

/// Target of lines written whatever the level: banner, verdicts, panics. Never rate-limited.
pub const ALWAYS: &str = "always";

/// Target of lines at level 5, the default: rare events that are no fault.
pub const NOTICE: &str = "notice";

/// Target of lines that are never rate-limited, such as the list of everything wrong in a configuration file.
pub const EVERY: &str = "every";

/// Logs a line whatever the level.
macro_rules! always {
    ($($message:tt)+) => { ::log::error!(target: $crate::logging::ALWAYS, $($message)+) };
}

/// Logs a line at level 5.
macro_rules! notice {
    ($($message:tt)+) => { ::log::info!(target: $crate::logging::NOTICE, $($message)+) };
}

pub(crate) use {always, notice};

/// The log file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("opening log file '{}' failed: {}", path.display(), crate::process::os_error_text(cause))]
pub struct OpenError {
    path: PathBuf,
    cause: io::Error,
}

/// A handle on the log; clones share it.
#[derive(Clone, Debug)]
pub struct Logger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    sink: Sink,
    repeats: Repeats,
}

impl Logger {
    /// Opens the log at `path` (created with mode 0644, appended to), or on standard error for `None` and the empty
    /// path. Levels above [`LEVEL_MAX`] mean [`LEVEL_MAX`].
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>, level: u32) -> Result<Logger, OpenError> {
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let sink = Sink::open(path)
            .map_err(|cause| OpenError { path: path.unwrap_or(Path::new("")).into(), cause })?;
        let level = AtomicU8::new(u8::try_from(level).unwrap_or(LEVEL_MAX).min(LEVEL_MAX));
        let output = Mutex::new(Output { sink, repeats: Repeats::default() });
        Ok(Logger { shared: Arc::new(Shared { level, output }) })
    }

    /// Makes this the log of the process, and sends panics of any thread to it. Only the first one installed counts.
    pub fn install(&self) {
        if log::set_boxed_logger(Box::new(self.clone())).is_err() {
            return;
        }
        log::set_max_level(filter(self.level()));
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            always!("thread '{}' {}", thread.name().unwrap_or("unnamed"), panic);
        }));
    }

    /// The present level.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.shared.level.load(Ordering::Relaxed)
    }

    /// One level more verbose; the new level, or `None` when it was the highest already.
    pub fn raise_level(&self) -> Option<u8> {
        self.change_level(|level| (level < LEVEL_MAX).then(|| level + 1))
    }

    /// One level less verbose; the new level, or `None` when it was 0 already.
    pub fn lower_level(&self) -> Option<u8> {
        self.change_level(|level| level.checked_sub(1))
    }

    /// Opens the log file again under its name, creating it when it was renamed away. Nothing happens on standard error.
    ///
    /// # Errors
    /// The file cannot be opened; the log goes on in the old one.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let mut output = self.output();
        let path = output.sink.path().map(Path::to_path_buf).unwrap_or_default();
        output.sink.reopen().map_err(|cause| OpenError { path, cause })
    }

    /// Whether lines go to standard error.
    #[must_use]
    pub fn on_stderr(&self) -> bool {
        self.output().sink.path().is_none()
    }

    /// Writes a line about a signal, whatever the level: 23 dots stand in for the time.
    ///
    /// COMPAT: twemproxy 0.5 writes them from the signal context, and its test suite greps for them.
    pub fn signal_line(&self, message: &str) {
        self.output().sink.write(&line::signal(message));
    }

    /// Writes the summaries of rate-limited lines that are due. To be called about once a second.
    pub fn flush_repeats(&self) {
        let mut output = self.output();
        for summary in output.repeats.due(Instant::now()) {
            output.sink.write(&summary_line(&summary));
        }
    }

    fn change_level(&self, step: impl Fn(u8) -> Option<u8>) -> Option<u8> {
        let old =
            self.shared.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, &step).ok()?;
        let level = step(old)?;
        log::set_max_level(filter(level));
        Some(level)
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.shared.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.level() >= level_needed(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Built before the lock is taken: a message whose formatting panics must not leave the log locked.
        let message = record.args().to_string();
        let site =
            Site { file: record.file_static().unwrap_or("?"), line: record.line().unwrap_or(0) };
        let mut output = self.output();
        if limited(record.metadata()) {
            let admitted = output.repeats.admit(site, &message, Instant::now());
            if let Some(summary) = admitted.summary {
                output.sink.write(&summary_line(&summary));
            }
            if !admitted.write {
                return;
            }
        }
        output.sink.write(&line::stamped(site.file, site.line, &message));
    }

    fn flush(&self) {}
}

fn summary_line(summary: &Summary) -> Vec<u8> {
    let seconds = repeats::WINDOW.as_secs();
    let message = format!(
        "repeated {} times within {seconds} s, the last one: {}",
        summary.count, summary.last
    );
    line::stamped(summary.site.file, summary.site.line, &message)
}

/// The lowest level at which a line is written, 0.5's numbers.
fn level_needed(metadata: &Metadata<'_>) -> u8 {
    match (metadata.target(), metadata.level()) {
        (ALWAYS, _) => 0,
        (NOTICE, _) => 5,
        (_, log::Level::Error) => 1,
        (_, log::Level::Warn) => 4,
        (_, log::Level::Info) => 6,
        (_, log::Level::Debug) => 7,
        (_, log::Level::Trace) => 8,
    }
}

/// What is asked for with a high level is never held back; the faults that everybody sees are.
fn limited(metadata: &Metadata<'_>) -> bool {
    metadata.target() != EVERY && (1..=5).contains(&level_needed(metadata))
}

/// The coarser filter that saves building lines which [`level_needed`] would drop.
fn filter(level: u8) -> LevelFilter {
    match level {
        0..=3 => LevelFilter::Error,
        4 => LevelFilter::Warn,
        5 | 6 => LevelFilter::Info,
        7 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

#[cfg(test)]
mod tests;
