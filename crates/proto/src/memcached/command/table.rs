//! The rows.

use super::{Command, Local, Policy, Shape};

const ONE_KEY: Policy = Policy::SingleShard { key: 1 };
const MANY: u32 = u32::MAX;

/// Most words of the line of a meta command: as many as every release of memcached takes.
const META: u32 = 19;

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
    /// One of the 14 words of twemproxy 0.5.
    const fn in_0_5(self) -> Self {
        Self { known_to_0_5: true, ..self }
    }

    const fn reads(self) -> Self {
        Self { is_read: true, ..self }
    }
}

/// `get` and its like, whose keys begin at word `keys`.
const fn read(name: &'static str, keys: usize, since: &'static str) -> Command {
    let arguments = if keys == 1 { "key …" } else { "exptime key …" };
    let words_min = keys as u32 + 1;
    row(name, (words_min, MANY), arguments, Policy::Split { keys }, Shape::Line, since).reads()
}

/// `set` and its like.
const fn store(name: &'static str, since: &'static str) -> Command {
    row(name, (5, 6), "key flags exptime bytes [noreply]", ONE_KEY, Shape::Storage, since).in_0_5()
}

/// `incr` and its like.
const fn change(name: &'static str, arguments: &'static str, since: &'static str) -> Command {
    row(name, (3, 4), arguments, ONE_KEY, Shape::NoReply(2), since).in_0_5()
}

/// A meta command on a key.
const fn meta(name: &'static str) -> Command {
    row(name, (2, META), "key flag …", ONE_KEY, Shape::Meta, "1.6.0")
}

/// A command without a key that the proxy answers.
const fn local(name: &'static str, arguments: &'static str, local: Local) -> Command {
    row(name, (1, MANY), arguments, Policy::Local(local), Shape::Line, "1.2.0")
}

/// A command that is known and not served.
const fn unsupported(name: &'static str, arguments: &'static str, since: &'static str) -> Command {
    row(name, (1, MANY), arguments, Policy::Unsupported, Shape::NoReply(1), since)
}

const ROWS: [Command; 36] = [
    read("get", 1, "1.2.0").in_0_5(),
    read("gets", 1, "1.2.4").in_0_5(),
    read("gat", 2, "1.5.3"),
    read("gats", 2, "1.5.3"),
    store("set", "1.2.0"),
    store("add", "1.2.0"),
    store("replace", "1.2.0"),
    store("append", "1.2.4"),
    store("prepend", "1.2.4"),
    row("cas", (6, 7), "key flags exptime bytes unique [noreply]", ONE_KEY, Shape::Cas, "1.2.4")
        .in_0_5(),
    change("incr", "key value [noreply]", "1.2.0"),
    change("decr", "key value [noreply]", "1.2.0"),
    change("touch", "key exptime [noreply]", "1.4.8"),
    row("delete", (2, 4), "key [0] [noreply]", ONE_KEY, Shape::NoReply(2), "1.2.0").in_0_5(),
    meta("mg").reads(),
    Command {
        words_min: 3,
        arguments: "key datalen flag …",
        shape: Shape::MetaSet,
        since: "1.6.10",
        ..meta("ms")
    },
    meta("md"),
    meta("ma"),
    meta("me").reads(),
    Command { since: "1.6.0", ..local("mn", "", Local::NoOp) },
    row("version", (1, MANY), "", Policy::Keyless, Shape::Line, "1.2.0").in_0_5(),
    row(
        "verbosity",
        (2, 3),
        "level [noreply]",
        Policy::Local(Local::Verbosity),
        Shape::NoReply(1),
        "1.2.2",
    ),
    local("stats", "[what]", Local::Stats),
    local("quit", "", Local::Quit).in_0_5(),
    row("flush_all", (1, 3), "[delay] [noreply]", Policy::AllShards, Shape::NoReply(1), "1.2.0"),
    unsupported("bget", "key …", "1.2.0"),
    unsupported("cache_memlimit", "megabytes [noreply]", "1.4.36"),
    unsupported("debugtime", "offset", "1.6.10"),
    unsupported("extstore", "setting value", "1.5.4"),
    unsupported("lru", "setting value …", "1.4.36"),
    unsupported("lru_crawler", "setting …", "1.4.24"),
    unsupported("misbehave", "", "1.5.3"),
    unsupported("refresh_certs", "", "1.5.13"),
    unsupported("shutdown", "[graceful]", "1.4.16"),
    unsupported("slabs", "setting …", "1.4.0"),
    unsupported("watch", "log …", "1.4.26"),
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
