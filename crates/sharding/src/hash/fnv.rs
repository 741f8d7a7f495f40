//! The four Fowler-Noll-Vo functions, all in 32-bit arithmetic over signed bytes.
//!
//! The 64-bit ones keep only the low halves of the published offset basis and prime. For `fnv1_64` that equals the
//! true function cut to 32 bits, because low bits never depend on high ones; for `fnv1a_64` it is how twemproxy
//! computes it, with the same outcome.

use super::signed;

/// Low half of 0xcbf29ce484222325.
const BASIS_64: u32 = 0x8422_2325;
/// Low half of 0x100000001b3.
const PRIME_64: u32 = 0x1b3;
const BASIS_32: u32 = 2_166_136_261;
const PRIME_32: u32 = 16_777_619;

pub(super) fn fnv1_64(key: &[u8]) -> u32 {
    fnv1(key, BASIS_64, PRIME_64)
}

pub(super) fn fnv1a_64(key: &[u8]) -> u32 {
    fnv1a(key, BASIS_64, PRIME_64)
}

pub(super) fn fnv1_32(key: &[u8]) -> u32 {
    fnv1(key, BASIS_32, PRIME_32)
}

pub(super) fn fnv1a_32(key: &[u8]) -> u32 {
    fnv1a(key, BASIS_32, PRIME_32)
}

#[inline(always)]
fn fnv1(key: &[u8], basis: u32, prime: u32) -> u32 {
    key.iter().fold(basis, |hash, &byte| hash.wrapping_mul(prime) ^ signed(byte))
}

#[inline(always)]
fn fnv1a(key: &[u8], basis: u32, prime: u32) -> u32 {
    key.iter().fold(basis, |hash, &byte| (hash ^ signed(byte)).wrapping_mul(prime))
}
