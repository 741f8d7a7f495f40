//! Wire formats: bytes to messages and back. No sockets, no clock, no allocation per message.
//!
//! A scanner is handed the bytes received so far, says whether they hold a whole message and
//! where its parts are, and remembers where it stopped, so that no byte is looked at twice.
//! What it finds are [`Span`]s into the caller's buffer; malformed input is a value with an
//! offset and a reason, never a panic: indexing is checked, and the lints below keep it so.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod http;
pub mod memcached;
mod pieces;
pub mod resp;
mod span;

pub use span::{Span, argument};
