//! From bytes to a tree of mappings, lists and scalars, every node with its place in the file.
//!
//! This is the only part that knows YAML. Scalars stay text whatever they look like (`12345`, `~`, `yes`), duplicate
//! keys are kept for the parser to report, and the parts of YAML that configurations do without are faults.
//!
//! COMPAT: encodings, line ends and the set of printable characters are those of libyaml, which twemproxy 0.5 uses.

use saphyr_parser::{Event, Marker, Parser, ScanError, Span, Tag};

use super::fault::{Fault, Position, Problem, Subject};
use super::leniency::{self, Lenient};

/// A file longer than this is not a configuration.
pub(super) const BYTES_MAX: usize = 4 << 20;

/// Containers may nest this deep: pools, keys, servers. Deeper ones belong nowhere, so their content is dropped.
const DEPTH_MAX: usize = 3;

/// Quoted values too far left are mended one after the other, and the text is read again after each: this many bytes in
/// all before giving up.
const READ_AGAIN_BYTES_MAX: usize = 16 * BYTES_MAX;

/// One node of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it starts.
    pub(super) at: Position,
    /// What it holds.
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text, never interpreted.
    Scalar(String),
    /// Items in order.
    List(Vec<Node>),
    /// Keys with values, in order, duplicates included.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// What this is, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(text) if text.is_empty() => String::from("nothing"),
            Value::Scalar(text) => format!("'{}'", super::fault::shown(text)),
            Value::List(_) => String::from("a list"),
            Value::Mapping(_) => String::from("a mapping"),
        }
    }
}

/// Reads the only document in `bytes`, or says all that is wrong with it as YAML.
pub(super) fn read(bytes: &[u8]) -> Result<Node, Vec<Fault>> {
    let text = decode(bytes)?;
    if let Some(at) = directive(&text) {
        let fix = "remove the line that starts with '%'";
        return only(at, Problem::Feature { found: "a YAML directive", fix });
    }
    let tree = tree(text);
    if !tree.faults.is_empty() {
        return Err(tree.faults);
    }
    match tree.root {
        Some(root) if tree.documents == 1 => Ok(root),
        _ => only(tree.documents_at, Problem::Documents(tree.documents)),
    }
}

/// The tree in `text`, as far as it is YAML.
fn tree(mut text: String) -> Tree {
    let mut again_bytes = 0;
    let mut mended_until = None;
    loop {
        let error = match Tree::read(&text) {
            Ok(tree) => return tree,
            Err(error) => error,
        };
        let at = Some(error.marker().index());
        let gives_up = at <= mended_until || again_bytes >= READ_AGAIN_BYTES_MAX;
        match leniency::mended(&text, &error) {
            Some(mended) if !gives_up => text = mended,
            _ => return Tree { faults: vec![syntax(&error, &text)], ..Tree::default() },
        }
        mended_until = at;
        again_bytes += text.len();
    }
}

fn fault(at: Position, problem: Problem) -> Fault {
    Fault { at, subject: Subject::default(), problem }
}

/// What a step gives that either succeeds or finds one fault.
type OrFault<T> = Result<T, Vec<Fault>>;

fn only<T>(at: Position, problem: Problem) -> OrFault<T> {
    Err(vec![fault(at, problem)])
}

/// The text in `bytes`: UTF-8, or UTF-16 with a byte order mark. Only characters that YAML 1.1 allows remain.
fn decode(bytes: &[u8]) -> OrFault<String> {
    if bytes.len() > BYTES_MAX {
        return only(Position::START, Problem::TooLong { max: BYTES_MAX });
    }
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }?;
    match text.char_indices().find(|&(_, character)| !is_printable(character)) {
        Some((index, character)) => {
            let found = format!("the control character U+{:04X}", u32::from(character));
            only(end_of(&text[..index]), Problem::Encoding(found))
        }
        None => Ok(leniency::normalised(&text)),
    }
}

fn utf8(bytes: &[u8]) -> OrFault<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            let found = format!("the byte 0x{:02X}", rest.first().unwrap_or(&0));
            only(end_of(&String::from_utf8_lossy(valid)), Problem::Encoding(found))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> OrFault<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| unit(pair));
    match char::decode_utf16(units).collect::<Result<String, _>>() {
        Ok(text) if odd.is_empty() => Ok(text),
        _ => only(Position::START, Problem::Encoding(String::from("broken UTF-16"))),
    }
}

