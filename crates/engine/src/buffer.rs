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
/// A queue of chunks with room for more than this is freed when it drains; so many others are kept for the next ones.
const QUEUE_KEPT_MAX: usize = 64;
const QUEUES_FREE_MAX: usize = 64;

/// Chunks of an output behind its first.
type Chunks = VecDeque<Vec<u8>>;

/// The buffer pool of a worker.
///
/// INVARIANT: `lent` is the sum of capacities of all buffers taken and not yet given back, and of what was
/// [recounted](Buffers::recount); every growth of such a buffer goes through [`Buffers::reserve`].
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Queues for the further chunks of outputs.
    #[expect(clippy::vec_box, reason = "they move between here and outputs, which hold a pointer")]
    queues: Vec<Box<Chunks>>,
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
    #[inline]
    pub(crate) fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) {
        if buffer.capacity() - buffer.len() < bytes.len() {
            self.reserve(buffer, bytes.len());
        }
        buffer.extend_from_slice(bytes);
    }

    /// Appends the beginning of a message that will be `whole` bytes long as far as its sender says. Room for all of it
    /// is made at once only when half of it is there: announcing costs nothing.
    pub(crate) fn append_beginning(&mut self, buffer: &mut Vec<u8>, bytes: &[u8], whole: usize) {
        let wanted = if whole / 2 <= bytes.len() { whole.max(bytes.len()) } else { bytes.len() };
        self.reserve(buffer, wanted);
        buffer.extend_from_slice(bytes);
    }

    /// Counts other memory of a connection, which is `bytes` now; `counted` says how much of it is counted.
    pub(crate) fn recount(&mut self, counted: &mut usize, bytes: usize) {
        self.lent = self.lent - *counted + bytes;
        *counted = bytes;
    }

    /// Bytes of capacity that connections hold at this moment.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }
}

/// Bytes waiting to be written to one connection, oldest first.
///
/// INVARIANT: `front` is without memory only when nothing is unsent, and `rest` is there only when it is not empty.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The chunk being sent; most outputs never have another.
    front: Vec<u8>,
    rest: Option<Box<Chunks>>,
    /// Bytes of the front chunk that are written already.
    sent: usize,
    /// Unsent bytes over all chunks.
    len: usize,
}

impl Output {
    /// Nothing to send.
    pub(crate) const fn empty() -> Output {
        Output { front: Vec::new(), rest: None, sent: 0, len: 0 }
    }

