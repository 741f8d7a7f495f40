//! What a worker counts. Every cell has one writer, the worker, and may be read from any thread at any time.
//!
//! PERF: a count is a relaxed load and store of the worker's own cache line, never a read-modify-write, so counting costs
//! what a plain integer costs and readers see live values without asking the worker.

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

/// Counts of one server; names as in the statistics of twemproxy 0.5.
#[derive(Debug, Default)]
pub struct ServerCounts {
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
    use super::*;
    use crate::topology::{Limits, Protocol, tests::pool};

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

    #[test]
    fn a_pool_that_changes_its_protocol_is_another_one() {
        let before = topology(vec![pool("a", &["x"])]);
        let old = Counts::for_topology(&before);
        old.pools[0].pool.fragments.add(1);
        let after = topology(vec![Pool { protocol: Protocol::Memcached, ..pool("a", &["x"]) }]);
        assert_eq!(old.succeed(&before.pools, &after).pools[0].pool.fragments.value(), 0);
    }
}
