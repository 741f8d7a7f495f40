//! All sockets of a reactor and the lists of what is to be done to them. The steps of a turn live beside this file,
//! one each: accepting, connecting, reading, writing, lingering.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry};

use crate::accepting::Listeners;
use crate::lingering::Lingering;
use crate::table::{Row, Side, Table};
use crate::token::Source;
use crate::{Close, Core, Errno, Now, Ops, Slot, Stream};

/// Size of the one buffer all sockets are read into, and with it the most one socket is read per turn: a value of 64 KiB
/// with what is around it fits, and all of it stays in the second cache of a core.
pub(crate) const READ_BYTES: usize = 128 * 1024;

/// Entries a list keeps room for after a spike.
const ENTRIES_KEPT: usize = 16 * 1024;

/// Entries the rarely used lists of [`Ops`] keep room for.
const RARE_KEPT: usize = 64;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The sockets and the work found on them.
pub(crate) struct Sockets {
    pub(crate) registry: Registry,
    pub(crate) table: Table,
    pub(crate) listeners: Listeners,
    pub(crate) lingering: Lingering,
    pub(crate) buffer: Box<[u8]>,
    /// Slots to read, by side; their rows are `listed`. May name slots that closed since.
    readable: [Vec<Slot>; 2],
    /// Slots to flush without the core asking again: room appeared, or a flush had its share of the turn.
    pub(crate) unflushed: Vec<Slot>,
    /// Connections whose attempt may have come to its end, with their generation.
    pub(crate) outcomes: Vec<(Slot, u32)>,
    /// Empty, changes places with a list that is being worked off.
    spare: Vec<Slot>,
    /// Empty, changes places with the core's.
    ops: Ops,
}

