//! What the figures are held against: a list of aims, each with what was measured and whether it was reached.

use std::fmt::Write as _;

use super::cases::{Case, Course};
use super::samples::{Metric, Samples};

const OURS: &str = "ours";
const TWEMPROXY: &str = "twemproxy 0.5";

/// CPU time per request as a share of twemproxy's, at most.
const CPU: [(&str, f64); 16] = [
    ("get-32-c50-p1", 0.50),
    ("get-32-c500-p1", 0.50),
    ("window-off-c50", 0.90),
    ("window-off-c500", 0.90),
    ("half-load", 0.75),
    ("get-32-c50-p16", 0.25),
    ("get-32-c50-p64", 0.08),
    ("set-4KiB-c50", 0.50),
    ("mget-10-s3", 0.45),
    ("mget-100-s3", 0.33),
    ("get-64KiB-c20", 0.65),
    ("set-64KiB-c20", 0.65),
    ("memcached-get-c50-p1", 0.50),
    ("memcached-get-c50-p16", 0.25),
    ("memcached-get-100-keys", 0.33),
    ("churn", 1.00),
];
/// Latencies at half load as a share of twemproxy's, at most.
const LATENCY: [(&str, Metric); 2] = [("p50", Metric::P50), ("p99", Metric::P99)];
/// CPU time per request of two workers as a share of one's, at most.
const TWO_WORKERS: f64 = 1.05;
/// Latency of clients of two servers while the third hangs, as a share of what it is when that one answers, at most.
const WHILE_ONE_HANGS: f64 = 1.10;
/// Bytes of memory for each connection, at most: idle, and after a burst.
const IDLE_BYTES: f64 = 256.0;
const USED_BYTES: f64 = 1024.0;
/// Below this a difference is noise.
const NOISE: f64 = 0.10;

/// The list as a table, and under it the cases in which ours is worse than twemproxy. Only what was measured is in it.
pub(crate) fn table(cases: &[Case], samples: &Samples) -> String {
    let mut out = String::from("| aim | at most | measured | |\n|---|---:|---:|---|\n");
    let mut row = |what: &str, most: f64, found: Option<f64>| {
        if let Some(found) = found {
            let verdict = if found <= most { "reached" } else { "missed" };
            let digits = if most < 10.0 { 2 } else { 0 };
            let _ = writeln!(out, "| {what} | {most:.digits$} | {found:.digits$} | {verdict} |");
        }
    };
    for (name, most) in CPU {
        let title = cases.iter().find(|case| case.name == name).map_or(name, |case| &case.title);
        let found = samples.ratio(name, OURS, TWEMPROXY, Metric::Cpu);
        row(&format!("CPU per request, twemproxy 0.5 = 1: {title}"), most, found);
    }
    for (name, metric) in LATENCY {
        let found = samples.ratio("half-load", OURS, TWEMPROXY, metric);
        row(&format!("{name} at half load, twemproxy 0.5 = 1"), 1.0, found);
    }
    for case in ["workers-p1", "workers-p16"] {
        let found = samples.ratio(case, "ours, 2 workers", OURS, Metric::Cpu);
        row(
            &format!("CPU per request with two workers, one worker = 1 ({case})"),
            TWO_WORKERS,
            found,
        );
    }
    let p999 = |case| samples.median(case, OURS, Metric::P999);
    let hanging = p999("two-of-three-third-hangs").zip(p999("two-of-three"));
    row(
        "p99.9 of clients of two servers while the third hangs, undisturbed = 1",
        WHILE_ONE_HANGS,
        hanging.map(|(hangs, answers)| hangs / answers),
    );
    if let Some(case) = cases.iter().rev().find(|case| case.course == Course::Idle) {
        let bytes = |metric| samples.median(&case.name, OURS, metric);
        row(
            &format!("bytes for each of {}", case.title),
            IDLE_BYTES,
            bytes(Metric::IdleConnection),
        );
        row("bytes for each after a burst", USED_BYTES, bytes(Metric::UsedConnection));
    }
    out + &worse(cases, samples)
}

/// The cases in which throughput or p99 is worse than twemproxy's by more than noise.
fn worse(cases: &[Case], samples: &Samples) -> String {
    let mut faults = Vec::new();
    for case in cases {
        let ratio = |metric| samples.ratio(&case.name, OURS, TWEMPROXY, metric);
        if let Some(ratio) = ratio(Metric::Throughput).filter(|ratio| *ratio < 1.0 - NOISE) {
            faults.push(format!("- {}: throughput {ratio:.2} of twemproxy's", case.title));
        }
        if let Some(ratio) = ratio(Metric::P99).filter(|ratio| *ratio > 1.0 + NOISE) {
            faults.push(format!("- {}: p99 {ratio:.2} times twemproxy's", case.title));
        }
    }
    let head = "\nThroughput and p99 are not worse than twemproxy's";
    if faults.is_empty() {
        format!("{head} in any case measured.\n")
    } else {
        format!("{head}, with less than 10 % taken as noise, but for:\n\n{}\n", faults.join("\n"))
    }
}
