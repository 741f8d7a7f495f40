//! Finds where a request ends and where its arguments are, in bytes that arrive in any pieces.
//!
//! The scanner knows framing only; what a request means is the business of
//! [`command`](super::command).

use super::limits::{ARGS_MAX, BULK_BYTES_MAX, INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::number::{Number, NumberError};
use super::{Malformed, Reason};
use crate::Span;

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
    /// Scans on. `bytes` begins at the request's first byte and is never shorter than in the call
    /// before; `args` holds what that call left there and receives one span per argument found.
    ///
    /// After anything but [`Scan::Incomplete`] start afresh, with the default scanner and empty
    /// `args`.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Scan {
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
        let forgotten = u32::try_from(at_most).unwrap_or(u32::MAX).min(settled);
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
        while self.missing > 0 {
            // PERF: nearly every argument is short and lies whole in what was read.
            if self.stage == Stage::Mark
                && let Some(argument) = bytes.get(self.at as usize..).and_then(short_argument)
                && let Some(span) = argument.span(self.at)
            {
                args.push(span);
                self.at = span.end.saturating_add(2);
                self.missing = self.missing.saturating_sub(1);
                continue;
            }
            if self.stage != Stage::Payload {
                self.length(bytes)?;
            }
            args.push(self.payload(bytes)?);
            self.stage = Stage::Mark;
            self.missing = self.missing.saturating_sub(1);
        }
        Ok(self.at as usize)
    }

    /// The number of arguments, behind `*`.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        // PERF: nearly every request has fewer than ten arguments.
        if let [b'*', digit @ b'1'..=b'9', b'\r', b'\n', ..] = bytes {
            self.missing = u32::from(digit.wrapping_sub(b'0'));
            self.at = 4;
            self.stage = Stage::Mark;
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
        self.at = u32::try_from(at).unwrap_or(u32::MAX);
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
            self.at = u32::try_from(within).unwrap_or(u32::MAX);
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

/// An argument of fewer than a hundred bytes, by the lengths of its header and its payload.
struct ShortArgument {
    head: u32,
    len: u32,
}

impl ShortArgument {
    /// Its payload, when it begins at `at`; `None` beyond 32 bits.
    #[inline]
    fn span(&self, at: u32) -> Option<Span> {
        let start = at.checked_add(self.head)?;
        Some(Span { start, end: start.checked_add(self.len)? })
    }
}

/// The argument that `bytes` begin with, if it is short and whole.
#[inline]
fn short_argument(bytes: &[u8]) -> Option<ShortArgument> {
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    let (head, len) = match bytes {
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            (5, digit(a).wrapping_mul(10).wrapping_add(digit(b)))
        }
        [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (4, digit(a)),
        _ => return None,
    };
    match bytes.get(len.wrapping_add(head) as usize..) {
        Some([b'\r', b'\n', ..]) => Some(ShortArgument { head, len }),
        _ => None,
    }
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
