//! Finds where a request ends and where its arguments are, in bytes that arrive in any pieces.
//!
//! The scanner knows framing only; what a request means is the business of
//! [`command`](super::command).

use super::limits::{ARGS_MAX, BULK_BYTES_MAX, INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::number::{Number, NumberError};
use super::{Malformed, Reason};
use crate::Span;
use crate::span::offset32;

/// What the bytes at hand are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The beginning of a request; more bytes are needed.
    Incomplete,
    /// A RESP array of that many bytes; the spans are its arguments.
    Complete(usize),
    /// An inline request of that many bytes, line end included; the spans are untouched. See
    /// [`inline::encode`](super::inline::encode).
    Inline(usize),
    /// A line end of that many bytes where a request should begin. Redis skips it, and
    /// `redis-cli --pipe` sends one ahead of its closing `ECHO`; whether to skip it or to answer
    /// [`Reason::EmptyRequest`] is the caller's choice.
    Blank(usize),
    /// No request begins like this. The connection cannot be read any further.
    Malformed(Malformed),
}

/// Scans one request. [`Default`] is the state at a request's first byte.
///
/// INVARIANT: `at` is at most the length of the bytes of the latest call, and no byte before it is
/// looked at again.
#[derive(Clone, Debug, Default)]
pub struct RequestScanner {
    at: u32,
    /// Arguments not yet found, once the count is known.
    missing: u32,
    number: Number,
    stage: Stage,
    /// Bytes of the request that were forgotten.
    forgotten: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Before the first byte.
    #[default]
    First,
    /// Inside an inline request.
    Inline,
    /// Behind `*`.
    Count,
    /// At the first byte of an argument.
    Mark,
    /// Behind `$`.
    Length,
    /// At the first byte of a payload of `number` bytes.
    Payload,
}

/// Why the scan of an array ends before its end.
enum Halt {
    Incomplete,
    Malformed(Malformed),
}

impl RequestScanner {
    /// Scans the request at the front of `bytes`. Returns its length if it is a whole array of fewer than ten arguments
    /// of fewer than a hundred bytes, `args` being those then; else the scanner to go on with, over the same
    /// bytes or more of them, and over `args`, which begin empty.
    ///
    /// PERF: nearly every request is such an array. It needs no state, and none is made.
    #[inline]
    pub fn begin(bytes: &[u8], args: &mut Vec<Span>) -> Result<usize, Self> {
        let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = bytes else {
            return Err(Self::default());
        };
        match short_arguments(bytes, 4, u32::from(count.wrapping_sub(b'0')), args) {
            (at, 0) => Ok(at as usize),
            (at, missing) => Err(Self { at, missing, stage: Stage::Mark, ..Self::default() }),
        }
    }

