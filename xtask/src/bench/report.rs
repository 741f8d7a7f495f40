//! From samples to what people read: Markdown tables, the CSV file, the plots, and the part of `docs/performance.md` that
//! is made of figures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cases::{Case, Course};
use super::samples::{Metric, Samples};
use super::{goals, plots};

/// The document whose figures are replaced, between two lines that stay.
const STORY: &str = "docs/performance.md";
const BEGIN: &str = "<!-- figures, made by cargo xtask bench -->\n";
const END: &str = "<!-- end of figures -->\n";
/// What is appended to a figure that the load decided.
const BOUND: &str = "†";

/// Where and how it was measured.
pub(crate) struct Conditions {
    /// In sentences.
    pub(crate) text: String,
}

/// Writes everything into `folder`.
pub(crate) fn write(
    folder: &Path,
    conditions: &Conditions,
    cases: &[Case],
    samples: &Samples,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.csv"), samples.csv())?;
    fs::write(folder.join("results.md"), results(conditions, cases, samples))?;
    for plot in plots::all(cases, samples) {
        fs::write(folder.join(plot.file), plot.svg)?;
    }
    Ok(())
}

/// Replaces the figures of the document.
pub(crate) fn write_story(
    conditions: &Conditions,
    cases: &[Case],
    samples: &Samples,
) -> Result<()> {
    let text = fs::read_to_string(STORY)?;
    let figures = figures(conditions, cases, samples);
    let text = replaced(&text, &figures)
        .with_context(|| format!("{STORY} has no `{}` and `{}`", BEGIN.trim(), END.trim()))?;
    Ok(fs::write(STORY, text)?)
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, figures, END, after].concat())
}

fn figures(conditions: &Conditions, cases: &[Case], samples: &Samples) -> String {
    let mut out = format!("{}\n\n{}\n", conditions.text, goals::table(cases, samples));
    for plot in plots::all(cases, samples) {
        let _ = writeln!(out, "![{}](performance/{})\n", plot.title, plot.file);
    }
    out += "All tables: [performance/results.md](performance/results.md); every single measurement: \
            [performance/results.csv](performance/results.csv).\n";
    out
}

fn results(conditions: &Conditions, cases: &[Case], samples: &Samples) -> String {
    let mut out = format!(
        "# Results\n\nMade by `cargo xtask bench`; [performance.md](../performance.md) says how it is measured and read. \
         {}\n\nFigures are medians over the rounds; ratios are medians of the ratios of each round. {BOUND} marks what \
         the load decided: its cores were full while the proxy's was not, and the proxy could do more.\n\n## Aims\n\n{}",
        conditions.text,
        goals::table(cases, samples)
    );
    let names = subjects(cases, samples);
    let cpu = |case: &Case, name: &str| figure(samples, case, name, Metric::Cpu, 2);
    out += &table("CPU time per request, µs", &names, cases, samples, Some(Metric::Cpu), cpu);
    let share = |case: &Case, name: &str| {
        let share = samples.median(&case.name, name, Metric::UserShare)?;
        Some(format!("{:.0} %", share * 100.0))
    };
    out += &table("User time in it", &names, cases, samples, None, share);
    let throughput = |case: &Case, name: &str| {
        let figure = figure(samples, case, name, Metric::Throughput, 0)?;
        Some(if is_bound(samples, case, name) { figure + BOUND } else { figure })
    };
    let title = "Requests per second";
    out += &table(title, &names, cases, samples, Some(Metric::Throughput), throughput);
    let latency = |case: &Case, name: &str| {
        let of = |metric| figure(samples, case, name, metric, 0);
        let (p50, p99, p999) = (of(Metric::P50)?, of(Metric::P99)?, of(Metric::P999)?);
        Some(format!("{p50} / {p99} / {p999}"))
    };
    out += &table(
        "Latency, µs: p50 / p99 / p99.9",
        &names,
        cases,
        samples,
        Some(Metric::P99),
        latency,
    );
    let mib = |case: &Case, name: &str| {
        let of = |metric| {
            let kib = samples.median(&case.name, name, metric)?;
            Some(format!("{:.1}", kib / 1024.0))
        };
        let start = of(Metric::ResidentAtStart)?;
        Some(format!("{start} / {} / {}", of(Metric::ResidentPeak)?, of(Metric::ResidentSettled)?))
    };
    let title = "Resident memory, MiB: at the start / at the peak / when all connections are gone";
    out += &table(title, &names, cases, samples, Some(Metric::ResidentPeak), mib);
    let connection = |case: &Case, name: &str| {
        let of = |metric| figure(samples, case, name, metric, 0);
        let open = of(Metric::Connections)?;
        Some(format!(
            "{} / {} ({open} open)",
            of(Metric::IdleConnection)?,
            of(Metric::UsedConnection)?
        ))
    };
    out += &table(
        "Bytes for each connection: idle / after a burst",
        &names,
        cases,
        samples,
        None,
        connection,
    );
    out
}

