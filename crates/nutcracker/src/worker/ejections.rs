//! Which ejections of servers were counted, so that an outage counts once although several workers can reach the limit
//! before they hear of each other. Touched when a server is ejected, never by a request.

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::sync::Mutex;

/// For each server that was ejected, by pool and name, the latest time until which: monotonic microseconds.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    latest: Mutex<HashMap<(String, String), u64>>,
}

impl Ejections {
    /// Notes the ejection of a server until `retry_at`, by a worker that has heard of those until `known`. Returns whether
    /// no other worker has noted one that it has not heard of: that would be of the same outage.
    pub(super) fn is_first(&self, pool: &str, server: &str, known: u64, retry_at: u64) -> bool {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = latest.entry((pool.to_owned(), server.to_owned())).or_default();
        let is_first = *latest <= known;
        if is_first {
            *latest = retry_at;
        }
        is_first
    }

    /// Begins anew.
    pub(super) fn forget(&self) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_once_and_the_next_one_again() {
        let ejections = Ejections::default();
        assert!(ejections.is_first("a", "x", 0, 100));
        assert!(!ejections.is_first("a", "x", 0, 101), "has not heard of the first");
        assert!(ejections.is_first("a", "y", 0, 101) && ejections.is_first("b", "x", 0, 101));
        assert!(ejections.is_first("a", "x", 101, 200), "has heard of all before");
        assert!(!ejections.is_first("a", "x", 101, 201));
        ejections.forget();
        assert!(ejections.is_first("a", "x", 0, 300));
    }
}
