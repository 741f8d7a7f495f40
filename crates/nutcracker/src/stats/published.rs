//! What is served at the moment, for all who show counts: the control side replaces it with every reload, readers take
//! the whole of it. Apart from the exports because they share it, and because how reloads fared is told by several.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::counters::Counts;
use engine::topology::Topology;

/// A topology and what each worker counts in its shape, live.
#[derive(Debug)]
pub struct Snapshot {
    /// What is served.
    pub topology: Arc<Topology>,
    /// One for each worker.
    pub counts: Vec<Arc<Counts>>,
}

/// How reloads fared since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// How many were carried out, those that found nothing changed included.
    pub succeeded: u64,
    /// How many left everything as it was because something was wrong.
    pub failed: u64,
    /// The last one; `None` before the first.
    pub last: Option<Reload>,
}

/// One reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Seconds since the Unix epoch.
    pub at_s: u64,
    /// Whether it was carried out.
    pub succeeded: bool,
}

/// The snapshot of the moment. Its lock is held for the time of a copy, and no request but INFO ever takes it.
#[derive(Debug)]
pub struct Published {
    state: Mutex<(Arc<Snapshot>, Reloads)>,
}

impl Published {
    /// Begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Arc<Published> {
        Arc::new(Published { state: Mutex::new((Arc::new(snapshot), Reloads::default())) })
    }

    /// From now on this is served.
    pub fn replace(&self, snapshot: Snapshot) {
        self.state().0 = Arc::new(snapshot);
    }

    /// A reload has come to its end.
    pub fn note(&self, reload: Reload) {
        let reloads = &mut self.state().1;
        let count = if reload.succeeded { &mut reloads.succeeded } else { &mut reloads.failed };
        *count += 1;
        reloads.last = Some(reload);
    }

    /// What is served at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state().0)
    }

    /// How reloads fared.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        self.state().1
    }

    fn state(&self) -> MutexGuard<'_, (Arc<Snapshot>, Reloads)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// A count of the process: the sum over its workers.
    pub fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.counts.iter().map(|counts| count(counts)).fold(0, u64::wrapping_add)
    }
}
