//! Publish and subscribe: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{FAST, LOADING, NOSCRIPT, PUBSUB, STALE};
use crate::resp::command::flags::key_bits::NOT_KEY;
use crate::resp::command::key_spec::{key, range};
use crate::resp::command::policy::Unsupported::{Admin, Broadcast, Session};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("psubscribe", -2, "2.0.0", PUBSUB | NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("publish", 3, "2.0.0", PUBSUB | LOADING | STALE | FAST, &[]).unsupported(Broadcast),
    row("pubsub", -2, "2.8.0", 0, &[]).unsupported(Admin),
    row("pubsub|channels", -2, "2.8.0", PUBSUB | LOADING | STALE, &[]).unsupported(Broadcast),
    row("pubsub|help", 2, "6.2.0", LOADING | STALE, &[]).keyless(),
    row("pubsub|numpat", 2, "2.8.0", PUBSUB | LOADING | STALE, &[]).unsupported(Broadcast),
    row("pubsub|numsub", -2, "2.8.0", PUBSUB | LOADING | STALE, &[]).unsupported(Broadcast),
    row("pubsub|shardchannels", -2, "7.0.0", PUBSUB | LOADING | STALE, &[]).unsupported(Broadcast),
    row("pubsub|shardnumsub", -2, "7.0.0", PUBSUB | LOADING | STALE, &[]).unsupported(Broadcast),
    row("punsubscribe", -1, "2.0.0", PUBSUB | NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row("spublish", 3, "7.0.0", PUBSUB | LOADING | STALE | FAST, &[key(1, NOT_KEY)])
        .unsupported(Broadcast),
    row(
        "ssubscribe",
        -2,
        "7.0.0",
        PUBSUB | NOSCRIPT | LOADING | STALE,
        &[range(1, -1, 1, NOT_KEY)],
    )
    .unsupported(Session),
    row("subscribe", -2, "2.0.0", PUBSUB | NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
    row(
        "sunsubscribe",
        -1,
        "7.0.0",
        PUBSUB | NOSCRIPT | LOADING | STALE,
        &[range(1, -1, 1, NOT_KEY)],
    )
    .unsupported(Session),
    row("unsubscribe", -1, "2.0.0", PUBSUB | NOSCRIPT | LOADING | STALE, &[]).unsupported(Session),
];
