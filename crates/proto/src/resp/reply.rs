//! Finds where a server's reply ends, in bytes that arrive in any pieces. A reply is passed on
//! whole, so its inside is walked only to find its end; [`walk`](super::walk) looks inside.

use super::limits::{ELEMENTS_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::number::Number;
use super::{Malformed, Reason};
use crate::span::offset32;

/// What the bytes at hand are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyScan {
    /// The beginning of a reply; more bytes are needed.
    Incomplete,
    /// One reply of that many bytes.
    Complete(usize),
    /// No reply begins like this; the connection's framing is lost.
    Malformed(Malformed),
}

/// The version of RESP a server connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `+ - : $ *` and nothing else, as twemproxy 0.5 takes it.
    #[default]
    Resp2,
    /// The types of RESP3 as well; streamed strings and aggregates (`?` for a length) excepted.
    Resp3,
}

/// Length of the reply at the front of `bytes` if it is whole and one of the simplest: a value of up to 999 bytes, a null,
/// or OK. `None` for every other, which [`ReplyScanner`] finds the end of.
#[inline]
pub fn short_reply(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some(5),
        _ => short_bulk(bytes),
    }
}

/// Scans one reply of any nesting, by counting the elements still owed. [`Default`] is the state
/// at the first byte of a RESP2 reply.
///
/// INVARIANT: `at` is at most the length of the bytes of the latest call, less what was forgotten
/// since, and no byte before it is looked at again.
#[derive(Clone, Debug)]
pub struct ReplyScanner {
    /// Elements not yet found; 0 once the reply is complete.
    owed: u64,
    number: Number,
    at: u32,
    /// Where the line being scanned begins.
    line: u32,
    stage: Stage,
    kind: u8,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// At an element's first byte.
    Mark,
    /// Inside a line, looking for its CR.
    Line,
    /// Behind the type byte of an element that begins with a number.
    Sign,
    /// Behind the sign.
    Digits,
    /// At the first byte of a payload of `number` bytes.
    Payload,
}

/// Why a scan ends before the reply does.
enum Halt {
    Incomplete,
    Malformed(Malformed),
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new(Protocol::Resp2)
    }
}

impl ReplyScanner {
    /// A scanner at the first byte of a reply of `protocol`.
    pub const fn new(protocol: Protocol) -> Self {
        let number = Number { value: 0, digits: 0, negative: false };
        Self { owed: 1, number, at: 0, line: 0, stage: Stage::Mark, kind: 0, protocol }
    }

