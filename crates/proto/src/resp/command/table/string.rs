//! Strings: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{DENYOOM, FAST, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{
    ACCESS, DELETE, INSERT, OW, RM, RO, RW, UPDATE, VARIABLE_FLAGS,
};
use crate::resp::command::key_spec::{key, range};
use crate::resp::command::policy::{RequestPolicy::MultiShard, ResponsePolicy as Response, Split};
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("append", 3, "2.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("decr", 2, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("decrby", 3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("delifeq", 3, "9.0.0", WRITE, &[key(1, RM | ACCESS | DELETE)]),
    row("get", 2, "1.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("getdel", 2, "6.2.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]).in_0_5(),
    row("getex", -2, "6.2.0", WRITE | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("getrange", 4, "2.4.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("getset", 3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("incr", 2, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("incrby", 3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("incrbyfloat", 3, "2.6.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)])
        .in_0_5(),
    row("lcs", -3, "7.0.0", READONLY, &[range(1, 1, 1, RO | ACCESS)]),
    row("mget", -2, "1.0.0", READONLY | FAST, &[range(1, -1, 1, RO | ACCESS)])
        .tips(MultiShard, Response::Default)
        .split(Split::Mget)
        .in_0_5(),
    row("mset", -3, "1.0.1", WRITE | DENYOOM, &[range(1, -1, 2, OW | UPDATE)])
        .tips(MultiShard, Response::AllSucceeded)
        .split(Split::Mset)
        .in_0_5(),
    row("msetnx", -3, "1.0.1", WRITE | DENYOOM, &[range(1, -1, 2, OW | INSERT)])
        .tips(MultiShard, Response::AggMin),
    row("psetex", 4, "2.6.0", WRITE | DENYOOM, &[key(1, OW | UPDATE)]).in_0_5(),
    row("set", -3, "1.0.0", WRITE | DENYOOM, &[key(1, RW | ACCESS | UPDATE | VARIABLE_FLAGS)])
        .in_0_5(),
    row("setex", 4, "2.0.0", WRITE | DENYOOM, &[key(1, OW | UPDATE)]).in_0_5(),
    row("setnx", 3, "1.0.0", WRITE | DENYOOM | FAST, &[key(1, OW | INSERT)]).in_0_5(),
    row("setrange", 4, "2.2.0", WRITE | DENYOOM, &[key(1, RW | UPDATE)]).in_0_5(),
    row("strlen", 2, "2.2.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("substr", 4, "1.0.0", READONLY, &[key(1, RO | ACCESS)]),
];
