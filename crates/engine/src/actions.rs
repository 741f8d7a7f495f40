//! What the core asks of its reactor, and what it tells the rest of the process.

use core::net::SocketAddr;

use crate::pipeline::NONE;

/// Index of a connection, client or server alike; dense, chosen by the engine, reused after close.
pub type Slot = u32;

/// Whether the reactor goes on reading a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    Continue,
    /// Stop until the slot is in [`Actions::resume`].
    Pause,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// At once.
    Now,
    /// End our side, then read and discard for a bounded time so that the peer gets the last reply and not a reset.
    Linger,
}

/// Requests to the reactor gathered during a phase. The reactor's adapter executes them in the order of the fields and
/// leaves every list empty.
#[derive(Debug, Default)]
pub struct Actions {
    /// Connections to drop.
    pub close: Vec<(Slot, Close)>,
    /// Connections to establish: slot, pool index, server index.
    pub connect: Vec<(Slot, u32, u32)>,
    /// Connections with new output, each once.
    pub flush: Vec<Slot>,
    /// Paused connections to read again.
    pub resume: Vec<Slot>,
}

impl Actions {
    /// Forgets a connection asked for in this phase.
    pub(crate) fn cancel_connect(&mut self, slot: Slot) {
        self.connect.retain(|(wanted, ..)| *wanted != slot);
    }
}

/// Something other workers or the operator must know. Indices are those of the published topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A failure of a server was counted; other workers count it too.
    Failed {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// Workers that counted a failure later than this (monotonic µs) met the same outage.
        since: u64,
    },
    /// A server with counted failures replied; other workers forget theirs.
    Replied {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
    },
    /// A server left the ring until `retry_at` (monotonic µs); other workers follow.
    Ejected {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// When it may return.
        retry_at: u64,
    },
    /// A failing server was not ejected because too many are already; told once for each outage.
    EjectionPrevented {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
    },
    /// Servers returned to the ring of a pool because their time had come.
    Restored {
        /// Pool index.
        pool: u32,
        /// How many.
        servers: u32,
    },
    /// One request goes to an ejected server to see whether it is back; other workers wait for the outcome.
    Trial {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// Without an outcome the next trial begins here, monotonic µs.
        until: u64,
    },
    /// An ejected server failed again when it was tried or probed.
    StillDown {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// When it is tried again, monotonic µs.
        retry_at: u64,
        /// How it failed.
        reason: Text,
    },
    /// An ejected server proved that it serves again; other workers send to it, too.
    Readmitted {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
    },
    /// A server connection ended for another reason than an orderly idle close.
    LinkBroken {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// The error text requests were answered with.
        text: &'static str,
        /// How many requests were lost with it.
        requests: u32,
        /// How many more were failed for it at the same moment, and counted as timeouts each.
        timed_out: u32,
    },
    /// A server refused AUTH or SELECT; nothing is sent to it.
    HandshakeRefused {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
        /// `AUTH` or `SELECT`.
        step: &'static str,
        /// The server's words.
        reply: Text,
    },
    /// A server has no password although the pool has one; it is used without.
    PasswordNotNeeded {
        /// Pool index.
        pool: u32,
        /// Server index.
        server: u32,
    },
    /// A command with keys on several shards went to the shard of its first key; told once per command.
    CrossShard {
        /// Pool index.
        pool: u32,
        /// Lower-case name.
        command: &'static str,
    },
    /// A client sent a command that is not served.
    UnsupportedCommand {
        /// Pool index.
        pool: u32,
        /// Who sent it.
        peer: Option<SocketAddr>,
        /// As sent, cut.
        command: Text,
    },
    /// A client broke the framing of the protocol and was closed.
    Malformed {
        /// Pool index.
        pool: u32,
        /// Who broke it.
        peer: Option<SocketAddr>,
        /// What was wrong.
        reason: &'static str,
    },
    /// A client spoke memcached's binary protocol and was closed.
    BinaryProtocol {
        /// Pool index.
        pool: u32,
        /// The client, if it has an address.
        peer: Option<SocketAddr>,
    },
    /// A client ended its connection in the middle of a request.
    IncompleteRequest {
        /// Pool index.
        pool: u32,
        /// Who it was.
        peer: Option<SocketAddr>,
        /// Bytes discarded.
        bytes: u32,
    },
}

