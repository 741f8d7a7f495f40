//! HyperLogLogs: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{ADMIN, DENYOOM, FAST, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{ACCESS, INSERT, RO, RW};
use crate::resp::command::key_spec::{key, range};
use crate::resp::command::policy::Unsupported::Admin;
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("pfadd", -2, "2.8.9", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("pfcount", -2, "2.8.9", READONLY, &[range(1, -1, 1, RW | ACCESS)]).in_0_5(),
    row("pfdebug", 3, "2.8.9", WRITE | DENYOOM | ADMIN, &[key(2, RW | ACCESS)]).unsupported(Admin),
    row(
        "pfmerge",
        -2,
        "2.8.9",
        WRITE | DENYOOM,
        &[key(1, RW | ACCESS | INSERT), range(2, -1, 1, RO | ACCESS)],
    )
    .in_0_5(),
    row("pfselftest", 1, "2.8.9", ADMIN, &[]).unsupported(Admin),
];
