//! What a worker counts. Every cell has one writer, the worker, and may be read from any thread at any time.
//!
//! PERF: a count is a relaxed load and store of the worker's own cache line, never a read-modify-write, so counting costs
//! what a plain integer costs and readers see live values without asking the worker. That holds only while no two workers
//! write to one line, so each group of counts begins a line of its own and fills what it has begun. Lines are fetched in
//! pairs, hence 128 bytes.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[cfg(loom)]
use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use std::sync::atomic::AtomicU64;

use crate::topology::{Pool, Server, Topology};

/// A number that one worker writes and anybody reads. Counters only grow; gauges are moved both ways.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The value at this moment.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.value().wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.value().wrapping_sub(n), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// All counts of one worker in the shape of one topology. The cells outlive it: the counts for the next topology hold the
/// same ones for what stays, so that counters never go backwards.
#[derive(Debug, Default)]
pub struct Counts {
    /// Those of no pool.
    pub worker: Arc<WorkerCounts>,
    /// Pools in the order of the topology.
    pub pools: Vec<CountedPool>,
}

/// The counts of one pool, and of its servers beside.
#[derive(Debug)]
pub struct CountedPool {
    /// Those of the pool itself.
    pub pool: Arc<PoolCounts>,
    /// Servers in the order of the topology.
    pub servers: Vec<Arc<ServerCounts>>,
}

/// Counts of one worker that belong to no pool.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounts {
    /// Connections ever opened in either direction, failed attempts included.
    pub total_connections: Count,
    /// Connections open now.
    pub curr_connections: Count,
    /// Clients connected now, over all pools.
    pub clients: Count,
    /// Requests answered by the proxy itself.
    pub local_replies: Count,
    /// Requests refused or replies dropped because of the memory ceiling.
    pub shed: Count,
    /// Bytes of buffers in use by connections.
    pub buffered_bytes: Count,
    /// Bytes of buffers given back to the allocator.
    pub freed_bytes: Count,
}

/// Counts of one pool; names as in the statistics of twemproxy 0.5.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolCounts {
    /// Client connections closed after the client ended them, or after QUIT.
    pub client_eof: Count,
    /// Client connections closed for any other reason.
    pub client_err: Count,
    /// Open client connections.
    pub client_connections: Count,
    /// Times a server was ejected by this worker.
    pub server_ejects: Count,
    /// Error replies made by the proxy because a request could not be forwarded.
    pub forward_error: Count,
    /// Requests made out of split commands.
    pub fragments: Count,
    /// Commands with keys on several shards that were sent to the shard of their first key.
    pub cross_shard: Count,
    /// Reads, or parts of them, answered as a miss because their server was ejected.
    pub missed: Count,
    /// Ejections that did not happen because too many servers were ejected already; once for each outage.
    pub ejects_prevented: Count,
}

/// Counts of one server; names as in the statistics of twemproxy 0.5. What every request changes comes first, in one line.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct ServerCounts {
    /// Requests queued, fragments included.
    pub requests: Count,
    /// Their bytes.
    pub request_bytes: Count,
    /// Replies delivered or merged.
    pub responses: Count,
    /// Their bytes as received.
    pub response_bytes: Count,
    /// Requests not yet written.
    pub in_queue: Count,
    /// Their bytes.
    pub in_queue_bytes: Count,
    /// Requests that await a reply.
    pub out_queue: Count,
    /// Their bytes.
    pub out_queue_bytes: Count,
    /// Connections ended by the server.
    pub server_eof: Count,
    /// Connections ended by an error.
    pub server_err: Count,
    /// Requests that timed out.
    pub server_timedout: Count,
    /// Established connections.
    pub server_connections: Count,
    /// Microseconds since the epoch of the last ejection, 0 for never.
    pub server_ejected_at: Count,
    /// 1 while this worker holds it ejected, else 0.
    pub ejected: Count,
    /// Times it went back into service at this worker.
    pub restores: Count,
    /// Times it was asked whether it is back, by a probe or by one request on trial.
    pub probes: Count,
    /// How often it gave no proper answer.
    pub probes_failed: Count,
    /// Replies of the server itself that are errors; of memcached those that begin with `SERVER_ERROR`.
    pub error_replies: Count,
}

impl Deref for Counts {
    type Target = WorkerCounts;

    fn deref(&self) -> &WorkerCounts {
        &self.worker
    }
}

impl Deref for CountedPool {
    type Target = PoolCounts;

    fn deref(&self) -> &PoolCounts {
        &self.pool
    }
}

impl Counts {
    /// Zeroes in the shape of `topology`.
    #[must_use]
    pub fn for_topology(topology: &Topology) -> Arc<Counts> {
        Counts::default().succeed(&[], topology)
    }

