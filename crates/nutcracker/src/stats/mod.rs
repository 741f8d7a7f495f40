//! What the process counts and how it is shown.

pub mod catalogue;
pub mod document;
mod http;
pub mod info;
mod peer;
pub mod port;
