//! Keeps the house in order: sizes, module docs, vocabulary, direction of imports, and where unsafe code may live.
//!
//! It stands apart from clippy because these are rules of this project. Every rule is tried on a bad snippet below, so
//! that none of them can silently stop working.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 80;

/// Words that say nothing about what a type or module is.
const EMPTY_WORDS: [&str; 9] =
    ["manager", "handler", "helper", "util", "utils", "common", "base", "wrapper", "data"];

/// `info` is one of them too, unless it names the Redis command.
const INFO_MODULES: [&str; 2] =
    ["crates/nutcracker/src/stats/mod.rs", "crates/nutcracker/src/stats/info.rs"];

/// What each module of the trunk may import from the others.
const TRUNK: [(&str, &[&str]); 10] = [
    ("cli", &["stats"]),
    ("logging", &["process"]),
    ("process", &[]),
    ("sync", &[]),
    ("config", &["cli"]),
    ("worker", &["logging", "sync"]),
    ("stats", &["process", "worker"]),
    ("control", &["cli", "config", "logging", "process", "stats", "sync", "worker"]),
    ("app", &["cli", "config", "control", "logging", "process", "stats"]),
    ("main", &["app", "cli", "config", "control"]),
];

/// What each crate of ours may depend on, of ours and of others.
const CRATES: [(&str, &[&str]); 4] = [
    ("proto", &["memchr"]),
    ("sharding", &["crc", "md-5"]),
    ("engine", &["memchr", "proto", "sharding", "slab"]),
    ("reactor", &["libc", "mio", "rustix", "slab", "socket2"]),
];

/// What the pure crates have no business with: sockets, files, threads, locks, counts that several threads write, and
/// clocks.
const IMPURE: [&str; 14] = [
    "std::net",
    "std::os",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "fetch_add",
    "fetch_sub",
    "fetch_update",
    "compare_exchange",
];

/// Places outside the project that nothing in it may point to.
const FOREIGN: [&str; 2] = [concat!("..", "/shared"), concat!("/", "work/")];

