//! What a worker counts. Every cell has one writer, the worker, and may be read from any thread at any time.
//!
//! PERF: a count is a relaxed load and store of the worker's own cache line, never a read-modify-write, so counting costs
//! what a plain integer costs and readers see live values without asking the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::topology::{Pool, Topology};

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

/// All counts of one worker, pools in the order of the topology.
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
    /// One entry for each pool.
    pub pools: Vec<PoolCounts>,
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
    /// One entry for each server.
    pub servers: Vec<ServerCounts>,
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

impl WorkerCounts {
    /// Zeroes in the shape of `topology`.
    pub fn for_topology(topology: &Topology) -> Arc<WorkerCounts> {
        let pools = topology.pools.iter().map(|pool| PoolCounts::for_pool(pool)).collect();
        Arc::new(WorkerCounts { pools, ..WorkerCounts::default() })
    }
}

impl PoolCounts {
    fn for_pool(pool: &Pool) -> PoolCounts {
        let servers = pool.servers.iter().map(|_| ServerCounts::default()).collect();
        PoolCounts { servers, ..PoolCounts::default() }
    }
}
