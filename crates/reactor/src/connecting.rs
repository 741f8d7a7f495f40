//! Connecting: one target after the other until one accepts.
//!
//! Outcomes are told from the loop, never from within the call that asked, so a core that connects again at once can
//! neither recurse nor keep the turn from ending.
#![forbid(unsafe_code)]

use std::{io, vec};

use crate::accepting::out_of_descriptors;
use crate::sockets::Sockets;
use crate::stream::Progress;
use crate::table::Row;
use crate::{Core, Errno, Now, Slot, Stream, Target};

/// What is left to try for a connection that is not established.
#[derive(Debug)]
pub(crate) struct Attempt {
    targets: vec::IntoIter<Target>,
    /// Why the last target failed.
    last: Errno,
}

impl Sockets {
    /// Starts connecting a slot.
    pub(crate) fn connect(&mut self, slot: Slot, targets: Vec<Target>) {
        let attempt = Attempt { targets: targets.into_iter(), last: Errno(libc::EADDRNOTAVAIL) };
        let generation = self.table.next_generation();
        self.table.insert(slot, Row::connecting(attempt, generation));
        self.try_next(slot);
    }

    /// Leaves a slot whose connection could not even be registered to be failed by the loop.
    pub(crate) fn stillborn(&mut self, slot: Slot, generation: u32, errno: Errno) {
        let attempt = Attempt { targets: Vec::new().into_iter(), last: errno };
        self.table.insert(slot, Row::connecting(attempt, generation));
        self.outcomes.push((slot, generation));
    }

    /// Goes on to the first target that does not fail at once, if any is left.
    fn try_next(&mut self, slot: Slot) {
        let generation = self.table.next_generation();
        let Some(row) = self.table.row(slot) else { return };
        row.generation = generation;
        row.stream = None;
        (row.readable, row.hung_up) = (false, false);
        loop {
            let Some(attempt) = self.table.row(slot).and_then(|row| row.attempt.as_mut()) else {
                return;
            };
            let Some(target) = attempt.targets.next() else {
                self.outcomes.push((slot, generation));
                return;
            };
            let begun = self.open(&target).and_then(|(stream, progress)| {
                self.register(slot, generation, &stream)?;
                Ok((stream, progress))
            });
            let Some(row) = self.table.row(slot) else { return };
            match begun {
                Ok((stream, progress)) => {
                    row.stream = Some(stream);
                    if progress == Progress::Established {
                        self.outcomes.push((slot, generation));
                    }
                    return;
                }
                Err(error) => {
                    if let Some(attempt) = &mut row.attempt {
                        attempt.last = Errno::from(error);
                    }
                }
            }
        }
    }

    /// Begins to connect; what only lingers gives up its descriptor for it.
    fn open(&mut self, target: &Target) -> io::Result<(Stream, Progress)> {
        loop {
            match Stream::connect(target) {
                Err(error) if out_of_descriptors(&error) && self.lingering.drop_oldest() => {}
                result => return result,
            }
        }
    }

    /// Looks at every attempt that may have come to its end.
    pub(crate) fn settle<C: Core>(&mut self, core: &mut C, now: Now) {
        // What is pushed meanwhile waits for the next turn.
        for index in (0..self.outcomes.len()).rev() {
            let (slot, generation) = self.outcomes.swap_remove(index);
            self.settle_one(core, slot, generation, now);
        }
    }

    fn settle_one<C: Core>(&mut self, core: &mut C, slot: Slot, generation: u32, now: Now) {
        let Some(row) = self.table.row_of(slot, generation) else { return };
        let Some(attempt) = &mut row.attempt else { return };
        let Some(stream) = &row.stream else {
            let errno = attempt.last;
            return self.fail(core, slot, errno, now);
        };
        match stream.progress() {
            Ok(Progress::Established) => {
                row.attempt = None;
                row.writable = true;
                if row.unsent {
                    self.unflushed.push(slot);
                }
                self.list(slot);
                core.connected(slot, now);
                self.rearrange(core, now);
            }
            Ok(Progress::Pending) if row.hung_up => {
                attempt.last = Errno(libc::ENOTCONN);
                self.try_next(slot);
            }
            Ok(Progress::Pending) => {}
            Err(error) => {
                attempt.last = Errno::from(error);
                self.try_next(slot);
            }
        }
    }
}
