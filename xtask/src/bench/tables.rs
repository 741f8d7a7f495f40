//! Tables in Markdown: one row for each case that has something to say, one column for each subject.

use std::fmt::Write as _;

use super::cases::{Case, Course};
use super::samples::{Metric, Samples};

/// What is appended to a figure that the load decided, and to one of a subject that did not do all of the case.
pub(super) const BOUND: &str = "†";
pub(super) const FAILED: &str = "‡";

/// What tables are made of.
pub(super) struct Tables<'a> {
    pub(super) cases: &'a [Case],
    pub(super) samples: &'a Samples,
    /// The subjects, in the order of their columns.
    names: Vec<String>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(cases: &'a [Case], samples: &'a Samples) -> Tables<'a> {
        let mut names: Vec<String> = Vec::new();
        let of_cases = cases.iter().flat_map(|case| case.subjects.iter().map(ToString::to_string));
        // Peers are in no list of cases but in the samples.
        for name in of_cases.chain(samples.all.iter().map(|sample| sample.subject.clone())) {
            let is_there = samples.all.iter().any(|sample| sample.subject == name);
            if is_there && !names.contains(&name) {
                names.push(name);
            }
        }
        Tables { cases, samples, names }
    }

    /// A heading and a table, with a ratio if that of `ratio` means something.
    pub(super) fn table(
        &self,
        title: &str,
        ratio: Option<Metric>,
        cell: impl Fn(&Case, &str) -> Option<String>,
    ) -> String {
        let rows: Vec<(&Case, Vec<Option<String>>)> = self
            .cases
            .iter()
            .map(|case| (case, self.names.iter().map(|name| cell(case, name)).collect::<Vec<_>>()))
            .filter(|(_, cells)| cells.iter().any(Option::is_some))
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        let is_used = |column: &usize| rows.iter().any(|(_, cells)| cells[*column].is_some());
        let columns: Vec<usize> = (0..self.names.len()).filter(is_used).collect();
        let mut out = format!("\n## {title}\n\n| case |");
        columns.iter().for_each(|column| out.extend([" ", &self.names[*column], " |"]));
        if ratio.is_some() {
            out.push_str(" ours / twemproxy |");
        }
        out.push_str("\n|---|");
        (0..columns.len() + usize::from(ratio.is_some())).for_each(|_| out.push_str("---:|"));
        out.push('\n');
        for (case, cells) in rows {
            let _ = write!(out, "| {} |", case.title);
            for column in &columns {
                let has_failed = self.samples.failures(&case.name, &self.names[*column]).is_some();
                let _ = match &cells[*column] {
                    Some(text) if has_failed => write!(out, " {text}{FAILED} |"),
                    Some(text) => write!(out, " {text} |"),
                    None if has_failed => write!(out, " failed |"),
                    None => write!(out, "  |"),
                };
            }
            if let Some(metric) = ratio {
                let ratio = self.samples.ratio(&case.name, "ours", "twemproxy 0.5", metric);
                let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
                let _ = write!(out, " {ratio} |");
            }
            out.push('\n');
        }
        out
    }

    /// What subjects could not do, and in how many rounds.
    pub(super) fn failures(&self) -> String {
        let mut out = String::new();
        for case in self.cases {
            for name in &self.names {
                let Some((rounds, why)) = self.samples.failures(&case.name, name) else { continue };
                let plural = if rounds == 1 { "" } else { "s" };
                let _ = writeln!(
                    out,
                    "- {}, {name}: failed in {rounds} round{plural}: {why}",
                    case.title
                );
            }
        }
        if out.is_empty() { out } else { format!("\n## What could not be done\n\n{out}") }
    }

    /// The median of a metric, for people.
    pub(super) fn figure(
        &self,
        case: &Case,
        name: &str,
        metric: Metric,
        digits: usize,
    ) -> Option<String> {
        let value = self.samples.median(&case.name, name, metric)?;
        Some(grouped(&format!("{value:.digits$}")))
    }

    /// The median of a metric as a multiple of `unit`.
    pub(super) fn share(&self, case: &Case, name: &str, metric: Metric, unit: f64) -> Option<f64> {
        Some(self.samples.median(&case.name, name, metric)? / unit)
    }

    /// Whether the load decided the throughput in most rounds. At half load it is meant to.
    pub(super) fn is_bound(&self, case: &Case, name: &str) -> bool {
        let (mut bound, mut all) = (0, 0);
        for sample in self.samples.of(&case.name, name) {
            bound += usize::from(sample.is_bound_by_load());
            all += 1;
        }
        let is_closed_loop = matches!(
            case.course,
            Course::Saturated { .. } | Course::RedisBenchmark { .. } | Course::Churn
        );
        is_closed_loop && 2 * bound > all
    }
}

/// A number with a comma before every three digits ahead of the point.
pub(super) fn grouped(number: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::{Tables, grouped};
    use crate::bench::cases;
    use crate::bench::samples::{Metric, Sample, Samples};
    use crate::started::Folder;

    #[test]
    fn digits_are_grouped() {
        let numbers = ["1", "999", "1000", "1234567.89", "-1234.5"];
        assert_eq!(numbers.map(grouped), ["1", "999", "1,000", "1,234,567.89", "-1,234.5"]);
    }

    #[test]
    fn a_subject_that_could_not_do_a_case_says_so_in_its_row_and_why_in_a_list() {
        let folder = Folder::create().expect("a folder");
        let mut samples = Samples::open(&folder.path().join("s.csv"), "").expect("a file");
        for (subject, cpu, why) in [
            ("ours", Some(1.0), None),
            ("twemproxy 0.5", Some(9.0), Some("17 requests were not answered")),
            ("predixy", None, Some("it ended")),
        ] {
            let mut sample = Sample::new("get-32-c5000-p64", subject, 0);
            cpu.into_iter().for_each(|cpu| sample.set(Metric::Cpu, cpu));
            why.into_iter().for_each(|why| sample.fail(why));
            samples.add(sample).expect("written");
        }
        let mut other = Sample::new("get-32-c1-p1", "predixy", 0);
        other.set(Metric::Cpu, 2.0);
        samples.add(other).expect("written");
        let cases = cases::all(2);
        let tables = Tables::new(&cases, &samples);
        let text =
            tables.table("CPU", None, |case, name| tables.figure(case, name, Metric::Cpu, 0));
        assert!(text.contains("pipeline 64 | 1 | 9‡ | failed |"), "{text}");
        assert!(tables.failures().contains("twemproxy 0.5: failed in 1 round: 17 requests"));
    }
}
