//! What the process counts and how it is shown.

pub mod catalogue;
pub mod document;
mod http;
pub mod info;
pub mod metrics;
mod past;
mod peer;
pub mod port;
pub mod published;

/// A form in which all counts can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// The stats document.
    Document,
    /// The text that Prometheus reads.
    Metrics,
}
