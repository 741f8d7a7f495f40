//! The connection itself: the rows of this group. Most are
//! answered by the proxy, whose connection it is.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{
    ADMIN, ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE,
};
use crate::resp::command::policy::{
    Local,
    RequestPolicy::{AllNodes, AllShards},
    ResponsePolicy as Response,
    Unsupported::{Admin, Session},
};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("auth", -2, "1.0.0", NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY, &[])
        .local(Local::Auth)
        .in_0_5(),
    row("client", -2, "2.4.0", 0, &[]).unsupported(Admin),
    row("client|caching", 3, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|capa", -3, "8.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|getname", 2, "2.6.9", NOSCRIPT | LOADING | STALE, &[]).local(Local::Client),
    row("client|getredir", 2, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|help", 2, "5.0.0", LOADING | STALE, &[]).keyless(),
    row("client|id", 2, "5.0.0", NOSCRIPT | LOADING | STALE, &[]).local(Local::Client),
    row("client|import-source", 3, "8.1.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|info", 2, "6.2.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("client|kill", -3, "2.4.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("client|list", -2, "2.4.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("client|no-evict", 3, "7.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[])
        .unsupported(Session),
    row("client|no-touch", 3, "7.2.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|pause", -3, "3.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("client|reply", 3, "3.2.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|setinfo", 4, "7.2.0", NOSCRIPT | LOADING | STALE, &[])
        .tips(AllNodes, Response::AllSucceeded)
        .local(Local::Client),
    row("client|setname", 3, "2.6.9", NOSCRIPT | LOADING | STALE, &[]).local(Local::Client),
    row("client|tracking", -3, "6.0.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|trackinginfo", 2, "6.2.0", NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("client|unblock", -3, "5.0.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("client|unpause", 2, "6.2.0", ADMIN | NOSCRIPT | LOADING | STALE, &[]).unsupported(Admin),
    row("echo", 2, "1.0.0", LOADING | STALE | FAST, &[]).local(Local::Echo),
    row("hello", -1, "6.0.0", NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY, &[])
        .local(Local::Hello),
    row("ping", -1, "1.0.0", FAST, &[])
        .tips(AllShards, Response::AllSucceeded)
        .local(Local::Ping)
        .in_0_5(),
    row("quit", -1, "1.0.0", NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY, &[])
        .local(Local::Quit)
        .in_0_5(),
    row("reset", 1, "6.2.0", NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY, &[])
        .local(Local::Reset),
    row("select", 2, "1.0.0", LOADING | STALE | FAST, &[]).local(Local::Select),
];
