//! Hashes: the rows of this group.

use crate::resp::command::Command;
use crate::resp::command::flags::bits::{DENYOOM, FAST, READONLY, WRITE};
use crate::resp::command::flags::key_bits::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::resp::command::key_spec::key;
use crate::resp::command::row::row;

pub(super) const ROWS: &[Command] = &[
    row("hdel", -3, "2.0.0", WRITE | FAST, &[key(1, RW | DELETE)]).in_0_5(),
    row("hexists", 3, "2.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("hexpire", -6, "7.4.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("hexpireat", -6, "7.4.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("hexpiretime", -5, "7.4.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("hget", 3, "2.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hgetall", 2, "2.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hgetdel", -5, "8.0.0", WRITE | FAST, &[key(1, RW | ACCESS | DELETE)]),
    row("hgetex", -5, "8.0.0", WRITE | FAST, &[key(1, RW | ACCESS | UPDATE)]),
    row("hincrby", 4, "2.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)]).in_0_5(),
    row("hincrbyfloat", 4, "2.6.0", WRITE | DENYOOM | FAST, &[key(1, RW | ACCESS | UPDATE)])
        .in_0_5(),
    row("hkeys", 2, "2.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hlen", 2, "2.0.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("hmget", -3, "2.0.0", READONLY | FAST, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hmset", -4, "2.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("hpersist", -5, "7.4.0", WRITE | FAST, &[key(1, RW | UPDATE)]),
    row("hpexpire", -6, "7.4.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("hpexpireat", -6, "7.4.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("hpexpiretime", -5, "7.4.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("hpttl", -5, "7.4.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("hrandfield", -2, "6.2.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hscan", -3, "2.8.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
    row("hset", -4, "2.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]).in_0_5(),
    row("hsetex", -6, "8.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | UPDATE)]),
    row("hsetnx", 4, "2.0.0", WRITE | DENYOOM | FAST, &[key(1, RW | INSERT)]).in_0_5(),
    row("hstrlen", 3, "3.2.0", READONLY | FAST, &[key(1, RO)]).in_0_5(),
    row("httl", -5, "7.4.0", READONLY | FAST, &[key(1, RO | ACCESS)]),
    row("hvals", 2, "2.0.0", READONLY, &[key(1, RO | ACCESS)]).in_0_5(),
];
