//! Ketama: a ring of 32-bit points, about 160 for a server of average weight; a key belongs to the first point at or
//! after its hash.
//!
//! When a server leaves, only its own keys move (and, with unequal weights, a few more, because shares are computed
//! anew). Every rounding step below decides where keys live.

use std::io::Write;

use super::LiveNode;
use crate::hash::md5_words;

/// Points of a server whose weight is the average.
const POINTS_PER_SERVER: f32 = 160.0;
/// Points made from one MD5 digest.
const POINTS_PER_DIGEST: usize = 4;
/// What is hashed for a digest is `NAME-COUNTER`, cut to this many bytes.
const DIGEST_INPUT_BYTES_MAX: usize = 272;

/// The points of the live servers, sorted, with an index over their leading bits.
///
/// PERF: a lookup reads one bucket and the point it names, seldom more than one further: two cache lines whatever the
/// size of the ring (bench `lookup`: 3 ns instead of 8 for 3 servers, 5 instead of 35 for 300, against halving).
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// Ascending; equal values in the order in which the servers brought them.
    ///
    /// INVARIANT: one more point than the servers own. The last one has the value `u32::MAX` and the shard of the
    /// first, so that a search always ends on a point and needs no wrap around.
    points: Box<[Point]>,
    /// For each value of a hash's leading bits, the first point that is not before all such hashes.
    ///
    /// INVARIANT: `1 << (32 - shift)` entries, each a valid index into `points`.
    buckets: Box<[u32]>,
    shift: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    value: u32,
    shard: u32,
}

