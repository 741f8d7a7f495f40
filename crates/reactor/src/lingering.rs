//! Connections that are done but whose peer may still be sending: reading and discarding that for a while lets the
//! peer read the last reply, where closing at once would answer its bytes with a reset that throws the reply away.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::Shutdown;

use mio::Token;

use crate::token::Source;
use crate::{Now, SLOTS_MAX, Stream};

/// How long a peer has to read and close.
const LINGER_US: u64 = 2_000_000;

/// How much a peer may still send.
const DISCARD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many connections may linger at once; the oldest goes first.
const LINGERING_MAX: usize = 1024;

/// How many of them may be refused newcomers, which come when descriptors are short: few enough to leave connections
/// to servers the descriptors kept for them.
pub const REFUSED_LINGERING_MAX: usize = 4;

/// Entries kept allocated while nothing lingers.
const ENTRIES_KEPT: usize = 16;

struct Lingerer {
    stream: Stream,
    until_us: u64,
    discarded: usize,
    refused: bool,
}

/// The lingering connections, oldest first. INVARIANT: the first entry, if any, is not None; the entry at position `i`
/// has the number `first + i`; deadlines ascend.
#[derive(Default)]
pub(crate) struct Lingering {
    queue: VecDeque<Option<Lingerer>>,
    first: u32,
}

impl Lingering {
    /// What to register the next connection with before it is added.
    pub(crate) fn next_token(&self) -> Token {
        Source::Lingering(wrapped(u64::from(self.first) + self.queue.len() as u64)).token()
    }

    /// Takes a connection that is registered with [`Lingering::next_token`].
    pub(crate) fn add(&mut self, stream: Stream, now: Now) {
        self.push(stream, false, now);
    }

    /// Takes likewise a connection that was refused; too many of those make the oldest of them go.
    pub(crate) fn add_refused(&mut self, stream: Stream, now: Now) {
        self.push(stream, true, now);
        let refused = |place: &Option<Lingerer>| place.as_ref().is_some_and(|entry| entry.refused);
        if self.queue.iter().filter(|place| refused(place)).count() > REFUSED_LINGERING_MAX {
            if let Some(oldest) = self.queue.iter_mut().find(|place| refused(place)) {
                *oldest = None;
            }
            self.drop_closed();
        }
    }

    fn push(&mut self, stream: Stream, refused: bool, now: Now) {
        if stream.socket().shutdown(Shutdown::Write).is_err() {
            return;
        }
        let until_us = now.mono_us.saturating_add(LINGER_US);
        self.queue.push_back(Some(Lingerer { stream, until_us, discarded: 0, refused }));
        if self.queue.len() > LINGERING_MAX {
            self.drop_oldest();
        }
    }

    /// Closes the oldest one to free its descriptor. False if there was none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let dropped = self.pop();
        self.drop_closed();
        dropped
    }

    /// When the oldest one has had its time.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.queue.front()?.as_ref().map(|lingerer| lingerer.until_us)
    }

    /// Closes those that had their time.
    pub(crate) fn expire(&mut self, now: Now) {
        while self.deadline().is_some_and(|until_us| until_us <= now.mono_us) {
            self.drop_oldest();
        }
    }

    /// Discards what arrived at the connection of this number, and closes it at its end or when it sent its share.
    pub(crate) fn discard(&mut self, number: u32, buffer: &mut [u8]) {
        let position =
            wrapped(u64::from(number) + u64::from(SLOTS_MAX) - u64::from(self.first)) as usize;
        let Some(place) = self.queue.get_mut(position) else { return };
        let Some(lingerer) = place else { return };
        loop {
            match lingerer.stream.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(n) if n > 0 && lingerer.discarded + n < DISCARD_BYTES_MAX => {
                    lingerer.discarded += n;
                }
                _ => break,
            }
        }
        *place = None;
        self.drop_closed();
    }

    fn drop_closed(&mut self) {
        while let Some(None) = self.queue.front() {
            self.pop();
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(ENTRIES_KEPT);
        }
    }

    fn pop(&mut self) -> bool {
        let popped = self.queue.pop_front().is_some();
        self.first = wrapped(u64::from(self.first) + u64::from(popped));
        popped
    }
}

