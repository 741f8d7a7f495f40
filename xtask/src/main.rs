//! Developer verbs behind the Makefile, in Rust so that they are typed, checked and the same everywhere.
#![forbid(unsafe_code)]

mod bench;
mod checks;
mod counts;
mod demo;
mod models;
mod quickstart;
mod redis;
mod setup;
mod started;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask VERB

  setup                 install the servers that the demo and the tests need
  run [--seconds N]     start three Redis servers and nutcracker, until Ctrl-C or for N seconds
  test                  everything CI checks
  models [--mutants]    every order of events where threads meet; or: do these models notice faults
  count                 instructions per operation beside the reference; UPDATE_COUNTS=1 makes a new one
  bench [OPTION]...     ours beside twemproxy 0.5 and others; `bench --help` says more";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["setup"] => setup::install(&setup::FOR_TESTS),
        ["run"] => demo::run(None),
        ["run", "--seconds", seconds] => {
            let seconds =
                seconds.parse().with_context(|| format!("{seconds} is no number of seconds"))?;
            demo::run(Some(Duration::from_secs(seconds)))
        }
        ["test"] => checks::run(),
        ["models"] => models::run(),
        ["models", "--mutants"] => models::run_on_mutants(),
        ["count"] => counts::run(),
        ["bench", words @ ..] => bench::run(words),
        [] | ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no verb `{}`\n{USAGE}", other.join(" ")),
    }
}

/// The cargo that runs this.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
