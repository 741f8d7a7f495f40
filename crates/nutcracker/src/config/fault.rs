//! What can be wrong with a configuration file, each as one line that says where, whose, what was found, what belongs
//! there and how to mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in the file, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character within the line.
    pub column: usize,
}

impl Position {
    /// The first character of the file.
    pub const START: Position = Position { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Whose value a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The pool, or `global`.
    pub pool: Option<String>,
    /// The key within it.
    pub key: Option<String>,
}

impl Subject {
    /// The pool called `name` as a whole.
    pub fn pool(name: &str) -> Subject {
        Subject { pool: Some(name.to_owned()), key: None }
    }

    /// The key `key` of the pool called `name`.
    pub fn key(name: &str, key: &str) -> Subject {
        Subject { pool: Some(name.to_owned()), key: Some(key.to_owned()) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pool) = &self.pool {
            write!(f, "pool '{}'", shown(pool))?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key '{}'", shown(key))?;
        }
        if self.pool.is_some() { f.write_str(": ") } else { Ok(()) }
    }
}

/// One reason to reject a file. Its text starts with `line:column: `; put the name of the file in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {subject}{problem}")]
pub struct Fault {
    /// Where.
    pub at: Position,
    /// Whose.
    pub subject: Subject,
    /// What.
    pub problem: Problem,
}

/// What is wrong, by culprit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are not text.
    #[error("found {0}, expected text in UTF-8 or UTF-16; fix: save the file as UTF-8")]
    Encoding(String),
    /// More than any real configuration.
    #[error(
        "found more than {max} bytes, expected a configuration file; fix: check that the path names the right file"
    )]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// The text is not YAML.
    #[error("found invalid YAML ({reason}), expected 'key: value' lines; fix: {fix}")]
    Syntax {
        /// In the words of the YAML parser.
        reason: String,
        /// What most often mends it.
        fix: &'static str,
    },
    /// Not exactly one document.
    #[error("found {0} YAML documents, expected exactly 1; fix: {fix}", fix = documents_fix(*.0))]
    Documents(usize),
    /// A feature of YAML that configurations do without.
    #[error("found {found}, expected a plain value; fix: {fix}")]
    Feature {
        /// The feature.
        found: &'static str,
        /// What to write instead.
        fix: &'static str,
    },
    /// A mapping, list or scalar where another one belongs.
    #[error("found {found}, expected {expected}; fix: {fix}")]
    Shape {
        /// What is there.
        found: String,
        /// What belongs there.
        expected: &'static str,
        /// What to write instead.
        fix: String,
    },
    /// Nothing after the colon, or empty quotes.
    #[error("found nothing, expected {expected}; fix: {fix}")]
    Empty {
        /// What belongs there.
        expected: String,
        /// What to write instead.
        fix: &'static str,
    },
    /// A key that does not exist.
    #[error("found unknown key '{found}', expected a key of {of}; fix: {fix}", found = shown(.found))]
    UnknownKey {
        /// As written.
        found: String,
        /// `a pool` or `'global'`.
        of: &'static str,
        /// A similar key, or the list of all.
        fix: String,
    },
    /// A key that stands twice in one mapping.
    #[error(
        "found the key a second time, expected it once (first on line {first}); fix: keep one of the two"
    )]
    DuplicateKey {
        /// Line of the first one.
        first: usize,
    },
    /// A key that every pool needs is absent.
    #[error("found no key '{key}', expected every pool to have one; fix: add '{example}'")]
    MissingKey {
        /// The absent key.
        key: &'static str,
        /// A valid line.
        example: &'static str,
    },
    /// A scalar outside the values of its key.
    #[error("found '{found}', expected {expected}; fix: {fix}", found = shown(.found))]
    Value {
        /// As written.
        found: String,
        /// The valid values.
        expected: String,
        /// What to write instead.
        fix: String,
    },
    /// A host of `listen` that has no address.
    #[error(
        "found host '{host}' without an address ({reason}), expected an address of this machine; fix: use an address such as 127.0.0.1 or 0.0.0.0, or make the name resolve",
        host = shown(.host)
    )]
    Unresolved {
        /// As written.
        host: String,
        /// In the words of the resolver.
        reason: String,
    },
    /// `redis_auth` in a memcached pool.
    #[error(
        "found a password in a memcached pool, expected 'redis: true' beside it; fix: add 'redis: true' or remove 'redis_auth'"
    )]
    AuthWithoutRedis,
    /// Two servers of one pool with one name.
    #[error("found a second server named '{name}', expected unique names (first on line {first}); fix: remove one, or put a name of its own after the weight: '{example} NAME'", name = shown(.name), example = shown(.example))]
    SameServer {
        /// The name, given or derived from the address.
        name: String,
        /// Line of the first one.
        first: usize,
        /// The server without its name.
        example: String,
    },
    /// Two pools with one listen address.
    #[error("found '{listen}', expected an address no other pool uses (pool '{other}' does, on line {first}); fix: choose another port or path", listen = shown(.listen), other = shown(.other))]
    SameListen {
        /// The address as written.
        listen: String,
        /// The other pool.
        other: String,
        /// Line of the other one.
        first: usize,
    },
    /// Two pools with one name.
    #[error(
        "found a second pool of this name, expected unique names (first on line {first}); fix: rename one of the two"
    )]
    SamePool {
        /// Line of the first one.
        first: usize,
    },
    /// Nothing but `global:`.
    #[error("found no pool, expected at least one; fix: add a pool with 'listen' and 'servers'")]
    NoPool,
}

fn documents_fix(count: usize) -> &'static str {
    if count == 0 {
        "add a pool with 'listen' and 'servers'"
    } else {
        "remove the second '---' and what follows it"
    }
}

/// Why no configuration could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read configuration file '{}': {}; fix: check the path and its permissions, or name another file with -c", path.display(), words(error))]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file was read and is not a valid configuration. One line for each fault.
    #[error("{}", lines(path, faults))]
    Invalid {
        /// As given.
        path: PathBuf,
        /// At least one, in the order of the file.
        faults: Vec<Fault>,
    },
}

fn lines(path: &std::path::Path, faults: &[Fault]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}:{fault}", path.display())).collect();
    lines.join("\n")
}

/// The reason in `error` without what the standard library puts around it. Like `process::os_error_text`, which is above
/// the configuration in the order of modules.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    reason.split(" (os error").next().unwrap_or(reason).to_owned()
}

/// `text` for one line of a message: cut short, nothing a terminal would act on.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
