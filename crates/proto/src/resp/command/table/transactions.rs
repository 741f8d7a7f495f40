//! Transactions: the rows of this group. They need a server
//! connection of the client's own.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use crate::resp::command::flags::key_bits::RO;
use crate::resp::command::key_spec::range;
use crate::resp::command::policy::Unsupported::Session;
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("discard", 1, "2.0.0", NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY, &[])
        .unsupported(Session),
    row("exec", 1, "1.2.0", NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG, &[]).unsupported(Session),
    row("multi", 1, "1.2.0", NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY, &[])
        .unsupported(Session),
    row("unwatch", 1, "2.2.0", NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY, &[])
        .unsupported(Session),
    row(
        "watch",
        -2,
        "2.2.0",
        NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        &[range(1, -1, 1, RO)],
    )
    .unsupported(Session),
];
