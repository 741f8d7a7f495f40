//! Byte buffers: a recycling pool and the output queue of a connection.
//!
//! A connection owns memory only while something is unfinished or unsent. Buffers come from one pool per worker, last in
//! first out so that they stay in cache, and the pool knows how many bytes are out: that number is what the memory
//! ceiling and the statistics speak of.

use std::collections::VecDeque;
use std::io::IoSlice;

/// First chunk of an output: most connections never have more than this unsent.
const SMALL: usize = 1 << 10;
/// Further chunks, and the first one when a message does not fit the small class.
const LARGE: usize = 16 << 10;
/// Free buffers kept per class; what exceeds it goes back to the allocator.
const SMALL_FREE_MAX: usize = 1024;
const LARGE_FREE_MAX: usize = 128;
/// An output's ring of chunks larger than this is freed when it drains.
const RING_KEPT_MAX: usize = 8;

/// The buffer pool of a worker.
///
/// INVARIANT: `lent` is the sum of capacities of all buffers taken and not yet given back; every growth of such a buffer
/// goes through [`Buffers::reserve`].
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    lent: usize,
    /// Bytes given to the allocator since the pool exists.
    freed: u64,
}

impl Buffers {
    /// An empty buffer that holds at least `bytes` without growing.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let buffer = if bytes <= SMALL {
            self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL))
        } else if bytes <= LARGE {
            self.large.pop().unwrap_or_else(|| Vec::with_capacity(LARGE))
        } else {
            Vec::with_capacity(bytes)
        };
        self.lent += buffer.capacity();
        buffer
    }

    /// Returns a buffer got from [`Buffers::take`]; odd sizes are freed. A never-allocated `Vec` is ignored.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        self.lent -= capacity;
        let class = match capacity {
            SMALL if self.small.len() < SMALL_FREE_MAX => &mut self.small,
            LARGE if self.large.len() < LARGE_FREE_MAX => &mut self.large,
            _ => {
                self.freed += capacity as u64;
                return;
            }
        };
        buffer.clear();
        class.push(buffer);
    }

    /// Bytes given to the allocator since the pool exists; grows only.
    pub(crate) fn freed(&self) -> u64 {
        self.freed
    }

    /// Makes room for `additional` more bytes in a taken (or never-allocated) buffer, at least doubling it.
    pub(crate) fn reserve(&mut self, buffer: &mut Vec<u8>, additional: usize) {
        let wanted = buffer.len() + additional;
        if wanted <= buffer.capacity() {
            return;
        }
        let mut larger = self.take(wanted.max(buffer.capacity() * 2));
        larger.extend_from_slice(buffer);
        self.give(std::mem::replace(buffer, larger));
    }

    /// Appends to a taken (or never-allocated) buffer.
    pub(crate) fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) {
        self.reserve(buffer, bytes.len());
        buffer.extend_from_slice(bytes);
    }

    /// Bytes of capacity that connections hold at this moment.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }
}

/// Bytes waiting to be written to one connection, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Output {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the front chunk that are written already.
    sent: usize,
    /// Unsent bytes over all chunks.
    len: usize,
}

impl Output {
    /// Nothing to send.
    pub(crate) const fn empty() -> Output {
        Output { chunks: VecDeque::new(), sent: 0, len: 0 }
    }

    /// Unsent bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        if bytes.is_empty() {
            return;
        }
        self.tail_for(bytes.len(), buffers).extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends `parts` one after the other without splitting them over chunks.
    pub(crate) fn push_all(&mut self, parts: &[&[u8]], buffers: &mut Buffers) {
        let total = parts.iter().map(|part| part.len()).sum();
        let tail = self.tail_for(total, buffers);
        for part in parts {
            tail.extend_from_slice(part);
        }
        self.len += total;
    }

    /// Appends a whole buffer of the pool without copying it.
    pub(crate) fn push_owned(&mut self, buffer: Vec<u8>) {
        self.len += buffer.len();
        self.chunks.push_back(buffer);
    }

    /// A tail chunk with room for `bytes`.
    fn tail_for(&mut self, bytes: usize, buffers: &mut Buffers) -> &mut Vec<u8> {
        let fits = self.chunks.back().is_some_and(|tail| tail.capacity() - tail.len() >= bytes);
        if !fits {
            let class = if self.chunks.is_empty() { bytes } else { bytes.max(LARGE) };
            self.chunks.push_back(buffers.take(class));
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// Fills `slices` from the front and returns how many it filled.
    pub(crate) fn slices<'o>(&'o self, slices: &mut [IoSlice<'o>]) -> usize {
        let mut skip = self.sent;
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(&chunk[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Forgets `bytes` written from the front.
    pub(crate) fn advance(&mut self, bytes: usize, buffers: &mut Buffers) {
        debug_assert!(bytes <= self.len, "wrote more than there was");
        self.len -= bytes.min(self.len);
        self.sent += bytes;
        while let Some(front) = self.chunks.front() {
            if self.sent < front.len() {
                return;
            }
            self.sent -= front.len();
            if let Some(done) = self.chunks.pop_front() {
                buffers.give(done);
            }
        }
        self.sent = 0;
        if self.chunks.capacity() > RING_KEPT_MAX {
            self.chunks = VecDeque::new();
        }
    }

    /// Drops everything unsent.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        for chunk in self.chunks.drain(..) {
            buffers.give(chunk);
        }
        self.chunks = VecDeque::new();
        self.sent = 0;
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = output.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn output_keeps_order_over_chunks_and_partial_writes() {
        let mut buffers = Buffers::default();
        let mut output = Output::default();
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let bytes = vec![round as u8; round * 7 % 900];
            output.push(&bytes, &mut buffers);
            expected.extend_from_slice(&bytes);
        }
        let owned = {
            let mut owned = buffers.take(40_000);
            owned.resize(40_000, 7);
            owned
        };
        expected.extend_from_slice(&owned);
        output.push_owned(owned);
        let mut written = Vec::new();
        while !output.is_empty() {
            let ready = content(&output);
            let n = ready.len().min(777);
            written.extend_from_slice(&ready[..n]);
            output.advance(n, &mut buffers);
        }
        assert_eq!(written, expected);
        assert_eq!(buffers.lent(), 0);
    }

    #[test]
    fn lent_counts_growth() {
        let mut buffers = Buffers::default();
        let mut buffer = Vec::new();
        for _ in 0..10_000 {
            buffers.append(&mut buffer, b"0123456789");
        }
        assert_eq!(buffer.len(), 100_000);
        assert_eq!(buffers.lent(), buffer.capacity());
        buffers.give(buffer);
        assert_eq!(buffers.lent(), 0);
    }

    #[test]
    fn the_pool_gives_surplus_back_to_the_allocator() {
        let mut buffers = Buffers::default();
        let taken: Vec<_> = (0..5000).map(|_| buffers.take(LARGE)).collect();
        for buffer in taken {
            buffers.give(buffer);
        }
        assert_eq!(buffers.large.len(), LARGE_FREE_MAX);
    }
}
