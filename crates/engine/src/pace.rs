//! When to wait for more work: one read, one server write and one server read then serve many clients.
//!
//! Two delays, both only while there is plenty to do. A *window*, scaled to the servers' round trip, keeps turns that much
//! apart when many clients are active and another request is due within it; where waiting turns out to pay, it follows
//! the first readiness of every turn. And a client's replies are *held* while more of its pipeline is about to be
//! answered, for two round trips; where few clients are active, only for as long as every turn brings something.

mod trial;

use trial::{Totals, Trial};

use std::collections::VecDeque;
use std::num::NonZero;

use crate::client::Client;
use crate::{Engine, Now};

/// Clients that must have been active within [`BUCKET_US`] for the window to open. Fewer, and the wait would only add
/// latency: most of them are waiting for us.
const ACTIVE_CLIENTS_MIN: u32 = 12;
/// Whoever is active, a window opens also when it is at most this part of the round trip and gathers so many requests:
/// pipelines of few clients to servers at their limit.
const SLIGHT_PARTS: u64 = 8;
const SLIGHT_REQUESTS_MIN: u64 = 4;
/// How long activity is counted together: about a millisecond, a power of two to divide cheaply.
const BUCKET_US: u64 = 1024;
/// Replies are held for two round trips to the servers, and no longer than this.
const HOLD_US_MAX: u64 = 500;
/// A client with more unsent bytes than this is flushed.
const HOLD_BYTES_MAX: usize = 16 << 10;
/// Weight of a new sample in the round trip, as a power of two.
const SMOOTHING: u32 = 3;
/// A sample counts for four times the round trip and this at most.
const STEP_US_MAX: u64 = 64;

/// How much is going on in this worker.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Number of the running bucket.
    bucket: u64,
    clients: u32,
    requests: u32,
    /// The same of the bucket before.
    clients_before: u32,
    requests_before: u32,
    /// Smoothed time from queueing a request to its reply, in 1/8 µs. A window is part of it: one of a third of it is
    /// half of the round trip without.
    round_trip_8: u64,
    /// Something was received since the last turn.
    is_busy: bool,
    /// When.
    now_us: u64,
    /// When the last turn had gathered what it was to serve.
    gathered_at: u64,
    /// Clients whose replies were held, and since when; the oldest first. Some have been flushed meanwhile.
    held: VecDeque<(u32, u64)>,
    /// How long they stay although turns bring nothing.
    hold_us: u64,
    totals: Totals,
    trial: Trial,
}

impl Pace {
    /// Something was received.
    #[inline]
    pub(crate) fn note_arrival(&mut self, now: Now) {
        self.is_busy = true;
        self.now_us = now.mono_us;
    }

    /// Counts a read from a client that was last active in bucket `last`; returns the bucket to remember.
    pub(crate) fn note_client(&mut self, last: u32, now: Now) -> u32 {
        self.roll(now.mono_us / BUCKET_US);
        let bucket = self.bucket as u32;
        if last != bucket {
            self.clients += 1;
        }
        bucket
    }

    pub(crate) fn note_request(&mut self) {
        self.requests += 1;
        self.totals.requests += 1;
    }

    /// A reply came for a request queued at `queued_at`.
    pub(crate) fn note_round_trip(&mut self, queued_at: u64, now: Now) {
        let sample = now.mono_us - queued_at;
        self.totals.replies += 1;
        self.totals.round_trips_us += sample;
        // One slow server among many is not to set the pace of the others.
        let sample = sample.min(self.round_trip_8 / 2 + STEP_US_MAX);
        self.round_trip_8 = self.round_trip_8 - (self.round_trip_8 >> SMOOTHING) + sample;
    }

    fn roll(&mut self, bucket: u64) {
        if bucket == self.bucket {
            return;
        }
        let is_next = bucket == self.bucket + 1;
        self.clients_before = if is_next { self.clients } else { 0 };
        self.requests_before = if is_next { self.requests } else { 0 };
        self.clients = 0;
        self.requests = 0;
        self.bucket = bucket;
        if is_next {
            self.trial.advance(bucket, &self.totals);
        } else {
            self.trial.restart(bucket);
        }
    }

