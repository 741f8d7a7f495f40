//! Keys of any type: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{
    BLOCKING, DENYOOM, FAST, LOADING, MOVABLEKEYS, NOSCRIPT, READONLY, STALE, WRITE,
};
use crate::resp::command::flags::key_bits::{
    ACCESS, DELETE, INCOMPLETE, INSERT, OW, RM, RO, RW, UPDATE,
};
use crate::resp::command::key_spec::{key, keyword, range, unknown};
use crate::resp::command::policy::{
    RequestPolicy::{AllShards, MultiShard, Special},
    ResponsePolicy as Response, Split,
    Unsupported::{Admin, Broadcast, Cursor, Session},
};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("copy", -3, "6.2.0", WRITE | DENYOOM, &[key(1, RO | ACCESS), key(2, OW | UPDATE)]).in_0_5(),
    row("del", -2, "1.0.0", WRITE, &[range(1, -1, 1, RM | DELETE)])
        .tips(MultiShard, Response::AggSum)
        .split(Split::Del)
        .in_0_5(),
    row("dump", 2, "2.6.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("exists", -2, "1.0.0", READONLY | FAST, &[range(1, -1, 1, RO)])
        .tips(MultiShard, Response::AggSum)
        .split(Split::Exists)
        .in_0_5(),
    row("expire", -3, "1.0.0", WRITE | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("expireat", -3, "1.2.0", WRITE | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("expiretime", 2, "7.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("keys", 2, "1.0.0", READONLY, &[])
        .tips(AllShards, Response::Default)
        .unsupported(Broadcast),
    row(
        "migrate",
        -6,
        "2.6.0",
        WRITE | MOVABLEKEYS,
        &[
            key(3, RW | ACCESS | DELETE),
            keyword("KEYS", -2, -1, 0, RW | ACCESS | DELETE | INCOMPLETE),
        ],
    ),
    row("move", 3, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | UPDATE)])
        .unsupported(Admin)
        .in_0_5(),
    row("object", -2, "2.2.3", 0, &[]).unsupported(Admin),
    row("object|encoding", 3, "2.2.3", READONLY, &[key(2, RO)]),
    row("object|freq", 3, "4.0.0", READONLY, &[key(2, RO)]),
    row("object|help", 2, "6.2.0", LOADING | STALE, &[]).keyless(),
    row("object|idletime", 3, "2.2.3", READONLY, &[key(2, RO)]),
    row("object|refcount", 3, "2.2.3", READONLY, &[key(2, RO)]),
    row("persist", 2, "2.2.0", WRITE | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("pexpire", -3, "2.6.0", WRITE | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("pexpireat", -3, "2.6.0", WRITE | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("pexpiretime", 2, "7.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("pttl", 2, "2.6.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("randomkey", 1, "1.0.0", READONLY, &[])
        .tips(AllShards, Response::Default)
        .unsupported(Broadcast),
    row("rename", 3, "1.0.0", WRITE, &[key(1, RW | ACCESS | DELETE), key(2, OW | UPDATE)]),
    row("renamenx", 3, "1.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE), key(2, OW | INSERT)]),
    row("restore", -4, "2.6.0", WRITE | DENYOOM, &[key(1, OW | UPDATE)]).in_0_5(),
    row("scan", -2, "2.8.0", READONLY, &[]).tips(Special, Response::Default).unsupported(Cursor),
    row(
        "sort",
        -2,
        "1.0.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[key(1, RO | ACCESS), unknown(RO | ACCESS), unknown(OW | UPDATE)],
    )
    .in_0_5(),
    row(
        "sort_ro",
        -2,
        "7.0.0",
        READONLY | MOVABLEKEYS,
        &[key(1, RO | ACCESS), unknown(RO | ACCESS)],
    ),
    row("touch", -2, "3.2.1", READONLY | FAST, &[range(1, -1, 1, RO)])
        .tips(MultiShard, Response::AggSum)
        .split(Split::Touch)
        .in_0_5(),
    row("ttl", 2, "1.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("type", 2, "1.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("unlink", -2, "4.0.0", WRITE | FAST, &[range(1, -1, 1, RM | DELETE)])
        .tips(MultiShard, Response::AggSum)
        .split(Split::Unlink)
        .in_0_5(),
    row("wait", 3, "3.0.0", NOSCRIPT, &[]).tips(AllShards, Response::AggMin).unsupported(Session),
    row("waitaof", 4, "7.2.0", BLOCKING, &[])
        .tips(AllShards, Response::AggMin)
        .unsupported(Session),
];
