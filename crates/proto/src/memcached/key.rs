//! Keys that arrive in base64, as flag `b` of a meta command says, decoded for hashing.

use super::limits::KEY_BYTES_MAX;

/// Room for a decoded key.
#[derive(Clone, Debug)]
pub struct Decoded {
    bytes: [u8; KEY_BYTES_MAX],
    len: u8,
}

impl Default for Decoded {
    fn default() -> Self {
        Self { bytes: [0; KEY_BYTES_MAX], len: 0 }
    }
}

impl Decoded {
    /// The key decoded last.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Decodes `word`: the standard alphabet, padded to whole groups of four. `None`, and empty,
    /// when it is no such key.
    pub fn decode(&mut self, word: &[u8]) -> Option<&[u8]> {
        self.len = 0;
        let mut len = 0_usize;
        let groups = word.chunks_exact(4);
        if !groups.remainder().is_empty() {
            return None;
        }
        let last = groups.len().checked_sub(1)?;
        for (nth, group) in groups.enumerate() {
            let (bytes, count) = three(group, nth == last)?;
            self.bytes.get_mut(len..len.checked_add(count)?)?.copy_from_slice(bytes.get(..count)?);
            len = len.checked_add(count)?;
        }
        self.len = u8::try_from(len).ok()?;
        Some(self.as_bytes())
    }
}

/// The bytes of a group of four letters, and how many they are.
fn three(group: &[u8], is_last: bool) -> Option<([u8; 3], usize)> {
    let &[a, b, c, d] = group else { return None };
    let count = match (c, d) {
        (b'=', b'=') if is_last => 1,
        (_, b'=') if is_last => 2,
        _ => 3,
    };
    let pad = |letter: u8, is_used: bool| if is_used { sextet(letter) } else { Some(0) };
    let bits = sextet(a)? << 18 | sextet(b)? << 12 | pad(c, count > 1)? << 6 | pad(d, count > 2)?;
    let [_, x, y, z] = bits.to_be_bytes();
    Some(([x, y, z], count))
}

fn sextet(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter.wrapping_sub(b'A'),
        b'a'..=b'z' => letter.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => letter.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}
