//! From a request's first words to its row, without allocating: a hash table built at compile time.

use super::table::ALL;
use super::{Command, Rejection};
use crate::Span;

/// Slots of the table: four times the number of names and more, so that the first look nearly
/// always decides.
const SLOTS: usize = 2048;

/// Marks a slot without a command.
const EMPTY: u16 = u16::MAX;

/// No name is longer; a longer word is unknown without being hashed.
const NAME_BYTES_MAX: usize = 32;

static TABLE: [u16; SLOTS] = build();

/// The row of a request, once its number of arguments is right. `args` are the spans a scanner
/// found in `bytes`; the words are matched in any case.
///
/// # Errors
/// What Redis would refuse before it runs the command.
#[inline]
pub fn resolve(bytes: &[u8], args: &[Span]) -> Result<&'static Command, Rejection> {
    let Some(word) = args.first() else { return Err(Rejection::UnknownCommand) };
    let Some(mut command) = find(word.of(bytes)) else { return Err(Rejection::UnknownCommand) };
    if command.subcommands > 0
        && let Some(word) = args.get(1)
    {
        match find_subcommand(command, word.of(bytes)) {
            Some(subcommand) => command = subcommand,
            None => return Err(Rejection::UnknownSubcommand(command)),
        }
    }
    if command.accepts(args.len()) { Ok(command) } else { Err(Rejection::WrongArity(command)) }
}

/// The row of a command word in any case; never that of a subcommand.
#[inline]
pub fn find(word: &[u8]) -> Option<&'static Command> {
    let mut slot = slot_of(word)?;
    loop {
        // An empty slot holds an id without a row.
        let command = ALL.get(usize::from(*TABLE.get(slot)?))?;
        if command.name.as_bytes().eq_ignore_ascii_case(word) {
            return Some(command);
        }
        slot = slot.wrapping_add(1) % SLOTS;
    }
}

fn find_subcommand(container: &'static Command, word: &[u8]) -> Option<&'static Command> {
    container.subcommands().iter().find(|command| {
        command.subcommand().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(word))
    })
}

/// Where the search for a word begins; `None` for a word that cannot be a name.
///
/// Setting bit 5 makes letters lower case. It makes some other bytes equal too, which costs at most
/// a comparison.
#[inline]
const fn slot_of(word: &[u8]) -> Option<usize> {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let (head, tail) = if word.len() > NAME_BYTES_MAX {
        return None;
    } else if let (Some(head), Some(tail)) = (word.first_chunk::<8>(), word.last_chunk::<8>()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (word.first_chunk::<4>(), word.last_chunk::<4>()) {
        (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
    } else if let [a, rest @ ..] = word {
        let [b, c] = match rest {
            [b, c] => [*b, *c],
            [b] => [*b, 0],
            _ => [0, 0],
        };
        (u32::from_le_bytes([*a, b, c, 0]) as u64, 0)
    } else {
        return None;
    };
    let mixed = (head | LOWER).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (tail | LOWER).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(29);
    let mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    Some((mixed >> 53) as usize)
}

#[expect(clippy::indexing_slicing, clippy::panic, reason = "evaluated at compile time")]
const fn build() -> [u16; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut id = 0;
    while id < ALL.len() {
        let name = ALL[id].name.as_bytes();
        if !is_subcommand(name) {
            let mut slot = match slot_of(name) {
                Some(slot) => slot,
                None => panic!("a command's name is too long"),
            };
            while table[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            table[slot] = id as u16;
        }
        id += 1;
    }
    table
}

/// Whether a row's name is that of a subcommand.
pub(super) const fn is_subcommand(name: &[u8]) -> bool {
    let mut rest = name;
    while let [byte, behind @ ..] = rest {
        if *byte == b'|' {
            return true;
        }
        rest = behind;
    }
    false
}
