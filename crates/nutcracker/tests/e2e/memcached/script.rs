//! Scripts of requests and replies, `testdata/wire/memcached/*.script`: what is said to a memcached directly, and again
//! through the proxy, has to be answered with the same bytes.
//!
//! ```text
//! # the name of a case
//! > a line that is sent, with CR LF
//! < a line that is expected; `$name` stands for digits, the same wherever the name is, `*` at the end for any rest
//! <- a line that memcached itself says, <+ a line that the proxy says instead: an intended difference
//! <- ... whatever memcached says, as the end of a step: it differs between versions
//! ```
//!
//! `\r \n \t \0 \\ \xNN` are single bytes and `{text*count}` is a text repeated, in either kind of line. Lines before the
//! first case, and those that start with `//`, are for people.

use std::collections::BTreeMap;

use crate::harness::{Client, Random};

/// Set before each case and read after each step, so that the end of its replies is known.
const BARRIER: &str = "!barrier!";

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A memcached.
    Direct,
    /// The proxy.
    Proxied,
}

/// How requests are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// One step, its replies, the next step.
    Steps,
    /// All steps in one pipeline.
    Whole,
    /// The same pipeline, in pieces: of one byte each, or random ones when it is long.
    Pieces,
}

pub(super) const CUTS: [Cut; 3] = [Cut::Steps, Cut::Whole, Cut::Pieces];

/// One piece of an expected line.
#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Number(String),
    Rest,
    /// Any lines.
    Anything,
}

/// Requests, and what each side says to them.
#[derive(Clone, Debug, Default)]
struct Step {
    request: Vec<u8>,
    /// Whether it depends on what was replied before, or its replies have an end that only this step knows.
    stands_alone: bool,
    direct: Vec<Piece>,
    proxied: Vec<Piece>,
}

/// A named sequence of steps on an empty server.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    steps: Vec<Step>,
    /// The proxy is meant to answer otherwise.
    pub(super) differs: bool,
}

/// What stands for a number in one run.
type Numbers = BTreeMap<String, Vec<u8>>;

impl Case {
    /// All cases of a file.
    pub(super) fn read(file: &str) -> Vec<Case> {
        let path = format!("{}/../../testdata/wire/memcached/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut cases: Vec<Case> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                assert!(cases.iter().all(|case| case.name != name), "two cases {name}");
                cases.push(Case { name: name.into(), ..Case::default() });
            } else if let Some(case) = cases.last_mut() {
                case.line(line);
            }
        }
        assert!(cases.iter().all(|case| !case.steps.is_empty()), "an empty case in {path}");
        cases
    }

    fn line(&mut self, line: &str) {
        let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
        if mark == ">" {
            if self.steps.last().is_none_or(Step::is_answered) {
                self.steps.push(Step::default());
            }
            let step = self.steps.last_mut().expect("a step");
            step.stands_alone |= text.contains('$');
            step.request.extend([unescape(text), b"\r\n".to_vec()].concat());
            return;
        }
        let step = self.steps.last_mut();
        let expected = || expected_line(text);
        match (mark, step) {
            ("<", Some(step)) => {
                step.direct.extend(expected());
                step.proxied.extend(expected());
            }
            ("<-", Some(step)) => {
                step.stands_alone |= text == "...";
                step.direct.extend(expected());
            }
            ("<+", Some(step)) => step.proxied.extend(expected()),
            ("" | "//", _) => {}
            _ => panic!("what is this line? {line}"),
        }
        self.differs |= mark == "<-" || mark == "<+";
    }

    /// Whether it can be sent like this.
    pub(super) fn allows(&self, cut: Cut) -> bool {
        cut == Cut::Steps || self.steps.iter().all(|step| !step.stands_alone)
    }

    /// Plays it and returns all replies, with the names of numbers in their places; or says what is wrong.
    pub(super) fn play(
        &self,
        side: Side,
        cut: Cut,
        client: &mut Client,
    ) -> Result<Vec<u8>, String> {
        let setting = format!("set {BARRIER} 0 0 1\r\nx\r\n");
        client.send(setting.as_bytes());
        client.read_through(b"STORED\r\n").map_err(|got| format!("before it: {}", show(&got)))?;
        let mut numbers = Numbers::new();
        if cut == Cut::Steps {
            let mut all = Vec::new();
            for step in &self.steps {
                let pieces = vec![substitute(&step.request, &numbers)];
                all.extend(exchange(client, pieces, step.expected(side), &mut numbers)?);
            }
            return Ok(all);
        }
        let stream: Vec<u8> = self.steps.iter().flat_map(|step| step.request.clone()).collect();
        let pieces = if cut == Cut::Pieces { in_pieces(&stream) } else { vec![stream] };
        let expected = self.steps.iter().flat_map(|step| step.expected(side).to_vec());
        exchange(client, pieces, &expected.collect::<Vec<_>>(), &mut numbers)
    }
}

