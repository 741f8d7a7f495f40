//! What the system grants this process: open files and cores. Apart because the arithmetic is worth testing alone.

use std::num::NonZero;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors kept for what is no connection and there once: log, pid file, signals, readers of the statistics.
const FILES_OF_PROCESS: u64 = 24;

/// Descriptors of one worker: its event loop, what wakes it, and the surplus clients it is telling so.
const FILES_OF_WORKER: u64 = 3 + reactor::REFUSED_LINGERING_MAX as u64;

/// Descriptors kept for everything that is no connection of `workers` workers and `pools` pools, whose listeners are
/// open twice. COMPAT: 32 for one of each, as many as 0.5 keeps always.
#[must_use]
pub fn files_reserved(workers: u64, pools: u64) -> u64 {
    let workers = workers.saturating_mul(FILES_OF_WORKER);
    FILES_OF_PROCESS.saturating_add(workers).saturating_add(pools)
}

/// Raises the number of files this process may have open to its hard limit and returns the number that holds then,
/// `u64::MAX` for no limit. Never fails: where raising is refused, the old number holds.
#[must_use]
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Some systems call the hard limit infinite and still have a ceiling: what they refuse stays as it was.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Fewer clients than this are hardly meant.
const CLIENTS_FEW: u64 = 32;

/// How the open files are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileBudget {
    /// What the system grants.
    pub files: u64,
    /// Connections to servers when every one of them is up, listeners included as in 0.5.
    pub servers: u64,
    /// What is left for clients.
    pub clients: u64,
}

impl FileBudget {
    /// Shares out `files`, of which servers and listeners need `servers` and everything else `reserved`. Never below
    /// zero: 0.5 wraps around here and loses its limit.
    #[must_use]
    pub fn new(files: u64, servers: u64, reserved: u64) -> FileBudget {
        let clients = files.saturating_sub(servers).saturating_sub(reserved);
        FileBudget { files, servers, clients }
    }

    /// Whether clients have fewer descriptors than servers do or than a handful: then the limit ought to be raised.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.clients < self.servers.max(CLIENTS_FEW)
    }
}

/// The cores this process may use, by its affinity and its control group's quota; 1 when the system does not say.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_ends_at_the_hard_one() {
        let raised = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.maximum.unwrap_or(u64::MAX));
    }

    #[test]
    fn clients_have_what_servers_and_the_reserve_leave() {
        assert_eq!(FileBudget::new(20_000, 3, 32).clients, 19_965);
        assert_eq!(FileBudget::new(u64::MAX, 3, 32).clients, u64::MAX - 35);
        assert!(!FileBudget::new(1024, 100, 32).is_tight());
    }

    #[test]
    fn every_worker_and_every_listener_adds_to_the_reserve() {
        assert_eq!(files_reserved(1, 1), 32);
        assert_eq!(files_reserved(64, 200), 32 + 63 * 7 + 199);
    }

    #[test]
    fn too_small_a_limit_leaves_no_clients_rather_than_billions() {
        let budget = FileBudget::new(64, 100, 32);
        assert_eq!(budget.clients, 0);
        assert!(budget.is_tight());
        assert!(FileBudget::new(128, 65, 32).is_tight(), "31 clients");
    }

    #[test]
    fn there_is_a_core_and_affinity_counts() {
        assert!(cores() >= 1);
        #[cfg(target_os = "linux")]
        {
            let output = |command: &str| {
                std::process::Command::new("sh").args(["-c", command]).output().unwrap()
            };
            let nproc = String::from_utf8(output("nproc").stdout).unwrap();
            assert!(cores() <= nproc.trim().parse::<usize>().unwrap(), "more than {nproc}");
        }
    }
}
