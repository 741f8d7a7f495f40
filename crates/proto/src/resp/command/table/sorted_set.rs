//! Sorted sets: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{
    BLOCKING, DENYOOM, FAST, MOVABLEKEYS, NOSCRIPT, READONLY, WRITE,
};
use crate::resp::command::flags::key_bits::{ACCESS, DELETE, OW, RO, RW, UPDATE};
use crate::resp::command::key_spec::{key, keynum, range};
use crate::resp::command::policy::Unsupported::Session;
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("bzmpop", -5, "7.0.0", WRITE | BLOCKING | MOVABLEKEYS, &[keynum(2, RW | ACCESS | DELETE)])
        .unsupported(Session),
    row(
        "bzpopmax",
        -3,
        "5.0.0",
        WRITE | NOSCRIPT | BLOCKING | FAST,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
    )
    .unsupported(Session),
    row(
        "bzpopmin",
        -3,
        "5.0.0",
        WRITE | NOSCRIPT | BLOCKING | FAST,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
    )
    .unsupported(Session),
    row("zadd", -4, "1.2.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("zcard", 2, "1.2.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("zcount", 4, "2.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zdiff", -3, "6.2.0", READONLY | MOVABLEKEYS, &[keynum(1, RO | ACCESS)]).in_0_5(),
    row(
        "zdiffstore",
        -4,
        "6.2.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[key(1, OW | UPDATE), keynum(2, RO | ACCESS)],
    )
    .in_0_5(),
    row("zincrby", 4, "1.2.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("zinter", -3, "6.2.0", READONLY | MOVABLEKEYS, &[keynum(1, RO | ACCESS)]).in_0_5(),
    row("zintercard", -3, "7.0.0", READONLY | MOVABLEKEYS, &[keynum(1, RO | ACCESS)]),
    row(
        "zinterstore",
        -4,
        "2.0.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[key(1, OW | UPDATE), keynum(2, RO | ACCESS)],
    )
    .in_0_5(),
    row("zlexcount", 4, "2.8.9", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zmpop", -4, "7.0.0", WRITE | MOVABLEKEYS, &[keynum(1, RW | ACCESS | DELETE)]),
    row("zmscore", -3, "6.2.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zpopmax", -2, "5.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row("zpopmin", -2, "5.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row("zrandmember", -2, "6.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrange", -4, "1.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrangebylex", -4, "2.8.9", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrangebyscore", -4, "1.0.5", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrangestore", -5, "6.2.0", WRITE | DENYOOM, &[key(1, OW | UPDATE), key(2, RO | ACCESS)])
        .in_0_5(),
    row("zrank", -3, "2.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrem", -3, "1.2.0", WRITE | FAST, &[key(1, RW | DELETE)]).in_0_5(),
    row("zremrangebylex", 4, "2.8.9", WRITE, &[key(1, RW | DELETE)]).in_0_5(),
    row("zremrangebyrank", 4, "2.0.0", WRITE, &[key(1, RW | DELETE)]).in_0_5(),
    row("zremrangebyscore", 4, "1.2.0", WRITE, &[key(1, RW | DELETE)]).in_0_5(),
    row("zrevrange", -4, "1.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrevrangebylex", -4, "2.8.9", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrevrangebyscore", -4, "2.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zrevrank", -3, "2.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zscan", -3, "2.8.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zscore", 3, "1.2.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("zunion", -3, "6.2.0", READONLY | MOVABLEKEYS, &[keynum(1, RO | ACCESS)]).in_0_5(),
    row(
        "zunionstore",
        -4,
        "2.0.0",
        WRITE | DENYOOM | MOVABLEKEYS,
        &[key(1, OW | UPDATE), keynum(2, RO | ACCESS)],
    )
    .in_0_5(),
];
