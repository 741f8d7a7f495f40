//! The control side of the process: it starts everything, watches over it and stops it. It may block and allocate; no
//! request waits for it.

mod doors;
mod file_state;
pub mod fleet;
pub mod listeners;
mod reload;
pub mod resolver;
mod serve;
pub mod signals;
mod spike;
mod startup;
mod stats_server;
mod watchdog;

pub use serve::serve;

use reload::Reading;
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
    /// The file for a reload was read.
    Read(Box<Reading>),
    /// A listener that has no use any more is closed, its address is free.
    ListenerClosed,
}
