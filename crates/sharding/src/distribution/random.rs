//! Random: each request goes to any live server.

use super::LiveNode;

/// The live shards, each equally likely.
///
/// COMPAT: twemproxy 0.5 ignores weights here, although it honours them in the other distributions.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    /// INVARIANT: not empty.
    shards: Box<[u32]>,
}

impl Draws {
    /// `live` must not be empty.
    pub(crate) fn new(live: &[LiveNode<'_>]) -> Draws {
        Draws { shards: live.iter().map(|node| node.shard).collect() }
    }

    /// The shard for `draw`, a number uniform over all of `u32`.
    #[inline]
    pub(crate) fn shard_of(&self, draw: u32) -> usize {
        // Multiply and shift spreads 2^32 draws evenly without a division; what is left over is under n in 2^32.
        let index = (u64::from(draw) * self.shards.len() as u64) >> 32;
        self.shards[index as usize] as usize
    }

    /// 1 for a live shard, otherwise 0.
    pub(crate) fn points_of(&self, shard: usize) -> u32 {
        u32::from(self.shards.iter().any(|&live| live as usize == shard))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draws(shards: &[u32]) -> Draws {
        let live: Vec<_> = shards
            .iter()
            .map(|&shard| LiveNode { shard, name: b"", weight: 1 + 99 * shard })
            .collect();
        Draws::new(&live)
    }

    #[test]
    fn evenly_spaced_draws_reach_every_live_shard_equally_often_whatever_its_weight() {
        let draws = draws(&[0, 2, 5]);
        let mut counts = [0; 6];
        for step in 0..3000u64 {
            counts[draws.shard_of((((2 * step + 1) << 32) / 6000) as u32)] += 1;
        }
        assert_eq!(counts, [1000, 0, 1000, 0, 0, 1000]);
    }

    proptest! {
        #[test]
        fn only_live_shards_are_drawn(
            shards in proptest::collection::btree_set(0..100u32, 1..20), draw: u32
        ) {
            let list: Vec<u32> = shards.iter().copied().collect();
            let drawn = draws(&list).shard_of(draw);
            prop_assert!(shards.contains(&(drawn as u32)));
        }
    }
}
