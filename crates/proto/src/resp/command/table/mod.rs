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

use super::lookup::is_subcommand;
use super::{Command, Group};

const GROUPS: [(Group, &[Command]); 16] = [
    (Group::String, string::ROWS),
    (Group::Generic, generic::ROWS),
    (Group::Hash, hash::ROWS),
    (Group::List, list::ROWS),
    (Group::Set, set::ROWS),
    (Group::SortedSet, sorted_set::ROWS),
    (Group::Stream, stream::ROWS),
    (Group::Bitmap, bitmap::ROWS),
    (Group::Hyperloglog, hyperloglog::ROWS),
    (Group::Geo, geo::ROWS),
    (Group::Scripting, scripting::ROWS),
    (Group::Pubsub, pubsub::ROWS),
    (Group::Transactions, transactions::ROWS),
    (Group::Connection, connection::ROWS),
    (Group::Server, server::ROWS),
    (Group::Cluster, cluster::ROWS),
];

/// Every row at its id; the subcommands of a container follow it.
pub(super) static ALL: [Command; count()] = concatenated();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn count() -> usize {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].1.len();
        group += 1;
    }
    count
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn concatenated() -> [Command; count()] {
    let mut all = [GROUPS[0].1[0]; count()];
    let mut id = 0;
    let mut container = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].1.len() {
            all[id] = GROUPS[group].1[row];
            all[id].group = GROUPS[group].0;
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
