//! `docs/failure-modes.md` has a row for every error text in the source: those that clients get, those of a start that
//! fails, and those of the log. A text is found as a string literal in its place; what the literal leaves open is `…`
//! on the page.

use super::{read, root, sources};

const PAGE: &str = "docs/failure-modes.md";

/// What a line of the log or of a failed start is an argument of.
const TOLD_BY: [&str; 9] = [
    "log::warn!(",
    "log::error!(",
    "notice!(",
    "always!(",
    "#[error(",
    "complain(&format!(",
    "fail(plan, &format!(",
    "fail(&plan, &format!(",
    "signal_line(&format!(",
];

/// The folders that are left out: faults of files and of command lines explain themselves.
const SELF_EXPLANATORY: [&str; 2] = ["cli", "config"];

/// Texts that are no failures, or that another text ends in.
const NO_FAILURES: [&str; 7] = [
    "{direction} log level to",
    "repeated {} times",
    "nutcracker-{COMPATIBLE_VERSION} built for",
    "run, rabbit run",
    "done, rabbit done",
    "in pool '{0}'",
    "of the stats server",
];

/// What is wrong with a reply, as the scanners of the crate `proto` name it. A client gets `Invalid argument` for all.
const OF_REPLIES: [&str; 10] = [
    "Protocol error: unknown reply type",
    "Protocol error: invalid number in reply",
    "Protocol error: invalid line in reply",
    "Protocol error: expected CR LF after bulk in reply",
    "Protocol error: too big reply",
    "SERVER_ERROR unknown reply",
    "SERVER_ERROR invalid number in reply",
    "SERVER_ERROR invalid line in reply",
    "SERVER_ERROR expected CR LF after value in reply",
    "SERVER_ERROR too big reply",
];

#[test]
fn every_error_that_a_client_can_get_has_a_row() {
    let mut texts = Vec::new();
    for folder in ["crates/engine/src", "crates/proto/src", "crates/nutcracker/src/worker"] {
        for (_, text) in product_sources(folder) {
            texts.extend(literals(&text).into_iter().filter(|text| is_for_clients(text)));
        }
    }
    let faults = product("crates/engine/src/reply.rs");
    let faults = faults.split("pub mod fault {").nth(1).and_then(|rest| rest.split("\n}").next());
    texts.extend(literals(faults.expect("the texts of faults")));
    let of_system = product("crates/nutcracker/src/worker/fault.rs");
    texts.extend(literals(of_system.split("fn text(").nth(1).expect("the texts of errors")));
    texts.retain(|text| !OF_REPLIES.contains(&text.as_str()));
    assert!(texts.len() > 80, "only {} texts were found", texts.len());
    assert_rows(texts);
}

#[test]
fn every_failure_that_an_operator_can_read_of_has_a_row() {
    let mut texts = Vec::new();
    for (path, text) in product_sources("crates/nutcracker/src") {
        let folder = path.split('/').nth(3).expect("a folder or file");
        if SELF_EXPLANATORY.contains(&folder) {
            continue;
        }
        for opening in TOLD_BY {
            texts.extend(text.split(opening).skip(1).filter_map(first_argument));
        }
    }
    texts.retain(|text| !NO_FAILURES.iter().any(|start| text.starts_with(start)));
    assert!(texts.len() > 35, "only {} texts were found", texts.len());
    assert_rows(texts);
}

#[test]
fn a_text_without_a_row_is_missed() {
    let page = spans("| `close s '…' failed: …` | a \\| b | `x \\| y` |");
    assert!(is_on("close s '{server}' failed: {text}", &page));
    assert!(is_on("x | {}", &page));
    assert!(!is_on("close c '{client}' failed: {text}", &page));
    assert!(!is_on("failed: {text} close s", &page), "the order counts");
}

fn assert_rows(texts: Vec<String>) {
    let page = spans(&read(PAGE));
    let missing: Vec<_> = texts.into_iter().filter(|text| !is_on(text, &page)).collect();
    assert!(missing.is_empty(), "{PAGE} has no row for:\n{}", missing.join("\n"));
}

/// What the page quotes.
fn spans(page: &str) -> Vec<String> {
    page.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|")).collect()
}

/// Whether the fixed parts of a text stand, in their order, in one quotation.
fn is_on(text: &str, page: &[String]) -> bool {
    let parts = fixed_parts(text);
    page.iter().any(|span| {
        let mut rest = span.as_str();
        parts.iter().all(|part| {
            let found = rest.split_once(part.as_str());
            rest = found.map_or("", |(_, tail)| tail);
            found.is_some()
        })
    })
}

/// What is left of a format string without its arguments; parts without words say nothing.
fn fixed_parts(text: &str) -> Vec<String> {
    let text = text.trim_end().trim_start_matches('-');
    let text = text.strip_prefix("ERR ").unwrap_or(text);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                parts.push(String::new());
            }
            c if depth == 0 => parts.last_mut().expect("one").push(c),
            _ => {}
        }
    }
    parts.retain(|part| part.chars().filter(|c| c.is_alphabetic()).count() > 1);
    parts
}

/// Starts like an error of one of the two protocols, and says more than that.
fn is_for_clients(text: &str) -> bool {
    let code = text.strip_prefix('-').map(|rest| rest.split(' ').next().expect("a word"));
    let is_code = |code: &str| code.len() > 2 && code.chars().all(|c| c.is_ascii_uppercase());
    let has_more = text.split_once(' ').is_some_and(|(_, rest)| rest.trim().len() > 2);
    let starts = ["ERR ", "SERVER_ERROR ", "CLIENT_ERROR ", "Protocol error: ", "this proxy "];
    text == "ERROR\r\n"
        || has_more
            && (code.is_some_and(is_code) || starts.iter().any(|start| text.starts_with(start)))
}

/// The string literal that an argument list begins with, after a target if there is one.
fn first_argument(list: &str) -> Option<String> {
    let list = list.trim_start();
    let list = match list.strip_prefix("target:") {
        Some(rest) => rest.split_once(',')?.1.trim_start(),
        None => list,
    };
    let text = list.starts_with('"').then(|| literals(list).into_iter().next()).flatten()?;
    (!fixed_parts(&text).is_empty()).then_some(text)
}

/// Every string literal of `source`, as the compiler reads it. Knows neither raw strings nor quotes in characters,
/// of which the texts of errors have none.
fn literals(source: &str) -> Vec<String> {
    let source = without_comments(source).replace("'\"'", "");
    let mut chars = source.chars().peekable();
    let mut found = Vec::new();
    while chars.by_ref().any(|c| c == '"') {
        let mut text = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                other => text.extend(other),
            }
        }
        found.push(text);
    }
    found
}

fn without_comments(source: &str) -> String {
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    source.lines().filter(|line| !is_comment(line)).map(|line| format!("{line}\n")).collect()
}

/// A source file up to its unit tests.
fn product(path: &str) -> String {
    let text = read(path);
    text.split("#[cfg(test)]").next().expect("a part").to_owned()
}

fn product_sources(folder: &str) -> Vec<(String, String)> {
    let path_of = |file: std::path::PathBuf| {
        file.strip_prefix(root()).expect("inside").to_str().expect("UTF-8").to_owned()
    };
    let is_product = |path: &String| !path.contains("/tests") && !path.ends_with("fuzz.rs");
    let paths = sources(&root().join(folder)).into_iter().map(path_of).filter(is_product);
    paths.map(|path| (path.clone(), product(&path))).collect()
}
