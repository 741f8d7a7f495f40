//! What waits too long at a server: its requests are answered with an error, and in the end the connection is closed.
//!
//! Within one connection requests expire in the order of its FIFO, so only its head is looked at, and no timer exists: the
//! engine knows the earliest moment at which anything can be late and looks at every connection when that has come.

use super::{Break, Link, Phase};
use crate::health::Failure;
use crate::pipeline::NONE;
use crate::reply::fault;
use crate::{Engine, Now};

/// A connection that owes more late replies than this is closed.
const LATE_MAX: u32 = 1024;
/// So is one on which no reply came in time for so many timeouts.
const LATE_TIMEOUTS_MAX: u64 = 4;

impl Engine {
    /// Answers what has waited too long and closes what stays silent. Looks at the head of each connection only; runs
    /// when the earliest deadline set so far has passed.
    pub(crate) fn expire(&mut self, now: Now) {
        if now.mono_us < self.deadline {
            return;
        }
        self.deadline = u64::MAX;
        let mut expiring = std::mem::take(&mut self.scratch.links);
        expiring.clear();
        expiring.extend(self.links.iter().map(|(l, _)| l as u32));
        for &l in &expiring {
            let Some(timeout_us) = self.time_limit_us(l) else { continue };
            if let Some(deadline) = self.expire_link(l, timeout_us, now) {
                self.deadline = self.deadline.min(deadline);
            }
        }
        self.scratch.links = expiring;
    }

    /// Expires one connection and returns when to look at it again.
    fn expire_link(&mut self, l: u32, timeout_us: u64, now: Now) -> Option<u64> {
        let link = &self.links[l as usize];
        if !matches!(link.phase, Phase::Ready) {
            let deadline = link.opened_at + timeout_us;
            if deadline > now.mono_us {
                return Some(deadline);
            }
            self.time_out(l, now);
            return None;
        }
        if link.is_paused() {
            return None;
        }
        if link.is_private() && !link.has_stream() {
            return self.expire_upload(l, timeout_us, now);
        }
        let timed_out = self.expire_requests(l, timeout_us, timeout_us, now);
        let flow_due = self.expire_stream(l, timeout_us, now);
        if !self.links.contains(l as usize) {
            return None;
        }
        let link = &self.links[l as usize];
        let unsent = link.silent.front().map(|silence| silence.at + timeout_us);
        if unsent.is_some_and(|deadline| deadline <= now.mono_us) {
            self.time_out(l, now);
            return None;
        }
        let next = link.fifo.get(link.late as usize).map(|owed| owed.at + timeout_us);
        let next = [next, unsent, flow_due].into_iter().flatten().min();
        // While a reply flows it serves somebody.
        if link.late == 0 || link.is_flowing() && link.late <= LATE_MAX {
            return next;
        }
        let silent_at = link.silent_at(timeout_us, now);
        if now.mono_us >= silent_at || link.late > LATE_MAX {
            // COMPAT: with 0.5 the others would have failed on a connection of their own, which counts towards ejection.
            let timed_out = timed_out + self.expire_requests(l, 0, timeout_us, now);
            self.break_link(l, Break::Silent { timed_out }, now);
            return None;
        }
        Some(next.map_or(silent_at, |next| next.min(silent_at)))
    }

    /// Ends a connection that could not be made, or took nothing, in its time.
    fn time_out(&mut self, l: u32, now: Now) {
        let link = &self.links[l as usize];
        if !link.is_probe() {
            self.count_timeout(link.pool, link.server);
        }
        self.break_link(l, Break::Fault(fault::TIMED_OUT), now);
    }

    /// Answers the requests of a connection that have waited for `waited_us`, and returns how many; their replies will be
    /// swallowed.
    fn expire_requests(&mut self, l: u32, waited_us: u64, timeout_us: u64, now: Now) -> u32 {
        let mut expired = 0;
        loop {
            let link = &mut self.links[l as usize];
            let late = link.late as usize;
            let Some(owed) = link.fifo.get_mut(late) else { return expired };
            if owed.at + waited_us > now.mono_us {
                return expired;
            }
            expired += 1;
            let (request, fragment) = (std::mem::replace(&mut owed.request, NONE), owed.fragment);
            if link.late == 0 && link.stream.is_none() {
                link.heard_at = now.mono_us;
            }
            link.late += 1;
            link.late_since.get_or_insert(now.mono_us);
            let (pool, server) = (link.pool, link.server);
            self.count_timeout(pool, server);
            self.note_failure(pool, server, Failure::TimedOut { window: timeout_us }, now);
            self.fail(request, fragment, pool, fault::TIMED_OUT);
        }
    }

    pub(super) fn count_timeout(&self, pool: u32, server: u32) {
        self.pools[pool as usize].servers[server as usize].counts.server_timedout.add(1);
    }
}

impl Link {
    /// When it counts as silent, owing late replies: it has sent nothing for a timeout, or answered nothing in time for
    /// several. One that serves nobody is as good as silent, for what it sends may not even be what it owes.
    fn silent_at(&self, timeout_us: u64, now: Now) -> u64 {
        let late_since = self.late_since.unwrap_or(now.mono_us);
        (self.heard_at + timeout_us).min(late_since + LATE_TIMEOUTS_MAX * timeout_us)
    }
}
