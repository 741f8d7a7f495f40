//! Clients behind a load balancer between their first byte and the end of their PROXY header. Until a header is whole,
//! the engine hears nothing of such a client and nothing in it is believed; from then on the client is served as if it
//! had connected from where the header says.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use engine::topology::Pool;
use reactor::{Flow, Now, Slot};

use super::addresses::{Addresses, canonical};
use super::proxy_header::{self, Flaw, Header, Origin};
use super::{WorkerCore, now, report};

/// How long a header may take. Load balancers send it together with the first bytes, or at once.
const PATIENCE_US: u64 = 3_000_000;

/// Entries kept allocated while nobody is waited for.
const ENTRIES_KEPT: usize = 64;

/// A client whose header has not arrived whole.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) pool: Arc<Pool>,
    /// Counts the clients of the pool by address.
    pub(super) addresses: Arc<Addresses>,
    /// The address of the socket.
    pub(super) sender: Option<SocketAddr>,
}

#[derive(Debug)]
struct Waiting {
    newcomer: Newcomer,
    until_us: u64,
    /// The beginning of the header.
    bytes: Vec<u8>,
}

/// The clients of a worker that are waited for.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    waiting: HashMap<Slot, Waiting>,
    /// When to give up on whom, in this order; some of them may have arrived since.
    due: VecDeque<(u64, Slot)>,
}

/// What is known of a newcomer after some bytes more.
#[derive(Debug)]
enum Greeting<'b> {
    Incomplete,
    /// The header, and the bytes that follow it.
    Complete(Newcomer, Origin, Cow<'b, [u8]>),
    Malformed(Newcomer, Flaw),
}

impl Newcomers {
    /// Waits for the header of the client in `slot`.
    pub(super) fn expect(&mut self, slot: Slot, newcomer: Newcomer, at: Now) {
        let until_us = at.mono_us.saturating_add(PATIENCE_US);
        self.waiting.insert(slot, Waiting { newcomer, until_us, bytes: Vec::new() });
        self.due.push_back((until_us, slot));
    }

    /// Whether the client in `slot` is waited for.
    pub(super) fn awaits(&self, slot: Slot) -> bool {
        // PERF: without newcomers, which is nearly always, no hash is computed.
        !self.waiting.is_empty() && self.waiting.contains_key(&slot)
    }

    /// The client in `slot` has gone.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.waiting.remove(&slot);
    }

    /// When the first of them has taken too long.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.due.front().map(|(until_us, _)| *until_us)
    }

    /// More bytes of a client that is waited for.
    fn received<'b>(&mut self, slot: Slot, bytes: &'b [u8]) -> Greeting<'b> {
        let Some(mut waiting) = self.waiting.remove(&slot) else { return Greeting::Incomplete };
        let bytes = if waiting.bytes.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            waiting.bytes.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut waiting.bytes))
        };
        match proxy_header::read(&bytes) {
            Header::Incomplete => {
                waiting.bytes = bytes.into_owned();
                self.waiting.insert(slot, waiting);
                Greeting::Incomplete
            }
            Header::Complete { len, origin } => {
                let rest = match bytes {
                    Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[len..]),
                    Cow::Owned(mut bytes) => Cow::Owned(bytes.split_off(len)),
                };
                Greeting::Complete(waiting.newcomer, origin, rest)
            }
            Header::Malformed(flaw) => Greeting::Malformed(waiting.newcomer, flaw),
        }
    }

    /// One client that has taken too long, and how much of its header has arrived.
    fn overdue(&mut self, at: Now) -> Option<(Slot, Newcomer, usize)> {
        while let Some((until_us, slot)) = self.due.front().copied() {
            let is_waited_for =
                self.waiting.get(&slot).is_some_and(|waiting| waiting.until_us == until_us);
            if is_waited_for && until_us > at.mono_us {
                return None;
            }
            self.due.pop_front();
            if is_waited_for && let Some(waiting) = self.waiting.remove(&slot) {
                return Some((slot, waiting.newcomer, waiting.bytes.len()));
            }
        }
        self.waiting.shrink_to(ENTRIES_KEPT);
        self.due.shrink_to(ENTRIES_KEPT);
        None
    }
}

impl WorkerCore {
    /// Bytes of a client whose header is waited for.
    pub(super) fn greet(&mut self, slot: Slot, bytes: &[u8], at: Now) -> Flow {
        match self.newcomers.received(slot, bytes) {
            Greeting::Incomplete => {}
            Greeting::Complete(newcomer, origin, rest) => {
                if self.introduce(slot, &newcomer, origin) && !rest.is_empty() {
                    return self.engine_received(slot, &rest, at);
                }
            }
            Greeting::Malformed(newcomer, flaw) => {
                let Newcomer { pool, sender, .. } = newcomer;
                log::warn!(
                    "close {} in pool '{}': no PROXY header at its beginning ({}), 'proxy_protocol: true' expects one",
                    report::client(sender),
                    pool.name,
                    flaw.text()
                );
                self.engine.turn_away(slot, b"");
            }
        }
        Flow::Continue
    }

    /// It is known where the client in `slot` comes from. Returns whether it is admitted.
    fn introduce(&mut self, slot: Slot, newcomer: &Newcomer, origin: Origin) -> bool {
        let Newcomer { pool, addresses, sender } = newcomer;
        let peer = match origin {
            Origin::Sender => *sender,
            Origin::Client(address) => Some(canonical(address)),
            Origin::Unix => None,
        };
        self.engine.relabel(slot, peer);
        match peer.map(|peer| addresses.admit(peer.ip())).transpose() {
            Err(_full) => {
                report::refused(peer, &pool.name, addresses.max());
                self.engine.turn_away(slot, super::words_of_refusal(pool.protocol));
                return false;
            }
            Ok(place) => self.places.extend(place.flatten().map(|place| (slot, place))),
        }
        report::accepted(peer, &pool.name, *sender);
        true
    }

    /// The client in `slot` ended its side before its header was whole. Balancers probe with connections that say nothing.
    pub(super) fn newcomer_ended(&mut self, slot: Slot) {
        if let Some(Waiting { newcomer: Newcomer { pool, sender, .. }, bytes, .. }) =
            self.newcomers.waiting.remove(&slot)
            && !bytes.is_empty()
        {
            let (c, len) = (report::client(sender), bytes.len());
            log::warn!(
                "eof {c} in pool '{}' discarding incomplete PROXY header len {len}",
                pool.name
            );
        }
    }

    /// Closes newcomers that have taken too long.
    pub(super) fn give_up_newcomers(&mut self, at: Now) {
        while let Some((slot, Newcomer { pool, sender, .. }, len)) = self.newcomers.overdue(at) {
            let c = report::client(sender);
            log::warn!(
                "close {c} in pool '{}': no whole PROXY header within {} s ({len} bytes came), 'proxy_protocol: true' expects one",
                pool.name,
                PATIENCE_US / 1_000_000
            );
            self.engine.turn_away(slot, b"");
        }
    }

    /// Bytes for the engine.
    pub(super) fn engine_received(&mut self, slot: Slot, bytes: &[u8], at: Now) -> Flow {
        match self.engine.received(slot, bytes, now(at)) {
            engine::Flow::Continue => Flow::Continue,
            engine::Flow::Pause => Flow::Pause,
        }
    }
}
