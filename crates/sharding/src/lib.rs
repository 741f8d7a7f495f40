//! Which shard a key belongs to: hash functions, hash tags and distributions, bit-identical to twemproxy 0.5.
//!
//! This crate stands apart because it is the promise existing users depend on most: the same configuration must send
//! every key to the same server as before, on every platform. It is a pure function of names, weights and bytes; it
//! knows no protocol, no socket, no clock and no random source (randomness is an argument).
//!
//! ```text
//! key ── HashTag ──▶ hashed part ── Hash ──▶ u32 ── Distribution ──▶ shard (index into the sorted servers)
//! ```
//!
//! [`Sharder`] is that whole line for one pool. Shards are indices into the pool's servers sorted by
//! [`compare_names`]; they stay the same while servers leave and return.
#![forbid(unsafe_code)]

mod distribution;
mod hash;
#[cfg(test)]
mod placement;
mod sharder;
mod tag;

use std::cmp::Ordering;

pub use distribution::Distribution;
pub use hash::Hash;
pub use sharder::{Node, Sharder};
pub use tag::HashTag;

/// The order of servers within a pool, and of pools: shorter names first, equal lengths by unsigned bytes.
///
/// The order in the file never matters. Modula slots, ketama ties and the order of statistics all follow this one.
///
/// ```
/// let mut names = ["redis10", "redis2", "redis1"];
/// names.sort_by(|a, b| sharding::compare_names(a.as_bytes(), b.as_bytes()));
/// assert_eq!(names, ["redis1", "redis2", "redis10"]);
/// ```
pub fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_names_come_first_and_equal_lengths_compare_as_unsigned_bytes() {
        let mut names: Vec<&[u8]> = vec![b"alpha1", b"\xff", b"zeta", b"aa", b"b", b"a", b""];
        names.sort_by(|a, b| compare_names(a, b));
        assert_eq!(names, [&b""[..], b"a", b"b", b"\xff", b"aa", b"zeta", b"alpha1"]);
    }
}
