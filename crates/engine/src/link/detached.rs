//! A connection that is busy with one reply for long leaves its lane: the next request opens another one there.
//!
//! ```text
//!   in its lane ──a reply flows that is very large, or whose client is slow──▶ detached ──nothing is owed──▶ closed,
//!        ▲                                                                         │               or back, if nobody
//!        └─────────────────────────────────────────────────────────────────────────┘               took the lane
//! ```
//!
//! A client that has a request under way on it goes on using it until that is answered: over another connection its next
//! request might overtake the one before. Requests that want no reply cannot be seen to be carried out, so a connection
//! does not leave its lane with such behind it, and gets none later: there they are asked for a reply, which is dropped.

use super::{Break, FileLoan, Link, Phase};
use crate::pipeline::NONE;
use crate::{Engine, Now};

/// Connections to one server, beside `server_connections`, that a worker may have in this way. Further replies stay in
/// their lanes, and so does one for which no open file is free.
const DETACHED_MAX: usize = 4;

impl Engine {
    /// The connection to server `shard` of `pool` that client `c` has to go on using.
    #[cold]
    pub(super) fn detached_link_of(&self, pool: u32, shard: u32, c: u32) -> Option<u32> {
        if self.clients[c as usize].pending == 0 {
            return None;
        }
        let is_own = |request: u32| request != NONE && self.requests[request as usize].client == c;
        let detached = &self.pools[pool as usize].servers[shard as usize].detached;
        detached
            .iter()
            .copied()
            .find(|l| self.links[*l as usize].fifo.iter().any(|owed| is_own(owed.request)))
    }

    /// Frees the lane of `l` for another connection, if that may be.
    pub(super) fn detach(&mut self, l: u32) {
        let link = &self.links[l as usize];
        if link.is_detached || self.is_remnant(link.pool) {
            return;
        }
        let server = &mut self.pools[link.pool as usize].servers[link.server as usize];
        let Some(lane) = server.links.get_mut(link.lane as usize).filter(|lane| **lane == l) else {
            return;
        };
        if server.detached.len() < DETACHED_MAX
            && !link.is_silence_under_way()
            && let Some(loan) = FileLoan::take(&self.environment)
        {
            *lane = NONE;
            server.detached.push(l);
            let link = &mut self.links[l as usize];
            (link.is_detached, link.loan) = (true, Some(loan));
        }
    }

    /// A detached connection goes back to its lane or is closed, once nothing is owed on it.
    pub(super) fn end_detachment(&mut self, l: u32, now: Now) {
        let link = &mut self.links[l as usize];
        if !link.is_idle() || link.doubt.is_some() {
            return;
        }
        let server = &mut self.pools[link.pool as usize].servers[link.server as usize];
        match server.links.get_mut(link.lane as usize) {
            Some(lane) if *lane == NONE && link.input.is_empty() => {
                *lane = l;
                (link.is_detached, link.loan) = (false, None);
                server.detached.retain(|detached| *detached != l);
            }
            _ => self.break_link(l, Break::Retired, now),
        }
    }
}

impl Link {
    /// Whether the server may not have carried out yet a request that wants no reply.
    pub(super) fn is_silence_under_way(&self) -> bool {
        !self.silent.is_empty()
            || self.silent_tail
            || self.fifo.iter().any(|owed| owed.after_silence)
    }

    /// Whether it is established and owes nothing.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && self.fifo.is_empty()
            && self.silent.is_empty()
            && self.stream.is_none()
    }
}
