//! Modula: the hash modulo the sum of weights picks a slot; each live server owns as many slots in a row as it weighs.
//!
//! The slots are never spelled out. twemproxy allocates one entry per unit of weight; prefix sums give the same mapping.

use super::LiveNode;

/// Which slots belong to which shard.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// INVARIANT: not empty; ends rise, and the last one is `total`.
    owners: Box<[Owner]>,
    /// Sum of the weights, at least 1.
    total: u32,
}

/// A run of slots: from the end of the run before up to, not including, `end`.
#[derive(Clone, Copy, Debug)]
struct Owner {
    end: u32,
    shard: u32,
}

impl Slots {
    /// `live` must not be empty and is in the order of the pool's servers.
    ///
    /// Sums beyond `u32` saturate; twemproxy writes outside its table there, so there is nothing to be compatible with.
    pub(crate) fn new(live: &[LiveNode<'_>]) -> Slots {
        let mut total = 0u32;
        let owners = live
            .iter()
            .map(|node| {
                total = total.saturating_add(node.weight);
                Owner { end: total, shard: node.shard }
            })
            .collect();
        Slots { owners, total }
    }

    /// The shard for `hash`.
    #[inline]
    pub(crate) fn shard_of(&self, hash: u32) -> usize {
        let slot = hash % self.total;
        let owner = self.owners.partition_point(|owner| owner.end <= slot);
        self.owners[owner].shard as usize
    }

    /// The slots that belong to `shard`: its weight, 0 when it is not live.
    pub(crate) fn points_of(&self, shard: usize) -> u32 {
        let Some(at) = self.owners.iter().position(|owner| owner.shard as usize == shard) else {
            return 0;
        };
        let start = if at == 0 { 0 } else { self.owners[at - 1].end };
        self.owners[at].end - start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::placement::{array, lists, number, text};

    fn slots(weights: &[(u32, u32)]) -> Slots {
        let live: Vec<_> =
            weights.iter().map(|&(shard, weight)| LiveNode { shard, name: b"", weight }).collect();
        Slots::new(&live)
    }

    #[test]
    fn every_golden_slot_table_is_reproduced() {
        for list in lists("modula_vectors.json") {
            let weights: Vec<_> =
                (0..).zip(list.servers.iter().map(|&(_, weight)| weight)).collect();
            let slots = slots(&weights);
            assert_eq!(slots.total as usize, number(&list.json["nslots"]), "{}", list.title);
            for (slot, shard) in (0..).zip(array(&list.json, "slots_first20")) {
                assert_eq!(slots.shard_of(slot), number(shard), "{} {slot}", list.title);
            }
        }
    }

    #[test]
    fn every_golden_slot_table_with_ejected_servers_is_reproduced() {
        let lists = lists("eject_vectors.json");
        let modula: Vec<_> =
            lists.iter().filter(|list| text(&list.json["distribution"]) == "modula").collect();
        assert_eq!(modula.len(), 4);
        for list in modula {
            let ejected: Vec<_> = array(&list.json, "ejected_indices")
                .iter()
                .map(|shard| number(shard) as u32)
                .collect();
            let all = (0..).zip(list.servers.iter().map(|&(_, weight)| weight));
            let live: Vec<_> = all.filter(|(shard, _)| !ejected.contains(shard)).collect();
            let slots = slots(&live);
            let mut digest = Sha256::new();
            for slot in 0..slots.total {
                digest.update(0u32.to_le_bytes());
                digest.update((slots.shard_of(slot) as u32).to_le_bytes());
            }
            let digest: String =
                digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, text(&list.json["continuum_sha256"]), "{}", list.title);
        }
    }

    #[test]
    fn weights_at_their_limit_neither_overflow_nor_panic() {
        let slots = slots(&[(0, i32::MAX as u32), (1, i32::MAX as u32), (2, i32::MAX as u32)]);
        assert_eq!(slots.shard_of(0), 0);
        assert_eq!(slots.shard_of(i32::MAX as u32), 1);
        assert_eq!(slots.shard_of(u32::MAX - 1), 2);
        assert_eq!(slots.shard_of(u32::MAX), 0);
        assert_eq!(
            [slots.points_of(0), slots.points_of(1), slots.points_of(2)],
            [i32::MAX as u32, i32::MAX as u32, 1]
        );
    }

    proptest! {
        #[test]
        fn prefix_sums_agree_with_a_table_of_all_slots(
            weights in proptest::collection::vec((0..3u32, 1..40u32), 1..20), hashes: [u32; 32]
        ) {
            let live: Vec<(u32, u32)> = weights.iter().scan(0, |next, &(gap, weight)| {
                let shard = *next + gap;
                *next = shard + 1;
                Some((shard, weight))
            }).collect();
            let expanded: Vec<u32> =
                live.iter().flat_map(|&(shard, weight)| std::iter::repeat_n(shard, weight as usize)).collect();
            let slots = slots(&live);
            let every_slot = 0..expanded.len() as u32;
            for hash in every_slot.chain(hashes) {
                prop_assert_eq!(slots.shard_of(hash), expanded[hash as usize % expanded.len()] as usize);
            }
            for &(shard, weight) in &live {
                prop_assert_eq!(slots.points_of(shard as usize), weight);
            }
        }
    }
}
