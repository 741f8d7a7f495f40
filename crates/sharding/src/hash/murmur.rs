//! Austin Appleby's MurmurHash2 over little-endian words, its seed made from the length of the key.

const MULTIPLIER: u32 = 0x5bd1_e995;

pub(super) fn murmur(key: &[u8]) -> u32 {
    let length = key.len() as u32;
    let seed = 0xdead_beef_u32.wrapping_mul(length);
    let (blocks, rest) = key.as_chunks::<4>();
    let mut hash = blocks.iter().fold(seed ^ length, |hash, block| {
        let mut word = u32::from_le_bytes(*block).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER)
    });
    if !rest.is_empty() {
        let mut padded = [0; 4];
        padded[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(padded)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}
