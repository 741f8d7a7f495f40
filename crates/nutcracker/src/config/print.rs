//! A [`Config`] as YAML that reads back as the same [`Config`]: what `--print-config` shows.

use std::fmt::Write as _;

use super::keys::{self, Key, Shown};
use super::{Config, Listen, Pool};

/// `config` as YAML, every key of every pool spelled out. Passwords are included.
pub fn print(config: &Config) -> String {
    let mut out = String::new();
    // A pool of that name leaves no room for settings, so there are none.
    if config.pools.iter().all(|pool| pool.name != keys::GLOBAL) {
        mapping(&mut out, keys::GLOBAL, keys::GLOBAL_KEYS, &config.global);
    }
    for pool in &config.pools {
        out.push('\n');
        mapping(&mut out, &pool.name, keys::POOL, pool);
        if let Listen::Tcp { resolved, .. } = &pool.listen {
            line(&mut out, format_args!("  # listen resolves to {resolved}"));
        }
        servers(&mut out, pool);
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn mapping<T>(out: &mut String, name: &str, table: &[Key<T>], values: &T) {
    line(out, format_args!("{}:", scalar(name)));
    for key in table.iter().filter(|key| key.name != keys::SERVERS) {
        match (key.show)(values) {
            Some(Shown::Bare(value)) => line(out, format_args!("  {}: {value}", key.name)),
            Some(Shown::Text(value)) => {
                line(out, format_args!("  {}: {}", key.name, scalar(&value)));
            }
            None => line(out, format_args!("  # {}: {}", key.name, key.default)),
        }
    }
}

fn servers(out: &mut String, pool: &Pool) {
    line(out, format_args!("  {}:", keys::SERVERS));
    for server in &pool.servers {
        line(
            out,
            format_args!("    - {}", scalar(&format!("{} {}", server.display_name, server.name))),
        );
    }
}

/// `text` as a scalar that stays text for any reader of YAML: in quotes unless it is plainly a word or an address.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ if character.is_alphanumeric() => out.push(character),
            _ => {
                let _ = write!(out, "\\U{:08X}", u32::from(character));
            }
        }
    }
    out.push('"');
    out
}
