//! The commands of memcached as rows of a table, and what the proxy needs to know of a request: is
//! it a command, has it the right number of words, where are its keys, who serves it.

mod answers;
mod lookup;
mod miss;
mod quiet;
mod table;

pub use lookup::find;

/// A command: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The word, in lower case: the only case memcached knows.
    pub name: &'static str,
    /// How the proxy serves it.
    pub policy: Policy,
    /// Whether it asks for an item, so that a miss is an honest answer: `END`, and `EN` for a meta
    /// command. Some also touch the item on the way.
    pub is_read: bool,
    /// One of the 14 words of twemproxy 0.5.
    pub known_to_0_5: bool,
    /// Release of memcached that brought it.
    pub since: &'static str,
    /// What follows the word, for the documentation.
    pub arguments: &'static str,
    /// Index of this row in [`all`]: dense, for arrays of counters. Not stable between releases.
    pub id: u16,
    /// Fewest words of a line, the command word included.
    words_min: u32,
    /// Most words of a line.
    words_max: u32,
    pub(super) shape: Shape,
}

/// What a line is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing but the number of words and the length of the key.
    Line,
    /// The same, and `noreply` may be the last word from this one on.
    NoReply(usize),
    /// `key flags exptime bytes [noreply]`, and a value.
    Storage,
    /// `key flags exptime bytes unique [noreply]`, and a value.
    Cas,
    /// A key and single letters with their tokens.
    Meta,
    /// `key datalen` and such letters, and a value.
    MetaSet,
}

/// How the proxy serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Forwarded whole to the shard of its key.
    SingleShard {
        /// Which word is the key; the command word is word 0.
        key: usize,
    },
    /// Split over the shards of its keys; the values are merged.
    Split {
        /// Which word is the first key; all behind it are keys as well.
        keys: usize,
    },
    /// Without keys, and equal on every server: forwarded to the shard of the word `placeholder`,
    /// as twemproxy 0.5 does.
    Keyless,
    /// Concerns every server.
    AllShards,
    /// Answered by the proxy.
    Local(Local),
    /// Needs what the proxy does not offer.
    Unsupported,
}

/// The commands the proxy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// `quit`
    Quit,
    /// `verbosity [level] [noreply]`
    Verbosity,
    /// `stats [what]`
    Stats,
    /// `mn`
    NoOp,
}

/// All rows, each at its [`Command::id`].
pub fn all() -> &'static [Command] {
    &table::ALL
}

impl Command {
    /// Whether a line of `words` words, command word included, is one of this command.
    #[inline]
    pub fn accepts(&self, words: usize) -> bool {
        (self.words_min as usize..=self.words_max as usize).contains(&words)
    }
}