impl Event {
    /// Whether the other workers of the process must be told ([`Engine::heed`](crate::Engine::heed)).
    pub fn concerns_siblings(&self) -> bool {
        matches!(
            self,
            Event::Failed { .. }
                | Event::Replied { .. }
                | Event::Ejected { .. }
                | Event::Trial { .. }
                | Event::Readmitted { .. }
        )
    }

    /// The index of the pool it is about.
    pub fn pool(&self) -> u32 {
        match *self {
            Event::Failed { pool, .. }
            | Event::Replied { pool, .. }
            | Event::Ejected { pool, .. }
            | Event::Restored { pool, .. }
            | Event::Trial { pool, .. }
            | Event::StillDown { pool, .. }
            | Event::EjectionPrevented { pool, .. }
            | Event::Readmitted { pool, .. }
            | Event::LinkBroken { pool, .. }
            | Event::HandshakeRefused { pool, .. }
            | Event::PasswordNotNeeded { pool, .. }
            | Event::CrossShard { pool, .. }
            | Event::UnsupportedCommand { pool, .. }
            | Event::Malformed { pool, .. }
            | Event::BinaryProtocol { pool, .. }
            | Event::IncompleteRequest { pool, .. } => pool,
        }
    }

    /// Pool and server of an event about the health of a server.
    pub(crate) fn server_mut(&mut self) -> Option<(&mut u32, &mut u32)> {
        match self {
            Event::Failed { pool, server, .. }
            | Event::Replied { pool, server }
            | Event::Ejected { pool, server, .. }
            | Event::Trial { pool, server, .. }
            | Event::StillDown { pool, server, .. }
            | Event::Readmitted { pool, server } => Some((pool, server)),
            _ => None,
        }
    }
}

/// A short piece of a peer's text, kept without an allocation. Cut at 64 bytes; all that is no printable ASCII is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; 64],
    len: u8,
}

impl Text {
    pub(crate) fn new(text: &[u8]) -> Text {
        let mut bytes = [0; 64];
        let len = text.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = if from.is_ascii_graphic() || *from == b' ' { *from } else { b'?' };
        }
        Text { bytes, len: len as u8 }
    }

    /// Printable ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Who owns a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Free,
    Client(u32),
    Link(u32),
}

/// The numbering of connections.
///
/// INVARIANT: a slot freed during a phase is reused only after the phase's actions were taken, so a reactor that closes
/// before it connects never mixes up two lives of a slot.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    owners: Vec<Owner>,
    free: Vec<Slot>,
    resting: Vec<Slot>,
}

impl Slots {
    /// A slot for `owner`.
    pub(crate) fn assign(&mut self, owner: Owner) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.owners[slot as usize] = owner;
            return slot;
        }
        self.owners.push(owner);
        debug_assert!(self.owners.len() < NONE as usize);
        (self.owners.len() - 1) as Slot
    }

    pub(crate) fn owner(&self, slot: Slot) -> Owner {
        self.owners.get(slot as usize).copied().unwrap_or(Owner::Free)
    }

    /// How many slots have an owner.
    pub(crate) fn assigned(&self) -> usize {
        self.owners.len() - self.free.len() - self.resting.len()
    }

    /// Frees a slot at the end of the phase.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.owners[slot as usize] = Owner::Free;
        self.resting.push(slot);
    }

    /// The phase is over: released slots may be assigned again.
    pub(crate) fn end_phase(&mut self) {
        self.free.append(&mut self.resting);
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, Slots};

    #[test]
    fn a_released_slot_has_no_owner_and_is_assigned_again_after_the_phase() {
        let mut slots = Slots::default();
        let (a, b) = (slots.assign(Owner::Client(0)), slots.assign(Owner::Link(0)));
        assert_eq!((slots.owner(a), slots.owner(b)), (Owner::Client(0), Owner::Link(0)));
        slots.release(a);
        assert_eq!((slots.owner(a), slots.owner(b)), (Owner::Free, Owner::Link(0)));
        let c = slots.assign(Owner::Client(1));
        assert!(c != a && c != b, "{a} rests until the phase is over");
        slots.end_phase();
        assert_eq!(slots.assign(Owner::Link(1)), a);
        assert_eq!(slots.owner(a), Owner::Link(1));
        assert_eq!(slots.assigned(), 3);
    }
}
