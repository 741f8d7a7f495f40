//! The text protocol of memcached, classic and meta commands: requests, replies, and the commands.
//!
//! ```text
//! client bytes --RequestScanner--> spans and a Request: row, key, length of the value, silence
//! server bytes --ReplyScanner----> length of one whole reply --walk--> values to merge
//! ```

pub mod binary;
pub mod command;
#[doc(hidden)]
pub mod fuzz;
pub mod key;
pub mod limits;
mod line;
mod malformed;
mod number;
mod refusal;
pub mod reply;
pub mod request;
mod value;
pub mod walk;

pub use command::{Command, Local, Policy};
pub use malformed::{Malformed, Reason};
pub use refusal::Refusal;
pub use reply::{ReplyScan, ReplyScanner};
pub use request::{Request, RequestScanner, Scan, Silence};
pub use value::Value;
