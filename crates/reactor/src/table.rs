//! The connections of a reactor by slot: what the loop must remember of each, and nothing else.
//!
//! ```text
//!            connect                        established
//!  vacant ------------> connecting (attempt) ----------> open ---> ended (peer sends no more)
//!    ^                       | all targets failed         |  |        |
//!    |                       v                            |  v        v
//!    +---------------------- + <----- close, failed ------+ broken (read to the end, then failed)
//! ```
#![forbid(unsafe_code)]

use crate::connecting::Attempt;
use crate::{Errno, Slot, Stream};

/// Rows kept allocated whatever closes.
const ROWS_KEPT: usize = 256;
/// Beyond that, room is taken in pieces so large that the allocator maps them apart: what is not touched costs nothing
/// there, and a table that grows leaves no hole behind.
const ROWS_STEP_BYTES: usize = 4 << 20;

/// Who opened a connection; decides in which half of the turn it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Accepted,
    Connected,
}

/// One connection. Readiness is remembered here because it is only told when it begins (edge-triggered).
#[derive(Debug)]
pub(crate) struct Row {
    /// None in a vacant row, and while the failure of the last target waits to be told.
    pub(crate) stream: Option<Stream>,
    /// What is left to try while the connection is not established.
    pub(crate) attempt: Option<Box<Attempt>>,
    /// Of the registration of `stream`.
    pub(crate) generation: u32,
    /// The connection is lost, but what arrived before has still to be read.
    pub(crate) broken: Option<Errno>,
    pub(crate) side: Side,
    /// A read may find something.
    pub(crate) readable: bool,
    /// A write may find room.
    pub(crate) writable: bool,
    /// The peer closed: no further edge will come, so a short read says nothing about what follows.
    pub(crate) hung_up: bool,
    /// End of file was read.
    pub(crate) ended: bool,
    /// The core wants no more bytes for now.
    pub(crate) paused: bool,
    /// In the list of slots to read.
    pub(crate) listed: bool,
    /// The core has output that waits for room.
    pub(crate) unsent: bool,
}

const _: () = assert!(size_of::<Row>() <= 64);

const VACANT: Row = Row {
    stream: None,
    attempt: None,
    generation: 0,
    broken: None,
    side: Side::Accepted,
    readable: false,
    writable: false,
    hung_up: false,
    ended: false,
    paused: false,
    listed: false,
    unsent: false,
};

impl Row {
    /// A fresh connection whose socket has room, as every fresh one has.
    pub(crate) fn open(side: Side, stream: Stream, generation: u32) -> Row {
        Row { stream: Some(stream), generation, side, writable: true, ..VACANT }
    }

    /// A connection that is to be established.
    pub(crate) fn connecting(attempt: Attempt, generation: u32) -> Row {
        Row { attempt: Some(Box::new(attempt)), generation, side: Side::Connected, ..VACANT }
    }

    fn occupied(&self) -> bool {
        self.stream.is_some() || self.attempt.is_some()
    }

    /// Whether the read phase has something to do here. An accepted connection that is paused and lost gets told at
    /// once: its replies cannot be delivered any more. A connected one is read to the end first, when resumed.
    pub(crate) fn wants_reading(&self) -> bool {
        match (self.broken, self.paused, self.side) {
            (Some(_), false, _) | (Some(_), true, Side::Accepted) => true,
            (Some(_), true, Side::Connected) => false,
            (None, paused, _) => self.readable && !paused && !self.ended,
        }
    }

    /// Notes that the connection is lost; the first cause counts.
    pub(crate) fn lose(&mut self, errno: Errno) {
        self.broken.get_or_insert(errno);
        self.readable = true;
        self.hung_up = true;
    }
}

/// Rows by slot.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    generation: u32,
}

impl Table {
    /// A number no live registration has (numbers come again after four thousand million registrations).
    pub(crate) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// The row of an occupied slot.
    pub(crate) fn row(&mut self, slot: Slot) -> Option<&mut Row> {
        self.rows.get_mut(slot as usize).filter(|row| row.occupied())
    }

    /// The row of a slot if it still is the connection of that generation.
    pub(crate) fn row_of(&mut self, slot: Slot, generation: u32) -> Option<&mut Row> {
        self.row(slot).filter(|row| row.generation == generation)
    }

    /// Puts a connection into a slot. A core that did not close what was there before loses it.
    pub(crate) fn insert(&mut self, slot: Slot, row: Row) -> &mut Row {
        let index = slot as usize;
        if index >= self.rows.len() {
            if index == self.rows.capacity() && index >= ROWS_KEPT {
                self.rows.reserve_exact(index.max(ROWS_STEP_BYTES / size_of::<Row>()));
            }
            self.rows.resize_with(index + 1, || VACANT);
        }
        debug_assert!(!self.rows[index].occupied(), "slot {slot} is in use");
        self.rows[index] = row;
        &mut self.rows[index]
    }

    /// Empties a slot and gives back memory when few are left.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Row> {
        let row = std::mem::replace(self.row(slot)?, VACANT);
        while self.rows.last().is_some_and(|row| !row.occupied()) {
            self.rows.pop();
        }
        let wanted = (self.rows.len() * 2).max(ROWS_KEPT);
        if self.rows.capacity() > wanted * 2 {
            self.rows.shrink_to(wanted);
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::{ROWS_KEPT, Row, Side, Table};
    use crate::Stream;

    fn row(table: &mut Table) -> Row {
        let (one, _) = UnixStream::pair().unwrap();
        Row::open(Side::Accepted, Stream::from(OwnedFd::from(one)), table.next_generation())
    }

    #[test]
    fn a_row_of_an_older_generation_is_not_found() {
        let mut table = Table::default();
        let first = row(&mut table);
        let old = first.generation;
        table.insert(3, first);
        assert!(table.row_of(3, old).is_some());
        table.remove(3).unwrap();
        let second = row(&mut table);
        table.insert(3, second);
        assert!(table.row_of(3, old).is_none());
        assert!(table.row(3).is_some());
    }

    #[test]
    fn memory_is_given_back_after_a_spike() {
        let mut table = Table::default();
        for slot in [0, 100_000] {
            let row = row(&mut table);
            table.insert(slot, row);
        }
        assert!(table.rows.capacity() > 100_000);
        table.remove(100_000).unwrap();
        assert_eq!(table.rows.len(), 1);
        assert!(table.rows.capacity() <= 2 * ROWS_KEPT);
        assert!(table.row(0).is_some());
    }

    #[test]
    fn a_slot_in_the_middle_leaves_the_rows_around_it() {
        let mut table = Table::default();
        for slot in 0..3 {
            let row = row(&mut table);
            table.insert(slot, row);
        }
        table.remove(1).unwrap();
        assert!(table.remove(1).is_none());
        assert!(table.row(0).is_some() && table.row(2).is_some());
        table.remove(2).unwrap();
        assert_eq!(table.rows.len(), 1);
    }
}
