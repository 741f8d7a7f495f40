//! The rows.

use super::{Command, Local, Policy, Shape};

const ONE_KEY: Policy = Policy::SingleShard { key: 1 };
const MANY: u32 = u32::MAX;

/// A row; its id is its place.
const fn row(
    name: &'static str,
    words: (u32, u32),
    arguments: &'static str,
    policy: Policy,
    shape: Shape,
    since: &'static str,
) -> Command {
    Command {
        name,
        policy,
        is_read: false,
        known_to_0_5: false,
        since,
        arguments,
        id: 0,
        words_min: words.0,
        words_max: words.1,
        shape,
    }
}

impl Command {
    const fn in_0_5(self) -> Self {
        Self { known_to_0_5: true, ..self }
    }

    const fn reads(self) -> Self {
        Self { is_read: true, ..self }
    }
}

/// A command the proxy knows of and does not serve.
const fn unsupported(name: &'static str, arguments: &'static str, since: &'static str) -> Command {
    row(name, (1, MANY), arguments, Policy::Unsupported, Shape::Line, since)
}

const STORAGE: &str = "key flags exptime bytes [noreply]";

const ROWS: [Command; 40] = [
    row("get", (2, MANY), "key …", Policy::Split { keys: 1 }, Shape::Line, "1.0").in_0_5().reads(),
    row("gets", (2, MANY), "key …", Policy::Split { keys: 1 }, Shape::Line, "1.2").in_0_5().reads(),
    row("gat", (3, MANY), "exptime key …", Policy::Split { keys: 2 }, Shape::Line, "1.5.3"),
    row("gats", (3, MANY), "exptime key …", Policy::Split { keys: 2 }, Shape::Line, "1.5.3"),
    row("set", (5, 6), STORAGE, ONE_KEY, Shape::Storage, "1.0").in_0_5(),
    row("add", (5, 6), STORAGE, ONE_KEY, Shape::Storage, "1.0").in_0_5(),
    row("replace", (5, 6), STORAGE, ONE_KEY, Shape::Storage, "1.0").in_0_5(),
    row("append", (5, 6), STORAGE, ONE_KEY, Shape::Storage, "1.2").in_0_5(),
    row("prepend", (5, 6), STORAGE, ONE_KEY, Shape::Storage, "1.2").in_0_5(),
    row("cas", (6, 7), "key flags exptime bytes unique [noreply]", ONE_KEY, Shape::Cas, "1.2")
        .in_0_5(),
    row("incr", (3, 4), "key value [noreply]", ONE_KEY, Shape::NoReply(2), "1.0").in_0_5(),
    row("decr", (3, 4), "key value [noreply]", ONE_KEY, Shape::NoReply(2), "1.0").in_0_5(),
    row("touch", (3, 4), "key exptime [noreply]", ONE_KEY, Shape::NoReply(2), "1.4.8").in_0_5(),
    row("delete", (2, 4), "key [0] [noreply]", ONE_KEY, Shape::NoReply(2), "1.0").in_0_5(),
    row("mg", (2, MANY), "key flag …", ONE_KEY, Shape::Meta, "1.6"),
    row("ms", (3, MANY), "key datalen flag …", ONE_KEY, Shape::MetaSet, "1.6"),
    row("md", (2, MANY), "key flag …", ONE_KEY, Shape::Meta, "1.6"),
    row("ma", (2, MANY), "key flag …", ONE_KEY, Shape::Meta, "1.6"),
    row("me", (2, MANY), "key", ONE_KEY, Shape::Meta, "1.6").reads(),
    row("mn", (1, 1), "", Policy::Local(Local::NoOp), Shape::Line, "1.6"),
    row("version", (1, 1), "", Policy::Keyless, Shape::Line, "1.0").in_0_5().reads(),
    row(
        "verbosity",
        (1, 3),
        "[level] [noreply]",
        Policy::Local(Local::Verbosity),
        Shape::NoReply(1),
        "1.0",
    ),
    row("stats", (1, MANY), "[what]", Policy::Local(Local::Stats), Shape::Line, "1.0"),
    row("quit", (1, 1), "", Policy::Local(Local::Quit), Shape::Line, "1.0").in_0_5(),
    row("flush_all", (1, 3), "[delay] [noreply]", Policy::AllShards, Shape::NoReply(1), "1.0"),
    unsupported("bget", "key …", "1.0"),
    unsupported("cache_memlimit", "megabytes [noreply]", "1.5"),
    unsupported("debugtime", "…", "1.6"),
    unsupported("extstore", "…", "1.5.4"),
    unsupported("lru", "…", "1.4.35"),
    unsupported("lru_crawler", "…", "1.4.16"),
    unsupported("misbehave", "", "1.4"),
    unsupported("refresh_certs", "", "1.5.13"),
    unsupported("reload", "", "1.6"),
    unsupported("shutdown", "[graceful]", "1.4.11"),
    unsupported("slabs", "…", "1.4.11"),
    unsupported("watch", "…", "1.4.26"),
    unsupported("own", "", "1.0"),
    unsupported("disown", "", "1.0"),
    unsupported("auth", "", "1.0"),
];

pub(super) static ALL: [Command; ROWS.len()] = numbered(ROWS);

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn numbered(mut rows: [Command; ROWS.len()]) -> [Command; ROWS.len()] {
    let mut id = 0;
    while id < rows.len() {
        rows[id].id = id as u16;
        id += 1;
    }
    rows
}
