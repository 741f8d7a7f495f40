//! Reading: one buffer full per socket and turn, and no read that would only say that there is nothing.
#![forbid(unsafe_code)]

use std::io;

use crate::sockets::Sockets;
use crate::table::Side;
use crate::{Core, Errno, Flow, Now, Slot};

/// Whether the same socket is to be read again in this turn.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    Done,
}

impl Sockets {
    /// Reads every listed socket of one side. Sockets that filled the buffer are listed again for the next turn.
    pub(crate) fn read_side<C: Core>(&mut self, core: &mut C, side: Side, now: Now) {
        let slots = self.take_readable(side);
        for &slot in &slots {
            self.read(core, slot, now);
        }
        self.recycle(slots);
    }

    fn read<C: Core>(&mut self, core: &mut C, slot: Slot, now: Now) {
        match self.table.row(slot) {
            // The slot closed since, and may have been read in its next life already.
            Some(row) if row.listed => row.listed = false,
            _ => return,
        }
        while self.read_once(core, slot, now) == Next::Again {}
    }

    fn read_once<C: Core>(&mut self, core: &mut C, slot: Slot, now: Now) -> Next {
        let Some(row) = self.table.row(slot).filter(|row| row.wants_reading()) else {
            return Next::Done;
        };
        let Some(stream) = &row.stream else { return Next::Done };
        if let (Some(errno), true) = (row.broken, row.ended || row.paused) {
            self.fail(core, slot, errno, now);
            return Next::Done;
        }
        match stream.read(&mut self.buffer) {
            Ok(0) => self.end(core, slot, now),
            Ok(n) => {
                let generation = row.generation;
                return self.deliver(core, slot, generation, n, now);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match row.broken {
                Some(errno) => self.fail(core, slot, errno, now),
                None => row.readable = false,
            },
            Err(error) => {
                let errno = row.broken.unwrap_or(Errno::from(error));
                self.fail(core, slot, errno, now);
            }
        }
        Next::Done
    }

    /// Hands the first `n` bytes of the buffer to the core.
    fn deliver<C: Core>(
        &mut self,
        core: &mut C,
        slot: Slot,
        generation: u32,
        n: usize,
        now: Now,
    ) -> Next {
        let flow = core.received(slot, &self.buffer[..n], now);
        self.rearrange(core, now);
        let full = n == self.buffer.len();
        // The core may have closed it, and used the slot again.
        let Some(row) = self.table.row_of(slot, generation) else { return Next::Done };
        // A short read emptied the socket: the next arrival makes an edge. Not so when nothing more can arrive; then
        // the end, or the error, is still to be read.
        row.readable = full || row.hung_up;
        row.paused = flow == Flow::Pause;
        match (row.wants_reading(), full) {
            (true, true) => {
                self.list(slot);
                Next::Done
            }
            (true, false) => Next::Again,
            (false, _) => Next::Done,
        }
    }

    fn end<C: Core>(&mut self, core: &mut C, slot: Slot, now: Now) {
        let Some(row) = self.table.row(slot) else { return };
        row.ended = true;
        row.readable = false;
        if let Some(errno) = row.broken {
            return self.fail(core, slot, errno, now);
        }
        core.ended(slot, now);
        self.rearrange(core, now);
    }
}
