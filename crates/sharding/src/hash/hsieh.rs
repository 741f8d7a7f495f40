//! Paul Hsieh's SuperFastHash, seeded with 0 where the published function starts from the length.

use super::signed;

pub(super) fn hsieh(key: &[u8]) -> u32 {
    let (blocks, rest) = key.as_chunks::<4>();
    let hash = blocks.iter().fold(0u32, |hash, &[a, b, c, d]| {
        let hash = hash.wrapping_add(pair(a, b));
        let mixed = (pair(c, d) << 11) ^ hash;
        let hash = (hash << 16) ^ mixed;
        hash.wrapping_add(hash >> 11)
    });
    avalanche(mix_rest(hash, rest))
}

/// Mixes in the 0 to 3 bytes after the last whole block. The last of three is signed, a single one is not.
#[inline]
fn mix_rest(hash: u32, rest: &[u8]) -> u32 {
    match *rest {
        [a, b, c] => {
            let mut hash = hash.wrapping_add(pair(a, b));
            hash ^= hash << 16;
            hash ^= signed(c) << 18;
            hash.wrapping_add(hash >> 11)
        }
        [a, b] => {
            let mut hash = hash.wrapping_add(pair(a, b));
            hash ^= hash << 11;
            hash.wrapping_add(hash >> 17)
        }
        [a] => {
            let mut hash = hash.wrapping_add(u32::from(a));
            hash ^= hash << 10;
            hash.wrapping_add(hash >> 1)
        }
        _ => hash,
    }
}

#[inline]
fn avalanche(mut hash: u32) -> u32 {
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

#[inline]
fn pair(low: u8, high: u8) -> u32 {
    u32::from(u16::from_le_bytes([low, high]))
}
