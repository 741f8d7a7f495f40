//! The `nutcracker` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nutcracker::run(std::env::args_os().skip(1))
}
