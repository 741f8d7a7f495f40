//! Which replies memcached keeps to itself when a request asks for silence.

use super::{Command, Shape};

impl Command {
    /// Whether memcached, asked for silence, would have kept `reply` to itself: with flag `q` a meta command tells only
    /// what is not expected, with `noreply` a classic one tells nothing.
    pub fn is_suppressed(&self, reply: &[u8]) -> bool {
        if !matches!(self.shape, Shape::Meta | Shape::MetaSet) {
            return true;
        }
        let status = reply.get(..2).unwrap_or_default();
        let is_word = matches!(reply.get(2), Some(b' ' | b'\r'));
        is_word
            && match self.name {
                "mg" => status == b"EN",
                "ms" => status == b"HD",
                _ => status == b"HD" || status == b"NF",
            }
    }
}
