//! Geographic indexes: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{DENYOOM, MOVABLEKEYS, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{ACCESS, OW, RO, RW, UPDATE};
use crate::resp::command::key_spec::{key, keyword};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("geoadd", -5, "3.2.0", WRITE | DENYOOM, &[key(1, RW | UPDATE)]).in_0_5(),
    row("geodist", -4, "3.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("geohash", -2, "3.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("geopos", -2, "3.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row(
        "georadius",
        -6,
        "3.2.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[
            key(1, RO | ACCESS),
            keyword("STORE", 6, 0, 0, OW | UPDATE),
            keyword("STOREDIST", 6, 0, 0, OW | UPDATE),
        ],
    )
    .in_0_5(),
    row("georadius_ro", -6, "3.2.10", READONLY, &[key(1, RO | ACCESS)]),
    row(
        "georadiusbymember",
        -5,
        "3.2.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[
            key(1, RO | ACCESS),
            keyword("STORE", 5, 0, 0, OW | UPDATE),
            keyword("STOREDIST", 5, 0, 0, OW | UPDATE),
        ],
    )
    .in_0_5(),
    row("georadiusbymember_ro", -5, "3.2.10", READONLY, &[key(1, RO | ACCESS)]),
    row("geosearch", -7, "6.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row(
        "geosearchstore",
        -8,
        "6.2.0",
        WRITE | DENYOOM,
        &[key(1, OW | UPDATE), key(2, RO | ACCESS)],
    )
    .in_0_5(),
];