    /// Counts in the shape of `topology`, which follows one with the pools `before`, that of `self`: a pool that keeps its
    /// name and its protocol goes on counting where it is, and so does each of its servers that keeps its name.
    #[must_use]
    pub fn succeed(&self, before: &[Arc<Pool>], topology: &Topology) -> Arc<Counts> {
        let counted = |pool: &Arc<Pool>| {
            let known = before.iter().zip(&self.pools).find(|(old, _)| old.continues_as(pool));
            CountedPool::following(known, pool)
        };
        let pools = topology.pools.iter().map(counted).collect();
        Arc::new(Counts { worker: Arc::clone(&self.worker), pools })
    }
}

impl CountedPool {
    fn following(known: Option<(&Arc<Pool>, &CountedPool)>, pool: &Pool) -> CountedPool {
        let server = |server: &Server| {
            let (old, counts) = known?;
            let at = old.servers.iter().position(|old| old.name == server.name)?;
            Some(Arc::clone(&counts.servers[at]))
        };
        CountedPool {
            pool: known.map(|(_, counts)| Arc::clone(&counts.pool)).unwrap_or_default(),
            servers: pool.servers.iter().map(|of| server(of).unwrap_or_default()).collect(),
        }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::topology::{Limits, Protocol, tests::pool};

    /// Two neighbouring lines are fetched together.
    const LINE: usize = 128;

    fn topology(pools: Vec<Pool>) -> Topology {
        Topology {
            epoch: 1,
            pools: pools.into_iter().map(Arc::new).collect(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn what_stays_counts_on_and_what_is_new_counts_from_zero() {
        let before = topology(vec![pool("a", &["x", "y"]), pool("b", &["x"])]);
        let old = Counts::for_topology(&before);
        old.worker.clients.add(1);
        for (at, cell) in old.pools.iter().enumerate() {
            cell.pool.fragments.add(10 + at as u64);
            cell.servers.iter().enumerate().for_each(|(i, s)| s.requests.add(20 + i as u64));
        }
        let after = topology(vec![pool("b", &["x"]), pool("c", &["x"]), pool("a", &["w", "y"])]);
        let new = old.succeed(&before.pools, &after);
        let fragments: Vec<_> = new.pools.iter().map(|p| p.pool.fragments.value()).collect();
        assert_eq!(fragments, [11, 0, 10]);
        let requests: Vec<_> = new.pools[2].servers.iter().map(|s| s.requests.value()).collect();
        assert_eq!(requests, [0, 21]);
        assert_eq!(new.worker.clients.value(), 1);
        old.pools[0].servers[1].requests.add(1);
        assert_eq!(new.pools[2].servers[1].requests.value(), 22, "the same cell");
    }

    /// The lines that the counts of a worker lie in.
    fn lines(counts: &Counts) -> HashSet<usize> {
        fn of<T>(counts: &Arc<T>) -> impl Iterator<Item = usize> {
            let begin = Arc::as_ptr(counts) as usize;
            begin / LINE..=(begin + size_of::<T>() - 1) / LINE
        }
        let pools = counts.pools.iter().flat_map(|pool| {
            of(&pool.pool).chain(pool.servers.iter().flat_map(of)).collect::<Vec<_>>()
        });
        of(&counts.worker).chain(pools).collect()
    }

    #[test]
    fn no_two_workers_count_in_one_line() {
        let servers: Vec<String> = (0..9).map(|n| format!("server{n}")).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let topology = topology(vec![pool("a", &servers), pool("b", &["x"])]);
        let workers: Vec<_> = (0..8).map(|_| Counts::for_topology(&topology)).collect();
        let all: usize = workers.iter().map(|counts| lines(counts).len()).sum();
        let different: HashSet<_> = workers.iter().flat_map(|counts| lines(counts)).collect();
        assert_eq!(different.len(), all);
        let alignments =
            [align_of::<WorkerCounts>(), align_of::<PoolCounts>(), align_of::<ServerCounts>()];
        assert_eq!(alignments, [LINE; 3], "whatever lies beside them");
    }

    #[test]
    fn what_every_request_counts_of_a_server_lies_in_one_line() {
        let counts = ServerCounts::default();
        let begin = std::ptr::from_ref(&counts) as usize;
        let hot = [
            &counts.requests,
            &counts.request_bytes,
            &counts.responses,
            &counts.response_bytes,
            &counts.in_queue,
            &counts.in_queue_bytes,
            &counts.out_queue,
            &counts.out_queue_bytes,
        ];
        for count in hot {
            assert!(std::ptr::from_ref(count) as usize - begin < LINE / 2);
        }
    }

    #[test]
    fn a_pool_that_changes_its_protocol_is_another_one() {
        let before = topology(vec![pool("a", &["x"])]);
        let old = Counts::for_topology(&before);
        old.pools[0].pool.fragments.add(1);
        let after = topology(vec![Pool { protocol: Protocol::Memcached, ..pool("a", &["x"]) }]);
        assert_eq!(old.succeed(&before.pools, &after).pools[0].pool.fragments.value(), 0);
    }
}
