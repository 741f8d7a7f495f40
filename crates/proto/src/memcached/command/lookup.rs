//! From a request's first word to its row: a hash table built at compile time.

use super::Command;
use super::table::ALL;

/// Slots of the table: several times the number of names, so that the first look nearly always
/// decides.
const SLOTS: usize = 256;

/// Ids of rows; [`EMPTY`] where the slot is.
static TABLE: [u16; SLOTS] = build();

const EMPTY: u16 = u16::MAX;

/// The row of a command word, in lower case only.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut place = slot(name);
    loop {
        // An empty slot holds an id without a row.
        let command = ALL.get(usize::from(*TABLE.get(place)?))?;
        if command.name.as_bytes() == name {
            return Some(command);
        }
        place = place.wrapping_add(1) % SLOTS;
    }
}

/// Where the search for a name begins.
#[inline]
const fn slot(name: &[u8]) -> usize {
    let (first, second, last) = match name {
        [first, second, .., last] => (*first, *second, *last),
        [first, last] => (*first, 0, *last),
        _ => (0, 0, 0),
    };
    let mixed = (first as usize).wrapping_mul(31) ^ (second as usize).wrapping_mul(7);
    mixed.wrapping_add((last as usize).wrapping_mul(13)).wrapping_add(name.len()) % SLOTS
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn build() -> [u16; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut id = 0;
    while id < ALL.len() {
        let mut place = slot(ALL[id].name.as_bytes());
        while table[place] != EMPTY {
            place = (place + 1) % SLOTS;
        }
        table[place] = id as u16;
        id += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{ALL, find};

    #[test]
    fn every_name_finds_its_row_and_no_other_word_does() {
        for row in &ALL {
            assert_eq!(find(row.name.as_bytes()), Some(row));
            assert_eq!(find(row.name.to_uppercase().as_bytes()), None);
            assert_eq!(find(format!("{}x", row.name).as_bytes()), None);
        }
        for word in [&b""[..], b"g", b"ge", b"m", b"mx", b"get\0", b"\xff\xff", b"HTTP/1.1"] {
            assert_eq!(find(word), None);
        }
    }
}
