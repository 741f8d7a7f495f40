//! From a key to a shard: the routing of one pool.
//!
//! Here the hash tag, the hash function and the distribution meet, with the rules that belong to the pool as a whole:
//! a pool of one server hashes nothing, an empty key hashes to 0, servers leave the table and return.

use crate::distribution::{Distribution, Draws, LiveNode, Ring, Slots};
use crate::{Hash, HashTag};

/// What is hashed for a forwarded command without a key.
const KEYLESS: &[u8] = b"placeholder";

/// One server of a pool as sharding sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'n> {
    /// The server's identity: its name, or the default made from its address. Any bytes.
    pub name: &'n [u8],
    /// Its share relative to the other servers, at least 1.
    pub weight: u32,
}

/// The routing of one pool: hash tag, hash function, distribution and the table over the servers that are live now.
///
/// The table changes only as a whole, by [`rebuild`](Sharder::rebuild). A shard is an index into the nodes given to
/// [`new`](Sharder::new), whichever of them are live.
#[derive(Clone, Debug)]
pub struct Sharder {
    hash: Hash,
    tag: Option<HashTag>,
    distribution: Distribution,
    nodes: Box<[OwnedNode]>,
    table: Table,
}

#[derive(Clone, Debug)]
struct OwnedNode {
    name: Box<[u8]>,
    weight: u32,
}

#[derive(Clone, Debug)]
enum Table {
    /// The pool has one server, live or not.
    Single,
    Ketama(Ring),
    Modula(Slots),
    Random(Draws),
}

