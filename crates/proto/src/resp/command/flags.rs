//! Flags of commands and of their keys, as Redis' `COMMAND` reports them. Plain bits behind a
//! newtype: the rows of the table are constants, and `|` on a type of ours is not.

/// The flags of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub(super) u32);

/// The flags of one key specification: what a command does to the keys it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFlags(pub(super) u16);

macro_rules! bits {
    ($type:ident, $module:ident, $int:ty,
        $($name:ident = $bit:literal, $word:literal, $doc:literal;)+
    ) => {
        /// The bits by themselves, for the rows of the table.
        pub(super) mod $module {
            $(pub(in super::super) const $name: $int = 1 << $bit;)+
        }

        impl $type {
            $(#[doc = $doc] pub const $name: $int = $module::$name;)+

            const WORDS: &'static [($int, &'static str)] = &[$((Self::$name, $word)),+];

            /// Whether all bits of `bits` are set.
            #[inline]
            pub const fn has(self, bits: $int) -> bool {
                self.0 & bits == bits
            }

            /// The flags' names in Redis' spelling.
            pub fn words(self) -> impl Iterator<Item = &'static str> + Clone {
                Self::WORDS.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, word)| *word)
            }
        }
    };
}

bits! { Flags, bits, u32,
    WRITE = 0, "write", "May change data.";
    READONLY = 1, "readonly", "Reads data and changes none.";
    DENYOOM = 2, "denyoom", "Refused by a server that is out of memory.";
    ADMIN = 3, "admin", "For the administrator of a server.";
    PUBSUB = 4, "pubsub", "About publishing and subscribing.";
    NOSCRIPT = 5, "noscript", "Not allowed inside a script.";
    BLOCKING = 6, "blocking", "May block its connection.";
    LOADING = 7, "loading", "Allowed while a server loads its data.";
    STALE = 8, "stale", "Allowed on a replica with stale data.";
    SKIP_MONITOR = 9, "skip_monitor", "Not shown by `MONITOR`.";
    SKIP_SLOWLOG = 10, "skip_slowlog", "Not noted in the slow log.";
    ASKING = 11, "asking", "Allowed on a slot that is being imported.";
    FAST = 12, "fast", "Constant or logarithmic time.";
    NO_AUTH = 13, "no_auth", "Allowed before authentication.";
    MAY_REPLICATE = 14, "may_replicate", "May be replicated though it is no write.";
    NO_MANDATORY_KEYS = 15, "no_mandatory_keys", "Its keys are optional.";
    NO_ASYNC_LOADING = 16, "no_async_loading", "Refused while a replica loads a new data set.";
    NO_MULTI = 17, "no_multi", "Not allowed inside a transaction.";
    MOVABLEKEYS = 18, "movablekeys", "First, last and step do not tell where all its keys are.";
    ALLOW_BUSY = 19, "allow_busy", "Allowed while a script keeps the server busy.";
}

bits! { KeyFlags, key_bits, u16,
    RO = 0, "RO", "Reads the value.";
    RW = 1, "RW", "Reads and changes the value.";
    OW = 2, "OW", "Overwrites the value whatever it was.";
    RM = 3, "RM", "Removes the key.";
    ACCESS = 4, "access", "Returns or copies the value.";
    UPDATE = 5, "update", "Changes existing content.";
    INSERT = 6, "insert", "Adds content only.";
    DELETE = 7, "delete", "Removes content.";
    NOT_KEY = 8, "not_key", "No key, but routed like one.";
    INCOMPLETE = 9, "incomplete", "May not find all keys.";
    VARIABLE_FLAGS = 10, "variable_flags", "Other arguments decide what happens to the key.";
}
