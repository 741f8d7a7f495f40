//! What the figures are held against: a list of aims, each with what was measured and whether it was reached.

use std::fmt::Write as _;

use super::cases::{Case, by_redis_benchmark};
use super::extremes::BACK_KIB;
use super::machine::Cores;
use super::samples::{Metric, Sample, Samples};

const OURS: &str = "ours";
const TWO: &str = "ours, 2 workers";
const TWEMPROXY: &str = "twemproxy 0.5";
const DIRECT: &str = "no proxy";
/// What peers are to be called for aims to be held against them.
const PREDIXY: &str = "predixy";
const MEMCACHED_PROXY: &str = "memcached-proxy";

/// CPU time per request as a share of another's, at most; by either load where a case is measured with both.
const CPU: [(&str, &[(&str, f64)]); 3] = [
    (
        TWEMPROXY,
        &[
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
        ],
    ),
    (
        PREDIXY,
        &[
            ("get-32-c50-p1", 0.50),
            ("get-32-c500-p1", 0.60),
            ("window-off-c50", 0.95),
            ("window-off-c500", 0.95),
            ("half-load", 0.85),
            ("get-32-c50-p16", 0.45),
            ("get-32-c50-p64", 0.30),
            ("set-4KiB-c50", 0.52),
            ("mget-10-s3", 0.40),
            ("mget-100-s3", 0.18),
            ("get-64KiB-c20", 0.60),
            ("set-64KiB-c20", 0.60),
        ],
    ),
    (MEMCACHED_PROXY, &[("memcached-get-c50-p1", 0.55), ("memcached-get-c50-p16", 0.40)]),
];
/// Latencies at half load as a share of another's, at most 1.
const LATENCY: [(&str, Metric); 2] = [("p50", Metric::P50), ("p99", Metric::P99)];
/// CPU time per request of two workers as a share of one's, at most; their throughput where each has a core, at least.
const TWO_WORKERS: f64 = 1.05;
const TWICE: f64 = 1.9;
/// A worker that is busier than this decides the throughput.
const BUSY: f64 = 0.9;
/// Latency of clients of two servers while the third hangs, as a share of what it is when that one answers, at most.
const WHILE_ONE_HANGS: f64 = 1.10;
/// Where memory is measured of very many connections.
const MANY: &str = "idle-20000";
/// Bytes of memory for each connection, at most: idle, and after a burst; and MiB of the whole process.
const IDLE_BYTES: f64 = 256.0;
const USED_BYTES: f64 = 1024.0;
const ALL_MIB: f64 = 25.0;
/// MiB that a huge value takes beside what all else does, and ms by which it delays others, at most.
const HUGE_MIB: f64 = 32.0;
const HUGE_MS: f64 = 5.0;
/// Below this a difference is noise.
const NOISE: f64 = 0.10;

/// How what was measured relates to the aim.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The rows of the table.
struct Rows<'a> {
    samples: &'a Samples,
    out: String,
}