/// Ours beside another build of it, as ratios.
pub(crate) fn beside(build: &str, cases: &[Case], samples: &Samples) -> String {
    let mut out = format!(
        "| ours / {build} | CPU per request | requests/s | p50 | p99 |\n|---|---:|---:|---:|---:|\n"
    );
    for case in cases {
        let ratio = |metric| {
            let ratio = samples.ratio(&case.name, "ours", build, metric);
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        let metrics = [Metric::Cpu, Metric::Throughput, Metric::P50, Metric::P99];
        let _ = writeln!(out, "| {} | {} |", case.title, metrics.map(ratio).join(" | "));
    }
    out
}

/// The names of all subjects, those of the first case first.
fn subjects(cases: &[Case], samples: &Samples) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in cases.iter().flat_map(|case| case.subjects.iter().map(ToString::to_string)) {
        let is_there = samples.all.iter().any(|sample| sample.subject == name);
        if is_there && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A heading and a table with one row for each case that has something to say, with a ratio if that of `ratio` means
/// something.
fn table(
    title: &str,
    names: &[String],
    cases: &[Case],
    samples: &Samples,
    ratio: Option<Metric>,
    cell: impl Fn(&Case, &str) -> Option<String>,
) -> String {
    let rows: Vec<(&Case, Vec<Option<String>>)> = cases
        .iter()
        .map(|case| (case, names.iter().map(|name| cell(case, name)).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    let is_used = |column: &usize| rows.iter().any(|(_, cells)| cells[*column].is_some());
    let columns: Vec<usize> = (0..names.len()).filter(is_used).collect();
    let mut out = format!("\n## {title}\n\n| case |");
    columns.iter().for_each(|column| out.extend([" ", &names[*column], " |"]));
    if ratio.is_some() {
        out.push_str(" ours / twemproxy |");
    }
    out.push_str("\n|---|");
    (0..columns.len() + usize::from(ratio.is_some())).for_each(|_| out.push_str("---:|"));
    out.push('\n');
    for (case, cells) in rows {
        let _ = write!(out, "| {} |", case.title);
        for column in &columns {
            let _ = write!(out, " {} |", cells[*column].as_deref().unwrap_or_default());
        }
        if let Some(metric) = ratio {
            let ratio = samples.ratio(&case.name, "ours", "twemproxy 0.5", metric);
            let _ =
                write!(out, " {} |", ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        }
        out.push('\n');
    }
    out
}

fn figure(
    samples: &Samples,
    case: &Case,
    name: &str,
    metric: Metric,
    digits: usize,
) -> Option<String> {
    let value = samples.median(&case.name, name, metric)?;
    Some(grouped(&format!("{value:.digits$}")))
}

/// A number with a comma before every three digits ahead of the point.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let whole = number.find('.').unwrap_or(number.len());
    let mut out = String::from(sign);
    for (index, c) in number.chars().enumerate() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Whether the load decided the throughput in most rounds. At half load it is meant to.
fn is_bound(samples: &Samples, case: &Case, name: &str) -> bool {
    let (mut bound, mut all) = (0, 0);
    for sample in samples.of(&case.name, name) {
        bound += usize::from(sample.is_bound_by_load());
        all += 1;
    }
    matches!(case.course, Course::Saturated { .. } | Course::Churn) && 2 * bound > all
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, Conditions, END, grouped, replaced, results};
    use crate::bench::cases;
    use crate::bench::samples::{Metric, Sample, Samples};
    use crate::started::Folder;

    #[test]
    fn figures_are_replaced_and_the_story_stays() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = format!("before\n{BEGIN}new\n{END}after\n");
        assert_eq!(replaced(&text, "new\n"), Some(new));
        assert_eq!(replaced("no place", "new\n"), None);
    }

    #[test]
    fn digits_are_grouped() {
        let numbers = ["1", "999", "1000", "1234567.89", "-1234.5"];
        assert_eq!(numbers.map(grouped), ["1", "999", "1,000", "1,234,567.89", "-1,234.5"]);
    }

    #[test]
    fn results_show_medians_ratios_and_who_decided() {
        let folder = Folder::create().expect("a folder");
        let mut samples = Samples::open(&folder.path().join("s.csv"), "").expect("a file");
        for round in 0..3 {
            for (subject, cpu, busy) in [("ours", 5.0, 0.5), ("twemproxy 0.5", 20.0, 0.99)] {
                let mut sample = Sample::new("get-32-c50-p1", subject, round);
                sample.set(Metric::Cpu, cpu * (1.0 + round as f64));
                sample.set(Metric::Throughput, 123_456.0);
                sample.set(Metric::ProxyBusy, busy);
                sample.set(Metric::OthersBusy, 0.99);
                samples.add(sample).expect("written");
            }
        }
        let conditions = Conditions { text: "Here.".into() };
        let text = results(&conditions, &cases::all(2), &samples);
        let title = "GET 32 B, 50 connections, pipeline 1";
        assert!(text.contains(&format!("| {title} | 10.00 | 40.00 | 0.25 |")), "{text}");
        assert!(text.contains(&format!("| {title} | 123,456† | 123,456 | 1.00 |")), "{text}");
        assert!(text.contains(&format!("{title} | 0.50 | 0.25 | reached |")), "{text}");
        assert!(!text.contains("MGET"), "cases that were not measured are left out");
    }
}
