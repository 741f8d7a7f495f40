//! The configuration: a file as written becomes a validated [`Config`], a [`Config`] becomes a topology.
//!
//! The way of a file: [`load`] reads it, `document` turns bytes into a tree with positions, `parse` turns the tree into
//! a [`Config`] or into all the faults found, `warn` looks for what is legal and dangerous. `keys` is the one table of
//! keys; parser, [`print()`] and the reference manual follow it.

mod model;
mod settings;

pub use model::{Config, Global, Listen, Pool};
pub use settings::Settings;