    /// Scans on. `bytes` begins at the reply's first byte that was not forgotten and is never shorter
    /// than in the call before, less what was forgotten since. After anything but
    /// [`ReplyScan::Incomplete`] start afresh.
    ///
    /// A RESP3 attribute is taken as part of the reply it precedes; a push is a reply of its own.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> ReplyScan {
        // PERF: a status in one look.
        if self.at == 0
            && self.owed == 1
            && self.stage == Stage::Mark
            && let [b'+', b'O', b'K', b'\r', b'\n', ..] = bytes
        {
            return ReplyScan::Complete(5);
        }
        while self.owed > 0 {
            if self.stage == Stage::Mark
                && let Some(len) = bytes.get(self.at as usize..).and_then(short_bulk)
            {
                self.at = self.at.saturating_add(offset32(len));
                self.owed = self.owed.saturating_sub(1);
                continue;
            }
            match self.element(bytes) {
                Ok(()) => {}
                Err(Halt::Incomplete) => return ReplyScan::Incomplete,
                Err(Halt::Malformed(malformed)) => return ReplyScan::Malformed(malformed),
            }
        }
        ReplyScan::Complete(self.at as usize)
    }

    /// A lower bound of the whole reply's length as far as it is known, 0 while nothing is. For
    /// growing a buffer step by step, never for allocating it at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.stage {
            Stage::Payload => self.payload_end().unwrap_or(u32::MAX) as usize,
            _ => self.at as usize,
        }
    }

    /// How many of the `available` bytes of the latest call, from the first on, are not looked at
    /// again: they may be passed on and [forgotten](Self::forget).
    pub fn bytes_passed(&self, available: usize) -> usize {
        match self.stage {
            // The line end behind a payload is looked at in one piece.
            Stage::Payload => {
                let end = u64::from(self.at).saturating_add(self.number.value);
                usize::try_from(end).unwrap_or(usize::MAX).min(available)
            }
            Stage::Line => self.line as usize,
            Stage::Mark | Stage::Sign | Stage::Digits => self.at as usize,
        }
    }

    /// The first `bytes` bytes, at most [`bytes_passed`](Self::bytes_passed), were removed: offsets
    /// count from the first one that is left. With that, a reply may be longer than offsets are wide.
    pub fn forget(&mut self, bytes: usize) {
        let bytes = offset32(bytes);
        if self.stage == Stage::Payload {
            // What was removed of the payload itself is no part of it any more.
            let of_payload = bytes.saturating_sub(self.at);
            self.number.value = self.number.value.saturating_sub(u64::from(of_payload));
        }
        self.at = self.at.saturating_sub(bytes);
        self.line = self.line.saturating_sub(bytes);
    }

    fn element(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        if self.stage == Stage::Mark {
            // PERF: the header of nearly every array.
            let header = bytes.get(self.at as usize..).and_then(short_array);
            if let Some((count, len)) = header
                && let Some(owed) = self.owed.saturating_sub(1).checked_add(u64::from(count))
            {
                self.at = self.at.saturating_add(offset32(len));
                self.owed = owed;
                return Ok(());
            }
            self.mark(bytes)?;
        }
        if self.stage == Stage::Line {
            return self.text(bytes);
        }
        if self.stage != Stage::Payload {
            self.header(bytes)?;
        }
        if self.stage == Stage::Payload { self.payload(bytes) } else { Ok(()) }
    }

    /// The type byte.
    #[inline]
    fn mark(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let offset = self.at as usize;
        let Some(kind) = bytes.get(offset).copied() else { return Err(Halt::Incomplete) };
        self.stage = match (kind, self.protocol) {
            (b'+' | b'-', _) => Stage::Line,
            (b':' | b'$' | b'*', _) => Stage::Sign,
            (b',' | b'(' | b'#' | b'_', Protocol::Resp3) => Stage::Line,
            (b'%' | b'~' | b'>' | b'|' | b'=' | b'!', Protocol::Resp3) => Stage::Sign,
            _ => return Err(malformed(offset, Reason::UnknownReplyType(kind))),
        };
        self.kind = kind;
        self.at = self.at.saturating_add(1);
        self.line = self.at;
        self.number = Number::default();
        Ok(())
    }

    /// A line up to its CR LF. A lone LF is content; the first CR must be followed by LF.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let from = self.at as usize;
        let rest = bytes.get(from..).unwrap_or_default();
        let start = self.line as usize;
        let room = start.saturating_add(LINE_BYTES_MAX).saturating_add(1).saturating_sub(from);
        let window = rest.get(..room).unwrap_or(rest);
        let Some(found) = memchr::memchr(b'\r', window) else {
            if rest.len() >= room {
                let offset = start.saturating_add(LINE_BYTES_MAX);
                return Err(malformed(offset, Reason::InvalidReplyLine));
            }
            self.at = offset32(from.saturating_add(rest.len()));
            return Err(Halt::Incomplete);
        };
        let end = from.saturating_add(found);
        self.at = offset32(end);
        if !self.fits_kind(bytes.get(start..end).unwrap_or_default()) {
            return Err(malformed(start, Reason::InvalidReplyLine));
        }
        self.at = line_end(bytes, self.at, Reason::InvalidReplyLine)?;
        self.found();
        Ok(())
    }

    /// Whether a line is content of its type.
    fn fits_kind(&self, content: &[u8]) -> bool {
        match self.kind {
            b'_' => content.is_empty(),
            b'#' => matches!(content, b"t" | b"f"),
            b',' => {
                !content.is_empty()
                    && content.iter().all(|byte| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+')
                    })
            }
            b'(' => {
                let digits = content.strip_prefix(b"-").or(content.strip_prefix(b"+"));
                let digits = digits.unwrap_or(content);
                !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
            }
            _ => true,
        }
    }

    /// The number behind the type byte and its line end, and what follows from it.
    fn header(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        if self.stage == Stage::Sign {
            match bytes.get(self.at as usize) {
                None => return Err(Halt::Incomplete),
                Some(b'-') => {
                    self.number.negative = true;
                    self.at = self.at.saturating_add(1);
                }
                Some(_) => {}
            }
            self.stage = Stage::Digits;
        }
        if self.kind == b':' {
            return self.integer(bytes);
        }
        let at = self
            .number
            .read(bytes, self.at as usize, self.limit())
            .map_err(|(at, _)| malformed(at, Reason::InvalidReplyNumber))?;
        self.at = offset32(at);
        if at >= bytes.len() {
            return Err(Halt::Incomplete);
        }
        if self.number.digits == 0 {
            return Err(malformed(at, Reason::InvalidReplyNumber));
        }
        self.at = line_end(bytes, self.at, Reason::InvalidReplyNumber)?;
        self.counted(at)
    }

    /// The digits of an integer and its line end. It is passed on and not calculated with here, so it may be any number.
    ///
    /// COMPAT: twemproxy 0.5 takes a minus anywhere, and no digit at all.
    fn integer(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let rest = bytes.get(self.at as usize..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-');
        let end = self.at.saturating_add(offset32(digits.count()));
        if end.saturating_sub(self.line) as usize > LINE_BYTES_MAX {
            let offset = (self.line as usize).saturating_add(LINE_BYTES_MAX);
            return Err(malformed(offset, Reason::InvalidReplyNumber));
        }
        self.at = end;
        self.at = line_end(bytes, end, Reason::InvalidReplyNumber)?;
        self.found();
        Ok(())
    }

    /// The greatest magnitude of the number being read.
    fn limit(&self) -> u64 {
        match self.kind {
            b'$' | b'=' | b'!' => MESSAGE_BYTES_MAX,
            _ => ELEMENTS_MAX,
        }
    }

    /// Acts on a whole header whose number ends at `offset`.
    fn counted(&mut self, offset: usize) -> Result<(), Halt> {
        let count = self.number.value;
        let children = match (self.kind, self.number.negative) {
            // COMPAT: twemproxy 0.5 takes any negative length for a null.
            (b'$' | b'*', true) => 0,
            (_, true) => return Err(malformed(offset, Reason::InvalidReplyNumber)),
            (b'$' | b'=' | b'!', false) => {
                self.stage = Stage::Payload;
                return match self.payload_end() {
                    Some(_) => Ok(()),
                    None => Err(malformed(offset, Reason::ReplyTooLong)),
                };
            }
            (b'%', false) => count.saturating_mul(2),
            // The reply that an attribute describes is still to come.
            (b'|', false) => count.saturating_mul(2).saturating_add(1),
            _ => count,
        };
        self.found();
        match self.owed.checked_add(children) {
            Some(owed) => {
                self.owed = owed;
                Ok(())
            }
            None => Err(malformed(offset, Reason::ReplyTooLong)),
        }
    }

    /// Skips a payload and its line end.
    #[inline]
    fn payload(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let next = self.payload_end().unwrap_or(u32::MAX);
        self.at = line_end(bytes, next.saturating_sub(2), Reason::UnterminatedReplyBulk)?;
        self.found();
        Ok(())
    }

    /// Offset behind the line end of the payload that begins at `at`; `None` beyond 32 bits.
    #[inline]
    fn payload_end(&self) -> Option<u32> {
        let end = u64::from(self.at).saturating_add(self.number.value).saturating_add(2);
        if end > MESSAGE_BYTES_MAX { None } else { u32::try_from(end).ok() }
    }

    /// One element less is owed.
    #[inline]
    fn found(&mut self) {
        self.owed = self.owed.saturating_sub(1);
        self.stage = Stage::Mark;
    }
}

