//! Finds where a server's reply ends, in bytes that arrive in any pieces. A reply is passed on
//! whole, so its inside is read only to find its end; [`walk`](super::walk) looks inside.

use super::limits::{REPLY_BYTES_MAX, REPLY_LINE_BYTES_MAX, VALUE_BYTES_MAX};
use super::{Malformed, Reason, Value, number};
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

/// Scans one reply. [`Default`] is the state at its first byte.
///
/// INVARIANT: `at` is at most the length of the bytes of the latest call, less what was forgotten
/// since, and is `line` only where a line begins and nothing of it was looked at. No byte before `line`
/// is looked at again; a line is looked at once to find its end and once for what it says.
#[derive(Clone, Debug, Default)]
pub struct ReplyScanner {
    at: u32,
    /// Where the line being scanned begins.
    line: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Inside the first line.
    #[default]
    First,
    /// Inside a line behind a value.
    Next,
    /// Inside a value that ends there; it is the whole reply, or one of several values.
    Value { end: u32, is_last: bool },
}

/// What a line says about the rest of the reply.
enum Says {
    /// It is the last one.
    End,
    /// A value of so many bytes follows.
    Value { len: u32, is_last: bool },
}

/// Why a scan ends before the reply does.
enum Halt {
    Incomplete,
    Malformed(Malformed),
}

impl ReplyScanner {
    /// Scans on. `bytes` begins at the reply's first byte that was not forgotten and is never shorter
    /// than in the call before, less what was forgotten since. After anything but
    /// [`ReplyScan::Incomplete`] start afresh.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> ReplyScan {
        loop {
            if self.at == self.line
                && let Some(rest) = bytes.get(self.at as usize..)
            {
                // PERF: values that are whole, and the end of the last one, in one look each.
                let fits = |value: &Value<'_>| {
                    u64::from(self.at).saturating_add(value.len as u64) <= REPLY_BYTES_MAX
                };
                if let Some(value) = Value::at_front(rest).filter(fits) {
                    self.at = self.at.saturating_add(offset32(value.len));
                    self.line = self.at;
                    self.stage = Stage::Next;
                    continue;
                }
                if rest.starts_with(b"END\r\n") {
                    self.at = self.at.saturating_add(5);
                    return ReplyScan::Complete(self.at as usize);
                }
            }
            let step = match self.stage {
                Stage::First | Stage::Next => self.line(bytes),
                Stage::Value { end, is_last } => self.value(bytes, end, is_last),
            };
            match step {
                Ok(false) => {}
                Ok(true) => return ReplyScan::Complete(self.at as usize),
                Err(Halt::Incomplete) => return ReplyScan::Incomplete,
                Err(Halt::Malformed(malformed)) => return ReplyScan::Malformed(malformed),
            }
        }
    }

    /// A lower bound of the whole reply's length as far as it is known, 0 while nothing is. For
    /// growing a buffer step by step, never for allocating it at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.stage {
            Stage::Value { end, .. } => (end as usize).saturating_add(2),
            Stage::First | Stage::Next => self.at as usize,
        }
    }

    /// How many of the `available` bytes of the latest call, from the first on, are not looked at
    /// again: they may be passed on and [forgotten](Self::forget).
    pub fn bytes_passed(&self, available: usize) -> usize {
        match self.stage {
            Stage::Value { end, .. } => (end as usize).min(available),
            Stage::First | Stage::Next => self.line as usize,
        }
    }

    /// The first `bytes` bytes, at most [`bytes_passed`](Self::bytes_passed), were removed: offsets
    /// count from the first one that is left. With that, a reply may be longer than offsets are wide.
    pub fn forget(&mut self, bytes: usize) {
        let bytes = offset32(bytes);
        match &mut self.stage {
            Stage::Value { end, .. } => {
                *end = end.saturating_sub(bytes);
                // Inside a value no line begins.
                self.line = self.line.saturating_sub(bytes);
                self.at = self.at.saturating_sub(bytes).max(self.line.saturating_add(1));
            }
            Stage::First | Stage::Next => {
                self.line = self.line.saturating_sub(bytes);
                self.at = self.at.saturating_sub(bytes);
            }
        }
    }

    /// A line; whether the reply ends with it.
    #[inline]
    fn line(&mut self, bytes: &[u8]) -> Result<bool, Halt> {
        let start = self.line as usize;
        let from = self.at as usize;
        let bound = start.saturating_add(REPLY_LINE_BYTES_MAX).saturating_add(1);
        let window = bytes.get(..bound).unwrap_or(bytes);
        let rest = window.get(from..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
            if window.len() >= bound {
                let offset = start.saturating_add(REPLY_LINE_BYTES_MAX);
                return Err(malformed(offset, Reason::InvalidReplyLine));
            }
            self.at = offset32(window.len());
            return Err(Halt::Incomplete);
        };
        let end = from.saturating_add(found);
        self.at = offset32(end);
        match bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => {}
            Some([b'\r']) => return Err(Halt::Incomplete),
            Some([b'\r', ..]) => {
                return Err(malformed(end.saturating_add(1), Reason::InvalidReplyLine));
            }
            _ => return Err(malformed(end, Reason::InvalidReplyLine)),
        }
        let line = bytes.get(start..end).unwrap_or_default();
        let says =
            says(line, self.stage == Stage::First).map_err(|reason| malformed(start, reason))?;
        self.at = offset32(end.saturating_add(2));
        match says {
            Says::End => Ok(true),
            Says::Value { len, is_last } => {
                let end = u64::from(self.at).saturating_add(u64::from(len));
                if end.saturating_add(2) > REPLY_BYTES_MAX {
                    return Err(malformed(start, Reason::ReplyTooLong));
                }
                self.stage = Stage::Value { end: u32::try_from(end).unwrap_or(u32::MAX), is_last };
                Ok(false)
            }
        }
    }

    /// Skips a value and its line end; whether the reply ends with it.
    #[inline]
    fn value(&mut self, bytes: &[u8], end: u32, is_last: bool) -> Result<bool, Halt> {
        let at = end as usize;
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => return Err(Halt::Incomplete),
            Some([b'\r', ..]) => {
                return Err(malformed(at.saturating_add(1), Reason::UnterminatedReplyValue));
            }
            Some(_) => return Err(malformed(at, Reason::UnterminatedReplyValue)),
        }
        self.at = end.saturating_add(2);
        self.line = self.at;
        self.stage = Stage::Next;
        Ok(is_last)
    }
}

