//! Rows as Redis' `COMMAND` and `COMMAND INFO` report them, in RESP2, so that a client that asks
//! learns where the keys are from the proxy as it would from a server.

use super::key_spec::{BeginSearch, FindKeys, KeySpec};
use super::{Command, Flags, Group, group};
use crate::resp::encode;

/// Where keys are, as clients knew it before key specifications: the first key, the last one
/// (negative: from the end) and the step between them; all 0 without keys at fixed places.
#[derive(Clone, Copy, Default)]
struct KeyRange {
    first: i64,
    /// -1 is the last argument.
    last: i64,
    step: i64,
}

impl Command {
    /// The keys at fixed places, as one range.
    fn key_range(&self) -> KeyRange {
        let mut ranges = self.key_specs.iter().filter_map(range_of);
        if let [_] = self.key_specs {
            return ranges.next().unwrap_or_default();
        }
        ranges.filter(|range| range.step == 1).fold(KeyRange::default(), |all, range| {
            if all.step == 0 {
                return range;
            }
            // A range that ends counting from the end reaches further than one that does not.
            let last = match (all.last, range.last) {
                (a, b) if (a < 0) == (b < 0) => a.max(b),
                (a, b) => a.min(b),
            };
            KeyRange { first: all.first.min(range.first), last, step: 1 }
        })
    }

    /// Appends this row as an element of the reply to `COMMAND`: name, arity, flags, first key, last
    /// key, step, ACL categories, tips, key specifications, subcommands.
    pub fn write_description(&self, out: &mut Vec<u8>) {
        encode::array_header(out, 10);
        encode::bulk(out, self.name.as_bytes());
        encode::integer(out, i64::from(self.arity));
        words(out, self.flags.words(), "");
        let range = self.key_range();
        for place in [range.first, range.last, range.step] {
            encode::integer(out, place);
        }
        words(out, self.acl_categories(), "@");
        self.write_tips(out);
        encode::array_header(out, self.key_specs.len());
        for spec in self.key_specs {
            write_key_spec(spec, out);
        }
        let subcommands = self.subcommands();
        encode::array_header(out, subcommands.len());
        for subcommand in subcommands {
            subcommand.write_description(out);
        }
    }

    /// The ACL categories, without the `@`.
    pub fn acl_categories(&self) -> impl Iterator<Item = &'static str> + Clone {
        let speed = if self.flags.has(Flags::FAST) { "fast" } else { "slow" };
        let admin = self.flags.has(Flags::ADMIN).then_some(["admin", "dangerous"]);
        let flagged = [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "read"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::BLOCKING, "blocking"),
        ];
        let flags = self.flags;
        // Redis calls no script a reading one, whatever its flags say.
        let is_script = self.group == Group::Scripting;
        flagged
            .into_iter()
            .filter(move |(_, category)| !(is_script && *category == "read"))
            .filter_map(move |(bit, category)| flags.has(bit).then_some(category))
            .chain(admin.into_iter().flatten())
            .chain(group::categories(self).iter().copied())
            .chain([speed])
    }

    fn write_tips(&self, out: &mut Vec<u8>) {
        let request = self.request_policy.word().map(|word| ("request_policy:", word));
        let response = self.response_policy.word().map(|word| ("response_policy:", word));
        let tips = [request, response];
        encode::array_header(out, tips.iter().flatten().count());
        for (tip, word) in tips.into_iter().flatten() {
            two_part_bulk(out, tip, word);
        }
    }
}

fn range_of(spec: &KeySpec) -> Option<KeyRange> {
    let BeginSearch::Index(index) = spec.begin_search else { return None };
    let FindKeys::Range { lastkey, keystep, .. } = spec.find_keys else { return None };
    let first = i64::from(index);
    let last = if lastkey < 0 { 0 } else { first };
    Some(KeyRange { first, last: last.saturating_add(i64::from(lastkey)), step: keystep.into() })
}

fn write_key_spec(spec: &KeySpec, out: &mut Vec<u8>) {
    encode::array_header(out, 6);
    encode::bulk(out, b"flags");
    words(out, spec.flags.words(), "");
    encode::bulk(out, b"begin_search");
    match spec.begin_search {
        BeginSearch::Index(index) => typed(out, "index", &[("index", index.into())]),
        BeginSearch::Keyword { keyword, startfrom } => {
            step_header(out, "keyword", 2);
            encode::bulk(out, b"keyword");
            encode::bulk(out, keyword.as_bytes());
            field(out, "startfrom", startfrom.into());
        }
        BeginSearch::Unknown => typed(out, "unknown", &[]),
    }
    encode::bulk(out, b"find_keys");
    match spec.find_keys {
        FindKeys::Range { lastkey, keystep, limit } => typed(
            out,
            "range",
            &[("lastkey", lastkey.into()), ("keystep", keystep.into()), ("limit", limit.into())],
        ),
        FindKeys::Keynum { keynumidx, firstkey, keystep } => typed(
            out,
            "keynum",
            &[
                ("keynumidx", keynumidx.into()),
                ("firstkey", firstkey.into()),
                ("keystep", keystep.into()),
            ],
        ),
        FindKeys::Unknown => typed(out, "unknown", &[]),
    }
}

/// `type`, the name of a step, `spec`, and its fields.
fn typed(out: &mut Vec<u8>, name: &str, fields: &[(&str, i64)]) {
    step_header(out, name, fields.len());
    for (name, value) in fields {
        field(out, name, *value);
    }
}

fn step_header(out: &mut Vec<u8>, name: &str, fields: usize) {
    encode::array_header(out, 4);
    encode::bulk(out, b"type");
    encode::bulk(out, name.as_bytes());
    encode::bulk(out, b"spec");
    encode::array_header(out, fields.saturating_mul(2));
}

fn field(out: &mut Vec<u8>, name: &str, value: i64) {
    encode::bulk(out, name.as_bytes());
    encode::integer(out, value);
}

/// An array of simple strings, each behind `prefix`.
fn words(out: &mut Vec<u8>, words: impl Iterator<Item = &'static str> + Clone, prefix: &str) {
    encode::array_header(out, words.clone().count());
    for word in words {
        out.push(b'+');
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn two_part_bulk(out: &mut Vec<u8>, head: &str, tail: &str) {
    encode::bulk_header(out, head.len().saturating_add(tail.len()));
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(tail.as_bytes());
    out.extend_from_slice(b"\r\n");
}
