//! The commands of Redis and Valkey as rows of a table, and what the proxy needs to know of a
//! request: is it a command, has it the right number of arguments, where are its keys, who serves it.
//!
//! A row speaks the vocabulary of Redis' own command metadata (arity, flags, key specifications,
//! request and response policies) and is checked against a live server's `COMMAND` in the tests.

mod describe;
mod flags;
mod group;
mod key_spec;
mod keys;
mod lookup;
mod miss;
mod policy;
mod rejection;
mod row;
mod table;

pub use flags::{Flags, KeyFlags};
pub use group::Group;
pub use key_spec::{BeginSearch, FindKeys, KeySpec};
pub use keys::integer;
pub use lookup::{find, key_of_unfinished, resolve};
pub use policy::{Local, Merge, Policy, RequestPolicy, ResponsePolicy, Split, Unsupported};
pub use rejection::{KeysRejection, Rejection};

/// The version of Redis told to clients that ask for one: they choose their dialect by it, so it is the one whose commands
/// the table has.
pub const REDIS_VERSION: &str = "7.2.0";

/// A command or subcommand: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Lower case; a subcommand with the name of its container in front, `xgroup|create`.
    pub name: &'static str,
    /// Number of arguments, command word (and subcommand) included; negative: at least that many.
    pub arity: i16,
    /// What it is about.
    pub group: Group,
    /// What it does and where it is allowed.
    pub flags: Flags,
    /// Where its keys are.
    pub key_specs: &'static [KeySpec],
    /// How the proxy serves it; see [`Command::policy_for`].
    pub policy: Policy,
    /// Redis' tip about which shards it is for.
    pub request_policy: RequestPolicy,
    /// Redis' tip about merging replies.
    pub response_policy: ResponsePolicy,
    /// The argument that changes `policy`.
    argument: Argument,
    /// One of the 137 words of twemproxy 0.5.
    pub known_to_0_5: bool,
    /// Version of Redis (or Valkey, from 8 on) that brought it.
    pub since: &'static str,
    /// Index of this row in [`all`]: dense, for arrays of counters. Not stable between releases.
    pub id: u16,
    /// Number of rows that follow this one and are its subcommands.
    subcommands: u8,
    /// See [`Command::sole_key`]; 0 for none.
    sole_key: u8,
}

/// An argument that decides how a command is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    /// None does.
    None,
    /// `BLOCK` ahead of `STREAMS`.
    Block,
    /// The number of keys, which may be 0.
    Numkeys,
}

/// All rows, each at its [`Command::id`]; subcommands follow their container.
pub fn all() -> &'static [Command] {
    &table::ALL
}

impl Command {
    /// The last part of a subcommand's name; `None` for a command that is no subcommand.
    pub fn subcommand(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(_, subcommand)| subcommand)
    }

    /// The subcommands of a container; empty for every other command.
    pub fn subcommands(&self) -> &'static [Command] {
        let from = usize::from(self.id).saturating_add(1);
        let to = from.saturating_add(usize::from(self.subcommands));
        table::ALL.get(from..to).unwrap_or_default()
    }

    /// Whether `argc` arguments, command word included, satisfy the arity.
    #[inline]
    pub fn accepts(&self, argc: usize) -> bool {
        let fits = match argc.checked_sub(usize::from(self.arity.unsigned_abs())) {
            None => false,
            Some(0) => true,
            Some(_) => self.arity < 0,
        };
        // MSET wants a value to every key, which an arity cannot say.
        fits && (self.sole_key > 0
            || !matches!(self.policy, Policy::Split(Split::Mset))
            || !argc.is_multiple_of(2))
    }

    /// The argument that alone decides where every request goes which the row accepts: it is its only key, and the
    /// request is forwarded whole whatever its other arguments are. `None` for commands of which more has to be known.
    #[inline]
    pub fn sole_key(&self) -> Option<usize> {
        (self.sole_key > 0).then_some(usize::from(self.sole_key))
    }

    /// The argument that [`Command::sole_key`] names, 0 for none.
    const fn find_sole_key(&self) -> u8 {
        match (self.key_specs, self.policy, self.argument) {
            (
                [
                    KeySpec {
                        begin_search: BeginSearch::Index(index),
                        find_keys: FindKeys::Range { lastkey: 0, .. },
                        ..
                    },
                ],
                Policy::SingleShard,
                Argument::None,
            ) => *index,
            _ => 0,
        }
    }

    /// Whether exactly one argument at a fixed place is a key, so that all keys are on one shard.
    #[inline]
    pub fn is_single_key(&self) -> bool {
        matches!(
            self.key_specs,
            [KeySpec {
                begin_search: BeginSearch::Index(_),
                find_keys: FindKeys::Range { lastkey: 0, .. },
                ..
            }]
        )
    }
}