/// What a line without its CR LF says.
fn says(line: &[u8], is_first: bool) -> Result<Says, Reason> {
    let word_len = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(word_len).unwrap_or_default();
    match word {
        b"VALUE" => value_len(rest).map(|len| Says::Value { len, is_last: false }),
        b"END" if rest.is_empty() => Ok(Says::End),
        b"CLIENT_ERROR" | b"SERVER_ERROR" => Ok(Says::End),
        b"ERROR" if is_blank(rest) => Ok(Says::End),
        _ if !is_first => Err(Reason::UnknownReply),
        b"STORED" | b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND" | b"DELETED" | b"TOUCHED" | b"OK"
            if is_blank(rest) =>
        {
            Ok(Says::End)
        }
        b"VERSION" | b"HD" | b"EN" | b"NF" | b"NS" | b"EX" | b"MN" | b"ME" => Ok(Says::End),
        b"VA" => {
            let size = rest.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            len_of(size).map(|len| Says::Value { len, is_last: true })
        }
        [b'0'..=b'9', ..] if word.iter().all(u8::is_ascii_digit) && is_blank(rest) => Ok(Says::End),
        _ => Err(Reason::UnknownReply),
    }
}

/// The length of the value that `VALUE` announces: ` key flags bytes [cas]`.
fn value_len(rest: &[u8]) -> Result<u32, Reason> {
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (key, flags, len) = (words.next(), words.next(), words.next());
    if key.is_none() || number::unsigned(flags.unwrap_or_default(), u64::MAX).is_none() {
        return Err(Reason::InvalidReplyNumber);
    }
    len_of(len.unwrap_or_default())
}

fn len_of(word: &[u8]) -> Result<u32, Reason> {
    let len = number::unsigned(word, u64::from(VALUE_BYTES_MAX));
    len.and_then(|len| u32::try_from(len).ok()).ok_or(Reason::InvalidReplyNumber)
}

fn is_blank(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == b' ')
}

fn malformed(offset: usize, reason: Reason) -> Halt {
    Halt::Malformed(Malformed::at(offset, reason))
}

/// The length of the block that begins with the header line at the front of `bytes`.
pub(super) fn block_len(bytes: &[u8]) -> Option<usize> {
    let line_len = memchr::memchr(b'\r', bytes)?;
    let header = bytes.get(..line_len)?.strip_prefix(b"VALUE")?;
    let len = value_len(header).ok()? as usize;
    let block = line_len.checked_add(len)?.checked_add(4)?;
    (block <= bytes.len()).then_some(block)
}
