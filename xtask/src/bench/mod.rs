//! `make bench`: ours beside twemproxy 0.5 and others, in one run that anyone can repeat.
//!
//! Every measurement is of a fresh process, alone on its core, with servers and load on the others. Proxies take turns
//! and rounds follow each other over all cases, so that a machine that changes its mood does so for all of them. CPU time
//! is what the kernel accounts to the process; it is steadier than throughput on a machine that others use too, and even
//! so only the ratios within a round mean something. What was measured is kept in a file as it comes: an interrupted run
//! goes on where it was.

mod capacity;
mod cases;
mod echo;
mod extremes;
mod fleet;
mod goals;
mod load;
mod machine;
mod measure;
mod options;
mod plots;
mod report;
mod samples;
mod subject;
mod svg;
mod tables;
mod waking;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::setup;
use crate::started::{self, Folder};
use cases::{Case, Course, HALF_OF};
use fleet::Fleet;
use load::script::{Dataset, Protocol, Script};
use machine::Cores;
use measure::Setting;
use options::{Options, ROUNDS_MIN};
use report::Conditions;
use samples::{Metric, Sample, Samples};
use subject::{Ours, Peer, Subject};

/// Open files that the largest case wants: two for each of 20,000 connections in a proxy that relays.
const FILES: u64 = 41_000;
/// What a measurement takes beside warming up and measuring: starting, connecting, settling.
const OVERHEAD: Duration = Duration::from_millis(400);

/// Measures what `words` ask for and writes the reports.
///
/// # Errors
/// When something needed is missing, or a measurement failed; the others are kept.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    if words.iter().any(|word| ["--help", "-h", "help"].contains(word)) {
        println!("{}", options::USAGE);
        return Ok(());
    }
    if let Some((&echo::VERB, words)) = words.split_first() {
        return echo::serve(words);
    }
    let options = Options::parse(words)?;
    let all_cores = machine::cores()?;
    let all_cases = cases::all(all_cores.len());
    let names: Vec<&str> = all_cases.iter().map(|case| case.name.as_str()).collect();
    let is_wanted = |case: &&Case| options.wants(&case.name, &names);
    let mut cases: Vec<Case> = all_cases.iter().filter(is_wanted).cloned().collect();
    if options.is_quick && options.cases.is_empty() {
        cases.retain(|case| case.is_quick);
    }
    if options.only_list {
        cases.iter().for_each(|case| println!("{:28} {}", case.name, case.title));
        return Ok(());
    }
    ensure!(!cases.is_empty(), "no case has such a name; `cargo xtask bench --list` shows them");
    setup::install(&setup::FOR_BENCH)?;
    started::build_release()?;
    let is_whole = cases.len() == all_cases.len() && options.rounds >= ROUNDS_MIN;
    for case in &mut cases {
        case.subjects.retain(Subject::is_present);
        let ours: Vec<Ours> = case.subjects.iter().filter_map(Subject::as_ours).collect();
        for build in &options.builds {
            case.subjects.extend(ours.iter().map(|ours| Subject::Build(build.clone(), *ours)));
        }
        let peers = options.peers.iter().filter(|peer| suits(case, peer)).cloned();
        let peers: Vec<Subject> = peers.map(Subject::Peer).collect();
        case.subjects.extend(peers);
    }
    let conditions = conditions(&options, &all_cores)?;
    let mut bench = Bench::open(&options, all_cores)?;
    let failures = bench.measure_all(&cases)?;
    bench.stop()?;
    let Some(failures) = failures else {
        println!("interrupted; the same command goes on from here");
        return Ok(());
    };
    let folder = if is_whole { "docs/performance".into() } else { target().join("bench") };
    report::write(&folder, &conditions, &all_cases, &bench.samples)?;
    if is_whole {
        report::write_story(&conditions, &all_cases, &bench.samples)?;
    }
    print!("\n{}", goals::table(&cases, &bench.samples, conditions.cores));
    for build in &options.builds {
        print!("\n{}", report::beside(&build.name, &cases, &bench.samples));
    }
    println!("\ntables, figures and plots are in {}", folder.display());
    if !failures.is_empty() {
        bail!("not measured:\n  {}\nThe same command tries these again", failures.join("\n  "));
    }
    Ok(())
}

/// Whether a peer can be measured in a case: three servers of its own stand behind it, nobody knows where its keys are,
/// and nothing but memory is measured of some cases.
fn suits(case: &Case, peer: &Peer) -> bool {
    // What fills the memory of a process that is not started afresh would tell on all later cases.
    let is_other =
        matches!(case.course, Course::TwoOfThree(_) | Course::Huge(_) | Course::SlowReaders);
    peer.protocol == case.dataset.protocol
        && !case.tells_first_reply()
        && !is_other
        && (case.course != Course::Idle || peer.process.is_some())
        && (case.servers, case.entries, case.pools) == (3, 3, 1)
        && case.workers() == 1
}

