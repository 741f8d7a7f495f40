//! Which charts are drawn of the samples.

use super::cases::{Case, Course};
use super::samples::{Metric, Sample, Samples};
use super::svg::{Bars, Lines, Scale, Series, number};

/// A file and what it shows.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// Every chart that the samples have something for.
pub(crate) fn all(cases: &[Case], samples: &Samples) -> Vec<Plot> {
    [throughput(cases, samples), cpu(cases, samples), latency(cases, samples)]
        .into_iter()
        .chain([memory(cases, samples), workers(cases, samples)])
        .chain([clients(cases, samples), keys(cases, samples), servers(cases, samples)])
        .flatten()
        .collect()
}

/// Cases in the order of the table, those that were measured.
fn chosen<'a>(
    cases: &'a [Case],
    samples: &'a Samples,
    wants: impl Fn(&Case) -> bool + 'a,
) -> Vec<&'a Case> {
    let is_there = |case: &&Case| samples.all.iter().any(|sample| sample.case == case.name);
    cases.iter().filter(move |case| wants(case)).filter(is_there).collect()
}

/// The subjects of these cases, in the order of the cases; peers are in no list of cases, but in the samples.
fn names(cases: &[&Case], samples: &Samples) -> Vec<String> {
    let of_cases = cases.iter().flat_map(|case| case.subjects.iter().map(ToString::to_string));
    let is_in = |sample: &&Sample| cases.iter().any(|case| case.name == sample.case);
    let measured = samples.all.iter().filter(is_in).map(|sample| sample.subject.clone());
    let mut names: Vec<String> = Vec::new();
    for name in of_cases.chain(measured) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// One series for each subject: the medians of a metric, case by case.
fn series(cases: &[&Case], samples: &Samples, metric: Metric) -> Vec<Series> {
    let values = |name: &str| {
        cases.iter().map(|case| samples.median(&case.name, name, metric)).collect::<Vec<_>>()
    };
    names(cases, samples)
        .into_iter()
        .map(|name| Series { values: values(&name), name })
        .filter(|series| series.values.iter().any(Option::is_some))
        .collect()
}

fn lines(file: &'static str, lines: Lines) -> Option<Plot> {
    let has_values = !lines.series.is_empty();
    has_values.then(|| Plot { file, svg: lines.draw(), title: lines.title })
}

fn throughput(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let cases = chosen(cases, samples, |case| case.name.starts_with("get-32-c50-p"));
    lines(
        "throughput.svg",
        Lines {
            title: "Throughput over the depth of the pipeline (GET 32 B, 50 connections)".into(),
            x_title: "pipeline",
            y_title: "requests per second",
            steps: cases.iter().map(|case| case.depth().to_string()).collect(),
            series: series(&cases, samples, Metric::Throughput),
            scale: Scale::Linear,
        },
    )
}

/// As multiples of twemproxy's, so that large and small costs share an axis.
fn cpu(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let cases = chosen(cases, samples, |case| {
        let is_usual = case.connections == 50 || case.dataset.value_bytes > 32;
        is_usual
            && !case.tells_first_reply()
            && matches!(
                case.course,
                Course::Saturated { .. } | Course::RedisBenchmark { .. } | Course::HalfLoad
            )
    });
    let all = series(&cases, samples, Metric::Cpu);
    let theirs = all.iter().find(|series| series.name == "twemproxy 0.5")?.values.clone();
    let pair = |name: &str| all.iter().find(|series| series.name == name);
    let both: Vec<&Series> = ["ours", "twemproxy 0.5"].into_iter().filter_map(pair).collect();
    let relative = |series: &&Series| Series {
        name: series.name.clone(),
        values: series.values.iter().zip(&theirs).map(|(a, b)| Some((*a)? / (*b)?)).collect(),
    };
    let label = |value: &Option<f64>| {
        value.map_or_else(String::new, |value| format!("{} µs", number(value)))
    };
    let bars = Bars {
        title: "CPU per request, relative to twemproxy 0.5".into(),
        x_title: "relative CPU time, with microseconds per request beside it",
        rows: cases.iter().map(|case| case.name.clone()).collect(),
        labels: both.iter().map(|series| series.values.iter().map(label).collect()).collect(),
        series: both.iter().map(relative).collect(),
    };
    Some(Plot { file: "cpu.svg", svg: bars.draw(), title: bars.title })
}

fn latency(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let case = *chosen(cases, samples, |case| case.course == Course::HalfLoad).first()?;
    let percentiles = [("p50", Metric::P50), ("p99", Metric::P99), ("p99.9", Metric::P999)];
    let of = |name: &str| percentiles.map(|(_, metric)| samples.median(&case.name, name, metric));
    let subjects = names(&[case], samples).into_iter();
    lines(
        "latency.svg",
        Lines {
            title: format!("Latency: {}", case.title),
            x_title: "percentile",
            y_title: "µs",
            steps: percentiles.map(|(name, _)| name.to_owned()).to_vec(),
            series: subjects.map(|name| Series { values: of(&name).to_vec(), name }).collect(),
            scale: Scale::Logarithmic,
        },
    )
}

fn memory(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let cases = chosen(cases, samples, |case| case.course == Course::Idle);
    let mut series = series(&cases, samples, Metric::ResidentPeak);
    for value in series.iter_mut().flat_map(|series| series.values.iter_mut().flatten()) {
        *value /= 1024.0;
    }
    lines(
        "memory.svg",
        Lines {
            title: "Peak of resident memory over connections, after a burst of each".into(),
            x_title: "connections",
            y_title: "MiB",
            steps: cases.iter().map(|case| case.connections.to_string()).collect(),
            series,
            scale: Scale::Logarithmic,
        },
    )
}

fn workers(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let cases = chosen(cases, samples, |case| case.name.starts_with("workers-"));
    let subjects = cases.first()?.subjects.clone();
    let of = |case: &Case| Series {
        name: format!("pipeline {}", case.depth()),
        values: subjects
            .iter()
            .map(|subject| samples.median(&case.name, &subject.to_string(), Metric::Throughput))
            .collect(),
    };
    lines(
        "workers.svg",
        Lines {
            title: "Throughput over workers (GET 32 B, 500 connections)".into(),
            x_title: "workers",
            y_title: "requests per second",
            steps: subjects.iter().map(|subject| subject.workers().to_string()).collect(),
            series: cases.iter().map(|case| of(case)).collect(),
            scale: Scale::Linear,
        },
    )
}

/// The cases of these names, those that were measured.
fn named<'a>(cases: &'a [Case], samples: &'a Samples, names: &[&'static str]) -> Vec<&'a Case> {
    let of = |name: &'static str| chosen(cases, samples, move |case| case.name == name);
    names.iter().copied().flat_map(of).collect()
}

