//! How a hash becomes a shard: one file for each table a pool may keep.
//!
//! Each table is built from the live servers only and is immutable; [`crate::Sharder`] replaces it as a whole. Shards in
//! a table are indices into all servers of the pool, live or not.

mod ketama;
mod modula;
mod random;

pub(crate) use ketama::Ring;
pub(crate) use modula::Slots;
pub(crate) use random::Draws;

/// How a hash becomes a shard (`distribution:` of a pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// `ketama`, the default: consistent hashing over about 160 points per server, shared out by weight.
    Ketama,
    /// `modula`: the hash modulo the sum of weights.
    Modula,
    /// `random`: any live server for each request, whatever the key and the weights.
    Random,
}

impl Distribution {
    /// Every distribution, in the order of their declaration.
    pub const ALL: [Distribution; 3] =
        [Distribution::Ketama, Distribution::Modula, Distribution::Random];

    /// The spelling in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Distribution::Ketama => "ketama",
            Distribution::Modula => "modula",
            Distribution::Random => "random",
        }
    }
}

/// A server that takes keys, as the tables see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveNode<'n> {
    /// Index into all servers of the pool.
    pub(crate) shard: u32,
    pub(crate) name: &'n [u8],
    /// At least 1.
    pub(crate) weight: u32,
}
