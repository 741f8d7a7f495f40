//! Where the keys of a command are, in the terms of Redis' key specifications: first find where to
//! begin, then which arguments from there on are keys.

use super::flags::KeyFlags;

/// One rule that finds keys; a command may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the search begins.
    pub begin_search: BeginSearch,
    /// Which arguments are keys, counted from there.
    pub find_keys: FindKeys,
    /// What the command does to them.
    pub flags: KeyFlags,
}

/// Where a search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument; the command word is argument 0.
    Index(u8),
    /// Behind this word, in any case, searched from argument `startfrom` on; a negative `startfrom`
    /// counts from the end and searches backwards.
    Keyword {
        /// The word, in upper case.
        keyword: &'static str,
        /// Where the search begins.
        startfrom: i8,
    },
    /// Redis has no rule for it; the command is known by name.
    Unknown,
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// From the beginning up to a last key.
    Range {
        /// The last key, counted from the beginning; negative: from the end of the request, -1
        /// being its last argument.
        lastkey: i8,
        /// Distance from one key to the next.
        keystep: u8,
        /// With `lastkey` -1: keys are in the first 1/`limit` of the arguments left; 0 and 1 mean
        /// all of them.
        limit: u8,
    },
    /// As many as an argument says.
    Keynum {
        /// The argument that holds the number, counted from the beginning.
        keynumidx: u8,
        /// The first key, counted from the beginning.
        firstkey: u8,
        /// Distance from one key to the next.
        keystep: u8,
    },
    /// Redis has no rule for it; the command is known by name.
    Unknown,
}

/// One key at `index`.
pub(super) const fn key(index: u8, flags: u16) -> KeySpec {
    range(index, 0, 1, flags)
}

/// Keys from `index` up to the argument `lastkey`, every `keystep`th.
pub(super) const fn range(index: u8, lastkey: i8, keystep: u8, flags: u16) -> KeySpec {
    KeySpec {
        begin_search: BeginSearch::Index(index),
        find_keys: FindKeys::Range { lastkey, keystep, limit: 0 },
        flags: KeyFlags(flags),
    }
}

/// A number of keys at `index`, and as many keys behind it.
pub(super) const fn keynum(index: u8, flags: u16) -> KeySpec {
    KeySpec {
        begin_search: BeginSearch::Index(index),
        find_keys: FindKeys::Keynum { keynumidx: 0, firstkey: 1, keystep: 1 },
        flags: KeyFlags(flags),
    }
}

/// Keys behind a word, up to `lastkey` as in [`FindKeys::Range`].
pub(super) const fn keyword(
    keyword: &'static str,
    startfrom: i8,
    lastkey: i8,
    limit: u8,
    flags: u16,
) -> KeySpec {
    KeySpec {
        begin_search: BeginSearch::Keyword { keyword, startfrom },
        find_keys: FindKeys::Range { lastkey, keystep: 1, limit },
        flags: KeyFlags(flags),
    }
}

/// Keys that Redis finds by code.
pub(super) const fn unknown(flags: u16) -> KeySpec {
    KeySpec {
        begin_search: BeginSearch::Unknown,
        find_keys: FindKeys::Unknown,
        flags: KeyFlags(flags),
    }
}
