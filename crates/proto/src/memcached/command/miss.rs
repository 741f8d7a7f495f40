//! What memcached answers to a read of an item that does not exist: for a pool that answers in place of a server it has
//! taken out of service.

use super::{Command, Shape};
use crate::{Span, argument};

impl Command {
    /// Appends what memcached answers to this request when its items do not exist. Returns `false`, having appended
    /// nothing, for a command that is no read.
    ///
    /// COMPAT: as memcached 1.6.18, which gives back the key (`k`), marked when it is in base64 (`b`), and the opaque token
    /// (`O`) that `mg` came with; `me` gives nothing back.
    pub fn write_miss(&self, bytes: &[u8], args: &[Span], out: &mut Vec<u8>) -> bool {
        if !self.is_read {
            return false;
        }
        if self.shape != Shape::Meta {
            out.extend_from_slice(b"END\r\n");
            return true;
        }
        out.extend_from_slice(b"EN");
        let key = argument(bytes, args, 1);
        let flags = if self.name == "mg" { args.get(2..).unwrap_or_default() } else { &[] };
        let flags = flags.iter().map(|flag| flag.of(bytes));
        let mark: &[u8] = if flags.clone().any(|flag| flag == b"b") { b" b" } else { b"" };
        for flag in flags {
            let parts: [&[u8]; 3] = match flag {
                [b'k'] => [b" k", key, mark],
                [b'O', ..] => [b" ", flag, b""],
                _ => continue,
            };
            parts.iter().for_each(|part| out.extend_from_slice(part));
        }
        out.extend_from_slice(b"\r\n");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{all, find};
    use crate::Span;

    /// The words of a line, and where they are.
    fn miss_of(line: &str) -> Option<String> {
        let mut args = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            args.push(Span { start: at, end: at + word.len() as u32 });
            at += word.len() as u32 + 1;
        }
        let command = line.split(' ').next().and_then(|word| find(word.as_bytes()))?;
        let mut out = Vec::new();
        let is_read = command.write_miss(line.as_bytes(), &args, &mut out);
        assert!(is_read || out.is_empty(), "{line}");
        is_read.then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_read_of_nothing_is_answered_as_memcached_does() {
        for (line, miss) in [
            ("get a", "END\r\n"),
            ("gets a b", "END\r\n"),
            ("gat 0 a", "END\r\n"),
            ("gats 0 a b", "END\r\n"),
            ("mg a", "EN\r\n"),
            ("mg a v t f s c", "EN\r\n"),
            ("mg a v k Oabc", "EN ka Oabc\r\n"),
            ("mg a O1 s k", "EN O1 ka\r\n"),
            ("mg Ym9v b k v", "EN kYm9v b\r\n"),
            ("mg Ym9v b v O1", "EN O1\r\n"),
            ("me a", "EN\r\n"),
            ("me a k", "EN\r\n"),
        ] {
            assert_eq!(miss_of(line).as_deref(), Some(miss), "{line}");
        }
    }

    #[test]
    fn what_changes_an_item_has_no_miss() {
        let reads: Vec<_> = all().iter().filter(|row| row.is_read).map(|row| row.name).collect();
        assert_eq!(reads, ["get", "gets", "gat", "gats", "mg", "me"]);
        for line in ["set a 0 0 1", "delete a", "incr a 1", "touch a 0", "md a", "ms a 1", "ma a"] {
            assert_eq!(miss_of(line), None, "{line}");
        }
    }
}
