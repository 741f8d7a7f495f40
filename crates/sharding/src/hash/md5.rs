//! MD5 as four little-endian words: the first is the `md5` hash of a key, all four are ketama points of a name.

use md5::{Digest, Md5};

/// The digest of `bytes`, read as little-endian words.
pub(crate) fn words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}