fn clients(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let names = ["get-32-c1-p1", "get-32-c50-p1", "get-32-c500-p1", "get-32-c5000-p1"];
    let cases = named(cases, samples, &names);
    lines(
        "clients.svg",
        Lines {
            title: "CPU per request over clients (GET 32 B, pipeline 1)".into(),
            x_title: "clients",
            y_title: "µs",
            steps: cases.iter().map(|case| case.connections.to_string()).collect(),
            series: series(&cases, samples, Metric::Cpu),
            scale: Scale::Linear,
        },
    )
}

fn keys(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let cases = named(cases, samples, &["mget-1-s3", "mget-10-s3", "mget-100-s3", "mget-1000-s3"]);
    let mut series = series(&cases, samples, Metric::Cpu);
    for series in &mut series {
        for (value, case) in series.values.iter_mut().zip(&cases) {
            *value = value.map(|cpu| cpu / case.operation.keys() as f64);
        }
    }
    lines(
        "keys.svg",
        Lines {
            title: "CPU per key over keys per command (MGET, 3 servers)".into(),
            x_title: "keys per command",
            y_title: "µs",
            steps: cases.iter().map(|case| case.operation.keys().to_string()).collect(),
            series,
            scale: Scale::Logarithmic,
        },
    )
}

fn servers(cases: &[Case], samples: &Samples) -> Option<Plot> {
    let names = ["servers-1", "servers-10", "servers-100", "servers-1000"];
    let cases = named(cases, samples, &names);
    lines(
        "servers.svg",
        Lines {
            title: "CPU per request over servers in a pool (GET 32 B, 50 connections)".into(),
            x_title: "servers",
            y_title: "µs",
            steps: cases.iter().map(|case| case.entries.to_string()).collect(),
            series: series(&cases, samples, Metric::Cpu),
            scale: Scale::Linear,
        },
    )
}
