//! The command line: raw arguments in, one validated [`Invocation`] out.
//!
//! COMPAT: twemproxy 0.5 parses with GNU `getopt_long`: options bundle (`-dt`), arguments glue (`-v7`), long names
//! shorten to any unambiguous prefix, operands may stand anywhere, the first error in order ends it. Its messages name
//! the short letter whatever form was typed. No argument library reproduces all of that and its exact texts, so
//! `getopt` is a small parser of our own over one table of flags, which also generates the help text.

mod flags;
mod getopt;
mod manual;
mod text;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU16;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use getopt::{Getopt, Item};

pub use flags::{FLAGS, Flag, Id};
pub use manual::manual;
pub use text::{describe_stats, usage, version_block};

/// The version reported where tools look for one: the twemproxy release this program stands in for.
///
/// COMPAT: service specs and collectors match `This is nutcracker-0.5.0` and the `version` of the stats document.
pub const COMPATIBLE_VERSION: &str = "0.5.0";

/// Read when `-c` is absent, relative to the working directory.
pub const CONF_FILE_DEFAULT: &str = "conf/nutcracker.yml";

/// How many workers share the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One per core this process may use.
    #[default]
    Auto,
    /// Exactly this many.
    Count(NonZeroU16),
}

/// What the flags said; `None` leaves the setting to the configuration file or to its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-v`: log level as written; anything above 11 means 11.
    pub log_level: Option<u32>,
    /// `-o`: log file; an empty path means standard error.
    pub log_output: Option<PathBuf>,
    /// `-c`: configuration file.
    pub conf_file: Option<PathBuf>,
    /// `-s`: port of the stats listener, 1..=65535.
    pub stats_port: Option<u16>,
    /// `-a`: host the stats listener binds to, not resolved yet.
    pub stats_addr: Option<String>,
    /// `-i`: milliseconds between two aggregations, which nothing needs any more.
    pub stats_interval_ms: Option<u32>,
    /// `-p`: pid file.
    pub pid_file: Option<PathBuf>,
    /// `-m`: 512..=16777216; kept for compatibility, a hint.
    pub mbuf_size: Option<u32>,
    /// `-d`: detach and run in the background.
    pub daemonize: bool,
    /// `--workers`.
    pub workers: Option<Workers>,
}

impl Options {
    /// The configuration file to read.
    pub fn conf_file(&self) -> PathBuf {
        self.conf_file.clone().unwrap_or_else(|| PathBuf::from(CONF_FILE_DEFAULT))
    }
}

/// What the program is asked to do. When several modes are asked for, the earliest of this list wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `-h`, `-V` or `-D`: print the version block, then what else is asked for, and exit 0.
    Describe {
        /// `-h`: the usage text follows.
        usage: bool,
        /// `-D`: the metrics follow.
        stats: bool,
    },
    /// `-t`: check the configuration file.
    TestConf,
    /// `--print-config`: show the resolved configuration.
    PrintConfig,
    /// `--route POOL KEY…`: show which server each key belongs to.
    Route {
        /// Name of a pool.
        pool: String,
        /// At least one key, as raw bytes.
        keys: Vec<Vec<u8>>,
    },
    /// Serve.
    Run,
}

/// A command line that made sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub mode: Mode,
    /// How.
    pub options: Options,
}

/// Why a command line makes no sense. The text is one line without the `nutcracker: ` in front of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No flag of that name, more than one, or an argument to a flag that takes none.
    #[error("invalid option -- '{0}'")]
    Unknown(String),
    /// Not a sequence of decimal digits below 2^31.
    #[error("option {0} requires a number")]
    NeedsNumber(String),
    /// As above, or zero.
    #[error("option {0} requires a non-zero number")]
    NeedsPositiveNumber(String),
    /// No argument where a path belongs.
    #[error("option {0} requires a file name")]
    NeedsFileName(String),
    /// No argument where text belongs, or not UTF-8.
    #[error("option {0} requires a string")]
    NeedsString(String),
    /// `-s` outside 1..=65535.
    #[error("option -s value {0} is not a valid port")]
    Port(u32),
    /// `-m` out of bounds.
    #[error("mbuf chunk size must be between {MBUF_SIZE_MIN} and {MBUF_SIZE_MAX} bytes")]
    MbufSize,
    /// `--workers` is neither a number nor `auto`.
    #[error("option --workers requires 'auto' or a number between 1 and {WORKERS_MAX}")]
    Workers,
    /// `--route` without a pool.
    #[error("option --route requires the name of a pool")]
    NeedsPool,
    /// `--route` without keys.
    #[error("option --route requires at least one key after the name of the pool")]
    NeedsKey,
}

const MBUF_SIZE_MIN: u32 = 512;
const MBUF_SIZE_MAX: u32 = 16_777_216;
/// More threads than any machine has cores are a typing mistake.
pub(crate) const WORKERS_MAX: u16 = 1024;

