//! Which replies memcached keeps to itself when a request asks for silence.

use super::{Command, Shape};

impl Command {
    /// Whether memcached, asked for silence, would have kept `reply` to itself: with flag `q` the miss
    /// of `mg` and the success of `ms`, `md` and `ma`, but no other reply; with `noreply` every reply
    /// to a classic command.
    ///
    /// COMPAT: memcached 1.6.18 also sends the success of an `ma` that created its item; later
    /// releases do not, and neither reply says which it was.
    pub fn is_suppressed(&self, reply: &[u8]) -> bool {
        if !matches!(self.shape, Shape::Meta | Shape::MetaSet) {
            return true;
        }
        let Some((status, [b' ' | b'\r', ..])) = reply.split_at_checked(2) else { return false };
        match self.name {
            "mg" => status == b"EN",
            "ms" | "md" => status == b"HD",
            "ma" => matches!(status, b"HD" | b"VA"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;

    #[test]
    fn success_and_misses_are_suppressed_and_failures_are_not() {
        let is_suppressed = |name: &str, reply: &str| {
            find(name.as_bytes()).is_some_and(|row| row.is_suppressed(reply.as_bytes()))
        };
        for (name, reply) in [
            ("mg", "EN\r\n"),
            ("mg", "EN Oabc kfoo\r\n"),
            ("ms", "HD\r\n"),
            ("md", "HD O1\r\n"),
            ("ma", "HD\r\n"),
            ("ma", "VA 1\r\n5\r\n"),
            ("set", "STORED\r\n"),
            ("set", "SERVER_ERROR out of memory storing object\r\n"),
        ] {
            assert!(is_suppressed(name, reply), "{name} {reply}");
        }
        for (name, reply) in [
            ("mg", "HD\r\n"),
            ("mg", "VA 1\r\n5\r\n"),
            ("ms", "NS\r\n"),
            ("ms", "EX\r\n"),
            ("md", "NF\r\n"),
            ("ma", "NF\r\n"),
            ("mg", "END\r\n"),
            ("mg", "CLIENT_ERROR invalid flag\r\n"),
            ("me", "EN\r\n"),
            ("mg", ""),
        ] {
            assert!(!is_suppressed(name, reply), "{name} {reply}");
        }
    }
}
