//! The machine: which cores are whose, and what the kernel accounts to processes and cores.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Microseconds of a tick of `/proc`, which Linux fixes at 100 a second for programs.
const TICK_US: f64 = 10_000.0;
/// The niceness of what others go before.
const DEMOTED: i32 = 15;

/// Which cores are whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) proxy: Vec<usize>,
    pub(crate) servers: Vec<usize>,
    pub(crate) load: Vec<usize>,
}

impl Cores {
    /// Divides `all`: the first for the proxy, one for each worker while something is left for the others; a third of
    /// the rest for the load. The load and the servers share what is left of two or three.
    pub(crate) fn divide(all: &[usize], workers: usize) -> Cores {
        let others_min = 1;
        let proxies = workers.min(all.len().saturating_sub(others_min)).max(1);
        let (proxy, rest) = all.split_at(proxies);
        let rest = if rest.is_empty() { proxy } else { rest };
        let for_load = rest.len().div_ceil(3);
        let (servers, load) =
            if rest.len() < 3 { (rest, rest) } else { rest.split_at(rest.len() - for_load) };
        Cores { proxy: proxy.to_vec(), servers: servers.to_vec(), load: load.to_vec() }
    }

    /// Every core that is not the proxy's alone.
    pub(crate) fn others(&self) -> Vec<usize> {
        let mut others = [self.servers.clone(), self.load.clone()].concat();
        others.sort_unstable();
        others.dedup();
        others
    }
}

/// The cores that this process may use.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

/// Keeps the calling thread on `cores`.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn pin_this_thread(cores: &[usize]) -> Result<()> {
    sched_setaffinity(None, &set_of(cores)).with_context(|| format!("cannot pin to {cores:?}"))
}

/// Keeps every thread of a process on `cores`.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn pin(process: u32, cores: &[usize]) -> Result<()> {
    let set = set_of(cores);
    for thread in threads(process)? {
        let id = i32::try_from(thread).ok().and_then(Pid::from_raw).context("a thread")?;
        sched_setaffinity(Some(id), &set)
            .with_context(|| format!("cannot pin process {process} to {cores:?}"))?;
    }
    Ok(())
}

/// Lets all else that shares a core with a process or a thread go before it.
///
/// # Errors
/// When there is no such process.
pub(crate) fn demote(process: u32) -> Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process")?;
    Ok(setpriority_process(Some(id), DEMOTED)?)
}

/// The same for the calling thread.
pub(crate) fn demote_this_thread() -> Result<()> {
    Ok(setpriority_process(Some(gettid()), DEMOTED)?)
}

fn threads(process: u32) -> Result<Vec<u32>> {
    let entries = fs::read_dir(format!("/proc/{process}/task"))
        .with_context(|| format!("there is no process {process}"))?;
    entries
        .map(|entry| {
            let name = entry?.file_name();
            name.to_str().and_then(|name| name.parse().ok()).context("a thread's number")
        })
        .collect()
}

/// What the kernel accounts to a process: CPU time of all threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// User and system together, exact, µs.
    pub(crate) total_us: f64,
    /// User alone, in steps of a tick, µs.
    pub(crate) user_us: f64,
    /// System alone, in steps of a tick, µs.
    pub(crate) system_us: f64,
}

pub(crate) fn cpu(process: u32) -> Result<Cpu> {
    let mut nanoseconds = 0;
    for thread in threads(process)? {
        let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat"))?;
        let used = text.split(' ').next().context("an empty schedstat")?;
        nanoseconds += used.parse::<u64>().context("schedstat")?;
    }
    let [user_us, system_us] = ticks_us(&process.to_string(), [11, 12])?;
    Ok(Cpu { total_us: nanoseconds as f64 / 1000.0, user_us, system_us })
}

/// CPU time of the processes that this one started and has seen end, in steps of a tick.
pub(crate) fn cpu_of_children() -> Result<Duration> {
    let both = ticks_us("self", [13, 14])?;
    Ok(Duration::from_micros(both.iter().sum::<f64>() as u64))
}

/// Times that the kernel accounts to a process, µs, by their place behind its name.
fn ticks_us<const N: usize>(process: &str, places: [usize; N]) -> Result<[f64; N]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in brackets may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut times = [0.0; N];
    for (time, place) in times.iter_mut().zip(places) {
        let field = fields.split_whitespace().nth(place).context("a short stat")?;
        *time = field.parse::<f64>()? * TICK_US;
    }
    Ok(times)
}