    /// How long to wait for more work in this turn, at most `max_us`; 0 at low load.
    fn window(&mut self, max_us: u64, now: Now) -> u64 {
        let window_us = self.window_under_load(max_us, now);
        // The time since the last turn gathered has gathered, too. Waiting on top of that has to pay.
        let passed_us = match self.trial.waits() {
            true => 0,
            false => now.mono_us.saturating_sub(self.gathered_at),
        };
        let window_us = window_us.saturating_sub(passed_us);
        self.gathered_at = now.mono_us + window_us;
        self.totals.turns += 1;
        self.totals.windows_us += window_us;
        window_us
    }

    /// Whether many clients are active, or the servers take so long for so many requests that a window is hardly noticed.
    fn is_loaded(&mut self, max_us: u64, now: Now) -> bool {
        self.roll(now.mono_us / BUCKET_US);
        let window_us = self.longest_window(max_us);
        self.clients.max(self.clients_before) >= ACTIVE_CLIENTS_MIN
            || self.round_trip_us() >= window_us * SLIGHT_PARTS
                && self.expected_within(window_us) >= SLIGHT_REQUESTS_MIN
    }

    /// Half of the round trip without a window, at most `max_us`; 0 unless another request is likely to come meanwhile.
    fn window_under_load(&mut self, max_us: u64, now: Now) -> u64 {
        let is_loaded = self.is_loaded(max_us, now);
        let window_us = self.longest_window(max_us);
        if is_loaded && self.expected_within(window_us) >= 1 { window_us } else { 0 }
    }

    fn longest_window(&self, max_us: u64) -> u64 {
        (self.round_trip_us() / 3).min(max_us)
    }

    /// Requests that are likely to come within `span_us`.
    fn expected_within(&self, span_us: u64) -> u64 {
        u64::from(self.requests.max(self.requests_before)) * span_us / BUCKET_US
    }

    fn round_trip_us(&self) -> u64 {
        self.round_trip_8 >> SMOOTHING
    }
}

impl Client {
    /// Whether its replies are held, and may be for longer.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.held_since.is_some() && self.awaits_more() && self.output.len() < HOLD_BYTES_MAX
    }
}

impl Engine {
    /// How long the reactor should wait after the first readiness of a turn, µs; 0 for not at all.
    pub fn window_us(&mut self, now: Now) -> u64 {
        match self.limits.window_us_max {
            0 => 0,
            max_us => self.pace.window(max_us, now),
        }
    }

    /// Holds the replies of a client that waits for more of them. False when they have to go now.
    pub(crate) fn hold(&mut self, c: u32) -> bool {
        let client = &mut self.clients[c as usize];
        if client.is_held() {
            return true;
        }
        if !client.awaits_more() || client.output.len() >= HOLD_BYTES_MAX {
            client.held_since = None;
            return false;
        }
        let since = self.pace.now_us;
        client.held_since = Some(stamp(since));
        self.pace.held.push_back((c, since));
        true
    }

    /// Lets replies go that were held for long enough, and at low load all of them when a turn brought nothing.
    pub(crate) fn release_held(&mut self, now: Now) {
        let was_busy = std::mem::take(&mut self.pace.is_busy);
        let hold_us = (2 * self.pace.round_trip_us()).min(HOLD_US_MAX);
        // At low load nothing is worth waiting for once a turn brings nothing.
        let max_us = self.limits.window_us_max;
        let waits = max_us != 0 && self.pace.is_loaded(max_us, now);
        self.pace.hold_us = if waits { hold_us } else { 0 };
        let hold_us = if was_busy { hold_us } else { self.pace.hold_us };
        while let Some(&(c, since)) = self.pace.held.front() {
            if now.mono_us < since + hold_us {
                return;
            }
            self.pace.held.pop_front();
            let held = self.clients.get_mut(c as usize);
            if let Some(client) = held.filter(|client| client.held_since == Some(stamp(since))) {
                client.held_since = None;
                self.flush_client(c);
            }
        }
    }

