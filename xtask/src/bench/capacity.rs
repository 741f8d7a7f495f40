//! What the figures mean for the size of an installation: what a core and a gibibyte carry, and how cost grows with
//! clients, keys, servers and pools, beyond what was measured too.

use std::fmt::Write as _;

use super::samples::{Metric, Samples};
use super::tables::grouped;

const SUBJECTS: [&str; 2] = ["ours", "twemproxy 0.5"];
const GIB: f64 = (1 << 30) as f64;

/// What a core carries: cases, for people, and what one request counts for.
const CORE: [(&str, &str, f64); 9] = [
    ("get-32-c50-p1", "GET 32 B, 50 clients", 1.0),
    ("get-32-c500-p1", "GET 32 B, 500 clients", 1.0),
    ("get-32-c50-p16", "GET 32 B, 50 clients, pipeline 16", 1.0),
    ("get-32-c50-p64", "GET 32 B, 50 clients, pipeline 64", 1.0),
    ("set-4KiB-c50", "SET 4 KiB, 50 clients", 1.0),
    ("get-64KiB-c20", "MiB in values of 64 KiB", 1.0 / 16.0),
    ("mget-100-s3", "keys of MGETs of 100", 100.0),
    ("memcached-get-c50-p1", "memcached get 32 B, 50 clients", 1.0),
    ("churn", "connections for one GET each", 1.0),
];
const CLIENTS: [(&str, f64); 4] = [
    ("get-32-c1-p1", 1.0),
    ("get-32-c50-p1", 50.0),
    ("get-32-c500-p1", 500.0),
    ("get-32-c5000-p1", 5000.0),
];
const KEYS: [(&str, f64); 4] =
    [("mget-1-s3", 1.0), ("mget-10-s3", 10.0), ("mget-100-s3", 100.0), ("mget-1000-s3", 1000.0)];
const SERVERS: [(&str, f64); 4] =
    [("servers-1", 1.0), ("servers-10", 10.0), ("servers-100", 100.0), ("servers-1000", 1000.0)];
const POOLS: [(&str, f64); 4] =
    [("pools-1", 1.0), ("pools-10", 10.0), ("pools-50", 50.0), ("pools-200", 200.0)];
/// Up to where is projected.
const SERVERS_BEYOND: f64 = 10_000.0;
const POOLS_BEYOND: f64 = 1_000.0;

/// All tables, of what was measured.
pub(crate) fn tables(samples: &Samples) -> String {
    let mut out = core(samples) + &connections(samples);
    let cpu = |samples: &Samples, case: &str, subject: &str, _: f64| {
        samples.median(case, subject, Metric::Cpu)
    };
    let title = "CPU per request over clients (GET 32 B, pipeline 1), µs";
    out += &growth(samples, title, "clients", &CLIENTS, None, cpu);
    let title = "CPU per command over keys in it (MGET over 3 servers), µs";
    out += &growth(samples, title, "keys", &KEYS, None, cpu);
    let per_key = |samples: &Samples, case: &str, subject: &str, keys: f64| {
        Some(samples.median(case, subject, Metric::Cpu)? / keys)
    };
    out += &growth(samples, "The same per key, µs", "keys", &KEYS, None, per_key);
    let mib = |metric: Metric| {
        move |samples: &Samples, case: &str, subject: &str, _: f64| {
            Some(samples.median(case, subject, metric)? / 1024.0)
        }
    };
    let first = |samples: &Samples, case: &str, subject: &str, _: f64| {
        samples.median(case, subject, Metric::FirstReply)
    };
    for (what, list, beyond) in
        [("servers", &SERVERS, SERVERS_BEYOND), ("pools", &POOLS, POOLS_BEYOND)]
    {
        let beyond = Some(beyond);
        out += &growth(samples, &format!("CPU per request over {what}, µs"), what, list, None, cpu);
        let title = format!("Memory over {what} at the start, MiB");
        out += &growth(samples, &title, what, list, beyond, mib(Metric::ResidentAtStart));
        let title = format!("Memory over {what} after the load, MiB");
        out += &growth(samples, &title, what, list, beyond, mib(Metric::ResidentSettled));
        let title = format!("From the start of the process to the first reply over {what}, ms");
        out += &growth(samples, &title, what, list, beyond, first);
    }
    out
}

/// Requests that a core would serve if the proxy had it for itself.
fn core(samples: &Samples) -> String {
    let mut rows = String::new();
    for (case, title, each) in CORE {
        let cells = SUBJECTS.map(|subject| {
            let cpu = samples.median(case, subject, Metric::Cpu);
            cpu.map_or_else(String::new, |cpu| grouped(&rounded(each * 1e6 / cpu)))
        });
        if cells.iter().any(|cell| !cell.is_empty()) {
            let _ = writeln!(rows, "| {title} | {} |", cells.join(" | "));
        }
    }
    headed("Per second on one core that only the proxy uses", "what", &rows)
}

