//! The `nutcracker` binary.
#![forbid(unsafe_code)]
fn main() {}
