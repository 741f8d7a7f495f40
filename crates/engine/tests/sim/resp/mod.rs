//! Simulated peers of a Redis pool: what clients say, what servers answer, and which replies are right.

pub(crate) mod keyspace;
mod service;
pub(crate) mod speaker;
mod verdict;
pub(crate) mod wire_format;

/// Whether a command of several keys is split over shards.
fn is_split(name: &str) -> bool {
    matches!(name, "mget" | "mset" | "del" | "unlink" | "touch" | "exists")
}