fn wrapped(number: u64) -> u32 {
    (number % u64::from(SLOTS_MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::{LINGER_US, LINGERING_MAX, Lingering, REFUSED_LINGERING_MAX};
    use crate::token::Source;
    use crate::{Now, SLOTS_MAX, Stream};

    fn pair() -> (Stream, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Stream::from(OwnedFd::from(ours)), peer)
    }

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: 0 }
    }

    fn add(lingering: &mut Lingering, now: Now) -> (u32, UnixStream) {
        let (ours, peer) = pair();
        let Source::Lingering(number) = Source::of(lingering.next_token()) else {
            panic!("not a linger token")
        };
        lingering.add(ours, now);
        (number, peer)
    }

    fn open(lingering: &Lingering) -> usize {
        lingering.queue.iter().flatten().count()
    }

    #[test]
    fn a_peer_that_closed_ends_the_lingering_in_any_order() {
        let mut lingering = Lingering { first: SLOTS_MAX - 1, ..Lingering::default() };
        let peers: Vec<_> = (0..3).map(|_| add(&mut lingering, at(0))).collect();
        let numbers: Vec<_> = peers.iter().map(|peer| peer.0).collect();
        assert_eq!(numbers, [SLOTS_MAX - 1, 0, 1]);
        lingering.discard(numbers[1], &mut [0; 64]);
        assert_eq!(open(&lingering), 3, "nothing to read is not the end");
        drop(peers);
        for (number, left) in [(numbers[1], 2), (numbers[0], 1), (numbers[0], 1), (numbers[2], 0)] {
            lingering.discard(number, &mut [0; 64]);
            assert_eq!(open(&lingering), left);
        }
        assert!(lingering.queue.is_empty());
    }

    #[test]
    fn time_ends_the_lingering() {
        let mut lingering = Lingering::default();
        let _peers = [add(&mut lingering, at(0)), add(&mut lingering, at(5))];
        lingering.expire(at(LINGER_US));
        assert_eq!(open(&lingering), 1);
        assert_eq!(lingering.deadline(), Some(LINGER_US + 5));
        lingering.expire(at(LINGER_US + 5));
        assert_eq!((open(&lingering), lingering.deadline()), (0, None));
    }

    #[test]
    fn a_peer_that_sends_on_and_on_is_cut_off() {
        let mut lingering = Lingering::default();
        let (number, peer) = add(&mut lingering, at(0));
        peer.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while open(&lingering) == 1 {
            sent += (&peer).write(&[0; 4096]).unwrap();
            lingering.discard(number, &mut [0; 65536]);
        }
        assert_eq!(sent, super::DISCARD_BYTES_MAX);
    }

    #[test]
    fn few_refused_connections_linger_and_they_push_out_no_others() {
        let mut lingering = Lingering::default();
        let (_, other) = add(&mut lingering, at(0));
        let peers: Vec<_> = (0..REFUSED_LINGERING_MAX + 2)
            .map(|_| {
                let (ours, peer) = pair();
                lingering.add_refused(ours, at(0));
                peer
            })
            .collect();
        assert_eq!(open(&lingering), 1 + REFUSED_LINGERING_MAX);
        assert!((&other).write(b"x").is_ok(), "it was not refused");
        let open = peers.iter().map(|mut peer| peer.write(b"x").is_ok());
        assert_eq!(open.collect::<Vec<_>>(), [false, false, true, true, true, true]);
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let mut lingering = Lingering::default();
        let (_, oldest) = add(&mut lingering, at(0));
        let _others: Vec<_> = (0..LINGERING_MAX).map(|_| add(&mut lingering, at(0))).collect();
        assert_eq!(open(&lingering), LINGERING_MAX);
        assert!((&oldest).write(b"x").is_err(), "the oldest is closed");
    }
}
