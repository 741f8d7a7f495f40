//! The configuration seen from outside: files in; verdicts, messages and topologies out.

mod faults;
mod files;
mod meaning;
mod modes;
mod scratch;
mod twemproxy;
mod vectors;
mod warnings;
