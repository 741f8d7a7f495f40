//! Finds where a request ends and where its words are, in bytes that arrive in any pieces: one pass
//! over the line, none over the value. What the words mean together is judged by `line`.

use super::limits::{KEY_BYTES_MAX, KEYS_LINE_BYTES_MAX, KEYS_MAX, LINE_BYTES_MAX};
use super::line::{Line, Verdict};
use super::{Command, Malformed, Policy, Reason, Refusal, binary, command, key};
use crate::span::offset32;
use crate::{Span, argument};

/// What the bytes at hand are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The beginning of a request; more bytes are needed.
    Incomplete,
    /// So many blanks where a request should begin, to be skipped. They never reach a server:
    /// memcached from 1.6.40 on takes a line that begins with one for no command, and the value
    /// behind it for commands.
    Blank(usize),
    /// A whole request: its line and, for a storage command, the value with its CR LF.
    Complete {
        /// Its bytes.
        len: usize,
        /// What it asks for.
        request: Request,
    },
    /// Refused while its end is known, so that the connection lives on.
    Refused {
        /// Bytes of what was given that are used up.
        len: usize,
        /// Bytes behind them, perhaps not received yet, that are the value and to be discarded.
        swallow: u64,
        /// What it is answered.
        refusal: Refusal,
        /// It said `noreply`: it is not answered at all.
        is_silent: bool,
    },
    /// The end of the request cannot be told. Answer and close.
    Malformed(Malformed),
    /// The first byte is that of the binary protocol.
    Binary,
}

/// A request that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The row of its first word.
    pub command: &'static Command,
    /// Bytes of its line, CR LF included.
    pub line: u32,
    /// Bytes of its value without CR LF; 0 if it has none.
    pub data: u32,
    /// Whether, and with which word, it asks for less than one reply.
    pub silence: Silence,
    /// Its key is in base64 (flag `b` of a meta command).
    pub is_base64: bool,
}

/// A request for less than one reply. A span is that of the word that asks for it: overwritten with
/// blanks, the request is answered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is answered.
    None,
    /// `noreply`: it is not answered.
    NoReply(Span),
    /// Flag `q` of a meta command: what [`Command::is_suppressed`] says is not answered.
    Quiet(Span),
}

impl Request {
    /// The key of a [`Policy::SingleShard`] command, as it is hashed: one in base64 is decoded into
    /// `decoded`. Empty for every other command.
    #[inline]
    pub fn key<'b>(
        &self,
        args: &[Span],
        bytes: &'b [u8],
        decoded: &'b mut key::Decoded,
    ) -> &'b [u8] {
        let Policy::SingleShard { key } = self.command.policy else { return &[] };
        let word = argument(bytes, args, key);
        if self.is_base64 { decoded.decode(word).unwrap_or_default() } else { word }
    }

    /// The key of a `get` of one key, spelled as clients do: one blank, and nothing else but the end of the line.
    #[inline]
    pub fn key_of_plain_get(&self, bytes: &[u8], args: &[Span]) -> Option<Span> {
        let &[_, key] = args else { return None };
        let is_plain = key.start == 4 && key.end as usize + 2 == bytes.len();
        (is_plain && bytes.starts_with(b"get ")).then_some(key)
    }
}

/// Scans one request. [`Default`] is the state at a request's first byte, for values of any length.
///
/// INVARIANT: `at` is at most the length of the bytes of the latest call, and no byte before it is
/// looked at again until the line is whole and judged.
#[derive(Clone, Debug)]
pub struct RequestScanner {
    at: u32,
    /// Where the word that `at` is in began, if it is in one.
    word: Option<u32>,
    /// Bytes of the longest word so far.
    longest: u32,
    item_bytes_max: u32,
    /// A byte below the blank, or 0x7f, was among them.
    has_control: bool,
    /// The line is whole; the value is not.
    pending: Option<Request>,
}

impl Default for RequestScanner {
    fn default() -> Self {
        Self::new(u32::MAX)
    }
}

impl RequestScanner {
    /// A scanner at a request's first byte, which refuses values of more than `item_bytes_max`
    /// bytes. [`u32::MAX`] is no limit.
    pub const fn new(item_bytes_max: u32) -> Self {
        Self { at: 0, word: None, longest: 0, item_bytes_max, has_control: false, pending: None }
    }