impl Step {
    fn is_answered(&self) -> bool {
        !self.direct.is_empty() || !self.proxied.is_empty()
    }

    fn expected(&self, side: Side) -> &[Piece] {
        match side {
            Side::Direct => &self.direct,
            Side::Proxied => &self.proxied,
        }
    }
}

/// Single bytes while that is quick.
fn in_pieces(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut random = Random::seeded(stream.len() as u64);
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let length = match stream.len() {
            0..=600 => 1,
            601..=20_000 => 1 + random.below(300),
            _ => 1 + random.below(60_000),
        };
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = tail;
    }
    pieces
}

/// Sends `pieces` and asks for the barrier, reads up to it, and holds what came before it against `expected`.
fn exchange(
    client: &mut Client,
    mut pieces: Vec<Vec<u8>>,
    expected: &[Piece],
    numbers: &mut Numbers,
) -> Result<Vec<u8>, String> {
    pieces.push(format!("get {BARRIER}\r\n").into_bytes());
    // A big pipeline is sent while its replies are read.
    let sending = client.send_pieces_in_background(pieces);
    let mark = format!("VALUE {BARRIER} 0 1\r\nx\r\nEND\r\n");
    let got = client
        .read_through(mark.as_bytes())
        .map_err(|got| format!("the connection ended, or gave no more, after {}", show(&got)))?;
    sending.join().expect("the sender");
    compare(&got, expected, numbers).map_err(|at| {
        format!("at byte {at}: expected {}, got {}", show_pieces(expected), show(&got))
    })
}

/// `got` with the names of numbers in their places, or where it is not what is expected.
fn compare(got: &[u8], expected: &[Piece], numbers: &mut Numbers) -> Result<Vec<u8>, usize> {
    let mut at = 0;
    let mut named = Vec::new();
    for piece in expected {
        let rest = &got[at..];
        let length = match piece {
            Piece::Text(text) if rest.starts_with(text) => {
                named.extend_from_slice(text);
                text.len()
            }
            Piece::Text(_) => return Err(at),
            Piece::Number(name) => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let known = numbers.entry(name.clone()).or_insert_with(|| rest[..digits].to_vec());
                if digits == 0 || *known != rest[..digits] {
                    return Err(at);
                }
                named.extend_from_slice(name.as_bytes());
                digits
            }
            Piece::Anything => {
                named.extend_from_slice(rest);
                rest.len()
            }
            Piece::Rest => {
                let length = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(at)?;
                named.extend_from_slice(&rest[..length]);
                length
            }
        };
        at += length;
    }
    if at == got.len() { Ok(named) } else { Err(at) }
}

fn substitute(request: &[u8], numbers: &Numbers) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for (name, digits) in numbers {
        let mark = format!("${name}");
        while let Some(from) = bytes.windows(mark.len()).position(|part| part == mark.as_bytes()) {
            bytes.splice(from..from + mark.len(), digits.iter().copied());
        }
    }
    bytes
}

fn expected_line(text: &str) -> Vec<Piece> {
    if text == "..." {
        return vec![Piece::Anything];
    }
    let (text, last) = match text.strip_suffix('*') {
        Some(text) => (text, Some(Piece::Rest)),
        None => (text, None),
    };
    let mut pieces = Vec::new();
    for (index, part) in text.split('$').enumerate() {
        let name = if index == 0 { 0 } else { name_length(part) };
        if name > 0 {
            pieces.push(Piece::Number(part[..name].to_owned()));
        }
        pieces.push(Piece::Text(unescape(&part[name..])));
    }
    pieces.extend(last);
    pieces.push(Piece::Text(b"\r\n".to_vec()));
    pieces
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_lowercase).count()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => rest = unescape_one(rest, &mut bytes),
            '{' => {
                let (inner, after) = rest.split_once('}').expect("the end of a repetition");
                let (text, count) = inner.rsplit_once('*').expect("a text and a count");
                let count = count.parse().expect("a count");
                bytes.extend(unescape(text).repeat(count));
                rest = after;
            }
            _ => bytes.extend_from_slice(first.to_string().as_bytes()),
        }
    }
    bytes
}

fn unescape_one<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let kind = rest.chars().next().expect("an escape");
    let plain = match kind {
        'r' => b'\r',
        'n' => b'\n',
        't' => b'\t',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            bytes.push(u8::from_str_radix(&rest[1..3], 16).expect("two hexadecimal digits"));
            return &rest[3..];
        }
        other => panic!("no such escape: {other}"),
    };
    bytes.push(plain);
    &rest[1..]
}

fn show_pieces(pieces: &[Piece]) -> String {
    let text = pieces.iter().flat_map(|piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Number(name) => format!("${name}").into_bytes(),
        Piece::Rest => b"*".to_vec(),
        Piece::Anything => b"...".to_vec(),
    });
    show(&text.collect::<Vec<u8>>())
}

fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(600)];
    format!("\"{}\" ({} bytes)", cut.escape_ascii(), bytes.len())
}
