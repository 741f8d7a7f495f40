//! The modes of the program: what each one prints, and the status it ends with. Serving itself is the control side's.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{self, Mode};
use crate::config;
use crate::control;
use crate::process::{complain, tell};

/// Does what the arguments after the program's name ask for, and returns the exit status: 0 for success and an orderly
/// stop, 1 for everything else.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let invocation = match cli::parse(arguments) {
        Ok(invocation) => invocation,
        Err(error) => {
            complain(&error.to_string());
            tell(&cli::usage());
            return ExitCode::FAILURE;
        }
    };
    let options = invocation.options;
    match invocation.mode {
        Mode::Describe { usage, stats } => describe(usage, stats),
        Mode::TestConf => look(|_, err| config::test_conf(&options, err)),
        Mode::PrintConfig => look(|out, err| config::print_config(&options, out, err)),
        Mode::Route { pool, keys } => {
            look(|out, err| config::route(&options, &pool, &keys, out, err))
        }
        Mode::Run => control::serve(&options),
    }
}

/// COMPAT: all of it goes to standard error, as in twemproxy 0.5.
fn describe(usage: bool, stats: bool) -> ExitCode {
    let mut text = cli::version_block();
    if usage {
        text.push_str(&cli::usage());
    }
    if stats {
        text.push_str(&cli::describe_stats());
    }
    tell(&text);
    ExitCode::SUCCESS
}

/// Runs a mode that writes to its two arguments, standard output and error, and gives its status. That status stands
/// even when nobody reads what is said on standard error.
fn look(mode: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> io::Result<u8>) -> ExitCode {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = mode(&mut out, &mut err);
    let _ = io::stderr().write_all(&err);
    let written = io::stdout().write_all(&out).and_then(|()| io::stdout().flush());
    match status.and_then(|status| written.map(|()| status)) {
        Ok(status) => ExitCode::from(status),
        // Who closed the pipe, such as `head`, knows.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("writing to standard output failed: {error}"));
            ExitCode::FAILURE
        }
    }
}