/// Connections that a gibibyte of the process takes.
fn connections(samples: &Samples) -> String {
    let mut rows = String::new();
    let cases = ["idle-20000", "idle-5000", "idle-1000"];
    let measured =
        |case: &&str| samples.median(case, SUBJECTS[0], Metric::IdleConnection).is_some();
    let Some(case) = cases.iter().find(|case| measured(case)) else { return rows };
    for (title, metric) in
        [("idle", Metric::IdleConnection), ("after a burst of 16 requests", Metric::UsedConnection)]
    {
        let cells = SUBJECTS.map(|subject| {
            let bytes = samples.median(case, subject, metric).filter(|bytes| *bytes > 0.0);
            bytes.map_or_else(String::new, |bytes| grouped(&rounded(GIB / bytes)))
        });
        let _ = writeln!(rows, "| {title} | {} |", cells.join(" | "));
    }
    headed("Connections per GiB of the process", "connections", &rows)
}

/// A row for each number, and one for a number beyond them that goes on as the last two did.
fn growth(
    samples: &Samples,
    title: &str,
    what: &str,
    list: &[(&str, f64)],
    beyond: Option<f64>,
    figure: impl Fn(&Samples, &str, &str, f64) -> Option<f64>,
) -> String {
    let mut rows = String::new();
    let show = |value: Option<f64>| value.map_or_else(String::new, |value| grouped(&shown(value)));
    for (case, number) in list {
        let cells = SUBJECTS.map(|subject| figure(samples, case, subject, *number));
        if cells.iter().any(Option::is_some) {
            let number = grouped(&format!("{number:.0}"));
            let _ = writeln!(rows, "| {number} | {} |", cells.map(show).join(" | "));
        }
    }
    if let (Some(beyond), [.., a, b]) = (beyond, list) {
        let cells = SUBJECTS.map(|subject| {
            let at = |(case, number): &(&str, f64)| {
                Some((*number, figure(samples, case, subject, *number)?))
            };
            Some(projected(at(a)?, at(b)?, beyond))
        });
        if cells.iter().any(Option::is_some) {
            let number = grouped(&format!("{beyond:.0}"));
            let _ = writeln!(rows, "| {number}, projected | {} |", cells.map(show).join(" | "));
        }
    }
    headed(title, what, &rows)
}

/// What lies at `x` on the line through two points; no less than at the second.
fn projected(a: (f64, f64), b: (f64, f64), x: f64) -> f64 {
    let slope = ((b.1 - a.1) / (b.0 - a.0)).max(0.0);
    b.1 + slope * (x - b.0)
}

fn headed(title: &str, what: &str, rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{title}:\n\n| {what} | {} |\n|---:|---:|---:|\n{rows}\n", SUBJECTS.join(" | "))
}

/// To two digits: more are not known.
fn rounded(value: f64) -> String {
    let step = 10_f64.powf(value.max(1.0).log10().floor() - 1.0).max(1.0);
    format!("{:.0}", (value / step).round() * step)
}

fn shown(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{projected, rounded, tables};
    use crate::bench::samples::{Metric, Sample, Samples};
    use crate::started::Folder;

    #[test]
    fn what_grows_goes_on_growing_and_noise_does_not_shrink_it() {
        assert!((projected((100.0, 5.0), (1000.0, 14.0), 10_000.0) - 104.0).abs() < 1e-9);
        assert!((projected((50.0, 5.0), (200.0, 4.0), 1000.0) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn figures_for_planning_have_two_digits() {
        assert_eq!([123_456.0, 98.7, 4.0].map(rounded), ["120000", "99", "4"]);
    }

    #[test]
    fn tables_are_of_what_was_measured() {
        let folder = Folder::create().expect("a folder");
        let mut samples = Samples::open(&folder.path().join("s.csv"), "").expect("a file");
        for (case, metric, value) in [
            ("get-32-c50-p1", Metric::Cpu, 8.0),
            ("servers-100", Metric::ResidentAtStart, 5.0 * 1024.0),
            ("servers-1000", Metric::ResidentAtStart, 14.0 * 1024.0),
            ("idle-20000", Metric::IdleConnection, 256.0),
        ] {
            let mut sample = Sample::new(case, "ours", 0);
            sample.set(metric, value);
            samples.add(sample).expect("written");
        }
        let text = tables(&samples);
        for row in [
            "| GET 32 B, 50 clients | 130,000 |  |",
            "| 50 | 8.00 |  |",
            "| 1,000 | 14.0 |  |",
            "| 10,000, projected | 104 |  |",
            "| idle | 4,200,000 |  |",
        ] {
            assert!(text.contains(row), "no {row:?} in\n{text}");
        }
        assert!(!text.contains("pools") && !text.contains("keys"), "{text}");
    }
}
