//! What a simulated client of a memcached pool says: requests loud, quiet and silent, alone and in batches that `mn`
//! ends, requests that the proxy answers or refuses, and last words.

use std::rc::Rc;

use engine::topology::FlushAll;

use super::ask::{Ask, Voice};
use super::keyspace;
use super::wire_format::{Request, base64};
use crate::client::{Ending, SimClient};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Expected, Form, Token, Truth};

const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format\r\n";
const CONTROL_BYTE: &str = "CLIENT_ERROR control byte in command line\r\n";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";

impl SimClient {
    /// Says the next request, or several.
    pub(crate) fn speak_memcached(
        &mut self,
        token: Token,
        scenario: &Scenario,
        truth: &mut Truth,
        random: &mut Random,
    ) {
        match random.below(8) {
            0 => self.speak_to_the_proxy(token, scenario, random),
            1 => self.speak_batch(token, scenario, truth, random),
            2 | 3 => self.speak_silently(token, scenario, truth, random),
            _ => {
                let ask = Rc::new(loud(token, scenario, random));
                truth.note_ask(&ask);
                let form = Form::Memcached(Rc::clone(&ask));
                self.say(&ask.bytes, Expected { token, form });
            }
        }
    }

    /// A request that nobody answers.
    fn speak_silently(
        &mut self,
        token: Token,
        scenario: &Scenario,
        truth: &mut Truth,
        random: &mut Random,
    ) {
        let ask = Rc::new(silent(token, scenario, random));
        truth.note_ask(&ask);
        let is_everywhere = ask.keys.is_empty();
        self.silences += if is_everywhere { scenario.pool.servers.len() as u64 } else { 1 };
        self.outgoing.extend(&ask.bytes);
    }

    /// Requests of which some are quiet, and `mn`.
    fn speak_batch(
        &mut self,
        token: Token,
        scenario: &Scenario,
        truth: &mut Truth,
        random: &mut Random,
    ) {
        let mut asks = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..random.within(1..=7) {
            let token = self.next_token();
            let ask = match random.below(8) {
                0 => {
                    self.speak_in_between(token, scenario, truth, random, &mut bytes);
                    continue;
                }
                1 => Rc::new(loud(token, scenario, random)),
                _ => Rc::new(meta(token, Voice::Quiet, scenario, random)),
            };
            truth.note_ask(&ask);
            bytes.extend_from_slice(&ask.bytes);
            asks.push(ask);
        }
        bytes.extend_from_slice(b"mn\r\n");
        self.say(&bytes, Expected { token, form: Form::Batch(asks) });
    }

    /// A silent request amid a batch.
    fn speak_in_between(
        &mut self,
        token: Token,
        scenario: &Scenario,
        truth: &mut Truth,
        random: &mut Random,
        bytes: &mut Vec<u8>,
    ) {
        let before = self.outgoing.len();
        self.speak_silently(token, scenario, truth, random);
        bytes.extend(self.outgoing.drain(before..));
    }

    /// A request that the proxy answers itself, or refuses.
    fn speak_to_the_proxy(&mut self, token: Token, scenario: &Scenario, random: &mut Random) {
        let word = format!("word-{}-{}", token.client, token.sequence);
        let item_max = scenario.pool.item_bytes_max as usize;
        let body = "get nobody answers\r\n";
        let mut noreply = "";
        let (request, reply) = match random.below(12) {
            0 => ("mn\r\n".to_owned(), "MN\r\n"),
            1 => ("  verbosity 1\r\n".into(), "OK\r\n"),
            2 => ("stats\r\n".into(), "STAT simulated 1\r\nEND\r\n"),
            3 => (format!("nonsense {word}\r\n"), "ERROR\r\n"),
            4 => (format!("get {word} {word}\n{word}\r\n"), CONTROL_BYTE),
            5 => (format!("mg {word} v v\r\n"), "CLIENT_ERROR duplicate flag\r\n"),
            6 => (format!("get {word} {}\r\n", "k".repeat(251)), BAD_FORMAT),
            7 if item_max < 10_000 => {
                let value = body.repeat(item_max / body.len() + 1);
                if random.chance(1, 2) {
                    noreply = " noreply";
                }
                (format!("set {word} 0 0 {}{noreply}\r\n{value}\r\n", value.len()), TOO_LARGE)
            }
            8 if scenario.pool.flush_all == FlushAll::Refuse => {
                let refused = "CLIENT_ERROR flush_all is not allowed in this pool, set allow_flush: true to allow it\r\n";
                ("flush_all\r\n".into(), refused)
            }
            9 => {
                let key = "k".repeat(251);
                (format!("ms {key} {}\r\n{body}\r\n", body.len()), BAD_FORMAT)
            }
            _ => {
                if random.chance(1, 2) {
                    noreply = " noreply";
                }
                (format!("set {word} \u{7f} 0 {}{noreply}\r\n{body}\r\n", body.len()), CONTROL_BYTE)
            }
        };
        match noreply {
            "" => {
                let form = Form::Exact(reply.as_bytes().to_vec());
                self.say(request.as_bytes(), Expected { token, form });
            }
            _ => self.outgoing.extend(request.as_bytes()),
        }
    }

