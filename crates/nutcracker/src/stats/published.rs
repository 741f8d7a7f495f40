//! What is served at the moment, for all who show counts: the control side replaces it with every reload, readers take
//! the whole of it. Apart from the exports because they share it, and because how reloads fared is told by several.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::counters::Counts;
use engine::topology::{Pool, Topology};

use super::past::{Leaving, Past};

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
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    snapshot: Arc<Snapshot>,
    reloads: Reloads,
    /// What was served before.
    leaving: Leaving,
    /// How many listeners there ever were.
    listeners: u64,
}

impl Published {
    /// Begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Arc<Published> {
        let state = State {
            listeners: snapshot.topology.pools.len() as u64,
            snapshot: Arc::new(snapshot),
            reloads: Reloads::default(),
            leaving: Leaving::default(),
        };
        Arc::new(Published { state: Mutex::new(state) })
    }

    /// From now on this is served.
    pub fn replace(&self, snapshot: Snapshot) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.snapshot, Arc::new(snapshot));
        let after = Arc::clone(&state.snapshot);
        let is_new = |pool: &&Arc<Pool>| {
            !before.topology.pools.iter().any(|earlier| earlier.continues_as(pool))
        };
        state.listeners += after.topology.pools.iter().filter(is_new).count() as u64;
        state.leaving.follow(&before.counts, &after.counts);
        state.leaving.settle();
    }

    /// A reload has come to its end.
    pub fn note(&self, reload: Reload) {
        let reloads = &mut self.state().reloads;
        let count = if reload.succeeded { &mut reloads.succeeded } else { &mut reloads.failed };
        *count += 1;
        reloads.last = Some(reload);
    }

    /// What is served at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state().snapshot)
    }

    /// The same, and what was counted for all that was served before.
    pub(super) fn snapshot_and_past(&self) -> (Arc<Snapshot>, Past) {
        let state = self.state();
        (Arc::clone(&state.snapshot), state.leaving.past())
    }

    /// The same, and how many listeners there ever were.
    pub(super) fn snapshot_and_listeners(&self) -> (Arc<Snapshot>, u64) {
        let state = self.state();
        (Arc::clone(&state.snapshot), state.listeners)
    }

    /// How reloads fared.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        self.state().reloads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// A count of the process: the sum over its workers.
    pub fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.counts.iter().map(|counts| count(counts)).fold(0, u64::wrapping_add)
    }
}