    /// Scans on. `bytes` begins at the request's first byte and is never shorter than in the call
    /// before; `args` holds what that call left there and receives one span per word found.
    ///
    /// After anything but [`Scan::Incomplete`] start afresh, with a new scanner and empty `args`.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Scan {
        if let Some(request) = self.pending {
            return value(bytes, request);
        }
        if self.at == 0
            && let Some(scan) = plain_get(bytes, args)
        {
            return scan;
        }
        match bytes.first() {
            None => return Scan::Incomplete,
            Some(first) if binary::is_magic(*first) => return Scan::Binary,
            Some(b' ') => return blanks(bytes),
            Some(_) => {}
        }
        match self.line(bytes, args) {
            Ok(()) => self.judge(bytes, args),
            Err(scan) => scan,
        }
    }

    /// A lower bound of the whole request's length as far as it is known, 0 while nothing is. Meant
    /// for growing a buffer step by step; the peer only announced it, so never allocate it at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.pending {
            Some(request) => value_end(request).saturating_add(2),
            None => self.at as usize,
        }
    }

    /// The request, once its line is whole and its value is awaited.
    pub fn pending(&self) -> Option<Request> {
        self.pending
    }

    /// Forgets the beginning of a request of which [`Scan::Incomplete`] was said, at most its first `at_most` bytes, and
    /// returns how many: the bytes of the next call begin so many later, and what it returns is about them. Nothing
    /// is forgotten while [`RequestScanner::pending`] is `None`; after that all of the line and of the value may be.
    pub fn forget(&mut self, at_most: usize) -> usize {
        let Some(request) = &mut self.pending else { return 0 };
        let forgotten = at_most.min(value_end(*request));
        let of_line = offset32(forgotten).min(request.line);
        request.line = request.line.saturating_sub(of_line);
        request.data = request.data.saturating_sub(offset32(forgotten).saturating_sub(of_line));
        forgotten
    }

    /// Words up to the line end; `at` is behind it when it is found.
    #[inline]
    fn line(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Result<(), Scan> {
        let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
        if (self.at as usize) < window.len() && self.words(window, args)? {
            return Ok(());
        }
        if bytes.len() < LINE_BYTES_MAX {
            return Err(Scan::Incomplete);
        }
        self.long_line(bytes, args)
    }

    /// A line beyond the bound: only `get` and `gets` have such.
    #[cold]
    fn long_line(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Result<(), Scan> {
        let too_long = |at| Scan::Malformed(Malformed::at(at, Reason::LineTooLong));
        let command = args.first().and_then(|word| command::find(word.of(bytes)));
        let Some(Policy::Split { keys: keys @ 1 }) = command.map(|row| row.policy) else {
            return Err(too_long(LINE_BYTES_MAX));
        };
        let window = bytes.get(..KEYS_LINE_BYTES_MAX).unwrap_or(bytes);
        // In steps, so that the number of keys is known before there is a span for each of them.
        while (self.at as usize) < window.len() {
            let from = self.at;
            let step = (from as usize).saturating_add(LINE_BYTES_MAX);
            let is_whole = self.words(window.get(..step).unwrap_or(window), args)?;
            if args.len().saturating_sub(keys) > KEYS_MAX {
                return Err(Scan::Malformed(Malformed::at(self.at as usize, Reason::TooManyKeys)));
            }
            if is_whole {
                return Ok(());
            }
            if self.at == from {
                // A CR in front of what has not arrived.
                break;
            }
        }
        if bytes.len() < KEYS_LINE_BYTES_MAX {
            Err(Scan::Incomplete)
        } else {
            Err(too_long(KEYS_LINE_BYTES_MAX))
        }
    }

    /// Takes words from `window` until the line ends in it; whether it did.
    #[inline]
    fn words(&mut self, window: &[u8], args: &mut Vec<Span>) -> Result<bool, Scan> {
        let mut at = self.at as usize;
        let mut word = self.word;
        let is_whole = loop {
            let rest = window.get(at..).unwrap_or_default();
            let run = plain_len(rest);
            if run > 0 {
                word.get_or_insert(offset32(at));
                at = at.saturating_add(run);
            }
            let (byte, next) = match rest.get(run..) {
                Some([byte, next, ..]) => (*byte, Some(*next)),
                Some([byte]) => (*byte, None),
                _ => break false,
            };
            if byte != b' ' && byte != b'\r' {
                self.has_control = true;
                word.get_or_insert(offset32(at));
                at = at.saturating_add(1);
                continue;
            }
            if byte == b'\r' && next != Some(b'\n') {
                if next.is_none() {
                    break false;
                }
                let malformed = Malformed::at(at.saturating_add(1), Reason::BareCr);
                return Err(Scan::Malformed(malformed));
            }
            if let Some(start) = word.take() {
                let end = offset32(at);
                self.longest = self.longest.max(end.saturating_sub(start));
                args.push(Span { start, end });
            }
            if byte == b'\r' {
                at = at.saturating_add(2);
                break true;
            }
            at = at.saturating_add(1);
        };
        self.at = offset32(at);
        self.word = word;
        Ok(is_whole)
    }

    /// The line is whole.
    #[inline]
    fn judge(&mut self, bytes: &[u8], args: &[Span]) -> Scan {
        let line = Line {
            bytes,
            args,
            len: self.at,
            longest: self.longest as usize,
            has_control: self.has_control,
            item_bytes_max: self.item_bytes_max,
        };
        match line.judge() {
            Verdict::Line(request) => Scan::Complete { len: self.at as usize, request },
            Verdict::Value(request) => {
                self.pending = Some(request);
                value(bytes, request)
            }
            Verdict::Refused { refusal, swallow, is_silent } => {
                Scan::Refused { len: self.at as usize, swallow, refusal, is_silent }
            }
            Verdict::Malformed(malformed) => Scan::Malformed(malformed),
        }
    }
}

#[cold]
fn blanks(bytes: &[u8]) -> Scan {
    let len = bytes.iter().position(|byte| *byte != b' ');
    Scan::Blank(len.unwrap_or(bytes.len()))
}

/// A whole `get` of one key, which most requests are, in one look. `None` for anything else.
#[inline]
fn plain_get(bytes: &[u8], args: &mut Vec<Span>) -> Option<Scan> {
    let rest = bytes.strip_prefix(b"get ")?;
    let key_len = plain_len(rest);
    if !(1..=KEY_BYTES_MAX).contains(&key_len) || !rest.get(key_len..)?.starts_with(b"\r\n") {
        return None;
    }
    let end = offset32(key_len).saturating_add(4);
    args.extend_from_slice(&[Span { start: 0, end: 3 }, Span { start: 4, end }]);
    let command = command::find(b"get")?;
    let line = end.saturating_add(2);
    let request = Request { command, line, data: 0, silence: Silence::None, is_base64: false };
    Some(Scan::Complete { len: line as usize, request })
}

/// Number of bytes at the front of `bytes` that belong to a word: above the blank, and not 0x7f.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut len = 0_usize;
    let mut rest = bytes;
    // PERF: eight bytes a step. A borrow reaches upwards only, so the lowest hit is a true one.
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let low = word.wrapping_sub(ONES.wrapping_mul(0x21)) & !word;
        let del = word ^ ONES.wrapping_mul(0x7f);
        let hits = (low | del.wrapping_sub(ONES) & !del) & HIGHS;
        if hits != 0 {
            return len.saturating_add(hits.trailing_zeros() as usize / 8);
        }
        len = len.saturating_add(8);
        rest = behind;
    }
    let tail = rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f);
    len.saturating_add(tail.unwrap_or(rest.len()))
}

/// Offset behind the value of a request.
#[inline]
fn value_end(request: Request) -> usize {
    (request.line as usize).saturating_add(request.data as usize)
}

/// Skips a value; what follows it must be CR LF.
#[inline]
fn value(bytes: &[u8], request: Request) -> Scan {
    let end = value_end(request);
    match bytes.get(end..) {
        Some([b'\r', b'\n', ..]) => Scan::Complete { len: end.saturating_add(2), request },
        None | Some([] | [b'\r']) => Scan::Incomplete,
        Some([b'\r', ..]) => {
            Scan::Malformed(Malformed::at(end.saturating_add(1), Reason::BadDataChunk))
        }
        Some(_) => Scan::Malformed(Malformed::at(end, Reason::BadDataChunk)),
    }
}
