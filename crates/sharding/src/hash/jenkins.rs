//! Two functions by Bob Jenkins: one-at-a-time over signed bytes, and lookup3 (`hashlittle`) over unsigned ones.

use super::signed;

pub(super) fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = key.iter().fold(0u32, |hash, &byte| {
        let hash = hash.wrapping_add(signed(byte));
        let hash = hash.wrapping_add(hash << 10);
        hash ^ (hash >> 6)
    });
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// lookup3 with 13 as its seed. The last block, 1 to 12 bytes padded with zeros, is mixed differently from the others.
pub(super) fn lookup3(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(key.len() as u32).wrapping_add(13);
    let mut state = [start; 3];
    if key.is_empty() {
        return start;
    }
    let mut rest = key;
    while rest.len() > 12 {
        let Some((block, after)) = rest.split_first_chunk::<12>() else { break };
        mix(add_block(&mut state, block));
        rest = after;
    }
    let mut last = [0; 12];
    last[..rest.len()].copy_from_slice(rest);
    finish(add_block(&mut state, &last))
}

/// Adds the block's three little-endian words to the state.
#[inline]
fn add_block<'s>(state: &'s mut [u32; 3], block: &[u8; 12]) -> &'s mut [u32; 3] {
    for (sum, word) in state.iter_mut().zip(block.as_chunks::<4>().0) {
        *sum = sum.wrapping_add(u32::from_le_bytes(*word));
    }
    state
}

#[inline]
fn mix([a, b, c]: &mut [u32; 3]) {
    mix_step(a, c, b, 4);
    mix_step(b, a, c, 6);
    mix_step(c, b, a, 8);
    mix_step(a, c, b, 16);
    mix_step(b, a, c, 19);
    mix_step(c, b, a, 4);
}

#[inline]
fn mix_step(x: &mut u32, y: &mut u32, z: &u32, bits: u32) {
    *x = x.wrapping_sub(*y) ^ y.rotate_left(bits);
    *y = y.wrapping_add(*z);
}

#[inline]
fn finish([a, b, c]: &mut [u32; 3]) -> u32 {
    finish_step(c, *b, 14);
    finish_step(a, *c, 11);
    finish_step(b, *a, 25);
    finish_step(c, *b, 16);
    finish_step(a, *c, 4);
    finish_step(b, *a, 14);
    finish_step(c, *b, 24);
    *c
}

#[inline]
fn finish_step(x: &mut u32, y: u32, bits: u32) {
    *x = (*x ^ y).wrapping_sub(y.rotate_left(bits));
}
