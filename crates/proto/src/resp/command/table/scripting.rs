//! Scripts and functions: the rows of this group. Running one
//! is routed by its keys; loading one concerns every shard.

use crate::resp::command::flags::bits::{
    ALLOW_BUSY, DENYOOM, LOADING, MOVABLEKEYS, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR,
    STALE, WRITE,
};
use crate::resp::command::flags::key_bits::{ACCESS, RO, RW, UPDATE};
use crate::resp::command::key_spec::keynum;
use crate::resp::command::policy::{
    RequestPolicy::{AllNodes, AllShards},
    ResponsePolicy as Response,
    Unsupported::{Admin, Broadcast, Session},
};
use crate::resp::command::row::row;
use crate::resp::command::{Argument, Command};

pub(super) const ROWS: &[Command] = &[
    row(
        "eval",
        -3,
        "2.6.0",
        NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RW | ACCESS | UPDATE)],
    )
    .depends_on(Argument::Numkeys)
    .in_0_5(),
    row(
        "eval_ro",
        -3,
        "7.0.0",
        READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RO | ACCESS)],
    )
    .depends_on(Argument::Numkeys),
    row(
        "evalsha",
        -3,
        "2.6.0",
        NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RW | ACCESS | UPDATE)],
    )
    .depends_on(Argument::Numkeys)
    .in_0_5(),
    row(
        "evalsha_ro",
        -3,
        "7.0.0",
        READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RO | ACCESS)],
    )
    .depends_on(Argument::Numkeys),
    row(
        "fcall",
        -3,
        "7.0.0",
        NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RW | ACCESS | UPDATE)],
    )
    .depends_on(Argument::Numkeys),
    row(
        "fcall_ro",
        -3,
        "7.0.0",
        READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS,
        &[keynum(2, RO | ACCESS)],
    )
    .depends_on(Argument::Numkeys),
    row("function", -2, "7.0.0", 0, &[]).unsupported(Admin),
    row("function|delete", 3, "7.0.0", WRITE | NOSCRIPT, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("function|dump", 2, "7.0.0", NOSCRIPT, &[]).unsupported(Broadcast),
    row("function|flush", -2, "7.0.0", WRITE | NOSCRIPT, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("function|help", 2, "7.0.0", LOADING | STALE, &[]).keyless(),
    row("function|kill", 2, "7.0.0", NOSCRIPT | ALLOW_BUSY, &[])
        .tips(AllShards, Response::OneSucceeded)
        .unsupported(Broadcast),
    row("function|list", -2, "7.0.0", NOSCRIPT, &[]).unsupported(Broadcast),
    row("function|load", -3, "7.0.0", WRITE | DENYOOM | NOSCRIPT, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("function|restore", -3, "7.0.0", WRITE | DENYOOM | NOSCRIPT, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("function|stats", 2, "7.0.0", NOSCRIPT | ALLOW_BUSY, &[])
        .tips(AllShards, Response::Special)
        .unsupported(Broadcast),
    row("script", -2, "2.6.0", 0, &[]).unsupported(Admin),
    row("script|debug", 3, "3.2.0", NOSCRIPT, &[]).unsupported(Session),
    row("script|exists", -3, "2.6.0", NOSCRIPT, &[])
        .tips(AllShards, Response::AggLogicalAnd)
        .unsupported(Broadcast),
    row("script|flush", -2, "2.6.0", NOSCRIPT, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("script|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("script|kill", 2, "2.6.0", NOSCRIPT | ALLOW_BUSY, &[])
        .tips(AllShards, Response::OneSucceeded)
        .unsupported(Broadcast),
    row("script|load", 3, "2.6.0", NOSCRIPT | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("script|show", 3, "8.0.0", NOSCRIPT, &[]).unsupported(Broadcast),
];