impl Ring {
    /// `live` must not be empty and is in the order of the pool's servers.
    pub(crate) fn new(live: &[LiveNode<'_>]) -> Ring {
        let weights: u64 = live.iter().map(|node| u64::from(node.weight)).sum();
        let mut points = Vec::with_capacity(live.len() * POINTS_PER_SERVER as usize + 1);
        for node in live {
            push_points(&mut points, node, digests_of(node.weight, weights, live.len()));
        }
        // COMPAT: glibc's qsort, used by twemproxy 0.5, is a merge sort: equal values keep their order.
        points.sort_by_key(|point| point.value);
        Ring::index(points)
    }

    /// Adds the closing point and the buckets to sorted points, of which there is at least one: the server of greatest
    /// weight owns no fewer than the average.
    fn index(mut points: Vec<Point>) -> Ring {
        let bucket_bits = points.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u32::BITS - bucket_bits;
        let buckets = (0..1u32 << bucket_bits)
            .map(|bucket| points.partition_point(|point| point.value < bucket << shift) as u32)
            .collect();
        points.push(Point { value: u32::MAX, shard: points[0].shard });
        Ring { points: points.into(), buckets, shift }
    }

    /// The shard for `hash`: that of the first point whose value is not less, or of the ring's first point.
    #[inline]
    pub(crate) fn shard_of(&self, hash: u32) -> usize {
        let mut at = self.buckets[(hash >> self.shift) as usize] as usize;
        while self.points[at].value < hash {
            at += 1;
        }
        self.points[at].shard as usize
    }

    /// The points that belong to `shard`: 0 when it is not live, or when its weight is too small for a single one.
    pub(crate) fn points_of(&self, shard: usize) -> u32 {
        self.owned().iter().filter(|point| point.shard as usize == shard).count() as u32
    }

    /// All points but the closing one.
    fn owned(&self) -> &[Point] {
        &self.points[..self.points.len() - 1]
    }
}

/// How many digests, of four points each, a server of this weight contributes.
///
/// COMPAT: twemproxy 0.5 computes in single precision, rounding after each operation. (It adds 1e-10 in the end, which
/// no number survives from 1 on.) So servers of equal weight own 156 points instead of 160 in pools of 25, 47, 50 and
/// 100 others of the first 1000 sizes, and a server that weighs a small fraction of the average owns none.
fn digests_of(weight: u32, weights: u64, servers: usize) -> usize {
    let share = weight as f32 / weights as f32;
    let digests = share * POINTS_PER_SERVER / POINTS_PER_DIGEST as f32 * servers as f32;
    digests.floor() as usize
}

fn push_points(points: &mut Vec<Point>, node: &LiveNode<'_>, digests: usize) {
    let mut input = Vec::with_capacity(DIGEST_INPUT_BYTES_MAX);
    for counter in 0..digests {
        input.clear();
        input.extend_from_slice(node.name);
        write!(input, "-{counter}").expect("a vector takes any bytes");
        input.truncate(DIGEST_INPUT_BYTES_MAX);
        points.extend(md5_words(&input).map(|value| Point { value, shard: node.shard }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::placement::{array, lists, number, text};

    fn ring(weights: &[u32]) -> Ring {
        let names: Vec<String> = (0..weights.len()).map(|shard| format!("server{shard}")).collect();
        let nodes = names.iter().zip(weights).enumerate();
        let live: Vec<_> = nodes
            .map(|(shard, (name, &weight))| LiveNode {
                shard: shard as u32,
                name: name.as_bytes(),
                weight,
            })
            .collect();
        Ring::new(&live)
    }

    fn from_values(values: &[u32]) -> Ring {
        let points =
            values.iter().enumerate().map(|(shard, &value)| Point { value, shard: shard as u32 });
        let mut points: Vec<_> = points.collect();
        points.sort_by_key(|point| point.value);
        Ring::index(points)
    }

    /// The rule itself: the first point at or after the hash, otherwise the first of all.
    fn by_linear_search(ring: &Ring, hash: u32) -> usize {
        let owned = ring.owned();
        owned.iter().find(|point| point.value >= hash).unwrap_or(&owned[0]).shard as usize
    }

    fn sha256(ring: &Ring) -> String {
        let mut digest = Sha256::new();
        for point in ring.owned() {
            digest.update(point.value.to_le_bytes());
            digest.update(point.shard.to_le_bytes());
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_golden_ring_is_reproduced_point_by_point() {
        for list in lists("ketama_vectors.json") {
            let nodes = list.nodes();
            let live: Vec<_> = nodes.iter().enumerate().map(live_node).collect();
            let ring = Ring::new(&live);
            let points: Vec<_> =
                (0..live.len()).map(|shard| ring.points_of(shard) as usize).collect();
            let expected: Vec<_> =
                array(&list.json, "points_per_server").iter().map(number).collect();
            assert_eq!(points, expected, "{}", list.title);
            assert_eq!(ring.owned().len(), number(&list.json["ncontinuum"]), "{}", list.title);
            for (point, expected) in ring.owned().iter().zip(array(&list.json, "continuum_first20"))
            {
                assert_eq!(
                    [point.value as usize, point.shard as usize],
                    [number(&expected[0]), number(&expected[1])]
                );
            }
            assert_eq!(sha256(&ring), text(&list.json["continuum_sha256"]), "{}", list.title);
        }
    }

    #[test]
    fn every_golden_ring_with_ejected_servers_is_reproduced_point_by_point() {
        let mut rings = 0;
        for list in lists("eject_vectors.json") {
            if text(&list.json["distribution"]) != "ketama" {
                continue;
            }
            let nodes = list.nodes();
            let ejected: Vec<_> = array(&list.json, "ejected_indices").iter().map(number).collect();
            let live: Vec<_> = nodes
                .iter()
                .enumerate()
                .filter(|(shard, _)| !ejected.contains(shard))
                .map(live_node)
                .collect();
            assert_eq!(
                sha256(&Ring::new(&live)),
                text(&list.json["continuum_sha256"]),
                "{}",
                list.title
            );
            rings += 1;
        }
        assert!(rings > 3);
    }

    fn live_node<'n>((shard, node): (usize, &crate::Node<'n>)) -> LiveNode<'n> {
        LiveNode { shard: shard as u32, name: node.name, weight: node.weight }
    }

    #[test]
    fn equal_weights_round_to_156_points_in_103_pool_sizes() {
        let sizes = |weight: u32| -> Vec<usize> {
            (1..=1000).filter(|&n| digests_of(weight, weight as u64 * n as u64, n) != 40).collect()
        };
        let rounded = sizes(1);
        let beginning = [
            25, 47, 50, 55, 61, 71, 94, 100, 107, 109, 110, 115, 122, 142, 159, 163, 188, 193, 200,
            209, 214, 218, 219, 220, 230, 237, 243, 244, 279, 284, 293, 299, 301, 305, 313, 318,
            319, 326, 376, 386, 397, 400,
        ];
        assert_eq!(rounded[..beginning.len()], beginning);
        assert_eq!(rounded.len(), 103);
        assert!(rounded.iter().all(|&n| digests_of(1, n as u64, n) == 39));
        assert_eq!(sizes(100), rounded);
        assert_eq!(sizes(7), rounded);
    }

    #[test]
    fn of_two_servers_the_lighter_owns_nothing_from_80_to_1() {
        assert_eq!(digests_of(1, 80, 2), 1);
        assert_eq!(digests_of(1, 81, 2), 0);
    }

    #[test]
    fn weights_whose_sum_exceeds_32_bits_still_share_the_ring() {
        let ring = ring(&[i32::MAX as u32; 5]);
        assert_eq!([0, 1, 2, 3, 4].map(|shard| ring.points_of(shard)), [160; 5]);
    }

    #[test]
    fn a_hash_after_the_last_point_belongs_to_the_first() {
        let ring = from_values(&[10, 4_000_000_000]);
        assert_eq!(ring.shard_of(4_000_000_000), 1);
        assert_eq!(ring.shard_of(4_000_000_001), 0);
        assert_eq!(ring.shard_of(u32::MAX), 0);
        assert_eq!(ring.shard_of(0), 0);
        assert_eq!(ring.shard_of(11), 1);
    }

    #[test]
    fn a_point_at_the_very_end_keeps_its_hash() {
        let ring = from_values(&[7, u32::MAX]);
        assert_eq!(ring.shard_of(u32::MAX), 1);
        assert_eq!(ring.shard_of(8), 1);
        assert_eq!(ring.shard_of(7), 0);
    }

    #[test]
    fn equal_points_belong_to_the_server_that_comes_first() {
        assert_eq!(from_values(&[9, 5, 5, 5]).shard_of(5), 1);
        assert_eq!(from_values(&[5, 5]).shard_of(6), 0);
    }

    #[test]
    fn names_beyond_the_cut_repeat_their_points() {
        let name = [b'n'; 272];
        let ring = Ring::new(&[LiveNode { shard: 0, name: &name, weight: 1 }]);
        let mut values: Vec<_> = ring.owned().iter().map(|point| point.value).collect();
        values.dedup();
        assert_eq!((ring.owned().len(), values.len()), (160, 4));
    }

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_linear_search_finds(
            weights in proptest::collection::vec(1..50u32, 1..12), hashes: [u32; 64]
        ) {
            let ring = ring(&weights);
            let around_points =
                ring.owned().iter().flat_map(|p| [p.value, p.value.wrapping_sub(1), p.value.wrapping_add(1)]);
            for hash in around_points.chain(hashes) {
                prop_assert_eq!(ring.shard_of(hash), by_linear_search(&ring, hash));
            }
        }

        #[test]
        fn a_lookup_survives_crowded_and_empty_buckets(
            values in proptest::collection::vec(
                prop_oneof![0..9u32, u32::MAX - 9..=u32::MAX, 0x7fff_fffc..0x8000_0004u32, any::<u32>()], 1..80
            ),
            hashes in proptest::collection::vec(
                prop_oneof![0..12u32, u32::MAX - 12..=u32::MAX, 0x7fff_fff9..0x8000_0007u32, any::<u32>()], 32
            )
        ) {
            let ring = from_values(&values);
            for hash in hashes {
                prop_assert_eq!(ring.shard_of(hash), by_linear_search(&ring, hash));
            }
        }

        #[test]
        fn no_ring_is_empty_or_exceeds_160_points_a_server(
            weights in proptest::collection::vec(prop_oneof![1..5u32, 1..=i32::MAX as u32], 1..40)
        ) {
            let points = ring(&weights).owned().len();
            prop_assert!(points > 0 && points <= 160 * weights.len(), "{points} points");
        }
    }
}
