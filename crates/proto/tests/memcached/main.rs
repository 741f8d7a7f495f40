//! The text protocol of memcached as its users see it. One binary, one module per source of truth:
//! what was recorded of twemproxy 0.5, rules written down, properties, fuzz seeds, a live server.

mod live;
mod properties;
mod recorded;
mod rules;
mod seeds;
mod server;

use proto::Span;
use proto::memcached::{Malformed, Refusal, Request, RequestScanner, Scan};

/// The path of a file or folder of the recorded data.
fn testdata(name: &str) -> String {
    format!("{}/../../testdata/memcached/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What scanning a request came to.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    scan: Scan,
    args: Vec<Span>,
}

impl Outcome {
    /// Scans ever longer beginnings of `bytes`, ending at `ends`, until there is an outcome.
    fn at(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Self {
        let mut scanner = RequestScanner::default();
        let mut args = Vec::new();
        for end in ends {
            let scan = scanner.scan(&bytes[..end], &mut args);
            if scan != Scan::Incomplete {
                return Self { scan, args };
            }
        }
        Self { scan: Scan::Incomplete, args: Vec::new() }
    }

    fn of(bytes: &[u8]) -> Self {
        Self::at(bytes, [bytes.len()])
    }

    fn request(&self) -> Option<Request> {
        match self.scan {
            Scan::Complete { request, .. } => Some(request),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self.scan {
            Scan::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    fn malformed(&self) -> Option<Malformed> {
        match self.scan {
            Scan::Malformed(malformed) => Some(malformed),
            _ => None,
        }
    }
}

/// `bytes` without the blanks ahead of a request, which are skipped.
fn after_blanks(bytes: &[u8]) -> &[u8] {
    match Outcome::of(bytes).scan {
        Scan::Blank(len) => &bytes[len..],
        _ => bytes,
    }
}

/// Asserts that `bytes` scan alike whole, byte by byte, and at every split, and says how.
fn scan_every_way(bytes: &[u8]) -> Outcome {
    let whole = Outcome::of(bytes);
    assert_eq!(Outcome::at(bytes, 0..=bytes.len()), whole, "byte by byte: {bytes:?}");
    for split in 0..bytes.len() {
        let outcome = Outcome::at(bytes, [split, bytes.len()]);
        assert_eq!(outcome, whole, "split at {split}: {bytes:?}");
    }
    whole
}
