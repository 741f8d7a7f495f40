//! Hash tags: the part of a key that is hashed, so that related keys can be kept on one shard.
//!
//! Apart from the hash functions because it is the same for all of them, and comes before any of them.

/// Two bytes that delimit the hashed part of a key (`hash_tag: "{}"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashTag {
    /// Opening byte.
    pub open: u8,
    /// Closing byte; may equal the opening one.
    pub close: u8,
}

impl HashTag {
    /// The bytes of `key` that decide its shard: those between the first opening byte and the first closing byte
    /// after it, or the whole key when either is missing or nothing lies between them.
    ///
    /// COMPAT: twemproxy 0.5 tries only the first opening byte; `{}{a}` is hashed whole.
    ///
    /// ```
    /// let tag = sharding::HashTag { open: b'{', close: b'}' };
    /// assert_eq!(tag.hashed_part(b"user:{42}:name"), b"42");
    /// assert_eq!(tag.hashed_part(b"{}{42}"), b"{}{42}");
    /// ```
    #[inline]
    pub fn hashed_part(self, key: &[u8]) -> &[u8] {
        let Some((_, after_open)) = split_at_byte(key, self.open) else { return key };
        match split_at_byte(after_open, self.close) {
            Some((tagged, _)) if !tagged.is_empty() => tagged,
            _ => key,
        }
    }
}

/// What lies before and after the first `byte`.
#[inline]
fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == byte)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BRACES: HashTag = HashTag { open: b'{', close: b'}' };

    #[test]
    fn an_empty_tag_hashes_the_whole_key() {
        assert_eq!(BRACES.hashed_part(b"{}rest"), b"{}rest");
        assert_eq!(BRACES.hashed_part(b"{}{a}"), b"{}{a}");
    }

    #[test]
    fn an_unterminated_or_reversed_tag_hashes_the_whole_key() {
        assert_eq!(BRACES.hashed_part(b"user:{42"), b"user:{42");
        assert_eq!(BRACES.hashed_part(b"user:}42{"), b"user:}42{");
        assert_eq!(BRACES.hashed_part(b"}{"), b"}{");
    }

    #[test]
    fn only_the_first_tag_counts() {
        assert_eq!(BRACES.hashed_part(b"{a}{b}"), b"a");
        assert_eq!(BRACES.hashed_part(b"{{a}}"), b"{a");
    }

    #[test]
    fn equal_bytes_close_at_their_second_occurrence() {
        let dollars = HashTag { open: b'$', close: b'$' };
        assert_eq!(dollars.hashed_part(b"user:$42$:x"), b"42");
        assert_eq!(dollars.hashed_part(b"$$42$"), b"$$42$");
    }

    #[test]
    fn any_two_bytes_delimit_a_tag() {
        let prefix = HashTag { open: b'P', close: b':' };
        assert_eq!(prefix.hashed_part(b"xP17:rest"), b"17");
        assert_eq!(prefix.hashed_part(b"a:P17"), b"a:P17");
    }

    proptest! {
        #[test]
        fn the_hashed_part_is_a_subslice_and_never_empty_for_a_key_with_bytes(
            open in b'a'..b'd', close in b'a'..b'd', key in proptest::collection::vec(b'a'..b'f', 0..24)
        ) {
            let part = HashTag { open, close }.hashed_part(&key);
            prop_assert!(key.as_ptr_range().contains(&part.as_ptr()) || key.is_empty());
            let start = part.as_ptr() as usize - key.as_ptr() as usize;
            prop_assert_eq!(&key[start..start + part.len()], part);
            prop_assert_eq!(part.is_empty(), key.is_empty());
            if part.len() < key.len() {
                prop_assert_eq!(key.iter().position(|&b| b == open), Some(start - 1));
                prop_assert_eq!(key[start + part.len()], close);
                prop_assert!(!part.contains(&close));
            }
        }
    }
}