impl Sharder {
    /// Routing over all of `nodes`, every one of them live.
    ///
    /// # Panics
    ///
    /// When `nodes` is empty, is not in the order of [`compare_names`](crate::compare_names), or holds a weight of 0.
    /// A validated configuration rules out all three.
    pub fn new(
        hash: Hash,
        tag: Option<HashTag>,
        distribution: Distribution,
        nodes: &[Node<'_>],
    ) -> Sharder {
        assert!(!nodes.is_empty(), "a pool has at least one server");
        assert!(nodes.iter().all(|node| node.weight > 0), "a server weighs at least 1");
        assert!(
            nodes.is_sorted_by(|a, b| crate::compare_names(a.name, b.name).is_le()),
            "servers are sorted by name"
        );
        let nodes: Box<[OwnedNode]> = nodes
            .iter()
            .map(|node| OwnedNode { name: node.name.into(), weight: node.weight })
            .collect();
        let table = Table::new(distribution, nodes.len(), &live_nodes(&nodes, |_| true));
        Sharder { hash, tag, distribution, nodes, table }
    }

    /// The shard of `key`.
    ///
    /// `draw` gives a number uniform over all of `u32`; it is called, once, only for [`Distribution::Random`] in a pool
    /// of several servers.
    ///
    /// COMPAT: twemproxy 0.5 hashes nothing in a pool of one configured server, and gives an empty key the hash 0.
    #[inline]
    pub fn shard(&self, key: &[u8], draw: impl FnOnce() -> u32) -> usize {
        match &self.table {
            Table::Single => 0,
            Table::Ketama(ring) => ring.shard_of(self.hash_of(key)),
            Table::Modula(slots) => slots.shard_of(self.hash_of(key)),
            Table::Random(draws) => draws.shard_of(draw()),
        }
    }

    /// The shard of a forwarded command that names no key: that of the key `placeholder`, as in twemproxy 0.5.
    #[inline]
    pub fn keyless_shard(&self, draw: impl FnOnce() -> u32) -> usize {
        self.shard(KEYLESS, draw)
    }

    /// Replaces the table by one over the servers whose entry in `live` is true; the others get no key until a later
    /// call. Returns whether the table was replaced: when no server is live the old one stays, and so it does in a
    /// pool of one server.
    ///
    /// # Panics
    ///
    /// When `live` does not have one entry for each server.
    pub fn rebuild(&mut self, live: &[bool]) -> bool {
        assert_eq!(live.len(), self.nodes.len(), "one entry for each server");
        let live = live_nodes(&self.nodes, |shard| live[shard]);
        if live.is_empty() || matches!(self.table, Table::Single) {
            return false;
        }
        self.table = Table::new(self.distribution, self.nodes.len(), &live);
        true
    }

    /// How much of the table belongs to `shard`: ketama points, modula slots, or 1 for a server that random may draw.
    ///
    /// At 0 the server gets no key: it is not live, or its weight is too small for a single ketama point.
    pub fn points_of(&self, shard: usize) -> u32 {
        match &self.table {
            Table::Single => u32::from(shard == 0),
            Table::Ketama(ring) => ring.points_of(shard),
            Table::Modula(slots) => slots.points_of(shard),
            Table::Random(draws) => draws.points_of(shard),
        }
    }

    #[inline]
    fn hash_of(&self, key: &[u8]) -> u32 {
        let hashed = match self.tag {
            Some(tag) => tag.hashed_part(key),
            None => key,
        };
        if hashed.is_empty() { 0 } else { self.hash.of(hashed) }
    }
}

impl Table {
    /// `live` is not empty.
    fn new(distribution: Distribution, configured: usize, live: &[LiveNode<'_>]) -> Table {
        match distribution {
            _ if configured == 1 => Table::Single,
            Distribution::Ketama => Table::Ketama(Ring::new(live)),
            Distribution::Modula => Table::Modula(Slots::new(live)),
            Distribution::Random => Table::Random(Draws::new(live)),
        }
    }
}

fn live_nodes(nodes: &[OwnedNode], is_live: impl Fn(usize) -> bool) -> Vec<LiveNode<'_>> {
    let nodes = nodes.iter().enumerate().filter(|&(shard, _)| is_live(shard));
    nodes
        .map(|(shard, node)| LiveNode {
            shard: shard as u32,
            name: &node.name,
            weight: node.weight,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BRACES: HashTag = HashTag { open: b'{', close: b'}' };
    const THREE: [Node<'_>; 3] = [
        Node { name: b"a", weight: 1 },
        Node { name: b"b", weight: 1 },
        Node { name: b"c", weight: 1 },
    ];

    fn no_draw() -> u32 {
        panic!("only random draws")
    }

    #[test]
    fn a_pool_of_one_server_neither_hashes_nor_draws() {
        for distribution in Distribution::ALL {
            let mut single = Sharder::new(Hash::Fnv1a64, Some(BRACES), distribution, &THREE[..1]);
            assert_eq!(single.shard(b"any key", no_draw), 0);
            assert_eq!(single.keyless_shard(no_draw), 0);
            assert!(!single.rebuild(&[false]));
            assert!(!single.rebuild(&[true]));
            assert_eq!(single.shard(b"", no_draw), 0);
            assert_eq!([single.points_of(0), single.points_of(1)], [1, 0]);
        }
    }

    #[test]
    fn a_pool_reduced_to_one_live_server_sends_everything_there() {
        for distribution in Distribution::ALL {
            let mut sharder = Sharder::new(Hash::Fnv1a64, None, distribution, &THREE);
            assert!(sharder.rebuild(&[false, false, true]));
            for key in [&b""[..], b"foo", b"bar"] {
                assert_eq!(sharder.shard(key, || u32::MAX), 2);
            }
            assert_eq!([0, 1, 2].map(|shard| sharder.points_of(shard) > 0), [false, false, true]);
        }
    }

    #[test]
    fn an_empty_key_hashes_to_zero_whatever_the_function() {
        for hash in Hash::ALL {
            let modula = Sharder::new(hash, Some(BRACES), Distribution::Modula, &THREE);
            assert_eq!(modula.shard(b"", no_draw), 0, "{}", hash.name());
        }
        assert_ne!(Hash::Fnv1a64.of(b"") % 3, 0, "the function itself would choose another shard");
    }

    #[test]
    fn only_the_tagged_part_decides() {
        let tagged = Sharder::new(Hash::Fnv1a64, Some(BRACES), Distribution::Ketama, &THREE);
        let plain = Sharder::new(Hash::Fnv1a64, None, Distribution::Ketama, &THREE);
        let mut differ = 0;
        for number in 0..100 {
            let key = format!("a:{{{number}}}:b");
            let by_tag = tagged.shard(key.as_bytes(), no_draw);
            assert_eq!(by_tag, plain.shard(number.to_string().as_bytes(), no_draw));
            differ += usize::from(by_tag != plain.shard(key.as_bytes(), no_draw));
        }
        assert!(differ > 30);
    }

    #[test]
    fn keyless_commands_follow_the_word_placeholder_and_its_tag() {
        let tag = HashTag { open: b'p', close: b'c' };
        let tagged = Sharder::new(Hash::Fnv1a32, Some(tag), Distribution::Modula, &THREE);
        assert_eq!(tagged.keyless_shard(no_draw), Hash::Fnv1a32.of(b"la") as usize % 3);
        let plain = Sharder::new(Hash::Fnv1a32, None, Distribution::Modula, &THREE);
        assert_eq!(plain.keyless_shard(no_draw), Hash::Fnv1a32.of(b"placeholder") as usize % 3);
    }

    #[test]
    fn with_no_live_server_the_old_table_stays() {
        let mut sharder = Sharder::new(Hash::Fnv1a64, None, Distribution::Modula, &THREE);
        assert!(sharder.rebuild(&[true, false, true]));
        assert!(!sharder.rebuild(&[false; 3]));
        assert_eq!([0, 1, 2].map(|shard| sharder.points_of(shard)), [1, 0, 1]);
        assert!(sharder.rebuild(&[true; 3]));
        assert_eq!([0, 1, 2].map(|shard| sharder.points_of(shard)), [1, 1, 1]);
    }

    #[test]
    fn random_draws_once_for_each_lookup_and_hashes_nothing() {
        let random = Sharder::new(Hash::Fnv1a64, None, Distribution::Random, &THREE);
        let mut draws = 0;
        let third = u32::MAX / 3 + 1;
        let mut shards = Vec::new();
        for draw in [0, third, 2 * third, u32::MAX] {
            let draw = || {
                draws += 1;
                draw
            };
            shards.push(random.shard(b"same key", draw));
        }
        assert_eq!((draws, shards), (4, vec![0, 1, 2, 2]));
    }

    #[test]
    #[should_panic(expected = "sorted by name")]
    fn unsorted_servers_are_refused() {
        let (a, b) = (THREE[0], THREE[1]);
        Sharder::new(Hash::Fnv1a64, None, Distribution::Ketama, &[b, a]);
    }

    proptest! {
        #[test]
        fn no_ejected_server_gets_a_key_and_the_keys_of_live_ones_stay_with_ketama(
            ejected in 0..8usize, keys in proptest::collection::vec(any::<[u8; 6]>(), 64), draw: u32
        ) {
            let names: Vec<String> = (0..8).map(|n| format!("server{n}")).collect();
            let nodes: Vec<_> = names.iter().map(|name| Node { name: name.as_bytes(), weight: 3 }).collect();
            let live: Vec<bool> = (0..8).map(|shard| shard != ejected).collect();
            for distribution in Distribution::ALL {
                let full = Sharder::new(Hash::Fnv1a64, None, distribution, &nodes);
                let mut reduced = full.clone();
                prop_assert!(reduced.rebuild(&live));
                for key in &keys {
                    let (before, after) = (full.shard(key, || draw), reduced.shard(key, || draw));
                    prop_assert_ne!(after, ejected);
                    prop_assert!(distribution != Distribution::Ketama || before == ejected || before == after);
                }
            }
        }
    }
}
