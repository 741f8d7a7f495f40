//! Requests that want no reply (memcached's `noreply`), on a connection where replies are matched by position.
//!
//! They are forwarded as they came, have no place in the FIFO, and what becomes of them is told nobody, as in twemproxy
//! 0.5. Until they are written they count among the client's requests, so that a client that sends nothing else is slowed
//! to what the server takes; a server that takes nothing for the pool's timeout has failed.
//!
//! A server may answer one after all, with an error. Whose it is, when more replies are awaited, `link::doubt` finds out. A
//! server that was seen to do it gets these requests with the word blanked out from then on, and its answers are matched
//! like all others and dropped.

use std::collections::VecDeque;

use crate::{Engine, Now};

/// A request that wants no reply and is not written yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// The client, by index and number: an index may have found another owner.
    client: u32,
    affinity: u32,
    bytes: u32,
    /// When it was queued, µs.
    pub(crate) at: u64,
    /// Where its bytes end in the stream of all bytes queued on the connection.
    end: u64,
}

impl Silence {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }
}

impl Engine {
    /// Remembers that the bytes just appended to the output of `l` are a request of `c` that wants no reply.
    pub(crate) fn expect_silence(&mut self, l: u32, c: u32, bytes: usize, now: Now) {
        let client = &mut self.clients[c as usize];
        client.pending += 1;
        let affinity = client.affinity;
        let link = &mut self.links[l as usize];
        link.queued_bytes += bytes as u64;
        link.silent_tail = true;
        let end = link.queued_bytes;
        let at = now.mono_us;
        link.silent.push_back(Silence { client: c, affinity, bytes: bytes as u32, at, end });
        self.note_queued(l, bytes, now);
    }

    /// Part of the output of `l` was written: forgets the requests without reply that are now with the server.
    pub(crate) fn settle_silent(&mut self, l: u32) {
        loop {
            let link = &mut self.links[l as usize];
            let written = link.written_bytes;
            let Some(silence) = link.silent.front().copied().filter(|next| next.end <= written)
            else {
                return;
            };
            link.silent.pop_front();
            let counts = &self.pools[link.pool as usize].servers[link.server as usize].counts;
            counts.in_queue.sub(1);
            counts.in_queue_bytes.sub(silence.bytes());
            self.settle(silence);
        }
    }

    /// The connection is gone, and with it the requests that were not written.
    pub(crate) fn drop_silent(&mut self, silent: VecDeque<Silence>) {
        for silence in silent {
            self.settle(silence);
        }
    }

    /// The request no longer counts among those of its client.
    fn settle(&mut self, silence: Silence) {
        let Some(client) = self.clients.get_mut(silence.client as usize) else { return };
        if client.affinity == silence.affinity {
            client.pending -= 1;
            client.note_reply(0);
            self.resume_if_drained(silence.client);
        }
    }
}
