//! From samples to what people read: Markdown tables, the CSV file, the plots, and the part of `docs/performance.md` that
//! is made of figures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cases::{Case, Course};
use super::samples::{Metric, Samples};
use super::tables::{BOUND, FAILED, Tables};
use super::{capacity, goals, plots};

/// The document whose figures are replaced, between two lines that stay.
const STORY: &str = "docs/performance.md";
const BEGIN: &str = "<!-- made by cargo xtask bench: ";
const END: &str = "<!-- end of ";
/// What is between such lines.
const FIGURES: &str = "figures";
const CAPACITY: &str = "capacity";

/// Where and how it was measured.
pub(crate) struct Conditions {
    /// In sentences.
    pub(crate) text: String,
    /// How many the machine has.
    pub(crate) cores: usize,
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
    let text =
        results(conditions, cases, samples) + "\n## Capacity\n\n" + &capacity::tables(samples);
    fs::write(folder.join("results.md"), text)?;
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
    let parts =
        [(FIGURES, figures(conditions, cases, samples)), (CAPACITY, capacity::tables(samples))];
    let text = parts.into_iter().try_fold(text, |text, (name, part)| {
        replaced(&text, name, &part).with_context(|| format!("{STORY} has no place for {name}"))
    })?;
    Ok(fs::write(STORY, text)?)
}

/// The text with another part between the lines that name it.
fn replaced(text: &str, name: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("{BEGIN}{name} -->\n"), format!("{END}{name} -->\n"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some([before, &begin, part, &end, after].concat())
}

fn figures(conditions: &Conditions, cases: &[Case], samples: &Samples) -> String {
    let mut out =
        format!("{}\n\n{}\n", conditions.text, goals::table(cases, samples, conditions.cores));
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
         the load decided: its cores were full while the proxy's was not, and the proxy could do more. {FAILED} marks \
         what did not do all of its case.\n\n## Aims\n\n{}",
        conditions.text,
        goals::table(cases, samples, conditions.cores)
    );
    let tables = Tables::new(cases, samples);
    out += &load_tables(&tables);
    out += &memory_tables(&tables);
    out += &tables.failures();
    out
}

fn load_tables(tables: &Tables<'_>) -> String {
    let cpu = |case: &Case, name: &str| tables.figure(case, name, Metric::Cpu, 2);
    let mut out = tables.table("CPU time per request, µs", Some(Metric::Cpu), cpu);
    let percent = |case: &Case, name: &str, metric| {
        Some(format!("{:.0} %", tables.share(case, name, metric, 0.01)?))
    };
    out +=
        &tables.table("User time in it", None, |case, name| percent(case, name, Metric::UserShare));
    out += &tables.table("Requests per second", Some(Metric::Throughput), |case, name| {
        let figure = tables.figure(case, name, Metric::Throughput, 0)?;
        Some(if tables.is_bound(case, name) { figure + BOUND } else { figure })
    });
    let busy = "How busy: the proxy's cores / those of servers and load / the load alone";
    out += &tables.table(busy, None, |case, name| {
        let of = |metric| percent(case, name, metric);
        let proxy = of(Metric::ProxyBusy).unwrap_or_else(|| "–".into());
        Some(format!("{proxy} / {} / {}", of(Metric::OthersBusy)?, of(Metric::LoadBusy)?))
    });
    let latency = "Latency, µs: p50 / p99 / p99.9 / maximum";
    out += &tables.table(latency, Some(Metric::P99), |case, name| {
        let of = |metric| tables.figure(case, name, metric, 0);
        let (p50, p99, p999) = (of(Metric::P50)?, of(Metric::P99)?, of(Metric::P999)?);
        Some(format!("{p50} / {p99} / {p999} / {}", of(Metric::Max)?))
    });
    let calm = "The same before the huge value, and how long that took";
    out += &tables.table(calm, None, |case, name| {
        let of = |metric| tables.figure(case, name, metric, 0);
        let (p50, p99, p999) = (of(Metric::CalmP50)?, of(Metric::CalmP99)?, of(Metric::CalmP999)?);
        let took = tables.figure(case, name, Metric::Transfer, 2);
        let took = took.map_or_else(String::new, |took| format!("; {took} s"));
        Some(format!("{p50} / {p99} / {p999} / {}{took}", of(Metric::CalmMax)?))
    });
    let first = "From the start of the process to the first reply, ms";
    out += &tables.table(first, Some(Metric::FirstReply), |case, name| {
        tables.figure(case, name, Metric::FirstReply, 0)
    });
    out
}

fn memory_tables(tables: &Tables<'_>) -> String {
    let title = "Resident memory, MiB: at the start / at the peak / when all connections are gone";
    let mut out = tables.table(title, Some(Metric::ResidentPeak), |case, name| {
        let of = |metric| tables.share(case, name, metric, 1024.0);
        let (start, peak) = (of(Metric::ResidentAtStart)?, of(Metric::ResidentPeak)?);
        Some(format!("{start:.1} / {peak:.1} / {:.1}", of(Metric::ResidentSettled)?))
    });
    let back = "Until memory is back at the start and 32 MiB, s";
    out += &tables.table(back, None, |case, name| {
        let is_that = case.course == Course::SlowReaders;
        let has_run = is_that && tables.share(case, name, Metric::ResidentSettled, 1.0).is_some();
        let found = tables.figure(case, name, Metric::Return, 1);
        has_run.then(|| found.unwrap_or_else(|| "over 10".into()))
    });
    out += &tables.table("Bytes for each connection: idle / after a burst", None, |case, name| {
        let of = |metric| tables.figure(case, name, metric, 0);
        let (idle, used) = (of(Metric::IdleConnection)?, of(Metric::UsedConnection)?);
        Some(format!("{idle} / {used} ({} open)", of(Metric::Connections)?))
    });
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

#[cfg(test)]
mod tests {
    use super::{BEGIN, CAPACITY, Conditions, END, FIGURES, replaced, results};
    use crate::bench::cases;
    use crate::bench::samples::{Metric, Sample, Samples};
    use crate::started::Folder;

    #[test]
    fn figures_are_replaced_and_the_story_stays() {
        let text = |figures| {
            format!(
                "before\n{BEGIN}{FIGURES} -->\n{figures}{END}{FIGURES} -->\nbetween\n\
                 {BEGIN}{CAPACITY} -->\nold\n{END}{CAPACITY} -->\nafter\n"
            )
        };
        assert_eq!(replaced(&text("old\n"), FIGURES, "new\n"), Some(text("new\n")));
        assert_eq!(replaced("no place", FIGURES, "new\n"), None);
    }

    #[test]
    fn the_document_has_a_place_for_every_part() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
        let text = std::fs::read_to_string(path).expect("the document");
        for part in [FIGURES, CAPACITY] {
            assert!(replaced(&text, part, "").is_some(), "{part}");
        }
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
        let conditions = Conditions { text: "Here.".into(), cores: 2 };
        let text = results(&conditions, &cases::all(2), &samples);
        let title = "GET 32 B, 50 connections, pipeline 1";
        assert!(text.contains(&format!("| {title} | 10.00 | 40.00 | 0.25 |")), "{text}");
        assert!(text.contains(&format!("| {title} | 123,456† | 123,456 | 1.00 |")), "{text}");
        assert!(text.contains(&format!("{title} | 0.50 | 0.25 | reached |")), "{text}");
        assert!(!text.contains("MGET"), "cases that were not measured are left out");
    }
}