impl Sockets {
    pub(crate) fn new(registry: Registry) -> Sockets {
        Sockets {
            registry,
            table: Table::default(),
            listeners: Listeners::default(),
            lingering: Lingering::default(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            readable: [Vec::new(), Vec::new()],
            unflushed: Vec::new(),
            outcomes: Vec::new(),
            spare: Vec::new(),
            ops: Ops::default(),
        }
    }

    /// Whether the next turn has work already, so that it must not wait.
    pub(crate) fn busy(&self) -> bool {
        self.readable.iter().any(|list| !list.is_empty())
            || !self.unflushed.is_empty()
            || !self.outcomes.is_empty()
            || self.listeners.ready()
    }

    /// When the next turn must come for the sockets' own sake, in microseconds of the clock.
    pub(crate) fn deadline(&self) -> Option<u64> {
        [self.listeners.deadline(), self.lingering.deadline()].into_iter().flatten().min()
    }

    /// Remembers what an event tells about a connection; acting on it is for the phases.
    pub(crate) fn note(&mut self, slot: Slot, generation: u32, event: &Event) {
        let Some(row) = self.table.row_of(slot, generation) else { return };
        // Someone who hung up is found by reading, someone who reset the connection by writing too.
        row.hung_up |= event.is_read_closed() || event.is_error();
        row.readable |= event.is_readable() || row.hung_up;
        row.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        if row.attempt.is_some() {
            row.writable = false;
            self.outcomes.push((slot, generation));
            return;
        }
        if event.is_error()
            && let Some(error) =
                row.stream.as_ref().and_then(|stream| stream.socket().take_error().ok().flatten())
        {
            row.lose(Errno::from(error));
        }
        if row.unsent && row.writable {
            self.unflushed.push(slot);
        }
        self.list(slot);
    }

    /// Puts a slot on the list of its side if there is anything to read.
    pub(crate) fn list(&mut self, slot: Slot) {
        let Some(row) = self.table.row(slot) else { return };
        if row.wants_reading() && row.attempt.is_none() && !row.listed {
            row.listed = true;
            self.readable[row.side as usize].push(slot);
        }
    }

    /// Takes the list of slots of one side to read. Hand it back with [`Sockets::recycle`].
    pub(crate) fn take_readable(&mut self, side: Side) -> Vec<Slot> {
        std::mem::replace(&mut self.readable[side as usize], std::mem::take(&mut self.spare))
    }

    /// Takes the list of slots to flush. Hand it back with [`Sockets::recycle`].
    pub(crate) fn take_unflushed(&mut self) -> Vec<Slot> {
        std::mem::replace(&mut self.unflushed, std::mem::take(&mut self.spare))
    }

    pub(crate) fn recycle(&mut self, mut list: Vec<Slot>) {
        list.clear();
        list.shrink_to(ENTRIES_KEPT);
        self.spare = list;
    }

    /// Does what the core wants, until it wants nothing more.
    pub(crate) fn execute<C: Core>(&mut self, core: &mut C, now: Now) {
        self.rearrange(core, now);
        loop {
            core.end_phase();
            if core.ops().is_empty() {
                return;
            }
            let mut ops = std::mem::replace(core.ops(), std::mem::take(&mut self.ops));
            for (id, socket) in ops.listen.drain(..) {
                self.listeners.add(id, socket);
            }
            for id in ops.unlisten.drain(..) {
                self.unlisten(core, id, now);
            }
            for slot in ops.resume.drain(..) {
                self.resume(slot);
            }
            for slot in ops.flush.drain(..) {
                self.flush(core, slot, now);
            }
            self.ops = trimmed(ops);
            self.rearrange(core, now);
        }
    }

    /// Does the part of the core's wishes that changes which connection a slot stands for. Called after every call into
    /// the core that can have such wishes: no slot hears from a connection it was closed for, and what one call opened
    /// another can close.
    pub(crate) fn rearrange<C: Core>(&mut self, core: &mut C, now: Now) {
        let ops = core.ops();
        while let Some((slot, how)) = ops.close.pop() {
            match self.table.remove(slot) {
                Some(row) => self.close(row, how, now),
                // Opened and closed in the same call.
                None => ops.withdraw(slot),
            }
        }
        for (slot, stream) in ops.attach.drain(..) {
            self.attach(slot, stream);
        }
        for (slot, targets) in ops.connect.drain(..) {
            self.connect(slot, targets);
        }
    }

    fn close(&mut self, row: Row, how: Close, now: Now) {
        self.listeners.relieve();
        if how == Close::Now || row.attempt.is_some() || row.broken.is_some() || row.ended {
            return;
        }
        let Some(stream) = row.stream else { return };
        let token = self.lingering.next_token();
        if self.registry.reregister(&mut SourceFd(&stream.as_raw_fd()), token, BOTH).is_ok() {
            self.lingering.add(stream, now);
        }
    }

    /// Ends a connection that never got a slot, as [`Close::Linger`] does.
    pub(crate) fn turn_away(&mut self, stream: Stream, now: Now) {
        let token = self.lingering.next_token();
        if self.registry.register(&mut SourceFd(&stream.as_raw_fd()), token, BOTH).is_ok() {
            self.lingering.add_refused(stream, now);
        }
    }

    /// An event told that something arrived at a lingering connection.
    pub(crate) fn discard(&mut self, number: u32) {
        self.lingering.discard(number, &mut self.buffer);
    }

    /// Closes a connection that is lost and tells the core.
    pub(crate) fn fail<C: Core>(&mut self, core: &mut C, slot: Slot, errno: Errno, now: Now) {
        self.table.remove(slot);
        self.listeners.relieve();
        core.failed(slot, errno, now);
        // There is nothing left to close here, and what the core opens in the same call is not to be withdrawn.
        core.ops().close.retain(|&(closed, _)| closed != slot);
        self.rearrange(core, now);
    }

    /// Serves a stream under a slot. Readiness that is there already is told by the registration.
    pub(crate) fn keep(&mut self, slot: Slot, stream: Stream) {
        let generation = self.table.next_generation();
        match self.register(slot, generation, &stream) {
            Ok(()) => {
                self.table.insert(slot, Row::open(Side::Accepted, stream, generation));
            }
            Err(error) => self.stillborn(slot, generation, Errno::from(error)),
        }
    }

    /// As [`Sockets::keep`], for a stream that was under way for a while: it likely has something to read, so it is
    /// read in this turn.
    fn attach(&mut self, slot: Slot, stream: Stream) {
        self.keep(slot, stream);
        if let Some(row) = self.table.row(slot) {
            row.readable = row.stream.is_some();
            self.list(slot);
        }
    }

    fn resume(&mut self, slot: Slot) {
        if let Some(row) = self.table.row(slot) {
            row.paused = false;
            self.list(slot);
        }
    }

    pub(crate) fn register(&self, slot: Slot, generation: u32, stream: &Stream) -> io::Result<()> {
        let token = Source::Connection { slot, generation }.token();
        self.registry.register(&mut SourceFd(&stream.as_raw_fd()), token, BOTH)
    }
}

/// Gives back what a spike left behind.
fn trimmed(mut ops: Ops) -> Ops {
    ops.flush.shrink_to(ENTRIES_KEPT);
    ops.resume.shrink_to(ENTRIES_KEPT);
    ops.close.shrink_to(RARE_KEPT);
    ops.attach.shrink_to(RARE_KEPT);
    ops.connect.shrink_to(RARE_KEPT);
    ops
}
