//! Writing: as much as the socket takes, straight from the core's own queues.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};

use crate::sockets::Sockets;
use crate::{Core, Errno, Now, SLICES, Slot};

/// Most bytes one flush writes before the others get their turn: a fast reader of a long output must not hold the loop.
const FLUSH_BYTES_MAX: usize = 1024 * 1024;

/// How one write went.
enum Wrote {
    /// Everything handed over, of which there may be more.
    All {
        bytes: usize,
        more: bool,
    },
    /// Less than handed over: an edge will tell when there is room again.
    Part {
        bytes: usize,
    },
    Lost(Errno),
}

impl Sockets {
    /// Flushes what waited for room or for its share of the turn.
    pub(crate) fn flush_pending<C: Core>(&mut self, core: &mut C, now: Now) {
        if self.unflushed.is_empty() {
            return;
        }
        let slots = self.take_unflushed();
        for &slot in &slots {
            self.flush(core, slot, now);
        }
        self.recycle(slots);
    }

    /// Writes a slot's output until there is none, the socket is full, or the slot had its share.
    pub(crate) fn flush<C: Core>(&mut self, core: &mut C, slot: Slot, now: Now) {
        let mut sum = 0;
        loop {
            let Some(row) = self.table.row(slot) else { return };
            if row.broken.is_some() {
                return;
            }
            let Some(stream) =
                row.stream.as_ref().filter(|_| row.writable && row.attempt.is_none())
            else {
                row.unsent = true;
                return;
            };
            if sum >= FLUSH_BYTES_MAX {
                row.unsent = true;
                self.unflushed.push(slot);
                return;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = core.output(slot, &mut slices);
            let slices = &slices[..filled];
            let total = slices.iter().map(|slice| slice.len()).sum();
            row.unsent = false;
            if total == 0 {
                return;
            }
            let (bytes, more) = match wrote(stream.write(slices), total, filled == SLICES) {
                Wrote::All { bytes, more } => (bytes, more),
                Wrote::Part { bytes } => {
                    (row.unsent, row.writable) = (true, false);
                    (bytes, false)
                }
                Wrote::Lost(errno) => {
                    // What the peer sent before it was lost still counts; the read phase tells the core.
                    row.lose(errno);
                    return self.list(slot);
                }
            };
            sum += bytes;
            if bytes > 0 {
                core.written(slot, bytes, now);
                self.rearrange(core, now);
            }
            if !more {
                return;
            }
        }
    }
}

fn wrote(result: io::Result<usize>, total: usize, more: bool) -> Wrote {
    match result {
        Ok(bytes) if bytes == total => Wrote::All { bytes, more },
        Ok(bytes) => Wrote::Part { bytes },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Wrote::Part { bytes: 0 },
        Err(error) => Wrote::Lost(Errno::from(error)),
    }
}
