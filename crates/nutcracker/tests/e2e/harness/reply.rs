//! RESP as a test sees it: requests from words, replies as owned values.

use std::fmt;

/// One RESP2 reply.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+…`
    Simple(String),
    /// `-…`, without the dash.
    Error(String),
    /// `:…`
    Integer(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`.
    Nil,
    /// `*…`
    Array(Vec<Reply>),
}

impl Reply {
    /// `+OK`.
    pub(crate) fn ok() -> Reply {
        Reply::Simple("OK".into())
    }

    /// A bulk string.
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// The text of an error reply.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        match self {
            Reply::Error(text) => text,
            other => panic!("expected an error reply, got {other:?}"),
        }
    }

    /// Whether this is an error reply.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The number of an integer reply.
    #[track_caller]
    pub(crate) fn integer(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("expected an integer reply, got {other:?}"),
        }
    }

    /// The elements of an array reply.
    #[track_caller]
    pub(crate) fn array(self) -> Vec<Reply> {
        match self {
            Reply::Array(elements) => elements,
            other => panic!("expected an array reply, got {other:?}"),
        }
    }

    /// The bytes of a bulk reply.
    #[track_caller]
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Reply::Bulk(bytes) => bytes,
            other => panic!("expected a bulk reply, got {other:?}"),
        }
    }

    /// A bulk or simple reply as text.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        match self {
            Reply::Simple(text) => text,
            other => String::from_utf8(other.bytes()).expect("a reply in UTF-8"),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "+{text}"),
            Reply::Error(text) => write!(f, "-{text}"),
            Reply::Integer(number) => write!(f, ":{number}"),
            Reply::Bulk(bytes) if bytes.len() > 200 => write!(f, "${} bytes", bytes.len()),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::Nil => write!(f, "nil"),
            Reply::Array(elements) if elements.len() > 40 => {
                write!(f, "*{} elements", elements.len())
            }
            Reply::Array(elements) => f.debug_list().entries(elements).finish(),
        }
    }
}

/// The bytes of a request made of `words`.
pub(crate) fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The bytes of several requests, one a line, words separated by blanks.
pub(crate) fn requests(lines: &str) -> Vec<u8> {
    let words = |line: &str| request(&line.split_whitespace().collect::<Vec<_>>());
    lines.lines().filter(|line| !line.trim().is_empty()).flat_map(words).collect()
}
