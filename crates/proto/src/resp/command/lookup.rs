//! From a request's first words to its row, without allocating: a hash table built at compile time.

use super::table::ALL;
use super::{Command, Flags, Policy, Rejection};
use crate::Span;

/// Slots of the table: nearly four times the number of names, so that the first look nearly always
/// decides.
const SLOTS: usize = 1024;

static TABLE: [Slot; SLOTS] = build();

/// One place of the hash table.
#[derive(Clone, Copy)]
struct Slot {
    name: Folded,
    /// Of its row; without a row where the slot is empty.
    id: u16,
    /// Whether equal `name`s are equal names.
    exact: bool,
}

impl Slot {
    const EMPTY: Self =
        Self { name: Folded { head: 0, tail: 0, len: 0 }, id: u16::MAX, exact: true };
}

/// A word in a form that compares in any case: its first and its last bytes with bit 5 set, which
/// makes letters lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Folded {
    head: u64,
    tail: u64,
    len: u8,
}

impl Folded {
    /// No command has a longer name.
    const BYTES_MAX: usize = 32;

    /// `None` for a word that cannot be a name.
    #[inline]
    const fn of(word: &[u8]) -> Option<Self> {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let (head, tail) = if word.len() > Self::BYTES_MAX {
            return None;
        } else if let (Some(head), Some(tail)) = (word.first_chunk::<8>(), word.last_chunk::<8>()) {
            (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
        } else if let (Some(head), Some(tail)) = (word.first_chunk::<4>(), word.last_chunk::<4>()) {
            (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
        } else if let (Some(head), Some(tail)) = (word.first_chunk::<2>(), word.last_chunk::<2>()) {
            (u16::from_le_bytes(*head) as u64, u16::from_le_bytes(*tail) as u64)
        } else {
            return None;
        };
        Some(Self { head: head | LOWER, tail: tail | LOWER, len: word.len() as u8 })
    }

    /// Whether a word that folds like `name` is that name: every byte is part of the folded form,
    /// and only letters are letters with bit 5 set.
    const fn is_exact(name: &[u8]) -> bool {
        let mut rest = name;
        while let [byte, behind @ ..] = rest {
            if !byte.is_ascii_lowercase() {
                return false;
            }
            rest = behind;
        }
        name.len() <= 16
    }

    /// Where the search for it begins.
    #[inline]
    const fn slot(self) -> usize {
        let mixed = self.head ^ self.tail.rotate_left(32);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
    }
}

/// The row of a request, once its number of arguments is right. `args` are the spans a scanner
/// found in `bytes`; the words are matched in any case.
///
/// # Errors
/// What Redis would refuse before it runs the command.
#[inline]
pub fn resolve(bytes: &[u8], args: &[Span]) -> Result<&'static Command, Rejection> {
    row(bytes, args, args.len())
}

/// The argument that is the key of a request of `argc` arguments, of which `args` are the first, if nothing that is still
/// to come can change what becomes of it: it is forwarded whole to the shard of this one key. Only of commands that write;
/// what reads may be answered without a server.
#[cold]
#[inline(never)]
pub fn key_of_unfinished(bytes: &[u8], args: &[Span], argc: usize) -> Option<usize> {
    let command = row(bytes, args, argc).ok()?;
    let is_certain = command.policy == Policy::SingleShard
        && command.is_single_key()
        && command.flags.has(Flags::WRITE);
    command.first_key(bytes, args).filter(|_| is_certain)
}

// PERF: once inside of the way of every request, once far from it.
#[inline(always)]
fn row(bytes: &[u8], args: &[Span], argc: usize) -> Result<&'static Command, Rejection> {
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
    if command.accepts(argc) { Ok(command) } else { Err(Rejection::WrongArity(command)) }
}

/// The row of a command word in any case; never that of a subcommand.
#[inline]
pub fn find(word: &[u8]) -> Option<&'static Command> {
    let folded = Folded::of(word)?;
    let mut place = folded.slot();
    loop {
        let slot = TABLE.get(place)?;
        // An empty slot holds an id without a row.
        let command = ALL.get(usize::from(slot.id))?;
        if slot.name == folded && (slot.exact || command.is_called(word)) {
            return Some(command);
        }
        place = place.wrapping_add(1) % SLOTS;
    }
}

impl Command {
    #[cold]
    fn is_called(&self, word: &[u8]) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(word)
    }
}

fn find_subcommand(container: &'static Command, word: &[u8]) -> Option<&'static Command> {
    container.subcommands().iter().find(|command| {
        command.subcommand().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(word))
    })
}

#[expect(clippy::indexing_slicing, clippy::panic, reason = "evaluated at compile time")]
const fn build() -> [Slot; SLOTS] {
    let mut table = [Slot::EMPTY; SLOTS];
    let mut id = 0;
    while id < ALL.len() {
        let name = ALL[id].name.as_bytes();
        if !is_subcommand(name) {
            let folded = match Folded::of(name) {
                Some(folded) => folded,
                None => panic!("a command's name is too long"),
            };
            let mut place = folded.slot();
            while table[place].id != Slot::EMPTY.id {
                place = (place + 1) % SLOTS;
            }
            let exact = Folded::is_exact(name);
            table[place] = Slot { name: folded, id: id as u16, exact };
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
