//! The same files to twemproxy 0.5, where it is installed, and to this program: who accepts what.
//!
//! Files come from a seeded generator, so a difference can be had again. What is not compared is what the decisions
//! change on purpose: document markers, flow style, brackets, numbers that wrap around, keys that 0.5.0 lacks; and tabs
//! between tokens, which this program takes in more places.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::scratch::Scratch;

const TWEMPROXY: &str = "/usr/sbin/nutcracker";

const BASE: &str = "alpha:\n  listen: 127.0.0.1:30110\n  hash: fnv1a_64\n  hash_tag: \"{}\"\n  timeout: 400\n  redis: true\n  redis_auth: 'a b'\n  servers:\n   - 127.0.0.1:30001:1 one\n   - /tmp/b.sock:2\n   - 127.0.0.1:11211:1\n\nbeta: # comment\n  listen: /tmp/x.sock 0660\n  servers:\n  - localhost:1:1\n";

const PIECES: [&str; 56] = [
    "\t",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    ":",
    ": ",
    "#",
    " #",
    "\"",
    "'",
    "- ",
    "-",
    "? ",
    "|",
    ">",
    ">-",
    "|2",
    "\\",
    "\"\\x41\"",
    "~",
    "0",
    "1",
    "65536",
    "00",
    "true",
    "false",
    "@",
    "`",
    "%",
    "<<: a",
    "é",
    "\u{a0}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{1}",
    "\u{7f}",
    "''",
    "\"\"",
    "x",
    "listen: 127.0.0.1:1",
    "servers:\n   - a:1:1\n",
    "&",
    "!",
    "*",
    "[",
    "]",
    "{",
    "}",
    ",",
    "---\n",
    "\n...\n",
    "\\",
    ": - ",
];

/// A small generator of our own, so that seeds mean the same for ever.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % bound
    }
}

fn mutant(seed: u64) -> String {
    let mut draw = Draw(seed);
    let mut characters: Vec<char> = BASE.chars().collect();
    for _ in 0..1 + draw.below(3) {
        let at = draw.below(characters.len());
        match draw.below(4) {
            0 => drop(characters.remove(at)),
            1 => {
                let end = (at + 1 + draw.below(12)).min(characters.len());
                characters.drain(at..end);
            }
            _ => {
                let piece = PIECES[draw.below(PIECES.len())];
                characters.splice(at..at, piece.chars());
            }
        }
    }
    characters.into_iter().collect()
}

/// Whether the file holds anything that only this program takes.
fn is_extension(text: &str) -> bool {
    let text = text.replace("\"{}\"", "");
    ["[", "]", "{", "}", ",", "---", "...", "\t"].iter().any(|more| text.contains(more))
}

fn twemproxy_accepts(path: &Path) -> bool {
    let mut command = Command::new(TWEMPROXY);
    let status =
        command.arg("-t").arg("-c").arg(path).stderr(Stdio::null()).stdout(Stdio::null()).status();
    status.expect("twemproxy runs").success()
}

#[test]
fn mutated_files_meet_the_same_verdict() {
    if !Path::new(TWEMPROXY).exists() {
        eprintln!("skipped: {TWEMPROXY} is not installed");
        return;
    }
    let scratch = Scratch::new();
    let seeds: u64 =
        std::env::var("CONFIG_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    let mut differing = Vec::new();
    for seed in 0..seeds {
        let text = mutant(seed);
        let (status, said) = scratch.test_conf(text.as_bytes());
        let accepts = twemproxy_accepts(&scratch.conf_file());
        if accepts != (status == 0) && !(status == 0 && is_extension(&text)) {
            differing
                .push(format!("seed {seed}: twemproxy accepts: {accepts}, this: {said:?}\n{text}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{} differences:\n{}",
        differing.len(),
        differing.join("\n---------\n")
    );
}
