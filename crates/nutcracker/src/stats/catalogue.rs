//! Names, order, meaning and source of the metrics of pools and servers: one table for every export and for `-D`.
//!
//! COMPAT: names and order of [`POOL`] and [`SERVER`] are those of twemproxy 0.5; collectors address metrics by name and
//! some by position. What 0.5 did not count is in tables of its own, which the stats document leaves out.

use engine::counters::{PoolCounts, ServerCounts, WorkerCounts};

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Follows a present quantity.
    Gauge,
    /// Microseconds since the Unix epoch of the latest event, 0 for never.
    Timestamp,
}

/// One metric, read from counts of type `C`.
#[derive(Clone, Copy, Debug)]
pub struct Metric<C> {
    /// Key in the stats document.
    pub name: &'static str,
    /// Behaviour over time.
    pub kind: Kind,
    /// One line for people.
    pub doc: &'static str,
    /// Its value in the counts of one worker.
    pub read: fn(&C) -> u64,
}

impl<C> Metric<C> {
    /// The value for the process, of which each of `counts` knows the part of one worker.
    pub fn total<'a>(&self, counts: impl Iterator<Item = &'a C>) -> u64
    where
        C: 'a,
    {
        let values = counts.map(self.read);
        match self.kind {
            Kind::Counter | Kind::Gauge => values.fold(0, u64::wrapping_add),
            Kind::Timestamp => values.max().unwrap_or(0),
        }
    }
}

const fn counter<C>(name: &'static str, doc: &'static str, read: fn(&C) -> u64) -> Metric<C> {
    Metric { name, kind: Kind::Counter, doc, read }
}

const fn gauge<C>(name: &'static str, doc: &'static str, read: fn(&C) -> u64) -> Metric<C> {
    Metric { name, kind: Kind::Gauge, doc, read }
}

const fn timestamp<C>(name: &'static str, doc: &'static str, read: fn(&C) -> u64) -> Metric<C> {
    Metric { name, kind: Kind::Timestamp, doc, read }
}

/// Metrics of a pool, in the order of the stats document.
pub const POOL: [Metric<PoolCounts>; 6] = [
    counter("client_eof", "client connections that ended in good order", |pool| {
        pool.client_eof.value()
    }),
    counter("client_err", "client connections that ended for any other reason", |pool| {
        pool.client_err.value()
    }),
    gauge("client_connections", "client connections open now", |pool| {
        pool.client_connections.value()
    }),
    counter("server_ejects", "times a server was taken out of the ring", |pool| {
        pool.server_ejects.value()
    }),
    counter("forward_error", "error replies made by the proxy itself", |pool| {
        pool.forward_error.value()
    }),
    counter("fragments", "parts that requests over several shards were split into", |pool| {
        pool.fragments.value()
    }),
];

/// Metrics of a server, in the order of the stats document.
pub const SERVER: [Metric<ServerCounts>; 13] = [
    counter("server_eof", "connections that the server closed", |server| server.server_eof.value()),
    counter("server_err", "connections lost to errors, failed connects included", |server| {
        server.server_err.value()
    }),
    counter("server_timedout", "timeouts while connecting or waiting for a reply", |server| {
        server.server_timedout.value()
    }),
    gauge("server_connections", "connections to the server open now", |server| {
        server.server_connections.value()
    }),
    timestamp(
        "server_ejected_at",
        "time of the latest ejection since the epoch, microseconds (seconds in /metrics), 0 for never",
        |server| server.server_ejected_at.value(),
    ),
    counter("requests", "requests queued for the server", |server| server.requests.value()),
    counter("request_bytes", "bytes of those requests", |server| server.request_bytes.value()),
    counter("responses", "replies received for clients", |server| server.responses.value()),
    counter("response_bytes", "bytes of those replies", |server| server.response_bytes.value()),
    gauge("in_queue", "requests not sent yet", |server| server.in_queue.value()),
    gauge("in_queue_bytes", "bytes of the requests not sent yet", |server| {
        server.in_queue_bytes.value()
    }),
    gauge("out_queue", "requests sent and not answered yet", |server| server.out_queue.value()),
    gauge("out_queue_bytes", "bytes of the requests sent and not answered yet", |server| {
        server.out_queue_bytes.value()
    }),
];

/// Metrics of the process, which every worker counts a part of.
pub const WORKER: [Metric<WorkerCounts>; 7] = [
    counter("connections_total", "connections made in either direction, attempts included", |w| {
        w.total_connections.value()
    }),
    gauge("connections", "connections open now, in either direction", |worker| {
        worker.curr_connections.value()
    }),
    gauge("clients", "clients connected now", |worker| worker.clients.value()),
    counter("local_replies", "requests answered by the proxy itself", |worker| {
        worker.local_replies.value()
    }),
    counter("shed", "requests refused and replies dropped at the ceiling of memory", |worker| {
        worker.shed.value()
    }),
    gauge(
        "buffered_bytes",
        "bytes of requests and replies under way, which max_memory bounds",
        |worker| worker.buffered_bytes.value(),
    ),
    counter("freed_bytes", "bytes of buffers given back to the system's allocator", |worker| {
        worker.freed_bytes.value()
    }),
];

/// Metrics of a pool that 0.5 did not have.
pub const POOL_BEYOND_0_5: [Metric<PoolCounts>; 3] = [
    counter("cross_shard", "requests sent to the shard of their first key only", |pool| {
        pool.cross_shard.value()
    }),
    counter(
        "missed",
        "reads, or parts of them, answered as a miss for an ejected server",
        |pool| pool.missed.value(),
    ),
    counter(
        "ejects_prevented",
        "outages of a server that did not eject it because too many were ejected",
        |pool| pool.ejects_prevented.value(),
    ),
];

/// Metrics of a server that 0.5 did not have.
pub const SERVER_BEYOND_0_5: [Metric<ServerCounts>; 5] = [
    counter(
        "error_replies",
        "replies of the server that are errors, such as -OOM; of memcached, SERVER_ERROR",
        |server| server.error_replies.value(),
    ),
    gauge("ejected", "workers that hold the server ejected now", |server| server.ejected.value()),
    counter("restores", "returns after an ejection, in each worker", |server| {
        server.restores.value()
    }),
    counter("probes", "questions and trial requests to the ejected server", |server| {
        server.probes.value()
    }),
    counter("probes_failed", "of these, those without a proper answer", |server| {
        server.probes_failed.value()
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_added_up_and_of_times_the_latest_counts() {
        let read = |&value: &u64| value;
        let of = |metric: Metric<u64>, values: &[u64]| metric.total(values.iter());
        assert_eq!(of(counter("", "", read), &[1, 2, 3]), 6);
        assert_eq!(of(timestamp("", "", read), &[1, 3, 2]), 3);
        // What one worker put in another may take out: between them it comes to nothing.
        assert_eq!(of(gauge("", "", read), &[2, 2_u64.wrapping_neg()]), 0);
        assert_eq!(of(timestamp("", "", read), &[]), 0);
    }
}
