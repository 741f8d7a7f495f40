//! The control side of the process: it starts everything, watches over it and stops it. It may block and allocate; no
//! request waits for it.

pub mod fleet;
pub mod listeners;
pub mod resolver;
mod serve;
pub mod signals;
mod spike;
mod startup;
mod stats_server;
mod watchdog;

pub use serve::serve;

use signals::Signal;

/// What the control loop waits for.
#[derive(Debug)]
pub enum Event {
    /// A signal arrived.
    Signal(Signal),
    /// A worker has ended: after a drain, or because it failed.
    WorkerEnded {
        /// Its number, from 0.
        worker: usize,
        /// Why, unless it was asked to.
        failure: Option<String>,
    },
}