/// After failing in so many rounds a subject is not tried again in a case.
const FAILURES_MAX: usize = 2;

/// A run: what it has measured, and what stands ready to measure more.
struct Bench {
    options: Options,
    all_cores: Vec<usize>,
    samples: Samples,
    folder: Folder,
    /// By protocol, number, and whether the last one is for huge values.
    fleets: HashMap<(Protocol, usize, bool), Fleet>,
    /// Which peers hold which keys.
    filled: HashSet<(String, Dataset)>,
    interrupted: Arc<AtomicBool>,
}

impl Bench {
    fn open(options: &Options, all_cores: Vec<usize>) -> Result<Bench> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let name = if options.is_quick { "quick.csv" } else { "samples.csv" };
        let path = target().join("bench").join(name);
        // A quick run is repeated to see that it works.
        if (options.is_fresh || options.is_quick) && path.exists() {
            fs::remove_file(&path)?;
        }
        let samples = Samples::open(&path, &origin(options, all_cores.len())?)?;
        if !samples.all.is_empty() {
            println!(
                "going on with {} measurements of this binary in {}; --fresh begins anew",
                samples.all.len(),
                path.display()
            );
        }
        machine::allow_open_files(FILES);
        Ok(Bench {
            options: options.clone(),
            all_cores,
            samples,
            folder: Folder::create()?,
            fleets: HashMap::new(),
            filled: HashSet::new(),
            interrupted,
        })
    }

    /// Measures whatever has not been measured; returns what failed, or nothing when interrupted.
    fn measure_all(&mut self, cases: &[Case]) -> Result<Option<Vec<String>>> {
        let mut left = self.left(cases);
        let each = self.options.pace.warm_up + self.options.pace.span + OVERHEAD;
        println!("{left} measurements, about {:.0?}", each * left as u32);
        let mut failures = Vec::new();
        let (begun, all) = (Instant::now(), left);
        for round in 0..self.options.rounds {
            for case in cases {
                for subject in turns(&case.subjects, round) {
                    let name = subject.to_string();
                    if self.samples.has(&case.name, &name, round) {
                        continue;
                    }
                    let failed = self.samples.failures(&case.name, &name);
                    if failed.is_some_and(|(rounds, _)| rounds >= FAILURES_MAX) {
                        left = left.saturating_sub(1);
                        continue;
                    }
                    if self.interrupted.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    let what = format!("round {}: {}, {subject}", round + 1, case.name);
                    left = left.saturating_sub(1);
                    let outcome = match self.measure(case, subject, round) {
                        Ok(sample) => {
                            if let Some(why) = sample.failure().filter(|_| subject.is_ours()) {
                                failures.push(format!("{what}: {why}"));
                            }
                            summary(&sample)
                        }
                        Err(error) => {
                            failures.push(format!("{what}: {error:#}"));
                            format!("failed: {error:#}")
                        }
                    };
                    let done = (all - left).max(1) as u32;
                    let rest = begun.elapsed() / done * left as u32;
                    println!("[{done}/{all}] {what}: {outcome} ({:.0?} to go)", round_up(rest));
                }
            }
        }
        Ok(Some(failures))
    }

    fn left(&self, cases: &[Case]) -> usize {
        let of = |case: &Case, round| {
            let is_left =
                |subject: &&Subject| !self.samples.has(&case.name, &subject.to_string(), round);
            case.subjects.iter().filter(is_left).count()
        };
        (0..self.options.rounds)
            .flat_map(|round| cases.iter().map(move |case| of(case, round)))
            .sum()
    }

    fn measure(&mut self, case: &Case, subject: &Subject, round: usize) -> Result<Sample> {
        let half = match case.course {
            Course::HalfLoad | Course::TwoOfThree(_) => self.half_load()?,
            _ => 0.0,
        };
        let is_huge = matches!(case.course, Course::Huge(_));
        let kind = (case.dataset.protocol, case.servers, is_huge);
        if !self.fleets.contains_key(&kind) {
            let fleet = Fleet::start(kind.0, kind.1, &self.folder)?;
            if is_huge {
                fleet.demote_last()?;
            }
            self.fleets.insert(kind, fleet);
        }
        let fleet = self.fleets.get_mut(&kind).context("servers")?;
        fleet.fill(case.dataset)?;
        if let Subject::Peer(peer) = subject
            && self.filled.insert((peer.name.clone(), case.dataset))
        {
            fleet::fill(peer.address, case.dataset)?;
        }
        let cores = Cores::divide(&self.all_cores, case.workers());
        let sharder = fleet::sharder(case.servers);
        let is_wanted = |key: &str| match case.course {
            Course::TwoOfThree(_) | Course::Huge(_) => {
                sharder.shard(key.as_bytes(), || 0) + 1 < case.servers
            }
            _ => true,
        };
        let script = Script::new(case.dataset, case.operation, is_wanted);
        let (folder, pace) = (&self.folder, self.options.pace);
        let setting = Setting { fleet, script: &script, cores: &cores, folder, pace, half };
        let sample = measure::measure(case, subject, round, &setting);
        self.samples.add(sample.clone())?;
        Ok(sample)
    }

    /// Half of what twemproxy does, or ours where there is none: the same rate for all and in all rounds.
    fn half_load(&mut self) -> Result<f64> {
        let subject = Some(Subject::Twemproxy).filter(Subject::is_present);
        let subject = subject.unwrap_or(Subject::Ours(Ours::PLAIN));
        let name = subject.to_string();
        if !self.samples.has(HALF_OF, &name, 0) {
            let case =
                cases::all(self.all_cores.len()).into_iter().find(|case| case.name == HALF_OF);
            self.measure(&case.context(HALF_OF)?, &subject, 0)?;
        }
        let first = self.samples.of(HALF_OF, &name).find(|sample| sample.round == 0);
        let rate = first.and_then(|sample| sample.value(Metric::Throughput));
        Ok(rate.context("half load is unknown")? / 2.0)
    }

    fn stop(&mut self) -> Result<()> {
        self.fleets.drain().try_for_each(|(_, fleet)| fleet.stop())
    }
}

