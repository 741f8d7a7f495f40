//! The product: configuration, command line, control thread and workers, put together.
#![forbid(unsafe_code)]

mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod logging;
pub mod process;
pub mod stats;
mod sync;
pub mod worker;

pub use app::run;
