//! Answers for the workers to the service manager's watchdog: it is told that all is well only when every worker has
//! taken its mail. A process whose control thread lives on beside a worker that hangs would be no use to anyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::process::notify::Supervisor;

/// How many reports are sent in the time after which silence counts as a hang.
const REPORTS: u32 = 3;

/// Calls the roll of the workers at intervals, where the service manager watches.
#[derive(Debug)]
pub(super) struct Watchdog {
    interval: Duration,
    due: Instant,
    answers: Option<Arc<AtomicUsize>>,
}

impl Watchdog {
    /// `None` when nobody watches.
    pub(super) fn new(supervisor: &Supervisor) -> Option<Watchdog> {
        let interval = supervisor.watchdog()? / REPORTS;
        Some(Watchdog { interval, due: Instant::now(), answers: None })
    }

    /// To be called at least once per this long.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether it is time to say that all is well: once per interval, if the `alive` workers have all answered the last
    /// roll. Another one is then called; what that returns counts the answers.
    pub(super) fn is_due(
        &mut self,
        now: Instant,
        alive: usize,
        call_roll: impl FnOnce() -> Arc<AtomicUsize>,
    ) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.interval;
        let answered = |answers: &Arc<AtomicUsize>| answers.load(Ordering::Relaxed) >= alive;
        let is_well = self.answers.as_ref().is_none_or(answered);
        if is_well {
            self.answers = Some(call_roll());
        }
        is_well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn a_worker_that_does_not_answer_silences_the_reports_until_it_does() {
        let start = Instant::now();
        let mut watchdog = Watchdog { interval: INTERVAL, due: start, answers: None };
        let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let unasked = || panic!("the last roll is not answered");
        assert!(watchdog.is_due(start, 2, || Arc::clone(&first)));
        assert!(!watchdog.is_due(start + INTERVAL / 2, 2, unasked), "too early");
        first.store(1, Ordering::Relaxed);
        assert!(!watchdog.is_due(start + INTERVAL, 2, unasked));
        assert!(!watchdog.is_due(start + INTERVAL * 2, 2, unasked));
        first.store(2, Ordering::Relaxed);
        assert!(watchdog.is_due(start + INTERVAL * 3, 2, || Arc::clone(&second)));
        assert!(!watchdog.is_due(start + INTERVAL * 4, 2, unasked), "answers of another roll");
    }

    #[test]
    fn a_worker_that_has_ended_need_not_answer() {
        let start = Instant::now();
        let mut watchdog = Watchdog { interval: INTERVAL, due: start, answers: None };
        let roll = || Arc::new(AtomicUsize::new(1));
        assert!(watchdog.is_due(start, 2, roll));
        assert!(watchdog.is_due(start + INTERVAL, 1, roll));
    }
}
