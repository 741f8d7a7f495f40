//! The table of flags: one row per flag, from which parsing and the help text (and any manual) are made.

/// Which letter or word selects what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// `-h`
    Help,
    /// `-V`
    Version,
    /// `-t`
    TestConf,
    /// `-d`
    Daemonize,
    /// `-D`
    DescribeStats,
    /// `-v`
    Verbose,
    /// `-o`
    Output,
    /// `-c`
    ConfFile,
    /// `-s`
    StatsPort,
    /// `-a`
    StatsAddr,
    /// `-i`
    StatsInterval,
    /// `-p`
    PidFile,
    /// `-m`
    MbufSize,
    /// `--workers`
    Workers,
    /// `--print-config`
    PrintConfig,
    /// `--route`
    Route,
}

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// What it sets.
    pub id: Id,
    /// The letter; flags that twemproxy 0.5 did not have have none.
    pub short: Option<char>,
    /// The word, without dashes.
    pub long: &'static str,
    /// Name of its argument in the help text, if it takes one.
    pub argument: Option<&'static str>,
    /// Shown in the help text; empty when there is nothing to say.
    pub default: &'static str,
    /// One line for people.
    pub doc: &'static str,
}

impl Flag {
    /// Whether twemproxy 0.5 had it. Those flags keep every abbreviation they had.
    pub fn is_inherited(&self) -> bool {
        self.short.is_some()
    }
}

const fn switch(id: Id, short: char, long: &'static str, doc: &'static str) -> Flag {
    Flag { id, short: Some(short), long, argument: None, default: "", doc }
}

const fn value(
    id: Id,
    short: char,
    long: &'static str,
    argument: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Flag {
    Flag { id, short: Some(short), long, argument: Some(argument), default, doc }
}

const fn new(
    id: Id,
    long: &'static str,
    argument: Option<&'static str>,
    default: &'static str,
    doc: &'static str,
) -> Flag {
    Flag { id, short: None, long, argument, default, doc }
}

/// Every flag, in the order of the help text.
pub const FLAGS: [Flag; 16] = [
    switch(Id::Help, 'h', "help", "show this text and exit"),
    switch(Id::Version, 'V', "version", "show the version and exit"),
    switch(Id::TestConf, 't', "test-conf", "check the configuration file and exit"),
    switch(Id::Daemonize, 'd', "daemonize", "run in the background"),
    switch(
        Id::DescribeStats,
        'D',
        "describe-stats",
        "explain the metrics of the stats port and exit",
    ),
    value(Id::Verbose, 'v', "verbose", "N", "5", "log level, from 0 (silent) to 11"),
    value(Id::Output, 'o', "output", "FILE", "standard error", "log file"),
    value(Id::ConfFile, 'c', "conf-file", "FILE", super::CONF_FILE_DEFAULT, "configuration file"),
    value(Id::StatsPort, 's', "stats-port", "PORT", "22222", "port of the stats listener"),
    value(Id::StatsAddr, 'a', "stats-addr", "HOST", "0.0.0.0", "address of the stats listener"),
    value(
        Id::StatsInterval,
        'i',
        "stats-interval",
        "MSEC",
        "30000",
        "without effect, as the stats are always live",
    ),
    value(
        Id::PidFile,
        'p',
        "pid-file",
        "FILE",
        "none",
        "file that holds the process id while running",
    ),
    value(
        Id::MbufSize,
        'm',
        "mbuf-size",
        "BYTES",
        "16384",
        "size of a buffer, a hint; 512 to 16777216",
    ),
    new(
        Id::Workers,
        "workers",
        Some("N|auto"),
        "auto",
        "threads that serve; auto is one per usable core",
    ),
    new(
        Id::PrintConfig,
        "print-config",
        None,
        "",
        "show the resolved configuration and exit (includes passwords)",
    ),
    new(Id::Route, "route", Some("POOL"), "", "show the server of each KEY that follows and exit"),
];
