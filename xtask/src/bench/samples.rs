//! What was measured, as lines of a CSV file that grows while a run goes on: it is what a run resumes from, what reports
//! are made of, and what is published beside them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// A figure of a measurement. Not every kind of case has every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Metric {
    /// Requests per second.
    Throughput,
    /// CPU time of the proxy per request, user and system, µs.
    Cpu,
    /// The part of it that is user time, 0..=1; in steps of a tick.
    UserShare,
    /// Latency, µs.
    P50,
    P99,
    P999,
    Max,
    /// The same before the huge value came, µs.
    CalmP50,
    CalmP99,
    CalmP999,
    CalmMax,
    /// How long a huge value took, s.
    Transfer,
    /// Resident memory, KiB: freshly started, at the peak, and when all connections are gone.
    ResidentAtStart,
    ResidentPeak,
    ResidentSettled,
    /// How long memory took to come back after a burst, s.
    Return,
    /// From the start of the process to its first reply, ms.
    FirstReply,
    /// Resident memory for each connection, bytes: before anything was sent, and after a burst.
    IdleConnection,
    UsedConnection,
    /// Connections that were open, where they are what is measured.
    Connections,
    /// How busy the proxy kept its cores, 0..=1.
    ProxyBusy,
    /// How busy the cores of load and servers were, 0..=1.
    OthersBusy,
    /// How busy the load alone kept its cores, 0..=1.
    LoadBusy,
}

/// The metrics in their order, with the names of their columns.
const COLUMNS: [(Metric, &str); 23] = [
    (Metric::Throughput, "requests_per_second"),
    (Metric::Cpu, "cpu_us_per_request"),
    (Metric::UserShare, "user_share"),
    (Metric::P50, "p50_us"),
    (Metric::P99, "p99_us"),
    (Metric::P999, "p999_us"),
    (Metric::Max, "max_us"),
    (Metric::CalmP50, "calm_p50_us"),
    (Metric::CalmP99, "calm_p99_us"),
    (Metric::CalmP999, "calm_p999_us"),
    (Metric::CalmMax, "calm_max_us"),
    (Metric::Transfer, "transfer_s"),
    (Metric::ResidentAtStart, "resident_at_start_kib"),
    (Metric::ResidentPeak, "resident_peak_kib"),
    (Metric::ResidentSettled, "resident_settled_kib"),
    (Metric::Return, "return_s"),
    (Metric::FirstReply, "first_reply_ms"),
    (Metric::IdleConnection, "idle_connection_bytes"),
    (Metric::UsedConnection, "used_connection_bytes"),
    (Metric::Connections, "connections"),
    (Metric::ProxyBusy, "proxy_busy"),
    (Metric::OthersBusy, "others_busy"),
    (Metric::LoadBusy, "load_busy"),
];

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) round: usize,
    values: [Option<f64>; COLUMNS.len()],
    /// What it could not do, in one line; there may be values all the same.
    failure: Option<String>,
}

impl Sample {
    pub(crate) fn new(case: &str, subject: &str, round: usize) -> Sample {
        let (case, subject) = (case.to_owned(), subject.to_owned());
        Sample { case, subject, round, values: [None; COLUMNS.len()], failure: None }
    }

    /// Records what the subject could not do.
    pub(crate) fn fail(&mut self, why: &str) {
        let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
        self.failure = Some(line.replace('"', "'"));
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(crate) fn set(&mut self, metric: Metric, value: f64) {
        self.values[metric as usize] = Some(value);
    }

    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.values[metric as usize]
    }

    /// Whether the load rather than the proxy decided what came out: its cores were full and the proxy's were not.
    pub(crate) fn is_bound_by_load(&self) -> bool {
        self.value(Metric::OthersBusy).is_some_and(|busy| busy > 0.95)
            && self.value(Metric::ProxyBusy).is_some_and(|busy| busy < 0.90)
    }

    /// Without the line end. Names of subjects may hold commas; nothing holds a quote.
    fn line(&self) -> String {
        let mut line = format!("{},\"{}\",{}", self.case, self.subject, self.round);
        for value in &self.values {
            let _ = match value {
                Some(value) => write!(line, ",{value:.4}"),
                None => write!(line, ","),
            };
        }
        let _ = match &self.failure {
            Some(why) => write!(line, ",\"{why}\""),
            None => write!(line, ","),
        };
        line
    }

