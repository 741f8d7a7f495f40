//! The reference manual of the configuration, `docs/configuration.md`, made from the table of keys.

use std::fmt::Write as _;

use super::keys::{self, Key, Since};

const INTRODUCTION: &str = include_str!("docs_introduction.md");

/// The whole text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n## Keys of a pool\n");
    table(&mut out, keys::POOL);
    out.push_str("\n## Keys of `global`\n\nAll of them are optional.\n");
    table(&mut out, keys::GLOBAL_KEYS);
    out
}

fn table<T>(out: &mut String, keys: &[Key<T>]) {
    for key in keys {
        let default = match key.default {
            "" => String::from("**required**"),
            default => format!("default: `{default}`"),
        };
        let since = match key.since {
            Since::Twemproxy => "",
            Since::TwemproxyNext => " · not in twemproxy 0.5.0",
            Since::Nutcracker => " · not in twemproxy",
        };
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "\n### `{}`\n\n{} · {default}{since}\n\n{}\n",
            key.name, key.takes, key.doc
        );
    }
}
