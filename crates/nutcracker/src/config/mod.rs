//! The configuration: a file as written becomes a validated [`Config`], a [`Config`] becomes a topology.
//!
//! The way of a file: [`load()`] reads it, `document` turns bytes into a tree with positions, `parse` turns the tree into
//! a [`Config`] or into all the faults found, `warn` looks for what is legal and dangerous. `keys` is the one table of
//! keys; parser, [`print()`] and the reference manual follow it.

mod address;
mod docs;
mod document;
mod fault;
mod fuzz;
mod keys;
mod leniency;
mod load;
mod model;
mod parse;
mod print;
mod settings;
mod value;
mod warn;

pub use docs::reference;
pub use fault::{Fault, LoadError, Position, Problem, Subject};
pub use fuzz::fuzz_config;
pub use keys::{GLOBAL, GLOBAL_KEYS, Key, POOL, SERVERS, Since};
pub use load::{Loaded, load, print_config, route, test_conf};
pub use model::{Config, Global, Listen, Pool};
pub use print::print;
pub use settings::Settings;
pub use warn::{Caution, Warning};