    fn parse(line: &str) -> Option<Sample> {
        let (case, rest) = line.split_once(",\"")?;
        let (subject, rest) = rest.split_once("\",")?;
        // The failure may hold commas.
        let mut fields = rest.splitn(COLUMNS.len() + 2, ',');
        let mut sample = Sample::new(case, subject, fields.next()?.parse().ok()?);
        for value in &mut sample.values {
            let field = fields.next()?;
            *value = if field.is_empty() { None } else { Some(field.parse().ok()?) };
        }
        let failure = fields.next()?;
        if !failure.is_empty() {
            sample.failure = Some(failure.strip_prefix('"')?.strip_suffix('"')?.to_owned());
        }
        Some(sample)
    }
}

/// The samples of a run, in memory and in a file.
pub(crate) struct Samples {
    file: File,
    pub(crate) all: Vec<Sample>,
    done: HashSet<(String, String, usize)>,
}

impl Samples {
    /// Opens the file of a run and takes up what an interrupted one of the same `origin` left there. A file of another
    /// origin is replaced.
    pub(crate) fn open(path: &Path, origin: &str) -> Result<Samples> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let first = format!("# {origin}");
        let text = fs::read_to_string(path).unwrap_or_default();
        // A line that was cut when the run was ended is measured again, and so is what ours could not do.
        let is_same = text.lines().next() == Some(&first);
        let whole = text.split_inclusive('\n').filter(|line| is_same && line.ends_with('\n'));
        let all: Vec<Sample> = whole
            .filter_map(|line| Sample::parse(line.trim_end()))
            .filter(|sample| sample.failure.is_none() || !sample.subject.starts_with("ours"))
            .collect();
        let mut kept = format!("{first}\n{}\n", header());
        all.iter().for_each(|sample| kept.extend([sample.line().as_str(), "\n"]));
        fs::write(path, kept).with_context(|| format!("cannot write {}", path.display()))?;
        let file = OpenOptions::new().append(true).open(path)?;
        let done = all.iter().map(identity).collect();
        Ok(Samples { file, all, done })
    }

    pub(crate) fn has(&self, case: &str, subject: &str, round: usize) -> bool {
        self.done.contains(&(case.to_owned(), subject.to_owned(), round))
    }

    pub(crate) fn add(&mut self, sample: Sample) -> Result<()> {
        self.file.write_all((sample.line() + "\n").as_bytes())?;
        self.done.insert(identity(&sample));
        self.all.push(sample);
        Ok(())
    }

    /// As published: the same lines without the origin.
    pub(crate) fn csv(&self) -> String {
        let lines: Vec<String> = self.all.iter().map(Sample::line).collect();
        format!("{}\n{}\n", header(), lines.join("\n"))
    }

    /// The samples of one subject in one case, by round.
    pub(crate) fn of<'a>(
        &'a self,
        case: &'a str,
        subject: &'a str,
    ) -> impl Iterator<Item = &'a Sample> {
        self.all.iter().filter(move |sample| sample.case == case && sample.subject == subject)
    }

    /// In how many rounds a subject could not do all of a case, with what it said the first time.
    pub(crate) fn failures(&self, case: &str, subject: &str) -> Option<(usize, &str)> {
        let mut failed = self
            .all
            .iter()
            .filter(|sample| sample.case == case && sample.subject == subject)
            .filter_map(Sample::failure);
        let first = failed.next()?;
        Some((1 + failed.count(), first))
    }

    /// The median of a metric over the rounds.
    pub(crate) fn median(&self, case: &str, subject: &str, metric: Metric) -> Option<f64> {
        median(self.of(case, subject).filter_map(|sample| sample.value(metric)).collect())
    }

    /// The median of the ratios of two subjects, round by round: what a neighbour on the machine does to a round, it
    /// does to both.
    pub(crate) fn ratio(&self, case: &str, of: &str, to: &str, metric: Metric) -> Option<f64> {
        self.within_rounds((case, of), (case, to), |of, to| {
            Some(of.value(metric)? / to.value(metric)?)
        })
    }

    /// The median of what `compare` says of two subjects in two cases, round by round.
    pub(crate) fn within_rounds(
        &self,
        of: (&str, &str),
        to: (&str, &str),
        compare: impl Fn(&Sample, &Sample) -> Option<f64>,
    ) -> Option<f64> {
        let found = self.of(of.0, of.1).filter_map(|sample| {
            let other = self.of(to.0, to.1).find(|other| other.round == sample.round)?;
            compare(sample, other)
        });
        median(found.filter(|found| found.is_finite()).collect())
    }
}

