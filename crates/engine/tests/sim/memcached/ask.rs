//! A memcached request of a simulated client, as it was sent and as servers may receive it.

use super::wire_format::Request;
use crate::truth::Token;

/// How much its client wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Loud,
    /// Flag `q`.
    Quiet,
    /// `noreply`.
    Silent,
}

/// The key of a request whose value does not end where it should.
pub(crate) const BLUNDER: &[u8] = b"blunder";

/// A request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) token: Token,
    pub(crate) voice: Voice,
    pub(crate) request: Request,
    /// The keys as they are hashed.
    pub(crate) keys: Vec<Vec<u8>>,
    /// As it is sent.
    pub(crate) bytes: Vec<u8>,
    /// The same with the word blanked out that asks for silence.
    pub(crate) blanked: Vec<u8>,
}

impl Ask {
    /// `gaps` makes the blanks between words, and behind the last one.
    pub(crate) fn new(
        token: Token,
        voice: Voice,
        request: Request,
        keys: Vec<Vec<u8>>,
        mut gaps: impl FnMut() -> usize,
    ) -> Ask {
        let (mut bytes, mut blanked) = (Vec::new(), Vec::new());
        for (place, word) in request.words.iter().enumerate() {
            let gap = if place == 0 { 0 } else { 1 + gaps() };
            bytes.extend(vec![b' '; gap]);
            blanked.extend(vec![b' '; gap]);
            bytes.extend_from_slice(word);
            let asks_for_silence = match voice {
                Voice::Loud => false,
                Voice::Quiet => place > 1 && word[0] == b'q',
                Voice::Silent => word == b"noreply",
            };
            match asks_for_silence {
                true => blanked.extend(vec![b' '; word.len()]),
                false => blanked.extend_from_slice(word),
            }
        }
        let mut tail = vec![b' '; gaps()];
        tail.extend_from_slice(b"\r\n");
        if let Some(data) = &request.data {
            tail.extend([data, &b"\r\n"[..]].concat());
        }
        bytes.extend_from_slice(&tail);
        blanked.extend(tail);
        Ask { token, voice, request, keys, bytes, blanked }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.voice == Voice::Silent
    }

    /// Whether it may be joined with others of its kind.
    pub(crate) fn is_plain_get(&self) -> bool {
        self.request.name() == "get"
            && self.request.words.len() == 2
            && self.bytes == [b"get ", &self.request.words[1][..], b"\r\n"].concat()
    }

    /// Where the keys of a command begin that is split; other commands have one at most.
    pub(crate) fn first_key(&self) -> Option<usize> {
        first_key(&self.request)
    }

    /// Whether it is taken apart on its way.
    pub(crate) fn is_split(&self) -> bool {
        let keys = self.first_key().map(|first| self.request.words.len() - first);
        keys.is_some_and(|keys| keys > 1) || self.request.name() == "flush_all"
    }

    /// The words that servers know it by.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first_key().unwrap_or(1);
        let last = if self.first_key().is_some() { self.request.words.len() } else { first + 1 };
        self.request.words.get(first..last).unwrap_or_default().iter().map(Vec::as_slice)
    }

    /// Whether a server may receive `bytes` for it, `wanted` telling which of its keys that server must be asked for,
    /// `None` if any may be.
    pub(crate) fn may_arrive_as(&self, bytes: &[u8], wanted: Option<&[bool]>) -> bool {
        let Some(first) = self.first_key().filter(|_| self.is_split()) else {
            let is_as_sent = bytes == self.bytes && self.voice != Voice::Quiet;
            return is_as_sent || bytes == self.blanked;
        };
        let (before, keys) = self.request.words.split_at(first);
        let line = |keys: &[Vec<u8>]| {
            let words = before.iter().chain(keys);
            let mut line: Vec<u8> = words.flat_map(|word| [&word[..], b" "].concat()).collect();
            line.extend_from_slice(b"\r\n");
            line
        };
        if let Some(wanted) = wanted {
            let own = keys.iter().zip(wanted).filter(|(_, wanted)| **wanted);
            return bytes == line(&own.map(|(key, _)| key.clone()).collect::<Vec<_>>());
        }
        // In the order of the request, at least.
        let words: Vec<_> = bytes.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
        let received = words.get(first..words.len().saturating_sub(1)).unwrap_or_default();
        let mut rest = keys.iter();
        let in_order = received.iter().all(|key| rest.any(|own| own == key));
        in_order && !received.is_empty() && bytes == line(received)
    }
}

/// Where the keys of a command begin that may have many.
pub(crate) fn first_key(request: &Request) -> Option<usize> {
    match request.name() {
        "get" | "gets" => Some(1),
        "gat" | "gats" => Some(2),
        _ => None,
    }
}
