//! Administration of a server: the rows of this group. Each
//! server has its own, so hardly any goes through a proxy.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{
    ADMIN, ALLOW_BUSY, ASKING, DENYOOM, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT,
    READONLY, STALE, WRITE,
};
use crate::resp::command::flags::key_bits::{OW, RO, UPDATE};
use crate::resp::command::key_spec::key;
use crate::resp::command::policy::{
    Local,
    RequestPolicy::{AllNodes, AllShards},
    ResponsePolicy as Response,
    Unsupported::{Admin, Broadcast, Session},
};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("acl", -2, "6.0.0", 0, &[]).unsupported(Admin),
    row("acl|cat", -2, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|deluser", -3, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|dryrun", -4, "7.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|genpass", -2, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|getuser", 3, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|help", 2, "6.0.0", LOADING | STALE, &[]).keyless(),
    row("acl|list", 2, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|load", 2, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|log", -2, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|save", 2, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|setuser", -3, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|users", 2, "6.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("acl|whoami", 2, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("bgrewriteaof", 1, "1.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("bgsave", -1, "1.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("command", -1, "2.8.13", LOADING | STALE, &[]).local(Local::Command).in_0_5(),
    row("command|count", 2, "2.8.13", LOADING | STALE, &[]).local(Local::Command),
    row("command|docs", -2, "7.0.0", LOADING | STALE, &[]).local(Local::Command),
    row("command|getkeys", -3, "2.8.13", LOADING | STALE, &[]).local(Local::Command),
    row("command|getkeysandflags", -3, "7.0.0", LOADING | STALE, &[]).local(Local::Command),
    row("command|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("command|info", -2, "2.8.13", LOADING | STALE, &[]).local(Local::Command),
    row("command|list", -2, "7.0.0", LOADING | STALE, &[]).local(Local::Command),
    row("commandlog", -2, "8.1.0", 0, &[]).unsupported(Admin),
    row("commandlog|get", -4, "8.1.0", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::Default)
        .unsupported(Broadcast),
    row("commandlog|help", 2, "8.1.0", LOADING | STALE, &[]).keyless(),
    row("commandlog|len", -3, "8.1.0", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::AggSum)
        .unsupported(Broadcast),
    row("commandlog|reset", -3, "8.1.0", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("config", -2, "2.0.0", 0, &[]).unsupported(Admin),
    row("config|get", -3, "2.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Broadcast),
    row("config|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("config|resetstat", 2, "2.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("config|rewrite", 2, "2.8.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("config|set", -4, "2.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("dbsize", 1, "1.0.0", READONLY | FAST, &[])
        .tips(AllShards, Response::AggSum)
        .unsupported(Broadcast),
    row("debug", -2, "1.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("failover", -1, "6.2.0", ADMIN | NOSCRIPT | STALE, &[]).unsupported(Admin),
    row("flushall", -1, "1.0.0", WRITE, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("flushdb", -1, "1.0.0", WRITE, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("info", -1, "1.0.0", LOADING | STALE, &[])
        .tips(AllShards, Response::Special)
        .local(Local::Info),
    row("lastsave", 1, "1.0.0", LOADING | STALE | FAST, &[]).unsupported(Admin),
    row("latency", -2, "2.8.13", 0, &[]).unsupported(Admin),
    row("latency|doctor", 2, "2.8.13", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::Special)
        .unsupported(Broadcast),
    row("latency|graph", 3, "2.8.13", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::Special)
        .unsupported(Broadcast),
    row("latency|help", 2, "2.8.13", LOADING | STALE, &[]).keyless(),
    row("latency|histogram", -2, "7.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::Special)
        .unsupported(Broadcast),
    row("latency|history", 3, "2.8.13", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::Special)
        .unsupported(Broadcast),
    row("latency|latest", 2, "2.8.13", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::Special)
        .unsupported(Broadcast),
    row("latency|reset", -2, "2.8.13", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("lolwut", -1, "5.0.0", READONLY | FAST, &[]).keyless().in_0_5(),
    row("memory", -2, "4.0.0", 0, &[]).unsupported(Admin),
    row("memory|doctor", 2, "4.0.0", 0, &[])
        .tips(AllShards, Response::Special)
        .unsupported(Broadcast),
    row("memory|help", 2, "4.0.0", LOADING | STALE, &[]).keyless(),
    row("memory|malloc-stats", 2, "4.0.0", 0, &[])
        .tips(AllShards, Response::Special)
        .unsupported(Broadcast),
    row("memory|purge", 2, "4.0.0", 0, &[])
        .tips(AllShards, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("memory|stats", 2, "4.0.0", 0, &[])
        .tips(AllShards, Response::Special)
        .unsupported(Broadcast),
    row("memory|usage", -3, "4.0.0", READONLY, &[key(2, RO)]),
    row("module", -2, "4.0.0", 0, &[]).unsupported(Admin),
    row("module|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("module|list", 2, "4.0.0", ADMIN | NOSCRIPT, &[]).unsupported(Admin),
    row("module|load", -3, "4.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("module|loadex", -3, "7.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("module|unload", 3, "4.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("monitor", 1, "1.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("psync", -3, "2.8.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, &[])
        .unsupported(Admin),
    row("replconf", -1, "3.0.0", ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY, &[])
        .unsupported(Admin),
    row("replicaof", 3, "5.0.0", ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING, &[])
        .unsupported(Admin),
    row("restore-asking", -4, "3.0.0", WRITE | DENYOOM | ASKING, &[key(1, OW | UPDATE)])
        .unsupported(Admin),
    row("role", 1, "2.8.12", NOSCRIPT | LOADING | STALE | FAST, &[]).unsupported(Admin),
    row("save", 1, "1.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, &[]).unsupported(Admin),
    row("sflush", -3, "8.0.0", WRITE, &[]).unsupported(Admin),
    row("shutdown", -1, "1.0.0", ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY, &[])
        .unsupported(Admin),
    row("slaveof", 3, "1.0.0", ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING, &[]).unsupported(Admin),
    row("slowlog", -2, "2.2.12", 0, &[]).unsupported(Admin),
    row("slowlog|get", -2, "2.2.12", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::Default)
        .unsupported(Broadcast),
    row("slowlog|help", 2, "6.2.0", LOADING | STALE, &[]).keyless(),
    row("slowlog|len", 2, "2.2.12", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::AggSum)
        .unsupported(Broadcast),
    row("slowlog|reset", 2, "2.2.12", ADMIN | LOADING | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .unsupported(Broadcast),
    row("swapdb", 3, "4.0.0", WRITE | FAST, &[]).unsupported(Admin),
    row("sync", 1, "1.0.0", ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, &[]).unsupported(Admin),
    row("time", 1, "2.6.0", LOADING | STALE | FAST, &[]).local(Local::Time),
];
