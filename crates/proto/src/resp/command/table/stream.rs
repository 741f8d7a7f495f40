//! Streams: the rows of this group.

use crate::resp::command::flags::bits::{
    BLOCKING, DENYOOM, FAST, LOADING, MOVABLEKEYS, READONLY, STALE, WRITE,
};
use crate::resp::command::flags::key_bits::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::resp::command::key_spec::{key, keyword};
use crate::resp::command::policy::Unsupported::Admin;
use crate::resp::command::row::row;
use crate::resp::command::{Argument, Command};

pub(super) const ROWS: &[Command] = &[
    row("xack", -4, "5.0.0", WRITE | FAST, &[key(1, RW | UPDATE)]),
    row("xackdel", -6, "8.2.0", WRITE | FAST, &[key(1, RW | UPDATE)]),
    row("xadd", -5, "5.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("xautoclaim", -6, "6.2.0", WRITE | FAST, &[key(1, RW | DELETE)]),
    row("xclaim", -6, "5.0.0", WRITE | FAST, &[key(1, RW | UPDATE)]),
    row("xdel", -3, "5.0.0", WRITE | FAST, &[key(1, RW | DELETE)]),
    row("xdelex", -5, "8.2.0", WRITE | FAST, &[key(1, RW | DELETE)]),
    row("xgroup", -2, "5.0.0", 0, &[]).unsupported(Admin),
    row("xgroup|create", -5, "5.0.0", WRITE | DENYOOM, &[key(2, RW | INSERT)]),
    row("xgroup|createconsumer", 5, "6.2.0", WRITE | DENYOOM, &[key(2, RW | INSERT)]),
    row("xgroup|delconsumer", 5, "5.0.0", WRITE, &[key(2, RW | DELETE)]),
    row("xgroup|destroy", 4, "5.0.0", WRITE, &[key(2, RW | DELETE)]),
    row("xgroup|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("xgroup|setid", -5, "5.0.0", WRITE, &[key(2, RW | UPDATE)]),
    row("xinfo", -2, "5.0.0", 0, &[]).unsupported(Admin),
    row("xinfo|consumers", 4, "5.0.0", READONLY, &[key(2, RO | ACCESS)]),
    row("xinfo|groups", 3, "5.0.0", READONLY, &[key(2, RO | ACCESS)]),
    row("xinfo|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("xinfo|stream", -3, "5.0.0", READONLY, &[key(2, RO | ACCESS)]),
    row("xlen", 2, "5.0.0", READONLY | FAST, &[key(1, RO)]),
    row("xpending", -3, "5.0.0", READONLY, &[key(1, RO | ACCESS)]),
    row("xrange", -4, "5.0.0", READONLY, &[key(1, RO | ACCESS)]),
    row(
        "xread",
        -4,
        "5.0.0",
        READONLY | BLOCKING | MOVABLEKEYS,
        &[keyword("STREAMS", 1, -1, 2, RO | ACCESS)],
    )
    .depends_on(Argument::Block),
    row(
        "xreadgroup",
        -7,
        "5.0.0",
        WRITE | BLOCKING | MOVABLEKEYS,
        &[keyword("STREAMS", 4, -1, 2, RO | ACCESS)],
    )
    .depends_on(Argument::Block),
    row("xrevrange", -4, "5.0.0", READONLY, &[key(1, RO | ACCESS)]),
    row("xsetid", -3, "5.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("xtrim", -4, "5.0.0", WRITE, &[key(1, RW | DELETE)]),
];
