//! RESP, the Redis serialization protocol: requests, replies, and the commands they carry.
//!
//! ```text
//! client bytes --RequestScanner--> spans --command::resolve--> row: arity, keys, policy
//!              \-inline::encode-/
//! server bytes --ReplyScanner----> length of one whole reply --walk--> elements to merge
//! ```

pub mod command;
pub mod encode;
#[doc(hidden)]
pub mod fuzz;
pub mod inline;
pub mod limits;
mod malformed;
mod number;
pub mod reply;
pub mod request;
pub mod walk;

pub use malformed::{Malformed, Reason};
pub use reply::{Protocol, ReplyScan, ReplyScanner, short_reply};
pub use request::{RequestScanner, Scan};
