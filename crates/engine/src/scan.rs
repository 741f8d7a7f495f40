//! The scanners of both protocols behind one face, so that reading a connection is written once.

use proto::memcached::{self, Request};
use proto::resp;
use proto::{Span, resp::Malformed};

use crate::topology::{Pool, Protocol};

/// Finds where the requests of a client end.
#[derive(Clone, Debug)]
pub(crate) enum RequestScanner {
    Resp(resp::RequestScanner),
    Memcached(memcached::RequestScanner),
}

/// What a request is, beside its bytes and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Resp,
    Memcached(Request),
}

/// What the bytes received of a request are so far.
#[derive(Debug)]
pub(crate) enum Scan {
    Incomplete,
    /// A request of so many bytes.
    Complete(usize, Kind),
    /// Anything but a request that is routed as it is.
    Odd(Odd),
}

/// What has to be looked at apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Odd {
    /// A RESP request written as a line of words.
    Inline(usize),
    /// A blank line.
    Blank(usize),
    /// Blanks ahead of a memcached request.
    Skip(usize),
    /// No RESP.
    Resp(Malformed),
    /// A memcached request that is not forwarded: length of what was received of it, bytes to discard after that, and
    /// whether its sender wants to hear.
    Refused { len: usize, swallow: u64, refusal: memcached::Refusal, is_silent: bool },
    /// No memcached text protocol.
    Memcached(memcached::Malformed),
    /// The binary protocol.
    Binary,
}

impl RequestScanner {
    /// For clients of `pool`.
    pub(crate) fn new(pool: &Pool) -> RequestScanner {
        match pool.protocol {
            Protocol::Redis => RequestScanner::Resp(resp::RequestScanner::default()),
            Protocol::Memcached => {
                RequestScanner::Memcached(memcached::RequestScanner::new(pool.item_bytes_max))
            }
        }
    }

    /// The length of the request at the front of `bytes`, if it is one of RESP and a short one; else what scans on from
    /// there. `self` is at the first byte of a request, and stays there.
    #[inline]
    pub(crate) fn begin(
        &self,
        bytes: &[u8],
        args: &mut Vec<Span>,
    ) -> Result<usize, RequestScanner> {
        match self {
            RequestScanner::Resp(_) => {
                resp::RequestScanner::begin(bytes, args).map_err(RequestScanner::Resp)
            }
            RequestScanner::Memcached(_) => Err(self.clone()),
        }
    }

    /// Scans on; `bytes` begin with the first byte of the request.
    pub(crate) fn scan(&mut self, bytes: &[u8], args: &mut Vec<Span>) -> Scan {
        match self {
            RequestScanner::Resp(scanner) => match scanner.scan(bytes, args) {
                resp::Scan::Complete(len) => Scan::Complete(len, Kind::Resp),
                resp::Scan::Incomplete => Scan::Incomplete,
                resp::Scan::Inline(len) => Scan::Odd(Odd::Inline(len)),
                resp::Scan::Blank(len) => Scan::Odd(Odd::Blank(len)),
                resp::Scan::Malformed(malformed) => Scan::Odd(Odd::Resp(malformed)),
            },
            RequestScanner::Memcached(scanner) => match scanner.scan(bytes, args) {
                memcached::Scan::Complete { len, request } => {
                    Scan::Complete(len, Kind::Memcached(request))
                }
                memcached::Scan::Incomplete => Scan::Incomplete,
                memcached::Scan::Blank(len) => Scan::Odd(Odd::Skip(len)),
                memcached::Scan::Refused { len, swallow, refusal, is_silent } => {
                    Scan::Odd(Odd::Refused { len, swallow, refusal, is_silent })
                }
                memcached::Scan::Malformed(malformed) => Scan::Odd(Odd::Memcached(malformed)),
                memcached::Scan::Binary => Scan::Odd(Odd::Binary),
            },
        }
    }

    /// Length of the whole request as far as it is known.
    pub(crate) fn bytes_wanted(&self) -> usize {
        match self {
            RequestScanner::Resp(scanner) => scanner.bytes_wanted(),
            RequestScanner::Memcached(scanner) => scanner.bytes_wanted(),
        }
    }

    /// Forgets as many of the `scanned` bytes of the last call, which was in the middle of a request, as are not needed any
    /// more, and returns how many: the bytes of the next call begin behind them.
    pub(crate) fn forget(&mut self, scanned: usize) -> usize {
        match self {
            RequestScanner::Resp(scanner) => scanner.forget(scanned),
            RequestScanner::Memcached(scanner) => scanner.forget(scanned),
        }
    }
}

impl Default for RequestScanner {
    fn default() -> Self {
        RequestScanner::Resp(resp::RequestScanner::default())
    }
}

/// Finds where the replies of a server end.
#[derive(Debug)]
pub(crate) enum ReplyScanner {
    Resp(resp::ReplyScanner),
    Memcached(memcached::ReplyScanner),
}

/// What the bytes received of a reply are so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyScan {
    Incomplete,
    /// A reply of so many bytes.
    Complete(usize),
    Malformed,
}

/// Length of the reply at the front of `bytes`, if it is of a kind that is told at one look.
#[inline]
pub(crate) fn short_reply(protocol: Protocol, bytes: &[u8]) -> Option<usize> {
    match protocol {
        Protocol::Redis => resp::short_reply(bytes),
        Protocol::Memcached => None,
    }
}

impl ReplyScanner {
    pub(crate) fn new(protocol: Protocol) -> ReplyScanner {
        match protocol {
            Protocol::Redis => ReplyScanner::Resp(resp::ReplyScanner::default()),
            Protocol::Memcached => ReplyScanner::Memcached(memcached::ReplyScanner::default()),
        }
    }

    /// Scans on; `bytes` begin with the first byte of the reply.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> ReplyScan {
        match self {
            ReplyScanner::Resp(scanner) => match scanner.scan(bytes) {
                resp::ReplyScan::Complete(len) => ReplyScan::Complete(len),
                resp::ReplyScan::Incomplete => ReplyScan::Incomplete,
                resp::ReplyScan::Malformed(_) => ReplyScan::Malformed,
            },
            ReplyScanner::Memcached(scanner) => match scanner.scan(bytes) {
                memcached::ReplyScan::Complete(len) => ReplyScan::Complete(len),
                memcached::ReplyScan::Incomplete => ReplyScan::Incomplete,
                memcached::ReplyScan::Malformed(_) => ReplyScan::Malformed,
            },
        }
    }

    /// Length of the whole reply as far as it is known.
    pub(crate) fn bytes_wanted(&self) -> usize {
        match self {
            ReplyScanner::Resp(scanner) => scanner.bytes_wanted(),
            ReplyScanner::Memcached(scanner) => scanner.bytes_wanted(),
        }
    }

    /// How many of the `available` bytes scanned last are not looked at again.
    pub(crate) fn bytes_passed(&self, available: usize) -> usize {
        match self {
            ReplyScanner::Resp(scanner) => scanner.bytes_passed(available),
            ReplyScanner::Memcached(scanner) => scanner.bytes_passed(available),
        }
    }

    /// The first `bytes` of them were removed.
    pub(crate) fn forget(&mut self, bytes: usize) {
        match self {
            ReplyScanner::Resp(scanner) => scanner.forget(bytes),
            ReplyScanner::Memcached(scanner) => scanner.forget(bytes),
        }
    }
}
