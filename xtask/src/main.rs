//! Developer verbs behind the Makefile.
#![forbid(unsafe_code)]
fn main() {}
