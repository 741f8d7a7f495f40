//! The rows, one file per group of Redis' documentation, and their concatenation.

mod bitmap;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
mod string;
mod transactions;

use super::Command;
use super::lookup::is_subcommand;

const GROUPS: [&[Command]; 16] = [
    string::ROWS,
    generic::ROWS,
    hash::ROWS,
    list::ROWS,
    set::ROWS,
    sorted_set::ROWS,
    stream::ROWS,
    bitmap::ROWS,
    hyperloglog::ROWS,
    geo::ROWS,
    scripting::ROWS,
    pubsub::ROWS,
    transactions::ROWS,
    connection::ROWS,
    server::ROWS,
    cluster::ROWS,
];

/// Every row at its id; the subcommands of a container follow it.
pub(super) static ALL: [Command; count()] = concatenated();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn count() -> usize {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn concatenated() -> [Command; count()] {
    let mut all = [GROUPS[0][0]; count()];
    let mut id = 0;
    let mut container = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            all[id] = GROUPS[group][row];
            all[id].id = id as u16;
            all[id].sole_key = all[id].find_sole_key();
            if is_subcommand(all[id].name.as_bytes()) {
                all[container].subcommands += 1;
            } else {
                container = id;
            }
            id += 1;
            row += 1;
        }
        group += 1;
    }
    all
}