/// Reads the arguments that follow the program's name. The first error in their order wins, whatever else is asked.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut getopt = Getopt::new(arguments);
    let mut asked = Asked::default();
    let mut options = Options::default();
    let mut operands = Vec::new();
    while let Some(item) = getopt.next_item()? {
        match item {
            Item::Operand(operand) => operands.push(operand.into_vec()),
            Item::Flag(flag, value) => apply(flag, value, &mut asked, &mut options)?,
        }
    }
    Ok(Invocation { mode: asked.mode(operands)?, options })
}

/// The modes seen so far.
#[derive(Default)]
struct Asked {
    version: bool,
    usage: bool,
    stats: bool,
    test_conf: bool,
    print_config: bool,
    route: Option<String>,
}

impl Asked {
    fn mode(self, operands: Vec<Vec<u8>>) -> Result<Mode, UsageError> {
        if self.version || self.usage || self.stats {
            return Ok(Mode::Describe { usage: self.usage, stats: self.stats });
        }
        match self.route {
            _ if self.test_conf => Ok(Mode::TestConf),
            _ if self.print_config => Ok(Mode::PrintConfig),
            Some(_) if operands.is_empty() => Err(UsageError::NeedsKey),
            Some(pool) => Ok(Mode::Route { pool, keys: operands }),
            None => Ok(Mode::Run),
        }
    }
}

fn apply(
    flag: &Flag,
    value: OsString,
    asked: &mut Asked,
    options: &mut Options,
) -> Result<(), UsageError> {
    match flag.id {
        Id::Help => asked.usage = true,
        Id::Version => asked.version = true,
        Id::DescribeStats => asked.stats = true,
        Id::TestConf => asked.test_conf = true,
        Id::PrintConfig => asked.print_config = true,
        Id::Route => asked.route = Some(text(value).ok_or(UsageError::NeedsPool)?),
        Id::Daemonize => options.daemonize = true,
        Id::Verbose => options.log_level = Some(number(flag, &value)?),
        Id::Output => options.log_output = Some(PathBuf::from(value)),
        Id::ConfFile => options.conf_file = Some(PathBuf::from(value)),
        Id::PidFile => options.pid_file = Some(PathBuf::from(value)),
        Id::StatsAddr => {
            options.stats_addr = Some(text(value).ok_or_else(|| missing_argument(flag))?);
        }
        Id::StatsInterval => options.stats_interval_ms = Some(number(flag, &value)?),
        Id::StatsPort => options.stats_port = Some(port(number(flag, &value)?)?),
        Id::MbufSize => options.mbuf_size = Some(mbuf_size(flag, &value)?),
        Id::Workers => {
            options.workers = Some(workers(value.as_bytes()).ok_or(UsageError::Workers)?);
        }
    }
    Ok(())
}

/// What is said when the command line ends before the argument of `flag`.
///
/// COMPAT: the letter is named even when the word was typed.
fn missing_argument(flag: &Flag) -> UsageError {
    let name = name(flag);
    match flag.id {
        Id::Output | Id::ConfFile | Id::PidFile => UsageError::NeedsFileName(name),
        Id::StatsAddr => UsageError::NeedsString(name),
        Id::Workers => UsageError::Workers,
        Id::Route => UsageError::NeedsPool,
        _ => UsageError::NeedsNumber(name),
    }
}

fn name(flag: &Flag) -> String {
    flag.short.map_or(format!("--{}", flag.long), |letter| format!("-{letter}"))
}

fn text(value: OsString) -> Option<String> {
    value.into_string().ok()
}

/// `digits` as a number, or `None` when it is anything but decimal digits or exceeds 2^31 - 1.
///
/// COMPAT: twemproxy 0.5 lets larger numbers wrap around; nobody can mean that.
pub(crate) fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .try_fold(0i32, |sum, digit| sum.checked_mul(10)?.checked_add(i32::from(digit - b'0')))?;
    u32::try_from(value).ok()
}

fn number(flag: &Flag, value: &OsStr) -> Result<u32, UsageError> {
    decimal(value.as_bytes()).ok_or_else(|| missing_argument(flag))
}

fn port(number: u32) -> Result<u16, UsageError> {
    u16::try_from(number).ok().filter(|&port| port != 0).ok_or(UsageError::Port(number))
}

fn mbuf_size(flag: &Flag, value: &OsStr) -> Result<u32, UsageError> {
    let positive = decimal(value.as_bytes()).filter(|&bytes| bytes != 0);
    let bytes = positive.ok_or_else(|| UsageError::NeedsPositiveNumber(name(flag)))?;
    if (MBUF_SIZE_MIN..=MBUF_SIZE_MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(UsageError::MbufSize)
    }
}

/// The value of `--workers` and of the key `workers`: `auto` or 1..=[`WORKERS_MAX`].
pub(crate) fn workers(value: &[u8]) -> Option<Workers> {
    if value == b"auto" {
        return Some(Workers::Auto);
    }
    let count = u16::try_from(decimal(value)?).ok().filter(|&count| count <= WORKERS_MAX)?;
    NonZeroU16::new(count).map(Workers::Count)
}