    /// Scans on. `bytes` begins at the request's first byte and is never shorter than in the call
    /// before; `args` holds what that call left there and receives one span per argument found.
    ///
    /// After anything but [`Scan::Incomplete`] start afresh, with the default scanner and empty
    /// `args`.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Scan {
        if self.stage == Stage::First {
            match Self::begin(bytes, args) {
                Ok(len) => return Scan::Complete(len),
                Err(rest) => *self = rest,
            }
        }
        self.scan_on(bytes, args)
    }

    #[inline(never)]
    fn scan_on(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Scan {
        match self.stage {
            Stage::First => match bytes.first() {
                None => return Scan::Incomplete,
                Some(b'*') => {
                    self.at = 1;
                    self.stage = Stage::Count;
                }
                // No command begins like this: an array lost its header, or the peer lost its place.
                Some(b'$') => return Scan::Malformed(Malformed::at(0, Reason::ExpectedArray)),
                Some(_) => {
                    self.stage = Stage::Inline;
                    return self.line(bytes);
                }
            },
            Stage::Inline => return self.line(bytes),
            Stage::Count | Stage::Mark | Stage::Length | Stage::Payload => {}
        }
        let found = self.array(bytes, args);
        if self.forgotten > 0 && self.is_too_long() {
            return Scan::Malformed(Malformed::at(self.at as usize, Reason::RequestTooLong));
        }
        match found {
            Ok(len) => Scan::Complete(len),
            Err(Halt::Incomplete) => Scan::Incomplete,
            Err(Halt::Malformed(malformed)) => Scan::Malformed(malformed),
        }
    }

    /// A lower bound of the whole request's length as far as it is known, 0 while nothing is. Meant
    /// for growing a buffer step by step; the peer only announced it, so never allocate it at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.stage {
            Stage::Payload => self.payload_end().unwrap_or(u32::MAX) as usize,
            _ => self.at as usize,
        }
    }

    /// Arguments of an array that are not found yet, the one under way included; 0 while their number is not known.
    pub fn missing(&self) -> usize {
        self.missing as usize
    }

    /// Forgets the beginning of an array of which [`Scan::Incomplete`] was said, at most its first `at_most` bytes, and
    /// returns how many: the bytes of the next call begin so many later, and what it returns is relative to them. Of the
    /// bytes of the call before all but an unfinished line end may be forgotten, once the number of arguments is known.
    ///
    /// The span of an argument whose beginning was forgotten is that of the rest.
    pub fn forget(&mut self, at_most: usize) -> usize {
        let settled = match self.stage {
            Stage::First | Stage::Inline | Stage::Count => 0,
            Stage::Mark | Stage::Length => self.at,
            Stage::Payload => self.payload_end().unwrap_or(u32::MAX).saturating_sub(2),
        };
        let forgotten = offset32(at_most).min(settled);
        if self.stage == Stage::Payload {
            let of_payload = forgotten.saturating_sub(self.at);
            self.number.value = self.number.value.saturating_sub(u64::from(of_payload));
        }
        self.at = self.at.saturating_sub(forgotten);
        self.forgotten = self.forgotten.saturating_add(forgotten);
        forgotten as usize
    }

    /// Whether the request is beyond 32 bits with what was forgotten of it.
    #[cold]
    fn is_too_long(&self) -> bool {
        let known = u64::try_from(self.bytes_wanted()).unwrap_or(u64::MAX);
        known.saturating_add(u64::from(self.forgotten)) > MESSAGE_BYTES_MAX
    }

    fn array(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Result<usize, Halt> {
        if self.stage == Stage::Count {
            self.count(bytes)?;
        }
        loop {
            if self.stage == Stage::Mark {
                self.short_arguments(bytes, args);
            }
            if self.missing == 0 {
                return Ok(self.at as usize);
            }
            if self.stage != Stage::Payload {
                self.length(bytes)?;
            }
            args.push(self.payload(bytes)?);
            self.stage = Stage::Mark;
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Takes the next arguments up to the first that is not short or not whole.
    fn short_arguments(&mut self, bytes: &[u8], args: &mut Vec<Span>) {
        (self.at, self.missing) = short_arguments(bytes, self.at, self.missing, args);
    }

    /// The number of arguments, behind `*`.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        // PERF: nearly every array that has not been taken at once is one of a command of many keys.
        if let Some((at, count @ 1..)) = short_header::<b'*'>(bytes) {
            (self.at, self.missing, self.stage) = (at, count, Stage::Mark);
            return Ok(());
        }
        let reason = Reason::InvalidMultibulkLength;
        let count = self.header(bytes, ARGS_MAX, reason, Reason::MultibulkCountTooLong)?;
        if count == 0 {
            return Err(malformed(1, reason));
        }
        self.missing = count;
        self.stage = Stage::Mark;
        Ok(())
    }

    /// The length of an argument, from its `$` on or from where the previous call stopped.
    #[inline]
    fn length(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        if self.stage == Stage::Mark {
            match bytes.get(self.at as usize..) {
                Some([b'$', ..]) => {
                    self.at = self.at.saturating_add(1);
                    self.number = Number::default();
                    self.stage = Stage::Length;
                }
                Some([other, ..]) => {
                    return Err(malformed(self.at as usize, Reason::ExpectedBulk(*other)));
                }
                _ => return Err(Halt::Incomplete),
            }
        }
        let reason = Reason::InvalidBulkLength;
        let len = self.header(bytes, BULK_BYTES_MAX, reason, Reason::BulkCountTooLong)?;
        self.payload_of(u64::from(len), 0)
    }

    /// Notes that a payload of `len` bytes begins `skip` bytes on.
    #[inline]
    fn payload_of(&mut self, len: u64, skip: u32) -> Result<(), Halt> {
        self.at = self.at.saturating_add(skip);
        self.number.value = len;
        self.stage = Stage::Payload;
        match self.payload_end() {
            Some(_) => Ok(()),
            None => Err(malformed(self.at as usize, Reason::RequestTooLong)),
        }
    }

    /// Skips a payload and its line end.
    #[inline]
    fn payload(&mut self, bytes: &[u8]) -> Result<Span, Halt> {
        let next = self.payload_end().unwrap_or(u32::MAX);
        let end = next.saturating_sub(2);
        match bytes.get(end as usize..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => return Err(Halt::Incomplete),
            Some([b'\r', ..]) => {
                return Err(malformed(end.saturating_add(1) as usize, Reason::UnterminatedBulk));
            }
            Some(_) => return Err(malformed(end as usize, Reason::UnterminatedBulk)),
        }
        let span = Span { start: self.at, end };
        self.at = next;
        Ok(span)
    }

    /// Offset behind the line end of the payload that begins at `at`; `None` beyond 32 bits.
    #[inline]
    fn payload_end(&self) -> Option<u32> {
        let end = u64::from(self.at).saturating_add(self.number.value).saturating_add(2);
        if end > MESSAGE_BYTES_MAX { None } else { u32::try_from(end).ok() }
    }

    /// The digits of a header and its line end; `at` moves behind it.
    #[cold]
    fn header(
        &mut self,
        bytes: &[u8],
        limit: u64,
        invalid: Reason,
        too_long: Reason,
    ) -> Result<u32, Halt> {
        let at = self.number.read(bytes, self.at as usize, limit).map_err(|(at, error)| {
            let reason = match error {
                NumberError::TooLarge => invalid,
                NumberError::TooManyDigits => too_long,
            };
            malformed(at, reason)
        })?;
        self.at = offset32(at);
        let behind = bytes.get(at..).unwrap_or_default();
        match behind {
            [] => Err(Halt::Incomplete),
            // Servers refuse padding, and what a server refuses would end a connection that others share.
            _ if self.number.digits == 0 || self.number.is_padded() => Err(malformed(at, invalid)),
            [b'\r'] => Err(Halt::Incomplete),
            [b'\r', b'\n', ..] => {
                self.at = self.at.saturating_add(2);
                Ok(u32::try_from(self.number.value).unwrap_or(u32::MAX))
            }
            [b'\r', ..] => Err(malformed(at.saturating_add(1), invalid)),
            _ => Err(malformed(at, invalid)),
        }
    }

    /// Looks for the line end of an inline request.
    #[cold]
    fn line(&mut self, bytes: &[u8]) -> Scan {
        let from = self.at as usize;
        // One byte beyond the bound for the LF of a line of the greatest length, one for its CR.
        let within = bytes.len().min(INLINE_BYTES_MAX.saturating_add(2));
        let found = bytes.get(from..within).and_then(|rest| memchr::memchr(b'\n', rest));
        let Some(lf) = found.map(|lf| from.saturating_add(lf)) else {
            self.at = offset32(within);
            return if within > INLINE_BYTES_MAX.saturating_add(1) {
                Scan::Malformed(Malformed::at(INLINE_BYTES_MAX, Reason::InlineTooLong))
            } else {
                Scan::Incomplete
            };
        };
        let len = lf.saturating_add(1);
        let line = bytes.get(..lf).unwrap_or_default();
        match line.strip_suffix(b"\r").unwrap_or(line).len() {
            0 => Scan::Blank(len),
            1..=INLINE_BYTES_MAX => Scan::Inline(len),
            _ => Scan::Malformed(Malformed::at(INLINE_BYTES_MAX, Reason::InlineTooLong)),
        }
    }
}

/// Takes up to `missing` arguments, the first of which begins at `at`, up to one that is not short or not whole. Returns
/// where that begins, and how many are missing then.
#[inline]
fn short_arguments(bytes: &[u8], at: u32, missing: u32, args: &mut Vec<Span>) -> (u32, u32) {
    let (mut at, mut missing) = (at, missing);
    let mut rest = bytes.get(at as usize..).unwrap_or_default();
    while missing > 0
        && let Some((head, len)) = short_header::<b'$'>(rest)
        && let Some(behind) = rest.get(head.wrapping_add(len) as usize..)
        && let Some(behind) = behind.strip_prefix(b"\r\n")
        && let Some(next) = at.checked_add(head.wrapping_add(len).wrapping_add(2))
    {
        args.push(Span { start: at.wrapping_add(head), end: next.wrapping_sub(2) });
        (rest, at) = (behind, next);
        missing = missing.wrapping_sub(1);
    }
    (at, missing)
}

/// A header of one or two digits behind `MARK` at the front of `bytes`: its length, and its number.
#[inline]
fn short_header<const MARK: u8>(bytes: &[u8]) -> Option<(u32, u32)> {
    const fn word(bytes: [u8; 4]) -> u32 {
        u32::from_le_bytes(bytes)
    }
    let digit = |digit: u8| u32::from(digit.wrapping_sub(b'0'));
    // PERF: compared in one piece, with the digits blanked out.
    let head = word(*bytes.first_chunk()?);
    let a = (head >> 8) as u8;
    if head & word([0xff, 0, 0xff, 0xff]) == word([MARK, 0, b'\r', b'\n']) {
        return a.is_ascii_digit().then(|| (4, digit(a)));
    }
    let b = (head >> 16) as u8;
    let is_long = head & word([0xff, 0, 0, 0xff]) == word([MARK, 0, 0, b'\r'])
        && matches!((a, b), (b'1'..=b'9', b'0'..=b'9'))
        && bytes.get(4) == Some(&b'\n');
    is_long.then(|| (5, digit(a).wrapping_mul(10).wrapping_add(digit(b))))
}

fn malformed(offset: usize, reason: Reason) -> Halt {
    Halt::Malformed(Malformed::at(offset, reason))
}

#[cfg(test)]
mod tests {
    use super::{INLINE_BYTES_MAX, RequestScanner, Scan, Stage};
    use crate::resp::{Malformed, Reason};

    fn scan(bytes: &[u8]) -> Scan {
        RequestScanner::default().scan(bytes, &mut Vec::new())
    }

    fn malformed(offset: usize, reason: Reason) -> Scan {
        Scan::Malformed(Malformed::at(offset, reason))
    }

    #[test]
    fn the_offending_byte_is_named() {
        assert_eq!(scan(b"*0\r\n"), malformed(1, Reason::InvalidMultibulkLength));
        assert_eq!(scan(b"*12x"), malformed(3, Reason::InvalidMultibulkLength));
        assert_eq!(scan(b"*1\r\n:"), malformed(4, Reason::ExpectedBulk(b':')));
        assert_eq!(scan(b"*1\r\n$\n"), malformed(5, Reason::InvalidBulkLength));
        assert_eq!(scan(b"*1\r\n$1\rx"), malformed(7, Reason::InvalidBulkLength));
        assert_eq!(scan(b"*1\r\n$1\r\nabc"), malformed(9, Reason::UnterminatedBulk));
        assert_eq!(scan(b"*1\r\n$1\r\na\rb"), malformed(10, Reason::UnterminatedBulk));
    }

    #[test]
    fn the_digits_of_a_number_are_bounded_and_none_is_padding() {
        assert_eq!(scan(b"*01\r\n$4\r\nPING\r\n"), malformed(3, Reason::InvalidMultibulkLength));
        assert_eq!(scan(b"*1\r\n$04\r\nPING\r\n"), malformed(7, Reason::InvalidBulkLength));
        assert_eq!(scan(b"*1\r\n$00\r\n\r\n"), malformed(7, Reason::InvalidBulkLength));
        assert_eq!(scan(b"*10\r\n"), Scan::Incomplete);
        assert_eq!(scan(b"*000000000000000000001"), malformed(21, Reason::MultibulkCountTooLong));
        let bulk = b"*1\r\n$000000000000000000004";
        assert_eq!(scan(bulk), malformed(25, Reason::BulkCountTooLong));
    }

    #[test]
    fn a_request_beyond_32_bits_is_refused_when_it_is_announced() {
        let mut scanner = RequestScanner {
            at: u32::MAX - 12,
            missing: 1,
            stage: Stage::Mark,
            ..Default::default()
        };
        assert!(scanner.payload_of(6, 4).is_ok());
        scanner.at = u32::MAX - 12;
        assert!(scanner.payload_of(7, 4).is_err());
    }

    #[test]
    fn a_request_beyond_32_bits_is_refused_although_its_beginning_was_forgotten() {
        let mut scanner = RequestScanner::default();
        let head = b"*20\r\n$3\r\nSET\r\n$536870912\r\n";
        assert_eq!(scanner.scan(head, &mut Vec::new()), Scan::Incomplete);
        assert_eq!(scanner.forget(usize::MAX), head.len() + 536_870_912);
        let next = b"\r\n$536870912\r\n";
        for _ in 1..7 {
            assert_eq!(scanner.scan(next, &mut Vec::new()), Scan::Incomplete);
            assert_eq!(scanner.forget(usize::MAX), next.len() + 536_870_912);
        }
        assert_eq!(
            scanner.scan(next, &mut Vec::new()),
            malformed(next.len(), Reason::RequestTooLong)
        );
    }

    #[test]
    fn an_inline_request_is_bounded() {
        let lens = [(INLINE_BYTES_MAX, true), (INLINE_BYTES_MAX + 1, false)];
        for (len, fits, end) in
            lens.iter().flat_map(|(len, fits)| [&b"\r\n"[..], b"\n"].map(|end| (*len, *fits, end)))
        {
            let line = [vec![b'x'; len], end.to_vec()].concat();
            let expected = if fits {
                Scan::Inline(line.len())
            } else {
                malformed(INLINE_BYTES_MAX, Reason::InlineTooLong)
            };
            assert_eq!(scan(&line), expected);
            let mut scanner = RequestScanner::default();
            let pieces = (0..line.len()).step_by(100).chain([line.len()]);
            let outcome = pieces
                .map(|end| scanner.scan(&line[..end], &mut Vec::new()))
                .find(|scan| *scan != Scan::Incomplete);
            assert_eq!(outcome, Some(expected));
        }
    }

    #[test]
    fn nothing_before_the_place_reached_is_looked_at_again() {
        let request = b"*3\r\n$3\r\nSET\r\n$12\r\nabcdefghijkl\r\n$100\r\n";
        let request = [&request[..], &[b'v'; 100], b"\r\n"].concat();
        let mut bytes = Vec::new();
        let (mut scanner, mut args) = (RequestScanner::default(), Vec::new());
        for (end, byte) in (1..).zip(&request) {
            bytes.push(*byte);
            let scan = scanner.scan(&bytes, &mut args);
            if end < request.len() {
                assert_eq!(scan, Scan::Incomplete);
                bytes[..scanner.at as usize].fill(0xff);
            } else {
                assert_eq!(scan, Scan::Complete(request.len()));
            }
        }
        let args: Vec<_> = args.iter().map(|arg| arg.of(&request).len()).collect();
        assert_eq!(args, [3, 12, 100]);
    }

    #[test]
    fn the_bytes_wanted_are_known_as_soon_as_the_header_is() {
        let mut scanner = RequestScanner::default();
        assert_eq!(scanner.bytes_wanted(), 0);
        assert_eq!(scanner.scan(b"*2\r\n$1000\r\nabc", &mut Vec::new()), Scan::Incomplete);
        assert_eq!(scanner.bytes_wanted(), 1013);
    }

    #[test]
    fn the_scanner_is_small() {
        assert!(size_of::<RequestScanner>() <= 32);
    }
}