fn identity(sample: &Sample) -> (String, String, usize) {
    (sample.case.clone(), sample.subject.clone(), sample.round)
}

fn header() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(_, name)| *name).collect();
    format!("case,subject,round,{},failure", names.join(","))
}

/// The middle one, or what lies between the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, Metric, Sample, Samples, median};
    use crate::started::Folder;

    fn sample(subject: &str, round: usize, cpu: f64) -> Sample {
        let mut sample = Sample::new("get", subject, round);
        sample.set(Metric::Cpu, cpu);
        sample
    }

    #[test]
    fn columns_are_in_the_order_of_the_metrics() {
        for (index, (metric, name)) in COLUMNS.iter().enumerate() {
            assert_eq!(*metric as usize, index, "{name}");
        }
    }

    #[test]
    fn a_run_resumes_with_what_an_interrupted_one_has_measured() {
        let folder = Folder::create().expect("a folder");
        let path = folder.path().join("samples.csv");
        let mut samples = Samples::open(&path, "one binary").expect("a new file");
        samples.add(sample("ours, 2 workers", 0, 1.5)).expect("written");
        samples.add(sample("twemproxy 0.5", 0, 3.0)).expect("written");
        let cut = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, &cut[..cut.len() - 5]).expect("cut");
        let resumed = Samples::open(&path, "one binary").expect("the same file");
        assert_eq!(resumed.all, [sample("ours, 2 workers", 0, 1.5)]);
        assert!(
            resumed.has("get", "ours, 2 workers", 0) && !resumed.has("get", "twemproxy 0.5", 0)
        );
        let other = Samples::open(&path, "another binary").expect("a new file");
        assert!(other.all.is_empty());
    }

    #[test]
    fn what_a_peer_could_not_do_is_kept_and_what_ours_could_not_is_tried_again() {
        let folder = Folder::create().expect("a folder");
        let path = folder.path().join("failures.csv");
        let mut samples = Samples::open(&path, "").expect("a new file");
        let mut slow = sample("twemproxy 0.5", 0, 3.0);
        slow.fail("1,000 requests were\n \"never\" answered");
        let mut ours = sample("ours", 0, 1.0);
        ours.fail("no");
        samples.add(slow.clone()).expect("written");
        samples.add(ours).expect("written");
        let resumed = Samples::open(&path, "").expect("the same file");
        assert_eq!(resumed.all, [slow]);
        let why = "1,000 requests were 'never' answered";
        assert_eq!(resumed.failures("get", "twemproxy 0.5"), Some((1, why)));
        assert_eq!(resumed.failures("get", "ours"), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_ones() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0]), Some(4.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let folder = Folder::create().expect("a folder");
        let path = folder.path().join("ratios.csv");
        let mut samples = Samples::open(&path, "").expect("a new file");
        for (round, (ours, theirs)) in [(1.0, 2.0), (10.0, 40.0), (3.0, 4.0)].iter().enumerate() {
            samples.add(sample("ours", round, *ours)).expect("written");
            samples.add(sample("theirs", round, *theirs)).expect("written");
        }
        samples.add(sample("ours", 3, 1000.0)).expect("written");
        assert_eq!(samples.ratio("get", "ours", "theirs", Metric::Cpu), Some(0.5));
    }

    #[test]
    fn the_load_is_blamed_only_while_the_proxy_had_time() {
        let with = |proxy, others| {
            let mut sample = Sample::new("get", "ours", 0);
            sample.set(Metric::ProxyBusy, proxy);
            sample.set(Metric::OthersBusy, others);
            sample.is_bound_by_load()
        };
        assert!(with(0.5, 0.99) && !with(0.95, 0.99) && !with(0.5, 0.9));
    }
}