impl Rows<'_> {
    /// A row, if the case was measured or ours failed in it.
    fn add(&mut self, case: &str, what: &str, bound: Bound, found: Option<f64>) {
        let (goal, is_least) = match bound {
            Bound::AtMost(goal) => (goal, false),
            Bound::AtLeast(goal) => (goal, true),
        };
        let digits = if goal < 10.0 { 2 } else { 0 };
        let least = if is_least { "at least " } else { "" };
        let goal_text = format!("{least}{goal:.digits$}");
        let line = if self.samples.failures(case, OURS).is_some() {
            format!("| {what} | {goal_text} | | failed |")
        } else if let Some(found) = found {
            let is_reached = if is_least { found >= goal } else { found <= goal };
            let verdict = if is_reached { "reached" } else { "missed" };
            format!("| {what} | {goal_text} | {found:.digits$} | {verdict} |")
        } else {
            return;
        };
        self.out.push_str(&line);
        self.out.push('\n');
    }

    fn at_most(&mut self, case: &str, what: &str, goal: f64, found: Option<f64>) {
        self.add(case, what, Bound::AtMost(goal), found);
    }

    fn cpu(&mut self, cases: &[Case]) {
        for (other, list) in CPU {
            for (name, most) in list {
                let also = by_redis_benchmark(name);
                for name in [*name, also.as_str()] {
                    let case = cases.iter().find(|case| case.name == name);
                    let title = case.map_or(name, |case| &case.title);
                    let found = self.samples.ratio(name, OURS, other, Metric::Cpu);
                    // That a peer did not run is no failure of ours.
                    if found.is_some() || other == TWEMPROXY {
                        let what = format!("CPU per request, {other} = 1: {title}");
                        self.at_most(name, &what, *most, found);
                    }
                }
            }
        }
    }

    fn latency(&mut self) {
        for other in [TWEMPROXY, PREDIXY] {
            for (name, metric) in LATENCY {
                let found = self.samples.ratio("half-load", OURS, other, metric);
                if found.is_some() {
                    self.at_most(
                        "half-load",
                        &format!("{name} at half load, {other} = 1"),
                        1.0,
                        found,
                    );
                }
            }
        }
        let (hangs, answers) = ("two-of-three-third-hangs", "two-of-three");
        let found = self.samples.within_rounds((hangs, OURS), (answers, OURS), |of, to| {
            Some(of.value(Metric::P999)? / to.value(Metric::P999)?)
        });
        let what = "p99.9 of clients of two servers while the third hangs, undisturbed = 1";
        self.at_most(hangs, what, WHILE_ONE_HANGS, found);
    }

    fn workers(&mut self, cores: usize) {
        for case in ["workers-p1", "workers-p16"] {
            let found = self.samples.ratio(case, TWO, OURS, Metric::Cpu);
            let what = format!("CPU per request with two workers, one worker = 1 ({case})");
            self.at_most(case, &what, TWO_WORKERS, found);
            let busy = |subject| self.samples.median(case, subject, Metric::ProxyBusy);
            let is_bound = [OURS, TWO].into_iter().all(|of| busy(of).is_some_and(|b| b > BUSY));
            let all: Vec<usize> = (0..cores).collect();
            if is_bound && Cores::divide(&all, 2).proxy.len() == 2 {
                let found = self.samples.ratio(case, TWO, OURS, Metric::Throughput);
                let what = format!("throughput of two workers, one worker = 1 ({case})");
                self.add(case, &what, Bound::AtLeast(TWICE), found);
            }
        }
    }

    fn memory(&mut self, cases: &[Case]) {
        if let Some(case) = cases.iter().find(|case| case.name == MANY) {
            let of = |metric| self.samples.median(&case.name, OURS, metric);
            let (idle, used) = (of(Metric::IdleConnection), of(Metric::UsedConnection));
            let all = of(Metric::ResidentPeak).map(|kib| kib / 1024.0);
            let (name, title) = (&case.name, &case.title);
            self.at_most(name, &format!("bytes for each of {title}"), IDLE_BYTES, idle);
            self.at_most(name, "bytes for each after a burst", USED_BYTES, used);
            self.at_most(name, "MiB of the whole process with them, at the peak", ALL_MIB, all);
        }
        let case = "slow-readers";
        let mib = |metric| self.beyond(case, metric, Metric::ResidentAtStart, 1024.0);
        let buffered = mib(Metric::ResidentPeak).unwrap_or_default();
        let what = format!("MiB above the start 10 s after a burst of {buffered:.0} MiB buffered");
        self.at_most(case, &what, BACK_KIB / 1024.0, mib(Metric::ResidentSettled));
    }

    fn huge(&mut self) {
        for (case, verb) in [("huge-get", "GET"), ("huge-set", "SET")] {
            let extra = self.beyond(case, Metric::ResidentPeak, Metric::ResidentAtStart, 1024.0);
            self.at_most(case, &format!("MiB of memory for a {verb} of 512 MiB"), HUGE_MIB, extra);
            for (name, metric, calm) in [
                ("p99.9", Metric::P999, Metric::CalmP999),
                ("maximum", Metric::Max, Metric::CalmMax),
            ] {
                // What happens without a proxy too is the machine's.
                let delay = |ours: &Sample, direct: &Sample| {
                    let without = ours.value(calm)?.max(direct.value(metric)?);
                    Some((ours.value(metric)? - without).max(0.0) / 1000.0)
                };
                let found = self.samples.within_rounds((case, OURS), (case, DIRECT), delay);
                let what = format!(
                    "ms by which a {verb} of 512 MiB delays the {name} of other clients, beyond what it does without a \
                     proxy"
                );
                self.at_most(case, &what, HUGE_MS, found);
            }
        }
    }

    /// By how much one figure of ours is beyond another of the same measurement, in units of `unit`.
    fn beyond(&self, case: &str, metric: Metric, from: Metric, unit: f64) -> Option<f64> {
        let rise = |sample: &Sample, _: &Sample| {
            Some((sample.value(metric)? - sample.value(from)?).max(0.0) / unit)
        };
        self.samples.within_rounds((case, OURS), (case, OURS), rise)
    }
}

/// The list as a table for a machine with so many cores, and under it the cases in which ours is worse than twemproxy.
/// Only what was measured is in it.
pub(crate) fn table(cases: &[Case], samples: &Samples, cores: usize) -> String {
    let out = String::from("| aim | at most | measured | |\n|---|---:|---:|---|\n");
    let mut rows = Rows { samples, out };
    rows.cpu(cases);
    rows.latency();
    rows.workers(cores);
    rows.memory(cases);
    rows.huge();
    rows.out + &worse(cases, samples)
}

