//! The memcached protocol as a scripted server sees it. Apart from `reply`, which knows RESP.

/// One request: the words of its line, and the data block that follows the line of some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextRequest {
    /// At least one, unless the line is empty.
    pub(crate) words: Vec<Vec<u8>>,
    /// Without its line end.
    pub(crate) data: Option<Vec<u8>>,
}

impl TextRequest {
    /// The request that `bytes` starts with, and its length, once it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<(TextRequest, usize)> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let words: Vec<Vec<u8>> = bytes[..end]
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let length_at = match words.first().map(Vec::as_slice) {
            Some(b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas") => Some(4),
            Some(b"ms") => Some(2),
            _ => None,
        };
        let length = length_at.and_then(|at| words.get(at));
        let length = length.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let from = end + 2;
        let Some(length): Option<usize> = length else {
            return Some((TextRequest { words, data: None }, from));
        };
        let data = bytes.get(from..from + length + 2)?[..length].to_vec();
        Some((TextRequest { words, data: Some(data) }, from + length + 2))
    }

    /// The command word.
    pub(crate) fn command(&self) -> &[u8] {
        self.words.first().map_or(b"", Vec::as_slice)
    }

    /// The first key.
    pub(crate) fn key(&self) -> &[u8] {
        self.words.get(1).map_or(b"", Vec::as_slice)
    }

    /// Whether it asks not to be answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.words.last().is_some_and(|word| word == b"noreply")
    }
}