    /// When held replies must go at the latest.
    pub(crate) fn held_until(&self) -> Option<u64> {
        self.pace.held.front().map(|(_, since)| since + self.pace.hold_us)
    }
}

/// A moment in few bytes, to be told from others of the same minute.
fn stamp(mono_us: u64) -> NonZero<u32> {
    NonZero::new(mono_us as u32).unwrap_or(NonZero::<u32>::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: 0 }
    }

    /// Activity of `clients` clients with `requests` requests in the bucket before time 10 * BUCKET_US.
    fn pace(clients: u32, requests: u32, round_trip_us: u64) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note_round_trip(0, at(round_trip_us));
        }
        for _ in 0..clients {
            pace.note_client(0, at(9 * BUCKET_US));
        }
        (0..requests).for_each(|_| pace.note_request());
        pace
    }

    #[test]
    fn what_the_last_turn_took_counts_unless_waiting_pays() {
        let mut pace = pace(50, 200, 240);
        let begin = 10 * BUCKET_US;
        let whole = pace.window_under_load(100, at(begin));
        assert_eq!(pace.window(100, at(begin)), 0, "the worker has been away for long");
        assert_eq!(pace.window(100, at(begin + 30)), whole - 30);
        assert_eq!(pace.window(100, at(begin + whole)), whole);
        assert_eq!(pace.window(100, at(begin + 3 * whole)), 0);
        pace.trial = Trial::waiting();
        assert_eq!(pace.window(100, at(begin + 5 * whole)), whole);
    }

    #[test]
    fn the_window_is_bounded() {
        let window =
            |round_trip| pace(50, 200, round_trip).window_under_load(100, at(10 * BUCKET_US));
        assert!((12..=14).contains(&window(42)));
        assert_eq!(window(4000), 100);
    }

    #[test]
    fn few_clients_open_no_window_however_many_requests_they_pipeline() {
        assert_eq!(pace(11, 10_000, 100).window_under_load(100, at(10 * BUCKET_US)), 0);
    }

    #[test]
    fn pipelines_of_few_clients_open_a_window_that_is_slight_beside_the_round_trip() {
        let window = |requests, round_trip| {
            pace(2, requests, round_trip).window_under_load(100, at(10 * BUCKET_US))
        };
        assert_eq!(window(200, 900), 100);
        assert_eq!(window(200, 700), 0, "it would be noticed");
        assert_eq!(window(30, 900), 0, "it would gather little");
    }

    #[test]
    fn a_slow_server_among_others_hardly_changes_the_round_trip() {
        let mut pace = pace(50, 200, 150);
        for _ in 0..50 {
            pace.note_round_trip(0, at(50_000));
            assert!(pace.round_trip_us() < 300, "{}", pace.round_trip_us());
            (0..20).for_each(|_| pace.note_round_trip(0, at(150)));
        }
        (0..30).for_each(|_| pace.note_round_trip(0, at(4_000)));
        assert!(pace.round_trip_us() > 3_500, "all are slow now");
    }

    #[test]
    fn no_window_when_nothing_more_is_expected_within_it() {
        assert_eq!(pace(12, 12, 40).window_under_load(100, at(10 * BUCKET_US)), 0);
        assert_ne!(pace(80, 80, 42).window_under_load(100, at(10 * BUCKET_US)), 0);
    }

    #[test]
    fn activity_is_forgotten_after_a_quiet_bucket() {
        assert_eq!(pace(50, 200, 40).window_under_load(100, at(12 * BUCKET_US)), 0);
    }

    #[test]
    fn the_window_settles_at_half_the_round_trip_that_it_is_a_part_of() {
        let mut pace = pace(50, 200, 60);
        for _ in 0..100 {
            let window = pace.window_under_load(100, at(10 * BUCKET_US));
            (0..50).for_each(|_| pace.note_round_trip(0, at(60 + window)));
        }
        assert!((26..=30).contains(&pace.window_under_load(100, at(10 * BUCKET_US))));
    }
}