/// The cases in which throughput or p99 is worse than twemproxy's by more than noise.
fn worse(cases: &[Case], samples: &Samples) -> String {
    let mut faults = String::new();
    for case in cases {
        let ratio = |metric| samples.ratio(&case.name, OURS, TWEMPROXY, metric);
        if let Some(ratio) = ratio(Metric::Throughput).filter(|ratio| *ratio < 1.0 - NOISE) {
            let _ = writeln!(faults, "- {}: throughput {ratio:.2} of twemproxy's", case.title);
        }
        if let Some(ratio) = ratio(Metric::P99).filter(|ratio| *ratio > 1.0 + NOISE) {
            let _ = writeln!(faults, "- {}: p99 {ratio:.2} times twemproxy's", case.title);
        }
    }
    let head = "\nThroughput and p99 are not worse than twemproxy's";
    if faults.is_empty() {
        format!("{head} in any case measured.\n")
    } else {
        format!("{head}, with less than 10 % taken as noise, but for:\n\n{faults}")
    }
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::bench::cases;
    use crate::bench::samples::{Metric, Sample, Samples};
    use crate::started::Folder;

    /// Case, subject, figures; without figures it failed.
    type Row<'a> = (&'a str, &'a str, &'a [(Metric, f64)]);

    /// The table of these figures on a machine with so many cores.
    fn aims(cores: usize, samples: &[Row<'_>]) -> String {
        let folder = Folder::create().expect("a folder");
        let mut all = Samples::open(&folder.path().join("s.csv"), "").expect("a file");
        for (case, subject, values) in samples {
            let mut sample = Sample::new(case, subject, 0);
            values.iter().for_each(|(metric, value)| sample.set(*metric, *value));
            if values.is_empty() {
                sample.fail("it ended");
            }
            all.add(sample).expect("written");
        }
        table(&cases::all(cores), &all, cores)
    }

    fn has(table: &str, row: &str) {
        assert!(table.lines().any(|line| line.contains(row)), "no {row:?} in\n{table}");
    }

    #[test]
    fn an_aim_against_a_peer_is_there_when_the_peer_is() {
        let found = aims(
            2,
            &[
                ("get-32-c50-p1", "ours", &[(Metric::Cpu, 5.0)]),
                ("get-32-c50-p1", "predixy", &[(Metric::Cpu, 8.0)]),
            ],
        );
        has(&found, "predixy = 1: GET 32 B, 50 connections, pipeline 1 | 0.50 | 0.62 | missed |");
        assert!(!found.contains("twemproxy 0.5 = 1") && !found.contains("memcached"), "{found}");
    }

    #[test]
    fn what_ours_cannot_do_is_a_failed_aim() {
        let found = aims(2, &[("slow-readers", "ours", &[]), ("huge-get", "twemproxy 0.5", &[])]);
        has(&found, "| 32 | | failed |");
        assert!(!found.contains("512 MiB"), "what a peer cannot do is not ours: {found}");
    }

    #[test]
    fn memory_and_delay_are_measured_from_what_they_were_before() {
        let found = aims(
            2,
            &[
                (
                    "slow-readers",
                    "ours",
                    &[
                        (Metric::ResidentAtStart, 4.0 * 1024.0),
                        (Metric::ResidentPeak, 1104.0 * 1024.0),
                        (Metric::ResidentSettled, 44.0 * 1024.0),
                    ],
                ),
                ("huge-set", "ours", &[(Metric::CalmMax, 1_000.0), (Metric::Max, 6_900.0)]),
                ("huge-set", "no proxy", &[(Metric::Max, 2_000.0)]),
            ],
        );
        has(&found, "burst of 1100 MiB buffered | 32 | 40 | missed |");
        has(
            &found,
            "delays the maximum of other clients, beyond what it does without a proxy | 5.00 | 4.90 | reached |",
        );
    }

    #[test]
    fn two_workers_are_twice_as_fast_only_where_each_has_a_core() {
        let busy = |throughput| [(Metric::ProxyBusy, 0.99), (Metric::Throughput, throughput)];
        let rows: [Row<'_>; 2] = [
            ("workers-p16", "ours", &busy(100.0)),
            ("workers-p16", "ours, 2 workers", &busy(195.0)),
        ];
        has(&aims(4, &rows), "one worker = 1 (workers-p16) | at least 1.90 | 1.95 | reached |");
        assert!(!aims(2, &rows).contains("at least"));
    }

    #[test]
    fn a_tail_is_compared_within_its_round() {
        let found = aims(
            2,
            &[
                ("two-of-three", "ours", &[(Metric::P999, 1_000.0)]),
                ("two-of-three-third-hangs", "ours", &[(Metric::P999, 1_080.0)]),
            ],
        );
        has(&found, "while the third hangs, undisturbed = 1 | 1.10 | 1.08 | reached |");
    }
}
