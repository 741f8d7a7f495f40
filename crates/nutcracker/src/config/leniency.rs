//! Spellings that twemproxy 0.5 takes and the YAML parser in use does not, turned into ones with the same meaning.
//!
//! COMPAT: libyaml reads YAML 1.1. It knows more line breaks, lets a byte order mark start any line and be part of a
//! value, a comment follow a quoted value without a blank, a tab follow the colon of a key, and the later lines of a
//! quoted value stand at the left margin. It stands apart because it is the only place that touches the text of a file.

use std::borrow::Cow;

use saphyr_parser::input::{Input, SkipTabs};
use saphyr_parser::{ScanError, StrInput};

const BYTE_ORDER_MARK: char = '\u{feff}';
/// Takes the place of a byte order mark while the text is parsed: a noncharacter, so nobody writes it.
const STAND_IN: char = '\u{10ffff}';

/// What the YAML parser says about lines of a quoted value too far left, at the opening quote.
const QUOTED_INDENTATION: &str = "invalid indentation in quoted scalar";

/// `text` with line breaks and byte order marks that the YAML parser understands. Undo it with [`restored`].
pub(super) fn normalised(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    if !text.contains(BYTE_ORDER_MARK) {
        return text;
    }
    // At the start of a line libyaml skips it and counts a column.
    let lines = text.split('\n').map(|line| match line.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => [" ", rest].concat(),
        None => line.to_owned(),
    });
    let stand_in = String::from(STAND_IN);
    lines.collect::<Vec<_>>().join("\n").replace(BYTE_ORDER_MARK, &stand_in)
}

/// The text of a scalar as it stands in the file.
pub(super) fn restored(scalar: Cow<'_, str>) -> String {
    if scalar.contains(STAND_IN) {
        scalar.replace(STAND_IN, &String::from(BYTE_ORDER_MARK))
    } else {
        scalar.into_owned()
    }
}

/// A text as the YAML parser reads it, where a tab is as good as a blank between two tokens, and a comment needs neither.
pub(super) struct Lenient<'a>(StrInput<'a>);

impl<'a> Lenient<'a> {
    /// `text` from its start.
    pub(super) fn new(text: &'a str) -> Self {
        Lenient(StrInput::new(text))
    }
}

impl Input for Lenient<'_> {
    fn skip_ws_to_eol(&mut self, skip_tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        match self.0.skip_ws_to_eol(skip_tabs) {
            (skipped, Ok(SkipTabs::Result(tab, blank))) => {
                (skipped, Ok(SkipTabs::Result(tab, blank || tab)))
            }
            // The only fault there is: a comment right here.
            (_, Err(_)) => (self.0.skip_while_non_breakz(), Ok(SkipTabs::Result(false, true))),
            other => other,
        }
    }

    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.0.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    fn peek(&self) -> char {
        self.0.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.0.peek_opt()
    }
}

/// `text` without the cause of `error`, when that is a quoted value whose later lines stand where libyaml takes them.
pub(super) fn mended(text: &str, error: &ScanError) -> Option<String> {
    match error.info() {
        QUOTED_INDENTATION => indented(text, error.marker().index()),
        _ => None,
    }
}

/// `text` with the lines of the quoted value that starts at character `opening` indented beyond anything around them,
/// or `None` when no quoted value that ends starts there.
fn indented(text: &str, opening: usize) -> Option<String> {
    let (start, quote) = text.char_indices().nth(opening)?;
    let end = start + 1 + length(&text[start + 1..], quote)?;
    let column = text[..start].chars().rev().take_while(|&character| character != '\n').count();
    let margin = " ".repeat(column + 1);
    let mut value = String::with_capacity(end - start);
    for (index, line) in text[start..end].split('\n').enumerate() {
        // A document marker would lose its meaning, and is no part of a value.
        if index > 0 && !line.starts_with("---") && !line.starts_with("...") {
            value.push_str(&margin);
        }
        value.push_str(line);
        value.push('\n');
    }
    value.pop();
    Some([&text[..start], &value, &text[end..]].concat())
}

/// How many bytes lie between an opening quote and its closing one.
fn length(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        match (quote, character) {
            ('"', '\\') => {
                _ = characters.next();
            }
            ('\'', '\'') if characters.peek().is_some_and(|&(_, next)| next == '\'') => {
                _ = characters.next();
            }
            ('"', '"') | ('\'', '\'') => return Some(index),
            ('"' | '\'', _) => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_break_becomes_a_line_feed() {
        assert_eq!(normalised("a\r\nb\rc\u{85}d\u{2028}e\nf"), "a\nb\nc\nd\ne\nf");
    }

    #[test]
    fn a_byte_order_mark_is_a_blank_at_the_start_of_a_line_and_comes_back_from_values() {
        let text = normalised("a\u{feff}b\n\u{feff}c");
        assert_eq!(text, "a\u{10ffff}b\n c");
        assert_eq!(restored(Cow::Borrowed("a\u{10ffff}b")), "a\u{feff}b");
    }

    #[test]
    fn only_the_later_lines_of_the_value_move() {
        let text = "a:\n  b: 'x''\ny'\nc: d\n";
        assert_eq!(indented(text, 8).as_deref(), Some("a:\n  b: 'x''\n      y'\nc: d\n"));
        let text = "a: \"x\\\"\n\ny\"\n";
        assert_eq!(indented(text, 3).as_deref(), Some("a: \"x\\\"\n    \n    y\"\n"));
    }

    #[test]
    fn a_value_that_does_not_end_is_left_alone() {
        assert_eq!(indented("a: 'x\ny", 3), None);
        assert_eq!(indented("a: x", 3), None);
        assert_eq!(indented("a", 3), None);
    }
}
