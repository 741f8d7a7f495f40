//! Bitmaps: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{DENYOOM, FAST, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{ACCESS, OW, RO, RW, UPDATE, VARIABLE_FLAGS};
use crate::resp::command::key_spec::{key, range};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("bitcount", -2, "2.6.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("bitfield", -2, "3.2.0", WRITE | DENYOOM, &[key(1, RW | ACCESS | UPDATE | VARIABLE_FLAGS)])
        .in_0_5(),
    row("bitfield_ro", -2, "6.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row(
        "bitop",
        -4,
        "2.6.0",
        WRITE | DENYOOM,
        &[key(2, OW | UPDATE), range(3, -1, 1, RO | ACCESS)],
    ),
    row("bitpos", -3, "2.8.7", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("getbit", 3, "2.2.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("setbit", 4, "2.2.0", WRITE | DENYOOM, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
];