    /// Unsent bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        // PERF: keys and values of split requests come one by one, and nearly always fit.
        let tail = self.tail();
        if tail.capacity() - tail.len() >= bytes.len() {
            tail.extend_from_slice(bytes);
        } else {
            self.tail_for(bytes.len(), buffers).extend_from_slice(bytes);
        }
    }

    /// Appends a copy of a piece of something larger: parted wherever a chunk is full, so that all chunks are of a size
    /// that the pool keeps.
    pub(crate) fn push_parted(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        self.len += bytes.len();
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut tail = self.tail();
            if tail.capacity() == tail.len() {
                let chunk = buffers.take(LARGE);
                self.push_chunk(chunk, buffers);
                tail = self.tail();
            }
            let (piece, more) = rest.split_at(rest.len().min(tail.capacity() - tail.len()));
            tail.extend_from_slice(piece);
            rest = more;
        }
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

    /// Replaces the last `bytes`, which were appended as one with what is before them and are unsent, by `parts`.
    pub(crate) fn replace_end(&mut self, bytes: usize, parts: &[&[u8]], buffers: &mut Buffers) {
        let tail = self.tail();
        debug_assert!(tail.len() > bytes, "the end was appended alone");
        tail.truncate(tail.len() - bytes);
        self.len -= bytes;
        self.push_all(parts, buffers);
    }

    /// Appends a whole buffer of the pool without copying it.
    pub(crate) fn push_owned(&mut self, buffer: Vec<u8>, buffers: &mut Buffers) {
        self.len += buffer.len();
        self.push_chunk(buffer, buffers);
    }

    fn push_chunk(&mut self, chunk: Vec<u8>, buffers: &mut Buffers) {
        if self.front.capacity() == 0 {
            self.front = chunk;
            return;
        }
        let rest = self.rest.get_or_insert_with(|| buffers.queues.pop().unwrap_or_default());
        rest.push_back(chunk);
    }

    /// The chunk that is appended to.
    #[inline]
    fn tail(&mut self) -> &mut Vec<u8> {
        match self.rest.as_mut().and_then(|rest| rest.back_mut()) {
            Some(tail) => tail,
            None => &mut self.front,
        }
    }

    /// A tail chunk with room for `bytes`.
    fn tail_for(&mut self, bytes: usize, buffers: &mut Buffers) -> &mut Vec<u8> {
        let tail = self.tail();
        if tail.capacity() == 0 {
            *tail = buffers.take(bytes);
        } else if tail.capacity() - tail.len() < bytes {
            let mut chunk = buffers.take(bytes.max(LARGE));
            if self.rest.is_none() && self.front.capacity() == SMALL && bytes < LARGE - SMALL {
                // PERF: moving so little costs less than a write of two pieces instead of one.
                chunk.extend_from_slice(self.front.get(self.sent..).unwrap_or_default());
                self.sent = 0;
                buffers.give(std::mem::replace(&mut self.front, chunk));
            } else {
                self.push_chunk(chunk, buffers);
            }
        }
        self.tail()
    }

    /// Fills `slices` from the front and returns how many it filled.
    pub(crate) fn slices<'o>(&'o self, slices: &mut [IoSlice<'o>]) -> usize {
        let front = self.front.get(self.sent..).filter(|front| !front.is_empty());
        let Some(rest) = &self.rest else {
            // PERF: most outputs never have another chunk.
            let (Some(slice), Some(front)) = (slices.first_mut(), front) else { return 0 };
            *slice = IoSlice::new(front);
            return 1;
        };
        let chunks = front.into_iter().chain(rest.iter().map(Vec::as_slice));
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    /// Forgets `bytes` written from the front.
    pub(crate) fn advance(&mut self, bytes: usize, buffers: &mut Buffers) {
        debug_assert!(bytes <= self.len, "wrote more than there was");
        self.len -= bytes.min(self.len);
        self.sent += bytes;
        while self.front.capacity() != 0 && self.sent >= self.front.len() {
            self.sent -= self.front.len();
            let next = self.rest.as_mut().and_then(|rest| rest.pop_front()).unwrap_or_default();
            buffers.give(std::mem::replace(&mut self.front, next));
            if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
                self.give_queue(buffers);
            }
        }
    }

    fn give_queue(&mut self, buffers: &mut Buffers) {
        let Some(queue) = self.rest.take() else { return };
        if queue.capacity() <= QUEUE_KEPT_MAX && buffers.queues.len() < QUEUES_FREE_MAX {
            buffers.queues.push(queue);
        }
    }

    /// Drops everything unsent.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        buffers.give(std::mem::take(&mut self.front));
        if let Some(rest) = &mut self.rest {
            rest.drain(..).for_each(|chunk| buffers.give(chunk));
        }
        self.give_queue(buffers);
        self.sent = 0;
        self.len = 0;
    }

    /// Takes out the end of the output, for one who appends many pieces, at most `bytes` in all. It takes none if so many
    /// do not fit into one chunk. Until it is [put back](Output::put_tail) nothing else may be done with the output, or
    /// everything if it takes none.
    pub(crate) fn take_tail(&mut self, bytes: usize, buffers: &mut Buffers) -> Tail {
        if bytes > LARGE {
            return Tail::default();
        }
        let chunk = std::mem::take(self.tail_for(bytes, buffers));
        Tail { begin: chunk.len(), chunk }
    }

    /// Puts back what was taken out, with all that was appended to it.
    pub(crate) fn put_tail(&mut self, tail: Tail) {
        if tail.chunk.capacity() != 0 {
            debug_assert!(self.tail().capacity() == 0, "appended to an output without its tail");
            self.len += tail.chunk.len() - tail.begin;
            *self.tail() = tail.chunk;
        }
    }
}

/// The end of an output, taken out of it.
///
/// PERF: a key of a split command costs few instructions more than copying it.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Without memory if it takes nothing.
    chunk: Vec<u8>,
    /// Where what is appended begins.
    begin: usize,
}

impl Tail {
    /// Appends a copy of `bytes`; returns whether there was room for it.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.chunk.capacity() - self.chunk.len() >= bytes.len();
        if fits {
            self.chunk.extend_from_slice(bytes);
        }
        fits
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
        output.push_owned(owned, &mut buffers);
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
    fn an_end_is_replaced_wherever_chunks_meet_and_however_much_is_sent() {
        for len in [1, 60, 250] {
            for sent in [0, 1, 500, 5_000] {
                let mut buffers = Buffers::default();
                let mut output = Output::default();
                output.push(&vec![b'-'; sent + 1], &mut buffers);
                output.advance(sent, &mut buffers);
                let mut expected = b"-get 0\r\n".to_vec();
                output.push(b"get 0\r\n", &mut buffers);
                for n in 0..40_000 / len {
                    let word = vec![b'a' + (n % 26) as u8; len];
                    output.replace_end(2, &[b" ", &word, b"\r\n"], &mut buffers);
                    expected.truncate(expected.len() - 2);
                    expected.extend([b" ", &word[..], b"\r\n"].concat());
                    assert_eq!(output.len(), expected.len());
                }
                assert_eq!(content(&output), expected, "words of {len}, {sent} sent");
                output.advance(expected.len(), &mut buffers);
                assert!(output.is_empty() && buffers.lent() == 0);
            }
        }
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