/// Length of the value at the front of `bytes` if it is one of up to 999 bytes, or a null, and whole.
///
/// PERF: nearly every element is one; the rest goes digit by digit.
#[inline]
pub(super) fn short_bulk(bytes: &[u8]) -> Option<usize> {
    let digit = |byte: &u8| usize::from(byte.wrapping_sub(b'0'));
    let null = || bytes.starts_with(b"$-1\r\n").then_some(5);
    // Six bytes are the shortest value, and hold the header of every other.
    let Some(head) = bytes.first_chunk() else { return null() };
    let (around, len) = match head {
        [b'$', a @ b'0'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', _] => {
            (7, digit(a).wrapping_mul(10).wrapping_add(digit(b)))
        }
        [b'$', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n'] => {
            let tens = digit(a).wrapping_mul(10).wrapping_add(digit(b));
            (8, tens.wrapping_mul(10).wrapping_add(digit(c)))
        }
        [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (6, digit(a)),
        _ => return null(),
    };
    let value = bytes.get(..len.wrapping_add(around))?;
    value.ends_with(b"\r\n").then_some(value.len())
}

/// Number of elements of the array at the front of `bytes`, if it has up to 999, and length of its header.
#[inline]
pub(super) fn short_array(bytes: &[u8]) -> Option<(u32, usize)> {
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    let (count, len) = match bytes {
        [b'*', a @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(a), 4),
        [b'*', a @ b'0'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            (digit(a).wrapping_mul(10).wrapping_add(digit(b)), 5)
        }
        [b'*', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
            let tens = digit(a).wrapping_mul(10).wrapping_add(digit(b));
            (tens.wrapping_mul(10).wrapping_add(digit(c)), 6)
        }
        _ => return None,
    };
    Some((count, len))
}

/// The offset behind the CR LF at `at`.
#[inline]
fn line_end(bytes: &[u8], at: u32, reason: Reason) -> Result<u32, Halt> {
    match bytes.get(at as usize..) {
        Some([b'\r', b'\n', ..]) => Ok(at.saturating_add(2)),
        None | Some([] | [b'\r']) => Err(Halt::Incomplete),
        Some([b'\r', ..]) => Err(malformed(at.saturating_add(1) as usize, reason)),
        Some(_) => Err(malformed(at as usize, reason)),
    }
}

fn malformed(offset: usize, reason: Reason) -> Halt {
    Halt::Malformed(Malformed::at(offset, reason))
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Protocol, ReplyScan, ReplyScanner, Stage, short_reply};
    use crate::resp::{Malformed, Reason};

    fn scan(bytes: &[u8]) -> ReplyScan {
        ReplyScanner::default().scan(bytes)
    }

    fn malformed(offset: usize, reason: Reason) -> ReplyScan {
        ReplyScan::Malformed(Malformed::at(offset, reason))
    }

    #[test]
    fn the_offending_byte_is_named() {
        assert_eq!(scan(b"?"), malformed(0, Reason::UnknownReplyType(b'?')));
        assert_eq!(scan(b"*2\r\n:1\r\n_\r\n"), malformed(8, Reason::UnknownReplyType(b'_')));
        assert_eq!(scan(b"$1x"), malformed(2, Reason::InvalidReplyNumber));
        assert_eq!(scan(b"$1\r\nab"), malformed(5, Reason::UnterminatedReplyBulk));
        assert_eq!(scan(b"+OK\rx"), malformed(4, Reason::InvalidReplyLine));
    }

    #[test]
    fn a_reply_told_at_one_look_is_the_one_that_the_scanner_finds() {
        let values = [0, 1, 9, 10, 99, 100, 999, 1000].map(|len| {
            [format!("${len}\r\n").into_bytes(), vec![b'x'; len], b"\r\n".to_vec()].concat()
        });
        let others = [&b"+OK\r\n"[..], b"$-1\r\n", b"+OKAY\r\n", b"-E\r\n", b":1\r\n", b"*0\r\n"];
        for reply in values.iter().map(Vec::as_slice).chain(others) {
            let is_simple = !reply.starts_with(b"$1000")
                && matches!(reply[0], b'$' | b'+')
                && reply != b"+OKAY\r\n";
            assert_eq!(short_reply(reply).is_some(), is_simple, "{reply:?}");
            let bytes = [reply, b"+OK\r\n"].concat();
            for len in 0..=bytes.len() {
                let found = short_reply(&bytes[..len]);
                let scan = scan(&bytes[..len]);
                assert!(
                    found.is_none_or(|len| scan == ReplyScan::Complete(len)),
                    "{reply:?} {len}"
                );
            }
        }
    }

    #[test]
    fn a_line_is_bounded_and_a_long_one_below_the_bound_is_not_refused() {
        for (len, fits) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
            let line = [b"-".to_vec(), vec![b'x'; len], b"\r\n".to_vec()].concat();
            let expected = if fits {
                ReplyScan::Complete(line.len())
            } else {
                malformed(LINE_BYTES_MAX + 1, Reason::InvalidReplyLine)
            };
            assert_eq!(scan(&line), expected);
            let mut scanner = ReplyScanner::default();
            let pieces = (0..line.len()).step_by(1000).chain([line.len()]);
            let outcome = pieces
                .map(|end| scanner.scan(&line[..end]))
                .find(|scan| *scan != ReplyScan::Incomplete);
            assert_eq!(outcome, Some(expected));
        }
    }

    #[test]
    fn an_unended_line_is_refused_at_the_bound() {
        let line = vec![b'+'; LINE_BYTES_MAX + 2];
        assert_eq!(scan(&line[..LINE_BYTES_MAX + 1]), ReplyScan::Incomplete);
        assert_eq!(scan(&line), malformed(LINE_BYTES_MAX + 1, Reason::InvalidReplyLine));
    }

    #[test]
    fn an_integer_may_be_any_number_and_nothing_else() {
        for number in ["0", "-1", "9223372036854775808", "-99999999999999999999", "--5", "", "-"] {
            let reply = format!("*2\r\n:{number}\r\n:1\r\n");
            assert_eq!(scan(reply.as_bytes()), ReplyScan::Complete(reply.len()), "{number}");
            assert_eq!(scan(&reply.as_bytes()[..reply.len() - 4]), ReplyScan::Incomplete);
        }
        for (other, at) in [("x", 1), ("1 ", 2), (" 1", 1), ("+1", 1), ("1+", 2), ("1.0", 2)] {
            let reply = format!(":{other}\r\n");
            assert_eq!(
                scan(reply.as_bytes()),
                malformed(at, Reason::InvalidReplyNumber),
                "{other}"
            );
        }
        let endless = [b":".to_vec(), vec![b'1'; LINE_BYTES_MAX + 1]].concat();
        assert_eq!(scan(&endless[..endless.len() - 1]), ReplyScan::Incomplete);
        assert_eq!(scan(&endless), malformed(LINE_BYTES_MAX + 1, Reason::InvalidReplyNumber));
    }

    #[test]
    fn announcements_that_do_not_add_up_are_refused_before_they_are_believed() {
        let deep = b"*2147483647\r\n".repeat(100);
        assert_eq!(scan(&deep), ReplyScan::Incomplete);
        assert_eq!(scan(b"*2147483648\r\n"), malformed(10, Reason::InvalidReplyNumber));
        assert_eq!(scan(b"$4294967295\r\n"), malformed(11, Reason::ReplyTooLong));
        assert_eq!(scan(b"$000000000000000000001"), malformed(21, Reason::InvalidReplyNumber));
    }

    #[test]
    fn more_elements_than_can_be_counted_are_refused() {
        let mut scanner = ReplyScanner { owed: u64::MAX, ..ReplyScanner::default() };
        assert_eq!(scanner.scan(b"*2\r\n"), malformed(2, Reason::ReplyTooLong));
    }

    #[test]
    fn what_is_forgotten_of_a_reply_does_not_change_where_it_ends() {
        let mut scanner = ReplyScanner::default();
        assert_eq!(scanner.scan(b"*3\r\n"), ReplyScan::Incomplete);
        assert_eq!(scanner.bytes_passed(4), 4);
        scanner.forget(4);
        assert_eq!(scanner.scan(b"+OK\r\n"), ReplyScan::Incomplete, "one of three");
        scanner.forget(5);
        assert_eq!(scanner.scan(b"$1000\r\nab"), ReplyScan::Incomplete);
        assert_eq!(scanner.bytes_passed(9), 9);
        scanner.forget(9);
        assert_eq!(scanner.bytes_wanted(), 1000);
        assert_eq!(scanner.scan(&[b'x'; 998]), ReplyScan::Incomplete);
        scanner.forget(998);
        assert_eq!(scanner.scan(b"\r"), ReplyScan::Incomplete);
        assert_eq!(scanner.bytes_passed(1), 0, "a line end is looked at in one piece");
        assert_eq!(scanner.scan(b"\r\n+OK\r\n+next\r\n"), ReplyScan::Complete(7));
    }

    #[test]
    fn nothing_before_the_place_reached_is_looked_at_again() {
        let reply = b"*3\r\n$12\r\nabcdefghijkl\r\n-ERR no such thing\r\n*1\r\n:-12345\r\n";
        let mut bytes = Vec::new();
        let mut scanner = ReplyScanner::new(Protocol::Resp2);
        for (end, byte) in (1..).zip(reply) {
            bytes.push(*byte);
            let scan = scanner.scan(&bytes);
            if end < reply.len() {
                assert_eq!(scan, ReplyScan::Incomplete);
                bytes[..scanner.at as usize].fill(0xff);
            } else {
                assert_eq!(scan, ReplyScan::Complete(reply.len()));
            }
        }
    }

    #[test]
    fn the_bytes_wanted_are_known_as_soon_as_the_header_is() {
        let mut scanner = ReplyScanner::default();
        assert_eq!(scanner.bytes_wanted(), 0);
        assert_eq!(scanner.scan(b"$1000\r\nabc"), ReplyScan::Incomplete);
        assert_eq!(scanner.stage, Stage::Payload);
        assert_eq!(scanner.bytes_wanted(), 1009);
    }

    #[test]
    fn the_scanner_is_small() {
        assert!(size_of::<ReplyScanner>() <= 40);
    }
}
