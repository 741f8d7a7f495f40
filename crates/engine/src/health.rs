//! When a server is left alone: failures, ejection and return, back-off between connects.
//!
//! Pure arithmetic over times. The counts follow twemproxy 0.5 where its operators rely on them (`server_failure_limit`
//! consecutive failures eject, any reply resets, the server returns after `server_retry_timeout` when a request asks),
//! but an outage counts once: connections that break together are one failure, and so are the timeouts of one window.
//!
//! ```text
//!            failures               its time has come (as in 0.5)
//!   Live ──────────────▶ Ejected ─────────────────────────────────▶ Live
//!     ▲                   │ ▲ │
//!     │         one request │ │ a probe is answered
//!     │                   ▼ │ ▼
//!     ├──── answered ── OnTrial     Returned ── one failure ──▶ Ejected
//!     └──── answered ───────────────────┘
//! ```

use std::time::Duration;

use crate::reply::fault;
use crate::topology::{Ejection, Pool};

/// First pause after a refused connect; doubles up to [`BACKOFF_MAX`] or the pool's retry timeout.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What went wrong, as far as counting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A connection broke or could not be established.
    Broken {
        /// The event number of the connection attempt, and its time.
        opened: u64,
        opened_at: u64,
    },
    /// A request was not answered within the timeout, µs.
    TimedOut {
        /// The pool's timeout.
        window: u64,
    },
    /// The server says that it is still loading its data.
    Loading,
}

impl Failure {
    /// The same in a word.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Failure::Broken { .. } => "the connection broke",
            Failure::TimedOut { .. } => fault::TIMED_OUT,
            Failure::Loading => "it is loading its data",
        }
    }

    /// What other workers tell an outage by: a failure that one of them counted later than this moment is of the same.
    pub(crate) fn since(self, now: u64) -> u64 {
        match self {
            Failure::Broken { opened_at, .. } => opened_at,
            Failure::TimedOut { window } => now.saturating_sub(window),
            Failure::Loading => now.saturating_sub(1),
        }
    }
}

/// Whether a server gets requests. Times are monotonic microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Live,
    /// Until this moment at least.
    Ejected { retry_at: u64 },
    /// Ejected still, with one request under way that will tell; without an outcome the next may follow at `retry_at`.
    OnTrial { retry_at: u64 },
    /// Live, and not trusted before it has answered a request: one failure ejects it.
    Returned,
}

/// What a delivered reply changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relief {
    /// Nothing: all was well.
    None,
    /// There were failures, and they are forgotten.
    Forgiven,
    /// The trial is passed.
    Acquitted,
}

/// The state of one server as one worker sees it. All times are monotonic microseconds.
#[derive(Debug, Default)]
pub(crate) struct Health {
    standing: Standing,
    /// It should have been ejected in this outage, and must not.
    pub(crate) is_ejection_prevented: bool,
    /// A probe is under way.
    pub(crate) probing: bool,
    /// The latest end of an ejection that this worker decided on or was told of.
    pub(crate) known_retry_at: u64,
    failures: u32,
    /// When the last counted failure happened, `None` for never.
    failed_at: Option<u64>,
    /// Its event number: connections opened before it belong to the same outage.
    failed_event: u64,
    /// Consecutive failed connects.
    refusals: u32,
    /// No connect before this moment.
    backoff_until: u64,
    /// The text that requests get while backing off.
    backoff_text: &'static str,
}

impl Health {
    /// Counts a failure unless it belongs to the outage counted last. `event` numbers what happens in a worker, connects
    /// and failures alike. Returns whether it was counted.
    pub(crate) fn note(&mut self, failure: Failure, now: u64, event: u64) -> bool {
        let same_outage = match failure {
            Failure::Broken { opened, .. } => opened < self.failed_event,
            Failure::TimedOut { window } => self.failed_at.is_some_and(|at| now < at + window),
            Failure::Loading => self.failed_at.is_some_and(|at| now <= at),
        };
        if !same_outage {
            self.count(now, event);
        }
        !same_outage
    }

    /// Counts a failure that another worker met, unless this one has counted the same outage already.
    pub(crate) fn note_elsewhere(&mut self, since: u64, now: u64, event: u64) {
        if self.failed_at.is_none_or(|at| at <= since) {
            self.count(now, event);
        }
    }

    fn count(&mut self, now: u64, event: u64) {
        self.note_outage(now, event);
        self.failures = self.failures.saturating_add(1);
    }

    /// From now on what breaks that was there before is of this outage.
    pub(crate) fn note_outage(&mut self, now: u64, event: u64) {
        self.failed_at = Some(now);
        self.failed_event = event;
    }

    /// Whether it is live, and nothing has failed since it answered last.
    #[inline]
    pub(crate) fn is_well(&self) -> bool {
        self.standing == Standing::Live && self.failures == 0
    }