/// CPU time of the calling thread.
pub(crate) fn cpu_of_this_thread() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident_kib: f64,
    pub(crate) peak_kib: f64,
}

pub(crate) fn memory(process: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        Ok(number.with_context(|| format!("no {name} in the status"))?.parse()?)
    };
    Ok(Memory { resident_kib: field("VmRSS")?, peak_kib: field("VmHWM")? })
}

/// Resident memory once it no longer falls: no lower than a moment before, or after a second.
pub(crate) fn settled(process: u32) -> Result<Memory> {
    let begun = Instant::now();
    let mut last = memory(process)?;
    loop {
        thread::sleep(Duration::from_millis(100));
        let next = memory(process)?;
        if next.resident_kib >= last.resident_kib || begun.elapsed() > Duration::from_secs(1) {
            return Ok(next);
        }
        last = next;
    }
}

/// Ticks that cores have been busy, and that have passed on them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    busy: f64,
    passed: f64,
}

impl Busy {
    /// Of these cores together.
    pub(crate) fn of(cores: &[usize]) -> Result<Busy> {
        Ok(busy_in(&fs::read_to_string("/proc/stat")?, cores))
    }

    /// The share of the time since `before` in which the cores were busy, 0..=1.
    pub(crate) fn share_since(self, before: Busy) -> f64 {
        let passed = self.passed - before.passed;
        if passed > 0.0 { (self.busy - before.busy) / passed } else { 0.0 }
    }
}

fn busy_in(stat: &str, cores: &[usize]) -> Busy {
    let mut sum = Busy::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let name = fields.next().and_then(|name| name.strip_prefix("cpu"));
        let core = name.and_then(|number| number.parse().ok());
        if core.is_some_and(|core: usize| cores.contains(&core)) {
            let ticks: Vec<f64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
            // Idle and waiting for disks are the fourth and the fifth.
            let idle: f64 = ticks.iter().skip(3).take(2).sum();
            let passed: f64 = ticks.iter().sum();
            sum.passed += passed;
            sum.busy += passed - idle;
        }
    }
    sum
}

/// Lets this process and those it starts have at least `files` open, as far as the system allows it.
pub(crate) fn allow_open_files(files: u64) {
    let before = getrlimit(Resource::Nofile);
    // Only root may raise the maximum.
    let wanted = before.maximum.map(|maximum| maximum.max(files));
    for maximum in [wanted, before.maximum] {
        if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
            break;
        }
    }
}

/// How many files this process and those it starts may have open.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Busy, Cores, busy_in};

    #[test]
    fn on_two_cores_the_proxy_has_one_and_the_others_share_one() {
        let cores = Cores::divide(&[0, 1], 1);
        assert_eq!((cores.proxy, cores.servers, cores.load), (vec![0], vec![1], vec![1]));
    }

    #[test]
    fn workers_share_a_core_rather_than_leave_none_for_the_load() {
        let cores = Cores::divide(&[0, 1], 2);
        assert_eq!((cores.proxy.clone(), cores.others()), (vec![0], vec![1]));
        let cores = Cores::divide(&[0, 1, 2, 3, 4, 5, 6, 7], 2);
        assert_eq!(
            (cores.proxy, cores.servers, cores.load),
            (vec![0, 1], vec![2, 3, 4, 5], vec![6, 7])
        );
    }

    #[test]
    fn a_single_core_is_shared_by_all() {
        let cores = Cores::divide(&[5], 1);
        assert_eq!((cores.proxy, cores.servers, cores.load), (vec![5], vec![5], vec![5]));
    }

    #[test]
    fn a_core_is_busy_when_it_is_neither_idle_nor_waiting() {
        let before = busy_in("cpu 9 9\ncpu0 10 0 10 70 10 0 0 0 0 0\ncpu1 1 1 1 1 1\n", &[0]);
        let after = busy_in("cpu 9 9\ncpu0 60 0 30 90 10 0 0 10 0 0\ncpu1 1 1 1 1 1\n", &[0]);
        assert!((after.share_since(before) - 0.8).abs() < 1e-9);
        assert!(Busy::default().share_since(Busy::default()) < 1e-9);
    }
}