    /// `quit`, or something that is no request, then things that nobody answers.
    pub(crate) fn end_in_memcached(&mut self, random: &mut Random) {
        match self.ending {
            Ending::Quits => self.outgoing.extend(b"quit\r\n"),
            Ending::Blunders => {
                let blunders: [(&[u8], &[u8]); 5] = [
                    (
                        b"get a\rb\r\n",
                        b"CLIENT_ERROR bad command line format: LF must follow CR\r\n",
                    ),
                    (b"set a 0 0 many\r\n", b"CLIENT_ERROR bad data chunk\r\n"),
                    (
                        b"set blunder 0 0 20\r\n01234567890123456789abc\r\n",
                        b"CLIENT_ERROR bad data chunk\r\n",
                    ),
                    (b"ms a -1\r\n", b"CLIENT_ERROR bad data chunk\r\n"),
                    (b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04", b"\x81"),
                ];
                let (blunder, reply) = random.pick(&blunders);
                let token = self.next_token();
                self.say(blunder, Expected { token, form: Form::Blunder(reply) });
            }
            _ => return,
        }
        if random.chance(1, 2) {
            self.outgoing.extend(b"get nobody-answers\r\n");
        }
    }
}

/// Any request that is answered.
fn loud(token: Token, scenario: &Scenario, random: &mut Random) -> Ask {
    match random.below(16) {
        0..5 => multi_get(token, scenario, random),
        5..7 => meta(token, Voice::Loud, scenario, random),
        7 => {
            let request = Request { words: vec![b"version".to_vec()], data: None };
            Ask::new(token, Voice::Loud, request, Vec::new(), || 0)
        }
        8 if scenario.pool.flush_all == FlushAll::Forward => flush(token, Voice::Loud, random),
        _ => classic(token, Voice::Loud, scenario, random),
    }
}

/// Any request that says `noreply`.
fn silent(token: Token, scenario: &Scenario, random: &mut Random) -> Ask {
    match scenario.pool.flush_all {
        FlushAll::Forward if random.chance(1, 16) => flush(token, Voice::Silent, random),
        _ => classic(token, Voice::Silent, scenario, random),
    }
}

/// A key as it is hashed.
fn key(token: Token, index: usize, scenario: &Scenario, random: &mut Random, any: bool) -> Vec<u8> {
    keyspace::key(token, index, size(scenario, random), any)
}

/// The size of a value, seldom a large one.
fn size(scenario: &Scenario, random: &mut Random) -> usize {
    let is_large = random.chance(1, 6);
    random.within(0..=if is_large { scenario.value_max } else { scenario.value_max.min(60) })
}

/// A value to store under the key written as `word`.
fn stored(word: &[u8], scenario: &Scenario, random: &mut Random) -> Vec<u8> {
    let value = keyspace::value(word, size(scenario, random));
    let fits = value.len() <= scenario.pool.item_bytes_max as usize;
    if fits { value } else { Vec::new() }
}

/// Blanks beyond the one that words need.
fn gaps(random: &mut Random) -> impl FnMut() -> usize + use<> {
    let mut own = random.clone();
    let is_odd = random.chance(1, 8);
    move || if is_odd { own.below(3) } else { 0 }
}

fn multi_get(token: Token, scenario: &Scenario, random: &mut Random) -> Ask {
    let name = random.pick(&["get", "get", "gets", "gat", "gats"]);
    let mut words = vec![name.as_bytes().to_vec()];
    if name.starts_with("gat") {
        words.push(random.pick(&["0", "-1", "3600"]).as_bytes().to_vec());
    }
    let count = if random.chance(1, 2) { 1 } else { random.within(1..=scenario.keys_max) };
    let mut keys: Vec<_> =
        (0..count).map(|index| key(token, index, scenario, random, false)).collect();
    if keys.len() > 2 && random.chance(1, 4) {
        // The same key twice.
        keys[2] = keys[0].clone();
    }
    words.extend(keys.iter().cloned());
    Ask::new(token, Voice::Loud, Request { words, data: None }, keys, gaps(random))
}

/// A command of one key that may say `noreply`.
fn classic(token: Token, voice: Voice, scenario: &Scenario, random: &mut Random) -> Ask {
    let stores = ["set", "set", "set", "add", "replace", "append", "prepend", "cas"];
    let others = ["incr", "decr", "touch", "delete"];
    let key = key(token, 0, scenario, random, false);
    let stores = random.chance(1, 2).then(|| random.pick(&stores));
    let name = stores.unwrap_or_else(|| random.pick(&others));
    let mut words = vec![name.as_bytes().to_vec(), key.clone()];
    let mut word = |text: &str| words.push(text.as_bytes().to_vec());
    let mut data = None;
    match (stores, name) {
        (Some(_), _) => {
            let value = stored(&key, scenario, random);
            for text in ["77", random.pick(&["0", "-1"]), &value.len().to_string()] {
                word(text);
            }
            if name == "cas" {
                word("18446744073709551615");
            }
            data = Some(value);
        }
        (_, "incr" | "decr") => word("3"),
        (_, "touch") => word("-1"),
        _ if random.chance(1, 2) => word("0"),
        _ => {}
    }
    if voice == Voice::Silent {
        word("noreply");
    }
    Ask::new(token, voice, Request { words, data }, vec![key], gaps(random))
}

/// A meta command.
fn meta(token: Token, voice: Voice, scenario: &Scenario, random: &mut Random) -> Ask {
    let loud_only: &[&str] = if voice == Voice::Loud { &["me"] } else { &[] };
    let names = [&["mg", "mg", "mg", "ms", "md", "ma"], loud_only].concat();
    let name = random.pick(&names);
    let is_base64 = name != "me" && random.chance(1, 4);
    let key = key(token, 0, scenario, random, is_base64);
    let written = if is_base64 { base64(&key) } else { key.clone() };
    let mut words = vec![name.as_bytes().to_vec(), written.clone()];
    let mut data = None;
    if name == "ms" {
        let value = stored(&written, scenario, random);
        words.push(value.len().to_string().into_bytes());
        data = Some(value);
    }
    let mut flags: Vec<Vec<u8>> = Vec::new();
    let opaque = format!("O{}.{}", token.client, token.sequence);
    let returned: &[&str] = if name == "me" { &[] } else { &["k", &opaque] };
    let own: &[&str] = match name {
        "mg" => &["v", "t", "s"],
        "ma" => &["v", "D2"],
        "ms" | "md" => &["T30", "I"],
        _ => &[],
    };
    for flag in returned.iter().chain(own) {
        if random.chance(1, 2) {
            flags.push(flag.as_bytes().to_vec());
        }
    }
    if is_base64 {
        flags.push(b"b".to_vec());
    }
    if voice == Voice::Quiet {
        flags.push(b"q".to_vec());
    }
    random.shuffle(&mut flags);
    words.extend(flags);
    Ask::new(token, voice, Request { words, data }, vec![key], gaps(random))
}

/// A flush, whose delay tells which one it is.
fn flush(token: Token, voice: Voice, random: &mut Random) -> Ask {
    let delay = format!("{}", 1_000_000 + token.client * 10_000 + token.sequence);
    let mut words = vec![b"flush_all".to_vec(), delay.into_bytes()];
    if voice == Voice::Silent {
        words.push(b"noreply".to_vec());
    }
    Ask::new(token, voice, Request { words, data: None }, Vec::new(), gaps(random))
}
