//! Redis Cluster: the rows of this group. A proxy
//! hides what they are about.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NOSCRIPT, STALE};
use crate::resp::command::policy::{
    RequestPolicy::AllShards,
    ResponsePolicy as Response,
    Unsupported::{Admin, Broadcast},
};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("asking", 1, "3.0.0", FAST, &[]).unsupported(Admin),
    row("cluster", -2, "3.0.0", 0, &[]).unsupported(Admin),
    row("cluster|addslots", -3, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|addslotsrange", -4, "7.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[])
        .unsupported(Admin),
    row("cluster|bumpepoch", 2, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|count-failure-reports", 3, "3.0.0", ADMIN | STALE, &[]).unsupported(Admin),
    row("cluster|countkeysinslot", 3, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|delslots", -3, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|delslotsrange", -4, "7.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[])
        .unsupported(Admin),
    row("cluster|failover", -2, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|flushslots", 2, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|forget", 3, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|getkeysinslot", 4, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("cluster|info", 2, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|keyslot", 3, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|links", 2, "7.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|meet", -4, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|myid", 2, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|myshardid", 2, "7.2.0", LOADING | STALE, &[]).unsupported(Admin),
    row("cluster|nodes", 2, "3.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|replicas", 3, "5.0.0", ADMIN | STALE, &[]).unsupported(Admin),
    row("cluster|replicate", 3, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|reset", -2, "3.0.0", ADMIN | NOSCRIPT | STALE, &[]).unsupported(Admin),
    row("cluster|saveconfig", 2, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|set-config-epoch", 3, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[])
        .unsupported(Admin),
    row("cluster|setslot", -4, "3.0.0", ADMIN | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("cluster|shards", 2, "7.0.0", STALE, &[]).unsupported(Admin),
    row("cluster|slaves", 3, "3.0.0", ADMIN | STALE, &[]).unsupported(Admin),
    row("cluster|slot-stats", -4, "8.0.0", LOADING | STALE, &[])
        .tips(AllShards, Response::Default)
        .unsupported(Broadcast),
    row("cluster|slots", 2, "3.0.0", STALE, &[]).unsupported(Admin),
    row("readonly", 1, "3.0.0", LOADING | STALE | FAST, &[]).unsupported(Admin),
    row("readwrite", 1, "3.0.0", LOADING | STALE | FAST, &[]).unsupported(Admin),
];
