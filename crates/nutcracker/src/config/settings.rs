//! Where flags and file meet: settings of the process that both may give. The flag wins, then the file, then the
//! default of twemproxy 0.5.

use std::path::PathBuf;
use std::time::Duration;

use super::Global;
use crate::cli::{Options, Workers};

/// The highest log level; more means this.
const LOG_LEVEL_MAX: u8 = 11;

/// `level` as twemproxy 0.5 takes it: anything above the highest means the highest.
pub(super) fn log_level(level: u32) -> u8 {
    u8::try_from(level).map_or(LOG_LEVEL_MAX, |level| level.min(LOG_LEVEL_MAX))
}

/// Settings of the process after flags, file and defaults are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads that serve.
    pub workers: Workers,
    /// `None` logs to standard error.
    pub log_output: Option<PathBuf>,
    /// 0..=11.
    pub log_level: u8,
    /// Host of the stats listener, not resolved yet.
    pub stats_addr: String,
    /// 1..=65535.
    pub stats_port: u16,
    /// Zero means live.
    pub stats_interval: Duration,
    /// `None` writes no pid file.
    pub pid_file: Option<PathBuf>,
}

impl Settings {
    /// Puts flags and file together. Pass `&Global::default()` before the file is read.
    pub fn resolve(options: &Options, global: &Global) -> Settings {
        let path = |flag: &Option<PathBuf>, file: &Option<PathBuf>| {
            flag.clone().or_else(|| file.clone()).filter(|path| !path.as_os_str().is_empty())
        };
        let flag_interval =
            options.stats_interval_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Settings {
            workers: options.workers.or(global.workers).unwrap_or_default(),
            log_output: path(&options.log_output, &global.log_output),
            log_level: options.log_level.map(log_level).or(global.log_level).unwrap_or(5),
            stats_addr: options
                .stats_addr
                .clone()
                .or_else(|| global.stats_addr.clone())
                .unwrap_or("0.0.0.0".into()),
            stats_port: options.stats_port.or(global.stats_port).unwrap_or(22222),
            stats_interval: flag_interval
                .or(global.stats_interval)
                .unwrap_or(Duration::from_secs(30)),
            pid_file: path(&options.pid_file, &global.pid_file),
        }
    }
}
