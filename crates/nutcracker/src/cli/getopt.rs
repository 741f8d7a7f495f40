//! GNU `getopt_long` over the table of flags: raw arguments in, one [`Item`] at a time out, in the order they stand.
//!
//! It knows how arguments are written, not what they mean; that is the neighbour's part.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::UsageError;
use super::flags::{FLAGS, Flag};

/// One piece of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A flag, with its argument exactly when the flag takes one.
    Flag(&'static Flag, OsString),
    /// Anything that is neither a flag nor the argument of one.
    Operand(OsString),
}

/// Reads the command line item by item.
pub(super) struct Getopt {
    arguments: VecDeque<OsString>,
    /// Letters of a bundle not looked at yet.
    bundle: VecDeque<u8>,
    /// `--` was seen.
    only_operands: bool,
}

impl Getopt {
    /// Starts before the first argument; the program's name must be gone already.
    pub(super) fn new(arguments: impl Iterator<Item = OsString>) -> Getopt {
        Getopt { arguments: arguments.collect(), bundle: VecDeque::new(), only_operands: false }
    }

    /// The next item, `None` at the end.
    pub(super) fn next_item(&mut self) -> Result<Option<Item>, UsageError> {
        if let Some(letter) = self.bundle.pop_front() {
            return self.short(letter).map(Some);
        }
        let Some(argument) = self.arguments.pop_front() else { return Ok(None) };
        let bytes = argument.as_bytes();
        if self.only_operands || bytes == b"-" || !bytes.starts_with(b"-") {
            return Ok(Some(Item::Operand(argument)));
        }
        if bytes == b"--" {
            self.only_operands = true;
            return self.next_item();
        }
        if let Some(word) = bytes.strip_prefix(b"--") {
            return self.long(word).map(Some);
        }
        self.bundle.extend(&bytes[1..]);
        self.next_item()
    }

    fn short(&mut self, letter: u8) -> Result<Item, UsageError> {
        let found = FLAGS.iter().find(|flag| flag.short == Some(char::from(letter)));
        let flag = found.ok_or_else(|| UsageError::Unknown(printable(&[letter])))?;
        if flag.argument.is_none() {
            return Ok(Item::Flag(flag, OsString::new()));
        }
        if self.bundle.is_empty() {
            return self.with_next_argument(flag);
        }
        let glued = self.bundle.drain(..).collect();
        Ok(Item::Flag(flag, OsString::from_vec(glued)))
    }

    fn long(&mut self, word: &[u8]) -> Result<Item, UsageError> {
        let equals = word.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]))),
            None => (word, None),
        };
        let unknown = || UsageError::Unknown(printable(&[b"--", name].concat()));
        let flag = find_long(name).ok_or_else(unknown)?;
        match (flag.argument, value) {
            (None, None) => Ok(Item::Flag(flag, OsString::new())),
            (None, Some(_)) => {
                let name = flag.short.map_or(format!("--{}", flag.long), String::from);
                Err(UsageError::Unknown(name))
            }
            (Some(_), Some(value)) => Ok(Item::Flag(flag, value.to_owned())),
            (Some(_), None) => self.with_next_argument(flag),
        }
    }

    fn with_next_argument(&mut self, flag: &'static Flag) -> Result<Item, UsageError> {
        match self.arguments.pop_front() {
            Some(value) => Ok(Item::Flag(flag, value)),
            None => Err(super::missing_argument(flag)),
        }
    }
}

/// The flag called `name`, or the only one that starts so.
///
/// COMPAT: the flags of twemproxy 0.5 are looked at first, so newer ones take no abbreviation away (`--p` stays
/// `--pid-file`).
fn find_long(name: &[u8]) -> Option<&'static Flag> {
    if let Some(exact) = FLAGS.iter().find(|flag| flag.long.as_bytes() == name) {
        return Some(exact);
    }
    let starts_so = |flag: &&Flag| flag.long.as_bytes().starts_with(name);
    let (inherited, newer): (Vec<&Flag>, Vec<&Flag>) =
        FLAGS.iter().filter(starts_so).partition(|flag| flag.is_inherited());
    match (inherited.as_slice(), newer.as_slice()) {
        ([only], _) | ([], [only]) => Some(only),
        _ => None,
    }
}

/// `bytes` for a message on a terminal: nothing that a terminal would act on.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().flat_map(char::escape_debug).collect::<String>().replace("\\'", "'")
}