struct File {
    /// From the root of the project.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked, line by line the same.
    code: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into(), code: code_of(text) }
    }

    fn fault(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// The code up to the unit tests, which may do more than what they test.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }

    /// Whether the whole file is tests: by its place, or because it has tests and no part that holds them.
    fn is_test(&self) -> bool {
        let is_test_folder = self.path.contains("/tests/") || self.path.contains("/benches/");
        is_test_folder || self.code.contains("#[test]") && !self.code.contains("#[cfg(test)]")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// Blanks comments, strings and character literals of Rust source, keeping every line end.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blanked = comment_length(rest).or_else(|| literal_length(rest, code.chars().last()));
        let length = blanked.unwrap_or(first.len_utf8());
        let (token, tail) = rest.split_at(length);
        if blanked.is_some() {
            code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push(first);
        }
        rest = tail;
    }
    code
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

fn literal_length(text: &str, before: Option<char>) -> Option<usize> {
    let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(raw) = text.strip_prefix('r').filter(|_| !is_word || before == Some('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            return Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()));
        }
    }
    let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    if quote == '\'' && !is_character(text) {
        return None;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Tells `'a'` from the lifetime `'a`.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn words_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn sizes(file: &File) -> Vec<String> {
    let count = file.text.lines().count();
    let long =
        (count > FILE_LINES_MAX).then(|| file.fault(1, &format!("{count} lines in one file")));
    let functions =
        functions_of(&file.code).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    let long_functions = functions
        .map(|(line, name, lines)| file.fault(line, &format!("`{name}` has {lines} lines")));
    long.into_iter().chain(long_functions).collect()
}

/// Line, name and length in lines of every function with a body.
fn functions_of(code: &str) -> Vec<(usize, String, usize)> {
    let mut functions = Vec::new();
    let mut offset = 0;
    for (number, line) in (1..).zip(code.lines()) {
        let words: Vec<&str> = words_of(line).collect();
        if let Some(at) = words.iter().position(|word| *word == "fn")
            && let Some(name) = words.get(at + 1)
            && let Some(length) = body_length(&code[offset + line.find("fn ").unwrap_or(0)..])
        {
            functions.push((number, (*name).to_owned(), length));
        }
        offset += line.len() + 1;
    }
    functions
}

/// Lines from here to the end of the first block, unless a `;` outside brackets comes first.
fn body_length(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(code[..at].matches('\n').count() + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

fn module_docs(file: &File) -> Vec<String> {
    let fault = "does not open with `//!`: what is this, and why does it stand apart?";
    (!file.text.starts_with("//!")).then(|| file.fault(1, fault)).into_iter().collect()
}

fn vocabulary(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in file.code_lines() {
        let words: Vec<&str> = words_of(line).collect();
        for pair in words.windows(2) {
            if ["struct", "enum", "trait", "type", "mod", "union"].contains(&pair[0])
                && is_empty_name(pair[1], file)
            {
                faults.push(file.fault(number, &format!("`{}` does not say what it is", pair[1])));
            }
        }
    }
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if is_empty_name(stem, file) {
        faults.push(file.fault(1, "the name of this file does not say what it is"));
    }
    faults
}

fn is_empty_name(name: &str, file: &File) -> bool {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() || c == '_' {
            spaced.push(' ');
        }
        spaced.extend(c.to_lowercase());
    }
    let is_info = |word: &str| word == "info" && !INFO_MODULES.contains(&file.path.as_str());
    spaced.split([' ', '_']).any(|word| EMPTY_WORDS.contains(&word) || is_info(word))
}

fn attributes_and_marks(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in file.code_lines() {
        if line.contains("[allow(") {
            faults.push(file.fault(number, "`allow`: use `#[expect(lint, reason = \"…\")]`"));
        }
        if words_of(line).any(|word| word == "unsafe") && !file.is_in("crates/reactor/") {
            faults.push(file.fault(number, "unsafe code lives in the reactor only"));
        }
    }
    let is_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    if is_root && !file.is_in("crates/reactor/") && !file.code.contains("#![forbid(unsafe_code)]") {
        faults.push(file.fault(1, "no `#![forbid(unsafe_code)]`"));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")]
            .iter()
            .any(|mark| line.contains(mark))
        {
            faults.push(file.fault(number, "unfinished work"));
        }
    }
    faults
}

fn purity(file: &File) -> Vec<String> {
    let is_pure = ["proto", "sharding", "engine"]
        .iter()
        .any(|name| file.is_in(&format!("crates/{name}/src/")));
    if !is_pure || file.is_test() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in file.product_lines() {
        let found = IMPURE.iter().filter(|name| {
            line.match_indices(**name).any(|(at, _)| {
                let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                is_edge(line[..at].chars().last())
                    && is_edge(line[at + name.len()..].chars().next())
            })
        });
        faults.extend(found.map(|name| file.fault(number, &format!("`{name}` in a pure crate"))));
    }
    faults
}

/// The module of the trunk that a file belongs to.
fn trunk_module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("crates/nutcracker/src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|name| *name != "lib")
}

fn direction(file: &File) -> Vec<String> {
    let Some(module) = trunk_module(&file.path) else { return Vec::new() };
    let Some((_, allowed)) = TRUNK.iter().find(|(name, _)| *name == module) else {
        return vec![
            file.fault(1, &format!("`{module}` has no place in the order of modules yet")),
        ];
    };
    if file.is_test() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in file.product_lines() {
        for imported in line.split("crate::").skip(1).chain(line.split("nutcracker::").skip(1)) {
            let name = words_of(imported).next().unwrap_or_default();
            let is_module = TRUNK.iter().any(|(known, _)| *known == name);
            if is_module && name != module && !allowed.contains(&name) {
                faults.push(file.fault(number, &format!("`{module}` must not import `{name}`")));
            }
        }
    }
    faults
}

/// Judges the `[dependencies]` of a manifest.
fn dependencies(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = CRATES.iter().find(|(known, _)| *known == name) else {
        return Vec::new();
    };
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]"));
    let lines = section
        .unwrap_or_default()
        .lines()
        .skip(1)
        .filter(|line| !line.trim_start().starts_with('#'));
    let names =
        lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
    names
        .filter(|dependency| !allowed.contains(dependency))
        .map(|dependency| {
            format!("crates/{name}/Cargo.toml: `{name}` must not depend on `{dependency}`")
        })
        .collect()
}

fn foreign_places(path: &str, text: &str) -> Vec<String> {
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| FOREIGN.iter().any(|place| line.contains(place)))
        .map(|(number, _)| format!("{path}:{number}: points to a place outside the project"))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the root of the project")
}

/// Every file of the project with one of these endings, as a path from its root and a text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !["target", ".git", "artifacts", "corpus", "testdata"].contains(&name) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let inside = path
                    .strip_prefix(&root)
                    .expect("a path inside the project")
                    .display()
                    .to_string();
                found.push((inside, fs::read_to_string(&path).expect("a text file")));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn expect_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[track_caller]
fn judge(rule: fn(&File) -> Vec<String>) {
    let sources = files(&[".rs"]);
    assert!(sources.len() > 50, "only {} source files found", sources.len());
    let faults: Vec<_> =
        sources.iter().flat_map(|(path, text)| rule(&File::new(path, text))).collect();
    expect_none(&faults);
}

#[test]
fn files_and_functions_are_short() {
    judge(sizes);
}

#[test]
fn every_file_says_what_it_is() {
    judge(module_docs);
}

#[test]
fn names_say_what_things_are() {
    judge(vocabulary);
}

#[test]
fn lints_are_expected_and_never_allowed_and_unsafe_code_is_in_the_reactor() {
    judge(attributes_and_marks);
}

#[test]
fn pure_crates_touch_no_socket_file_thread_lock_or_clock() {
    judge(purity);
}

#[test]
fn modules_of_the_trunk_import_in_one_direction() {
    judge(direction);
}

#[test]
fn crates_depend_on_what_the_design_allows() {
    let mut faults = Vec::new();
    for (name, _) in CRATES {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml"))
            .expect("a manifest");
        faults.extend(dependencies(name, &manifest));
    }
    expect_none(&faults);
}

#[test]
fn the_project_stands_alone() {
    let texts = files(&[".rs", ".md", ".yml", ".toml", "Makefile", "run"]);
    expect_none(
        &texts.iter().flat_map(|(path, text)| foreign_places(path, text)).collect::<Vec<_>>(),
    );
}

/// Each rule finds the fault of a bad snippet, at the right line.
mod rules_bite {
    use super::{
        File, attributes_and_marks, dependencies, direction, foreign_places, functions_of,
        module_docs, purity, sizes, vocabulary,
    };

    fn faults(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
        let places = rule(&File::new(path, text)).into_iter();
        places.map(|fault| fault.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn on_long_files_and_functions() {
        let long =
            format!("//! x\nfn short() {{}}\nfn long() {{\n{}}}\n", "    step();\n".repeat(90));
        assert_eq!(faults(sizes, "a.rs", &long), ["a.rs:3:"]);
        assert_eq!(faults(sizes, "a.rs", &"// x\n".repeat(801)), ["a.rs:1:"]);
        assert!(faults(sizes, "a.rs", &"// x\n".repeat(800)).is_empty());
    }

    #[test]
    fn on_functions_whatever_braces_their_strings_hold() {
        let text = "fn a() {\n    let x = \"}\"; // }\n    let y = '}';\n    let z = r#\"}\"#;\n}\nfn b<'a>(x: &'a [u8; 3]);\nfn c(\n) -> u8\n{\n    1\n}\n";
        let found = functions_of(&super::code_of(text));
        assert_eq!(found, [(1, "a".to_owned(), 5), (7, "c".to_owned(), 5)]);
    }

    #[test]
    fn on_files_without_module_docs() {
        assert_eq!(faults(module_docs, "a.rs", "use x;\n"), ["a.rs:1:"]);
        assert_eq!(faults(module_docs, "a.rs", "// x\n"), ["a.rs:1:"]);
    }

    #[test]
    fn on_empty_names() {
        let text = "//! x\nstruct PoolManager;\nenum Handlers {}\nmod util;\ntype Metadata = u8;\nstruct DataInfo;\n";
        assert_eq!(faults(vocabulary, "a.rs", text), ["a.rs:2:", "a.rs:4:", "a.rs:6:"]);
        assert_eq!(faults(vocabulary, "src/helper.rs", "//! x\n"), ["src/helper.rs:1:"]);
        assert_eq!(faults(vocabulary, "src/info.rs", "//! x\n"), ["src/info.rs:1:"]);
    }

    #[test]
    fn on_allow_unsafe_and_unfinished_work() {
        let allow = concat!("//! x\n#[al", "low(dead_code)]\nfn a() {}\n");
        assert_eq!(faults(attributes_and_marks, "a.rs", allow), ["a.rs:2:"]);
        let block = "//! x\nfn a() {\n    unsafe { b() }\n}\n";
        assert_eq!(
            faults(attributes_and_marks, "crates/engine/src/a.rs", block),
            ["crates/engine/src/a.rs:3:"]
        );
        assert!(faults(attributes_and_marks, "crates/reactor/src/a.rs", block).is_empty());
        assert_eq!(faults(attributes_and_marks, "a/src/lib.rs", "//! x\n"), ["a/src/lib.rs:1:"]);
        let mark = concat!("//! x\n// TO", "DO\n");
        assert_eq!(faults(attributes_and_marks, "a.rs", mark), ["a.rs:2:"]);
    }

    #[test]
    fn on_impure_imports() {
        let text = "//! x\nuse std::net::TcpStream;\nuse std::time::{Duration, Instant};\n// std::fs\nfn a(x: Instantly) {}\n#[cfg(test)]\nuse std::fs;\n";
        let path = "crates/engine/src/a.rs";
        assert_eq!(faults(purity, path, text), [format!("{path}:2:"), format!("{path}:3:")]);
        assert!(faults(purity, "crates/nutcracker/src/worker/mod.rs", text).is_empty());
    }

    #[test]
    fn on_imports_against_the_direction() {
        let text = "//! x\nuse crate::control::Event;\nuse crate::cli::Options;\n";
        let path = "crates/nutcracker/src/config/mod.rs";
        assert_eq!(faults(direction, path, text), [format!("{path}:2:")]);
        assert_eq!(
            faults(direction, "crates/nutcracker/src/drawer.rs", text),
            ["crates/nutcracker/src/drawer.rs:1:"]
        );
    }

    #[test]
    fn on_dependencies_nobody_allowed() {
        let manifest = "[package]\nname = \"proto\"\n\n[dependencies]\nmemchr.workspace = true\nbytes = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(dependencies("proto", manifest).len(), 1);
        assert_eq!(
            dependencies("reactor", "[package]\n\n[dependencies]\nengine.workspace = true\n").len(),
            1
        );
    }

    #[test]
    fn on_places_outside_the_project() {
        let text = concat!("fine\nsee ..", "/shared/x\nin /", "work/x\n");
        assert_eq!(foreign_places("a.md", text).len(), 2);
    }
}
