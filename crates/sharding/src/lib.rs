//! Which shard a key belongs to: hash functions, hash tags and distributions, bit-identical to twemproxy 0.5.
#![forbid(unsafe_code)]

/// One of the twelve hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// The default.
    Fnv1a64,
}
/// Two bytes that delimit the hashed part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashTag {
    /// Opening byte.
    pub open: u8,
    /// Closing byte; may equal the opening one.
    pub close: u8,
}
/// How a hash becomes a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Consistent hashing over 160 points per server.
    Ketama,
}
