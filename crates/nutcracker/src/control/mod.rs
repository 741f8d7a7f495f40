//! The control side of the process: it may block and allocate, and no request waits for it.

pub mod listeners;
pub mod resolver;
pub mod signals;
