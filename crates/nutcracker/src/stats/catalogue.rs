//! Names, order and meaning of the metrics of pools and servers: one table for every export and for `-D`.
//!
//! COMPAT: names and order are those of twemproxy 0.5; collectors address metrics by name and some by position.

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

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Key in the stats document.
    pub name: &'static str,
    /// Behaviour over time.
    pub kind: Kind,
    /// One line for people.
    pub doc: &'static str,
}

const fn counter(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, doc }
}

const fn gauge(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, doc }
}

const fn timestamp(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: Kind::Timestamp, doc }
}

/// Metrics of a pool, in the order of the stats document.
pub const POOL: [Metric; 6] = [
    counter("client_eof", "client connections that ended in good order"),
    counter("client_err", "client connections that ended for any other reason"),
    gauge("client_connections", "client connections open now"),
    counter("server_ejects", "times a server was taken out of the ring"),
    counter("forward_error", "error replies made by the proxy itself"),
    counter("fragments", "parts that requests over several shards were split into"),
];

/// Metrics of a server, in the order of the stats document.
pub const SERVER: [Metric; 13] = [
    counter("server_eof", "connections that the server closed"),
    counter("server_err", "connections lost to errors, failed connects included"),
    counter("server_timedout", "timeouts while connecting or waiting for a reply"),
    gauge("server_connections", "connections to the server open now"),
    timestamp("server_ejected_at", "time of the latest ejection, in microseconds since the epoch"),
    counter("requests", "requests queued for the server"),
    counter("request_bytes", "bytes of those requests"),
    counter("responses", "replies received for clients"),
    counter("response_bytes", "bytes of those replies"),
    gauge("in_queue", "requests not sent yet"),
    gauge("in_queue_bytes", "bytes of the requests not sent yet"),
    gauge("out_queue", "requests sent and not answered yet"),
    gauge("out_queue_bytes", "bytes of the requests sent and not answered yet"),
];
