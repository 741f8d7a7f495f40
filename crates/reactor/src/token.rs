//! What an event is about, packed into the one word the event queue keeps per registration.
//!
//! ```text
//! bit 63                      32 31  30 29                                0
//!    | generation (connections) | kind |  slot, listener or linger number  |
//! ```
//!
//! Events are fetched in batches: by the time one is looked at, an earlier one of the batch may have closed its
//! connection and the slot may serve another. The generation tells them apart.
#![forbid(unsafe_code)]

use mio::Token;

use crate::{SLOTS_MAX, Slot};

const _: () = assert!(usize::BITS == 64, "the token needs a 64-bit word");

const KIND_SHIFT: u32 = 30;
const KIND_CONNECTION: u32 = 0;
const KIND_LISTENER: u32 = 1;
const KIND_LINGERING: u32 = 2;

/// The party an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Connection { slot: Slot, generation: u32 },
    Listener(u32),
    Lingering(u32),
    Mailbox,
}

impl Source {
    /// The word to register with. Numbers are below [`SLOTS_MAX`].
    pub(crate) fn token(self) -> Token {
        let (generation, kind, index) = match self {
            Source::Connection { slot, generation } => (generation, KIND_CONNECTION, slot),
            Source::Listener(index) => (0, KIND_LISTENER, index),
            Source::Lingering(number) => (0, KIND_LINGERING, number),
            Source::Mailbox => return Token(usize::MAX),
        };
        debug_assert!(index < SLOTS_MAX);
        Token((generation as usize) << u32::BITS | (kind << KIND_SHIFT | index) as usize)
    }

    /// The party a word was made for.
    pub(crate) fn of(token: Token) -> Source {
        if token.0 == usize::MAX {
            return Source::Mailbox;
        }
        let low = (token.0 & u32::MAX as usize) as u32;
        let index = low & (SLOTS_MAX - 1);
        match low >> KIND_SHIFT {
            KIND_CONNECTION => {
                Source::Connection { slot: index, generation: (token.0 >> u32::BITS) as u32 }
            }
            KIND_LISTENER => Source::Listener(index),
            _ => Source::Lingering(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Source;
    use crate::SLOTS_MAX;

    #[test]
    fn every_source_comes_back_from_its_token() {
        for source in [
            Source::Connection { slot: 0, generation: 0 },
            Source::Connection { slot: SLOTS_MAX - 1, generation: u32::MAX },
            Source::Connection { slot: 7, generation: 1 },
            Source::Listener(0),
            Source::Listener(SLOTS_MAX - 1),
            Source::Lingering(0),
            Source::Lingering(SLOTS_MAX - 1),
            Source::Mailbox,
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
