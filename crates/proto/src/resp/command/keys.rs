//! Which arguments of a request are keys, and what else its arguments decide.

use super::flags::KeyFlags;
use super::flags::key_bits::{ACCESS, OW, RO, RW, UPDATE};
use super::key_spec::{BeginSearch, FindKeys, KeySpec};
use super::policy::{Policy, Unsupported};
use super::rejection::KeysRejection;
use super::{Argument, Command};
use crate::{Span, argument};

/// Arguments `first`, `first + step`, … `count` of them.
#[derive(Clone, Copy)]
struct Keys {
    first: usize,
    count: usize,
    step: usize,
}

impl Keys {
    const NONE: Self = Self { first: 0, count: 0, step: 1 };
}

impl Command {
    /// How the proxy serves this request: [`Command::policy`], unless an argument changes it.
    /// `XREAD BLOCK` needs a connection of its own, and a script without keys can run anywhere.
    #[inline]
    pub fn policy_for(&self, bytes: &[u8], args: &[Span]) -> Policy {
        match self.argument {
            Argument::None => self.policy,
            Argument::Block if blocks(bytes, args) => Policy::Unsupported(Unsupported::Session),
            Argument::Numkeys if argument(bytes, args, 2) == b"0" => Policy::Keyless,
            Argument::Block | Argument::Numkeys => self.policy,
        }
    }

    /// The argument that is the first key, the one twemproxy 0.5 routes by.
    #[inline]
    pub fn first_key(&self, bytes: &[u8], args: &[Span]) -> Option<usize> {
        // PERF: nearly every command has its first key at a fixed place.
        if let [
            KeySpec {
                begin_search: BeginSearch::Index(index),
                find_keys: FindKeys::Range { .. },
                ..
            },
            ..,
        ] = self.key_specs
            && self.name != "migrate"
        {
            let index = usize::from(*index);
            return (index < args.len()).then_some(index);
        }
        let mut first = None;
        let found = self.each(bytes, args, &mut |keys, _| {
            if first.is_none() && keys.count > 0 {
                first = Some(keys.first);
            }
        });
        found.ok().and(first)
    }

    /// Appends the arguments that are keys to `found`, in the order of the key specifications.
    /// A script without keys has none.
    ///
    /// # Errors
    /// The arguments contradict each other, or a command that must have a key has none; nothing is
    /// appended then.
    pub fn keys(
        &self,
        bytes: &[u8],
        args: &[Span],
        found: &mut Vec<u32>,
    ) -> Result<(), KeysRejection> {
        self.collect(bytes, args, found, |key, _| key)
    }

    /// As [`Command::keys`], each with what the command does to it.
    ///
    /// # Errors
    /// Those of [`Command::keys`].
    pub fn keys_and_flags(
        &self,
        bytes: &[u8],
        args: &[Span],
        found: &mut Vec<(u32, KeyFlags)>,
    ) -> Result<(), KeysRejection> {
        self.collect(bytes, args, found, |key, flags| {
            let is_variable = flags.has(KeyFlags::VARIABLE_FLAGS);
            (key, if is_variable { self.resolved_flags(bytes, args) } else { flags })
        })
    }

    /// What this request does to the key of a command whose other arguments decide that.
    fn resolved_flags(&self, bytes: &[u8], args: &[Span]) -> KeyFlags {
        match self.name {
            "set" if (3..args.len()).all(|place| !is_word(bytes, args, place, "GET")) => {
                KeyFlags(OW | UPDATE)
            }
            "bitfield" if only_reads_bits(bytes, args) => KeyFlags(RO | ACCESS),
            _ => KeyFlags(RW | ACCESS | UPDATE),
        }
    }