/// COMPAT: what the reader of libyaml lets through.
fn is_printable(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// The position that follows `text`.
fn end_of(text: &str) -> Position {
    let last = text.rfind('\n').map_or(text, |newline| &text[newline + 1..]);
    Position { line: 1 + text.matches('\n').count(), column: 1 + last.chars().count() }
}

/// A `%` line in front of the document, which the YAML parser would accept in silence.
fn directive(text: &str) -> Option<Position> {
    let mut lines = text.lines().enumerate();
    let (index, line) =
        lines.find(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    line.starts_with('%').then_some(Position { line: index + 1, column: 1 })
}

/// The tree as far as it is read.
struct Tree {
    root: Option<Node>,
    documents: usize,
    /// Start of the latest document.
    documents_at: Position,
    /// Containers that are open, outermost first, at most [`DEPTH_MAX`].
    open: Vec<Open>,
    /// How many containers are open beyond [`DEPTH_MAX`].
    too_deep: usize,
    faults: Vec<Fault>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            root: None,
            documents: 0,
            documents_at: Position::START,
            open: Vec::new(),
            too_deep: 0,
            faults: Vec::new(),
        }
    }
}

/// A container that is being read.
struct Open {
    node: Node,
    /// In a mapping: the key whose value comes next.
    key: Option<Node>,
}

impl Tree {
    /// Reads `text` to its end or to where it stops being YAML.
    fn read(text: &str) -> Result<Tree, ScanError> {
        let mut tree = Tree::default();
        let mut parser = Parser::new(Lenient::new(text));
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            tree.take(event, span);
        }
        Ok(tree)
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        let at = position(&span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                self.documents_at = at;
            }
            Event::Scalar(text, _, anchor, tag) => {
                self.refuse(at, anchor, tag.as_deref());
                self.place(Node { at, value: Value::Scalar(leniency::restored(text)) });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(at, anchor, tag.as_deref());
                self.enter(Node { at, value: Value::List(Vec::new()) });
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(at, anchor, tag.as_deref());
                self.enter(Node { at, value: Value::Mapping(Vec::new()) });
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(_) => {
                let fix = "write the value itself; a value that starts with '*' needs quotes";
                self.faults.push(fault(at, Problem::Feature { found: "an alias (*)", fix }));
                self.place(Node { at, value: Value::Scalar(String::from("*")) });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn refuse(&mut self, at: Position, anchor: usize, tag: Option<&Tag>) {
        if anchor != 0 {
            let fix = "remove it; a value that starts with '&' needs quotes";
            self.faults.push(fault(at, Problem::Feature { found: "an anchor (&)", fix }));
        }
        if tag.is_some() {
            let fix = "remove it; a value that starts with '!' needs quotes";
            self.faults.push(fault(at, Problem::Feature { found: "a tag (!)", fix }));
        }
    }

    fn enter(&mut self, node: Node) {
        if self.open.len() < DEPTH_MAX {
            self.open.push(Open { node, key: None });
            return;
        }
        // It stays as an empty container, for the parser to complain about.
        if self.too_deep == 0 {
            self.place(node);
        }
        self.too_deep += 1;
    }

    fn leave(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else if let Some(open) = self.open.pop() {
            self.place(open.node);
        }
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, node: Node) {
        if self.too_deep > 0 {
            return;
        }
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match (&mut parent.node.value, parent.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Mapping(pairs), Some(key)) => pairs.push((key, node)),
            (_, None) => parent.key = Some(node),
            (Value::Scalar(_), Some(_)) => {}
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn syntax(error: &ScanError, text: &str) -> Fault {
    let at = position(error.marker());
    let line = text.lines().nth(at.line - 1).unwrap_or("");
    let indentation = &line[..line.len() - line.trim_start().len()];
    let fix = if indentation.contains('\t') {
        "indent with blanks, not with tabs"
    } else {
        "check indentation, quotes and the blank after ':'; put values with special characters in quotes"
    };
    fault(at, Problem::Syntax { reason: error.info().to_owned(), fix })
}
