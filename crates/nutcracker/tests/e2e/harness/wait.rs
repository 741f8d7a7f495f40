//! Polling with a deadline: the only way a test waits.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test gives up. Long, because the machine may be busy compiling; a passing
/// test never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(3);

/// Polls `probe` until it yields a value and returns that.
///
/// # Panics
/// After [`PATIENCE`], naming `what` was waited for.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let reached = within(PATIENCE, || {
        found = probe();
        found.is_some()
    });
    assert!(reached, "gave up waiting: {what}");
    found.expect("within said so")
}

/// Whether `probe` becomes true within `span`, polled throughout.
pub(crate) fn within(span: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + span;
    loop {
        if probe() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}