    fn collect<T>(
        &self,
        bytes: &[u8],
        args: &[Span],
        found: &mut Vec<T>,
        entry: impl Fn(u32, KeyFlags) -> T,
    ) -> Result<(), KeysRejection> {
        let before = found.len();
        let result = self.each(bytes, args, &mut |keys, flags| {
            let places = (keys.first..args.len()).step_by(keys.step.max(1)).take(keys.count);
            let places = places.filter_map(|place| u32::try_from(place).ok());
            found.extend(places.map(|place| entry(place, flags)));
        });
        if result.is_err() {
            found.truncate(before);
        }
        result?;
        let optional = self.key_specs.is_empty() || self.argument == Argument::Numkeys;
        if found.len() == before && !optional { Err(KeysRejection::Syntax) } else { Ok(()) }
    }

    fn each(
        &self,
        bytes: &[u8],
        args: &[Span],
        visit: &mut impl FnMut(Keys, KeyFlags),
    ) -> Result<(), KeysRejection> {
        match (self.name, self.key_specs) {
            ("migrate", [spec, ..]) => visit(migrate_keys(bytes, args), spec.flags),
            ("sort", [source, .., destination]) => {
                visit(Keys { first: 1, count: 1, step: 1 }, source.flags);
                visit(sort_store(bytes, args), destination.flags);
            }
            (_, specs) => {
                for spec in specs {
                    visit(self.find(spec, bytes, args)?, spec.flags);
                }
            }
        }
        Ok(())
    }

    /// The keys one specification finds.
    fn find(&self, spec: &KeySpec, bytes: &[u8], args: &[Span]) -> Result<Keys, KeysRejection> {
        let begin = match spec.begin_search {
            BeginSearch::Index(index) => Some(usize::from(index)),
            BeginSearch::Keyword { keyword, startfrom } => {
                behind_keyword(keyword, startfrom, bytes, args)
            }
            BeginSearch::Unknown => None,
        };
        let Some(begin) = begin.filter(|begin| *begin < args.len()) else { return Ok(Keys::NONE) };
        let left = args.len().saturating_sub(begin);
        match spec.find_keys {
            FindKeys::Range { lastkey, keystep, limit } => {
                let step = usize::from(keystep.max(1));
                let reach = match usize::try_from(lastkey) {
                    Ok(lastkey) => lastkey.saturating_add(1),
                    // Half of the arguments behind STREAMS are keys; of an odd number, the server
                    // says what it thinks.
                    Err(_) if limit > 1 => left.div_ceil(usize::from(limit)),
                    Err(_) => {
                        let behind = usize::from(lastkey.unsigned_abs()).saturating_sub(1);
                        left.saturating_sub(behind)
                    }
                };
                Ok(Keys { first: begin, count: reach.min(left).div_ceil(step), step })
            }
            FindKeys::Keynum { keynumidx, firstkey, keystep } => {
                let number = argument(bytes, args, begin.saturating_add(usize::from(keynumidx)));
                let first = begin.saturating_add(usize::from(firstkey));
                let room = args.len().saturating_sub(first);
                let count = self.numkeys(number, room)?;
                Ok(Keys { first, count, step: usize::from(keystep) })
            }
            FindKeys::Unknown => Ok(Keys::NONE),
        }
    }

    /// Checks a number of keys against the arguments there are, with the words Redis has for each
    /// family of commands.
    fn numkeys(&self, number: &[u8], room: usize) -> Result<usize, KeysRejection> {
        let number = integer(number);
        let count = number.and_then(|number| usize::try_from(number).ok());
        match self.name {
            "sintercard" | "lmpop" | "zmpop" | "blmpop" | "bzmpop" => match count {
                None | Some(0) => Err(KeysRejection::NumkeysNotPositive),
                Some(count) if count <= room => Ok(count),
                Some(_) if self.name == "sintercard" => Err(KeysRejection::MoreKeysThanArgs),
                Some(_) => Err(KeysRejection::Syntax),
            },
            _ if self.argument == Argument::Numkeys => match count {
                None if number.is_none() => Err(KeysRejection::NotAnInteger),
                None => Err(KeysRejection::NegativeNumkeys),
                Some(count) if count <= room => Ok(count),
                Some(_) => Err(KeysRejection::MoreKeysThanArgs),
            },
            _ => match count {
                None if number.is_none() => Err(KeysRejection::NotAnInteger),
                None | Some(0) => Err(KeysRejection::NoInputKey(self.name)),
                Some(count) if count <= room => Ok(count),
                Some(_) => Err(KeysRejection::Syntax),
            },
        }
    }
}

