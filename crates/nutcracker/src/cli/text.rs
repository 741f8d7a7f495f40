//! The texts the command line prints: version block, usage, description of the metrics.

use std::fmt::Write as _;

use super::{COMPATIBLE_VERSION, FLAGS, Flag};
use crate::stats::catalogue::{self, Metric};

/// The readiness interface of this platform.
const EVENT_BACKEND: &str =
    if cfg!(any(target_os = "linux", target_os = "android")) { "epoll" } else { "kqueue" };

/// What `-V` prints, and what `-h` and `-D` print first. COMPAT: line for line as twemproxy 0.5.
pub fn version_block() -> String {
    format!("This is nutcracker-{COMPATIBLE_VERSION}\nasync event backend: {EVENT_BACKEND}\n\n")
}

/// The help text, made from the table of flags.
pub fn usage() -> String {
    let mut text = String::from(
        "Usage: nutcracker [OPTION]...\n       nutcracker --route POOL [OPTION]... [--] KEY...\n\nOptions:\n",
    );
    for flag in &FLAGS {
        usage_line(&mut text, flag);
    }
    text.push_str("\nLong options may be shortened as long as they stay unambiguous. Other process-wide settings live\nunder the key \"global\" of the configuration file; a flag wins over the file.\n");
    text
}

fn usage_line(text: &mut String, flag: &Flag) {
    let short = flag.short.map_or(String::from("    "), |letter| format!("-{letter}, "));
    let argument = flag.argument.map_or(String::new(), |name| format!("={name}"));
    let default = if flag.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", flag.default)
    };
    let head = format!("{short}--{}{argument}", flag.long);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {head:<27} {}{default}", flag.doc);
}

/// What `-D` prints after the version block. COMPAT: layout and order of twemproxy 0.5.
pub fn describe_stats() -> String {
    let mut text = String::from("pool stats:\n");
    metric_lines(&mut text, &catalogue::POOL);
    text.push_str("\nserver stats:\n");
    metric_lines(&mut text, &catalogue::SERVER);
    text
}

fn metric_lines<C>(text: &mut String, metrics: &[Metric<C>]) {
    for metric in metrics {
        let _ = writeln!(text, "  {:<20}\"{}\"", metric.name, metric.doc);
    }
}
