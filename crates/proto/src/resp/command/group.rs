//! The groups of Redis' documentation, and the ACL categories that follow from them.

use super::Command;

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in Redis' documentation")]
pub enum Group {
    String,
    Generic,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Bitmap,
    Hyperloglog,
    Geo,
    Scripting,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Cluster,
}

impl Group {
    /// As `COMMAND DOCS` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
            Self::Hyperloglog => "hyperloglog",
            Self::Geo => "geo",
            Self::Scripting => "scripting",
            Self::Pubsub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }

    /// The categories of its commands that do not follow from their flags.
    fn categories(self) -> &'static [&'static str] {
        match self {
            Self::String => &["string"],
            Self::Generic => &["keyspace"],
            Self::Hash => &["hash"],
            Self::List => &["list"],
            Self::Set => &["set"],
            Self::SortedSet => &["sortedset"],
            Self::Stream => &["stream"],
            Self::Bitmap => &["bitmap"],
            Self::Hyperloglog => &["hyperloglog"],
            Self::Geo => &["geo"],
            Self::Scripting => &["scripting"],
            Self::Transactions => &["transaction"],
            Self::Connection => &["connection"],
            Self::Pubsub | Self::Server | Self::Cluster => &[],
        }
    }
}

/// The categories of `command` that do not follow from its flags: those of its group, but for a few commands.
pub(super) fn categories(command: &Command) -> &'static [&'static str] {
    match command.name {
        "sort" | "sort_ro" => &["set", "sortedset", "list", "dangerous"],
        "keys" | "migrate" | "restore" | "restore-asking" | "flushall" | "flushdb" | "swapdb" => {
            &["keyspace", "dangerous"]
        }
        "dbsize" => &["keyspace"],
        "info" => &["dangerous"],
        "lastsave" | "role" => &["admin", "dangerous"],
        "asking" | "readonly" | "readwrite" | "wait" | "waitaof" | "command" => &["connection"],
        name if name.starts_with("command|") => &["connection"],
        _ if !command.subcommands().is_empty() => &[],
        _ => command.group.categories(),
    }
}