/// The subjects of a round: each is first in its turn.
fn turns(subjects: &[Subject], round: usize) -> impl Iterator<Item = &Subject> {
    let (last, first) = subjects.split_at(round % subjects.len().max(1));
    first.iter().chain(last)
}

/// A measurement in one line.
fn summary(sample: &Sample) -> String {
    let show = |metric, unit: &str| {
        sample.value(metric).map(|value| format!("{}{unit}", svg::number(value)))
    };
    let bound = sample.is_bound_by_load().then(|| "the load is the bottleneck".to_owned());
    let failure = sample.failure().map(|why| format!("failed: {why}"));
    let figures = [
        show(Metric::Throughput, "/s"),
        show(Metric::Cpu, " µs CPU"),
        show(Metric::P99, " µs p99"),
        show(Metric::IdleConnection, " B idle"),
        show(Metric::UsedConnection, " B used"),
        show(Metric::FirstReply, " ms to the first reply"),
        show(Metric::Return, " s to come back"),
        show(Metric::Transfer, " s for 512 MiB"),
        bound,
        failure,
    ];
    figures.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Whole seconds.
fn round_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + 1)
}

/// What measurements must have in common to be put together.
fn origin(options: &Options, cores: usize) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    fs::read(started::release_binary())?.hash(&mut hasher);
    for build in &options.builds {
        build.name.hash(&mut hasher);
        fs::read(&build.path)?.hash(&mut hasher);
    }
    let span = options.pace.span.as_secs_f64();
    Ok(format!("binary {:016x}, {span} s, {cores} cores", hasher.finish()))
}

/// Where and how: machine, system, versions, rounds.
fn conditions(options: &Options, cores: &[usize]) -> Result<Conditions> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
        text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let waking = waking::measure(cores)?;
    let text = format!(
        "{} rounds of {} s on {} cores ({}), Linux {}; commit {}, twemproxy 0.5.0 of Debian, {}, {}, {}. Here, waking a \
         thread that sleeps on another core costs {:.1} µs, and sleeping {:.1} µs of CPU time.",
        options.rounds,
        options.pace.span.as_secs_f64(),
        cores.len(),
        model.map_or("unknown", |(_, model)| model),
        first_line("uname", &["-r"]),
        first_line("git", &["rev-parse", "--short", "HEAD"]),
        first_line("redis-server", &["--version"]).split(" sha=").next().unwrap_or_default(),
        first_line("memcached", &["--version"]),
        first_line("haproxy", &["-v"]).split('-').next().unwrap_or_default(),
        waking.wake_us,
        waking.sleep_us,
    );
    Ok(Conditions { text, cores: cores.len() })
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::subject::{Ours, Subject};
    use super::turns;

    #[test]
    fn every_subject_is_first_in_its_turn() {
        let subjects = [Subject::Ours(Ours::PLAIN), Subject::Twemproxy, Subject::Direct];
        let first: Vec<_> = (0..4).filter_map(|round| turns(&subjects, round).next()).collect();
        assert_eq!(first, [&subjects[0], &subjects[1], &subjects[2], &subjects[0]]);
        assert_eq!(turns(&subjects, 2).count(), 3);
    }
}
