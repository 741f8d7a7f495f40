//! Sets: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{DENYOOM, FAST, MOVABLEKEYS, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{ACCESS, DELETE, INSERT, OW, RO, RW, UPDATE};
use crate::resp::command::key_spec::{key, keynum, range};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("sadd", -3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("scard", 2, "1.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("sdiff", -2, "1.0.0", READONLY, &[range(1, -1, 1, RO | ACCESS)]).in_0_5(),
    row(
        "sdiffstore",
        -3,
        "1.0.0",
        WRITE | DENYOOM,
        &[key(1, OW | UPDATE), range(2, -1, 1, RO | ACCESS)],
    )
    .in_0_5(),
    row("sinter", -2, "1.0.0", READONLY, &[range(1, -1, 1, RO | ACCESS)]).in_0_5(),
    row("sintercard", -3, "7.0.0", READONLY | MOVABLEKEYS, &[keynum(1, RO | ACCESS)]),
    row(
        "sinterstore",
        -3,
        "1.0.0",
        WRITE | DENYOOM,
        &[key(1, RW | UPDATE), range(2, -1, 1, RO | ACCESS)],
    )
    .in_0_5(),
    row("sismember", 3, "1.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("smembers", 2, "1.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("smismember", -3, "6.2.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("smove", 4, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)])
        .in_0_5(),
    row("spop", -2, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row("srandmember", -2, "1.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("srem", -3, "1.0.0", WRITE | FAST, &[key(1, RW | DELETE)]).in_0_5(),
    row("sscan", -3, "2.8.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("sunion", -2, "1.0.0", READONLY, &[range(1, -1, 1, RO | ACCESS)]).in_0_5(),
    row(
        "sunionstore",
        -3,
        "1.0.0",
        WRITE | DENYOOM,
        &[key(1, OW | UPDATE), range(2, -1, 1, RO | ACCESS)],
    )
    .in_0_5(),
];
