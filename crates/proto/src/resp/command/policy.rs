//! What the proxy does with a command: one enum per decision the engine takes from a row.

/// How the proxy serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Forwarded whole to the shard of its keys.
    SingleShard,
    /// Split over the shards of its keys; the replies are merged.
    Split(Split),
    /// Without keys, and equal on every server: forwarded to the shard of the word `placeholder`,
    /// as twemproxy 0.5 does.
    Keyless,
    /// Answered by the proxy.
    Local(Local),
    /// Needs what the proxy does not offer.
    Unsupported(Unsupported),
}

/// The commands that are split by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `MGET key …`
    Mget,
    /// `MSET key value …`
    Mset,
    /// `DEL key …`
    Del,
    /// `UNLINK key …`
    Unlink,
    /// `TOUCH key …`
    Touch,
    /// `EXISTS key …`
    Exists,
}

impl Split {
    /// The name the fragments carry: lower case, as twemproxy 0.5 sends it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mget => "mget",
            Self::Mset => "mset",
            Self::Del => "del",
            Self::Unlink => "unlink",
            Self::Touch => "touch",
            Self::Exists => "exists",
        }
    }

    /// The name as the first argument of a fragment, a bulk string.
    pub const fn bulk(self) -> &'static [u8] {
        match self {
            Self::Mget => b"$4\r\nmget\r\n",
            Self::Mset => b"$4\r\nmset\r\n",
            Self::Del => b"$3\r\ndel\r\n",
            Self::Unlink => b"$6\r\nunlink\r\n",
            Self::Touch => b"$5\r\ntouch\r\n",
            Self::Exists => b"$6\r\nexists\r\n",
        }
    }

    /// Arguments that follow each key and travel with it.
    pub const fn values_per_key(self) -> usize {
        match self {
            Self::Mset => 1,
            Self::Mget | Self::Del | Self::Unlink | Self::Touch | Self::Exists => 0,
        }
    }

    /// Whether it only reads.
    pub const fn is_read(self) -> bool {
        match self {
            Self::Mget | Self::Touch | Self::Exists => true,
            Self::Mset | Self::Del | Self::Unlink => false,
        }
    }

    /// How the replies to the fragments become one reply.
    pub const fn merge(self) -> Merge {
        match self {
            Self::Mget => Merge::Default,
            Self::Mset => Merge::AllSucceeded,
            Self::Del | Self::Unlink | Self::Touch | Self::Exists => Merge::AggSum,
        }
    }
}

/// How replies of several shards become one; the names are Redis' response policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// One array with an element per key, in the order of the request's keys.
    Default,
    /// The sum of integers.
    AggSum,
    /// `+OK` once all are.
    AllSucceeded,
}

/// The commands the proxy answers. [`Command::subcommand`](super::Command::subcommand) tells the
/// rest for `COMMAND` and `CLIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// `PING [message]`
    Ping,
    /// `ECHO message`
    Echo,
    /// `QUIT`
    Quit,
    /// `AUTH [username] password`
    Auth,
    /// `SELECT db`
    Select,
    /// `COMMAND` and its subcommands
    Command,
    /// `CLIENT` subcommands about the connection itself
    Client,
    /// `HELLO [protocol …]`
    Hello,
    /// `TIME`
    Time,
    /// `RESET`
    Reset,
    /// `INFO [section …]`
    Info,
}

/// What a command would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// A server connection of the client's own: transactions, subscriptions, blocking.
    Session,
    /// Every shard, and a merge of their answers.
    Broadcast,
    /// A cursor that walks over all shards.
    Cursor,
    /// A server of the client's own choice: administration.
    Admin,
}

/// Redis' tip about which shards a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// The shard of the keys; any shard without keys.
    Default,
    /// All nodes, replicas included.
    AllNodes,
    /// One node of each shard.
    AllShards,
    /// The shards of the keys, which may be several.
    MultiShard,
    /// None of these.
    Special,
}

/// Redis' tip about merging the replies of several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// In key order with keys, in any order without.
    Default,
    /// Success if one succeeded.
    OneSucceeded,
    /// Success if all succeeded.
    AllSucceeded,
    /// Logical and of integers.
    AggLogicalAnd,
    /// Logical or of integers.
    AggLogicalOr,
    /// The least integer.
    AggMin,
    /// The greatest integer.
    AggMax,
    /// The sum of integers.
    AggSum,
    /// None of these.
    Special,
}

impl RequestPolicy {
    /// Redis' word for it; `None` for the default, which has none.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::AllNodes => Some("all_nodes"),
            Self::AllShards => Some("all_shards"),
            Self::MultiShard => Some("multi_shard"),
            Self::Special => Some("special"),
        }
    }
}

impl ResponsePolicy {
    /// Redis' word for it; `None` for the default, which has none.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::OneSucceeded => Some("one_succeeded"),
            Self::AllSucceeded => Some("all_succeeded"),
            Self::AggLogicalAnd => Some("agg_logical_and"),
            Self::AggLogicalOr => Some("agg_logical_or"),
            Self::AggMin => Some("agg_min"),
            Self::AggMax => Some("agg_max"),
            Self::AggSum => Some("agg_sum"),
            Self::Special => Some("special"),
        }
    }
}
