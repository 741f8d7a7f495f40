//! Lists: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{
    BLOCKING, DENYOOM, FAST, MOVABLEKEYS, NOSCRIPT, READONLY, WRITE,
};
use crate::resp::command::flags::key_bits::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::resp::command::key_spec::{key, keynum, range};
use crate::resp::command::policy::Unsupported::Session;
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row(
        "blmove",
        6,
        "6.2.0",
        WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)],
    )
    .unsupported(Session),
    row("blmpop", -5, "7.0.0", WRITE | BLOCKING | MOVABLEKEYS, &[keynum(2, RW | ACCESS | DELETE)])
        .unsupported(Session),
    row(
        "blpop",
        -3,
        "2.0.0",
        WRITE | NOSCRIPT | BLOCKING,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
    )
    .unsupported(Session),
    row(
        "brpop",
        -3,
        "2.0.0",
        WRITE | NOSCRIPT | BLOCKING,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
    )
    .unsupported(Session),
    row(
        "brpoplpush",
        4,
        "2.2.0",
        WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)],
    )
    .unsupported(Session),
    row("lindex", 3, "1.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("linsert", 5, "2.2.0", WRITE | DENYOOM, &[key(1, RW | INSERT)]).in_0_5(),
    row("llen", 2, "1.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("lmove", 5, "6.2.0", WRITE | DENYOOM, &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)])
        .in_0_5(),
    row("lmpop", -4, "7.0.0", WRITE | MOVABLEKEYS, &[keynum(1, RW | ACCESS | DELETE)]),
    row("lpop", -2, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row("lpos", -3, "6.0.6", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("lpush", -3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("lpushx", -3, "2.2.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("lrange", 4, "1.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("lrem", 4, "1.0.0", WRITE, &[key(1, RW | DELETE)]).in_0_5(),
    row("lset", 4, "1.0.0", WRITE | DENYOOM, &[key(1, RW | UPDATE)]).in_0_5(),
    row("ltrim", 4, "1.0.0", WRITE, &[key(1, RW | DELETE)]).in_0_5(),
    row("rpop", -2, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row(
        "rpoplpush",
        3,
        "1.2.0",
        WRITE | DENYOOM,
        &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)],
    )
    .in_0_5(),
    row("rpush", -3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("rpushx", -3, "2.2.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
];
