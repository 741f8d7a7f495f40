//! Which replies of a meta command its flag `q` makes memcached keep to itself.

use super::Command;

impl Command {
    /// Whether memcached, had the flag `q` been there, would have kept `reply` to itself.
    pub fn is_suppressed(&self, reply: &[u8]) -> bool {
        let status = reply.get(..2).unwrap_or_default();
        let is_word = matches!(reply.get(2), Some(b' ' | b'\r'));
        is_word
            && match self.name {
                "mg" => status == b"EN",
                "ms" => status == b"HD",
                "md" | "ma" => status == b"HD" || status == b"NF",
                _ => false,
            }
    }
}