    /// A reply was delivered: what fails next is another outage.
    pub(crate) fn note_reply(&mut self) -> Relief {
        match self.standing {
            Standing::OnTrial { .. } => return Relief::Acquitted,
            Standing::Returned => self.standing = Standing::Live,
            _ if self.failures == 0 => return Relief::None,
            _ => {}
        }
        self.failures = 0;
        self.forget_outage();
        Relief::Forgiven
    }

    fn forget_outage(&mut self) {
        self.is_ejection_prevented = false;
        self.failed_at = None;
        self.failed_event = 0;
    }

    /// Whether the failures counted so far eject the server.
    pub(crate) fn is_over(&self, ejection: &Ejection) -> bool {
        self.standing == Standing::Returned || self.failures >= ejection.failure_limit.max(1)
    }

    /// When an ejected server may be tried or return; `None` while it is live.
    pub(crate) fn retry_at(&self) -> Option<u64> {
        match self.standing {
            Standing::Live | Standing::Returned => None,
            Standing::Ejected { retry_at } | Standing::OnTrial { retry_at } => Some(retry_at),
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.retry_at().is_some()
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        matches!(self.standing, Standing::OnTrial { .. })
    }

    /// Ejects the server until `retry_at`; its count starts anew.
    pub(crate) fn eject_until(&mut self, retry_at: u64) {
        self.standing = Standing::Ejected { retry_at };
        self.failures = 0;
    }

    /// Whether the server belongs to a ring built now; an ejected one whose time has come returns.
    pub(crate) fn restore_if_due(&mut self, now: u64) -> bool {
        if let Some(retry_at) = self.retry_at().filter(|retry_at| *retry_at <= now) {
            self.standing = Standing::Live;
            // With a retry timeout of zero the outage has only begun.
            if retry_at < now {
                self.forget_outage();
            }
        }
        !self.is_ejected()
    }

    /// One request may go to the ejected server. What was connected before says nothing of the outcome.
    pub(crate) fn begin_trial(&mut self, until: u64, event: u64) {
        self.standing = Standing::OnTrial { retry_at: until };
        self.failed_at = None;
        self.failed_event = event;
    }

    /// Another worker tries the server until then.
    pub(crate) fn postpone_trial(&mut self, until: u64) {
        if let Standing::Ejected { retry_at } = &mut self.standing {
            *retry_at = until.max(*retry_at);
        }
    }

    /// The server answered a probe. What was connected before says nothing about it.
    pub(crate) fn readmit_untrusted(&mut self, now: u64, event: u64) {
        self.standing = Standing::Returned;
        self.failures = 0;
        self.note_outage(now, event);
    }

    /// The server is back, as if nothing had happened.
    pub(crate) fn readmit(&mut self) {
        self.standing = Standing::Live;
        self.failures = 0;
        self.forget_outage();
    }

    /// A connect failed in a pool without ejection: requests fail fast with `text` for a while. Up to a quarter of it, which
    /// `chance` picks, is left out, so that workers and proxies do not come back all at once.
    pub(crate) fn back_off(&mut self, pool: &Pool, text: &'static str, now: u64, chance: u32) {
        let doubled = BACKOFF_FIRST * 2_u32.saturating_pow(self.refusals.min(16));
        let pause = doubled.min(BACKOFF_MAX).min(pool.retry_timeout);
        self.refusals = self.refusals.saturating_add(1);
        let pause_us = pause.as_micros() as u64;
        self.backoff_until = now + pause_us - ((pause_us / 4 * u64::from(chance)) >> 32);
        self.backoff_text = text;
    }

    /// A connect succeeded.
    pub(crate) fn note_connected(&mut self) {
        self.refusals = 0;
        self.backoff_until = 0;
    }

    /// The error text of the running back-off, if there is one.
    pub(crate) fn backing_off(&self, now: u64) -> Option<&'static str> {
        (now < self.backoff_until).then_some(self.backoff_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(opened: u64) -> Failure {
        Failure::Broken { opened, opened_at: opened }
    }

    #[test]
    fn connections_that_break_together_are_one_failure() {
        let mut health = Health::default();
        assert!(health.note(broken(1), 100, 4));
        assert!(!health.note(broken(2), 100, 5));
        assert!(!health.note(broken(3), 150, 6));
        assert!(health.note(broken(7), 150, 8));
        assert_eq!(health.failures, 2);
    }

    #[test]
    fn an_outage_that_two_workers_meet_at_once_is_one_failure() {
        let broken = Failure::Broken { opened: 1, opened_at: 50 };
        let timed_out = Failure::TimedOut { window: 40 };
        for failure in [broken, timed_out] {
            let mut health = Health::default();
            assert!(health.note(failure, 100, 2));
            health.note_elsewhere(failure.since(101), 102, 3);
            assert_eq!(health.failures, 1, "{failure:?}");
            health.note_elsewhere(Failure::Broken { opened: 9, opened_at: 110 }.since(120), 121, 4);
            assert_eq!(health.failures, 2, "another outage");
        }
    }

    #[test]
    fn timeouts_count_once_per_window() {
        let mut health = Health::default();
        let window = 400_000;
        assert!(health.note(Failure::TimedOut { window }, 1_000_000, 1));
        assert!(!health.note(Failure::TimedOut { window }, 1_399_999, 2));
        assert!(health.note(Failure::TimedOut { window }, 1_400_000, 3));
    }

    #[test]
    fn a_reply_resets_the_count() {
        let ejection = Ejection { failure_limit: 2, ..Ejection::default() };
        let mut health = Health::default();
        health.note(Failure::Loading, 1, 1);
        assert!(!health.is_over(&ejection));
        assert_eq!(health.note_reply(), Relief::Forgiven);
        assert_eq!(health.note_reply(), Relief::None);
        health.note(Failure::Loading, 2, 2);
        assert!(!health.is_over(&ejection));
        health.note(Failure::Loading, 3, 3);
        assert!(health.is_over(&ejection));
    }

    #[test]
    fn what_fails_after_a_reply_is_another_outage() {
        let mut health = Health::default();
        let window = 400_000;
        assert!(health.note(Failure::TimedOut { window }, 1_000_000, 5));
        assert_eq!(health.note_reply(), Relief::Forgiven);
        assert!(health.note(broken(1), 1_000_001, 6));
        assert_eq!(health.note_reply(), Relief::Forgiven);
        assert!(health.note(Failure::TimedOut { window }, 1_000_002, 7));
        assert_eq!(health.failures, 1);
    }

    #[test]
    fn what_fails_after_the_return_to_the_ring_is_another_outage() {
        let mut health = Health::default();
        health.note(broken(1), 100, 2);
        health.eject_until(500);
        assert!(!health.note(broken(1), 100, 3));
        assert!(health.restore_if_due(501));
        assert!(health.note(broken(1), 600, 4));
    }

    #[test]
    fn a_limit_of_zero_behaves_like_one() {
        let ejection = Ejection { failure_limit: 0, ..Ejection::default() };
        let mut health = Health::default();
        assert!(!health.is_over(&ejection));
        health.note(Failure::Loading, 1, 1);
        assert!(health.is_over(&ejection));
    }

    #[test]
    fn an_ejected_server_returns_at_its_time_and_not_before() {
        let mut health = Health::default();
        health.eject_until(500);
        assert!(!health.restore_if_due(499));
        assert!(health.restore_if_due(500));
        assert_eq!(health.retry_at(), None);
    }

    #[test]
    fn a_trial_ends_with_the_first_reply() {
        let mut health = Health::default();
        health.eject_until(500);
        assert_eq!(health.note_reply(), Relief::None, "what was under way proves nothing");
        health.begin_trial(900, 7);
        assert!(health.is_ejected());
        assert_eq!(health.retry_at(), Some(900));
        assert_eq!(health.note_reply(), Relief::Acquitted);
        health.readmit();
        assert!(!health.is_ejected());
    }

    #[test]
    fn only_connections_made_for_a_trial_can_fail_it() {
        let mut health = Health::default();
        health.eject_until(500);
        health.begin_trial(900, 7);
        assert!(!health.note(broken(6), 601, 8));
        assert!(health.note(broken(9), 602, 10));
    }

    #[test]
    fn one_failure_ejects_a_server_that_returned_until_it_has_answered() {
        let ejection = Ejection { failure_limit: 3, ..Ejection::default() };
        for has_answered in [true, false] {
            let mut health = Health::default();
            health.eject_until(500);
            health.readmit_untrusted(600, 7);
            assert!(!health.is_ejected());
            assert!(!health.note(broken(6), 601, 8), "it was there before");
            if has_answered {
                assert_eq!(health.note_reply(), Relief::Forgiven, "others should know");
                assert_eq!(health.note_reply(), Relief::None);
            }
            assert!(health.note(broken(9), 602, 10));
            assert_eq!(health.is_over(&ejection), !has_answered);
        }
    }

    #[test]
    fn a_back_off_is_shortened_by_a_quarter_at_most() {
        let pool = crate::topology::tests::pool("a", &["x"]);
        for (chance, end) in [(0, 10_000), (u32::MAX / 2, 8_751), (u32::MAX, 7_501)] {
            let mut health = Health::default();
            health.back_off(&pool, "text", 0, chance);
            assert_eq!(health.backing_off(end - 1), Some("text"));
            assert_eq!(health.backing_off(end), None);
        }
    }

    #[test]
    fn a_trial_elsewhere_puts_off_the_own_one_and_never_brings_it_forward() {
        let mut health = Health::default();
        health.eject_until(500);
        health.postpone_trial(800);
        assert_eq!(health.retry_at(), Some(800));
        health.postpone_trial(700);
        assert_eq!(health.retry_at(), Some(800));
    }
}
