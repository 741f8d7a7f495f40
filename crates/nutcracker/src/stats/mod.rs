//! What the process counts and how it is shown.

pub mod catalogue;
pub mod info;
