//! Simulated peers of a memcached pool: what clients say, what servers answer, and which replies are right.

mod any_bytes;
mod ask;
pub(crate) mod keyspace;
mod service;
mod speaker;
mod verdict;
pub(crate) mod wire_format;

pub(crate) use ask::Ask;