/// The argument behind a word. The search never takes the last argument for the word: nothing
/// would be behind it.
fn behind_keyword(keyword: &str, startfrom: i8, bytes: &[u8], args: &[Span]) -> Option<usize> {
    let is_keyword = |place: &usize| is_word(bytes, args, *place, keyword);
    let last = args.len().checked_sub(1)?;
    let place = match usize::try_from(startfrom) {
        Ok(from) => (from..last).find(is_keyword),
        Err(_) => {
            let from = args.len().saturating_sub(usize::from(startfrom.unsigned_abs()));
            (1..=from).rev().find(is_keyword)
        }
    };
    place.map(|place| place.saturating_add(1))
}

/// `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p | AUTH2 u p] [KEYS key …]`
fn migrate_keys(bytes: &[u8], args: &[Span]) -> Keys {
    let single = Keys { first: 3, count: 1, step: 1 };
    if !argument(bytes, args, 3).is_empty() {
        return single;
    }
    let mut place = 6_usize;
    while place < args.len() {
        if is_word(bytes, args, place, "KEYS") {
            let first = place.saturating_add(1);
            return Keys { first, count: args.len().saturating_sub(first), step: 1 };
        }
        let taken = match () {
            () if is_word(bytes, args, place, "AUTH2") => 3,
            () if is_word(bytes, args, place, "AUTH") => 2,
            () => 1,
        };
        place = place.saturating_add(taken);
    }
    single
}

/// The destination of `SORT`: what follows the last `STORE` that is no argument of another option.
fn sort_store(bytes: &[u8], args: &[Span]) -> Keys {
    let mut store = Keys::NONE;
    let mut place = 2_usize;
    while place < args.len() {
        let taken = match () {
            () if is_word(bytes, args, place, "LIMIT") => 3,
            () if is_word(bytes, args, place, "GET") || is_word(bytes, args, place, "BY") => 2,
            () if is_word(bytes, args, place, "STORE") => {
                let first = place.saturating_add(1);
                if first < args.len() {
                    store = Keys { first, count: 1, step: 1 };
                }
                2
            }
            () => 1,
        };
        place = place.saturating_add(taken);
    }
    store
}

/// Whether nothing but `GET type offset` and `OVERFLOW type` follows the key of `BITFIELD`.
fn only_reads_bits(bytes: &[u8], args: &[Span]) -> bool {
    let mut place = 2_usize;
    while place < args.len() {
        let taken = match () {
            () if is_word(bytes, args, place, "GET") => 3,
            () if is_word(bytes, args, place, "OVERFLOW") => 2,
            () => return false,
        };
        place = place.saturating_add(taken);
        if place > args.len() {
            return false;
        }
    }
    true
}

/// Whether `BLOCK` is among the options ahead of `STREAMS`.
#[cold]
fn blocks(bytes: &[u8], args: &[Span]) -> bool {
    let mut place = 1_usize;
    while place < args.len() {
        let taken = match () {
            () if is_word(bytes, args, place, "BLOCK") => return true,
            () if is_word(bytes, args, place, "STREAMS") => return false,
            () if is_word(bytes, args, place, "GROUP") => 3,
            () if is_word(bytes, args, place, "COUNT") => 2,
            () => 1,
        };
        place = place.saturating_add(taken);
    }
    false
}

fn is_word(bytes: &[u8], args: &[Span], place: usize, expected: &str) -> bool {
    argument(bytes, args, place).eq_ignore_ascii_case(expected.as_bytes())
}

/// A number as Redis takes it: no plus sign, no leading zeros, no blanks.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => digits.len() == text.len(),
        [first, rest @ ..] => matches!(first, b'1'..=b'9') && rest.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    if plain { core::str::from_utf8(text).ok()?.parse().ok() } else { None }
}
