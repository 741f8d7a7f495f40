//! The built binary as a process: start and its failures, background, pid file, signals, log. No server is needed.

mod daemon;
mod modes;
mod notify;
mod rig;
mod signals;
mod start;
