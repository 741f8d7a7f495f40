//! Which replies a command can have: what tells apart the replies to neighbours on one connection.

use super::super::walk;
use super::{Command, Policy, Shape};

impl Command {
    /// Whether a server may answer this command with `reply`, a whole one. An error answers every command.
    pub fn is_answer(&self, reply: &[u8]) -> bool {
        let word = reply.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        if walk::is_error(reply) {
            return true;
        }
        match (self.shape, self.policy) {
            (Shape::Storage | Shape::Cas, _) => {
                matches!(word, b"STORED" | b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND")
            }
            (Shape::Meta | Shape::MetaSet, _) => {
                matches!(word, b"HD" | b"VA" | b"EN" | b"NF" | b"NS" | b"EX" | b"ME")
            }
            (_, Policy::Split { .. }) => walk::is_values(reply),
            (_, Policy::Keyless) => word == b"VERSION",
            (_, Policy::AllShards) => word == b"OK",
            _ => match self.name {
                "incr" | "decr" => is_number(word) || word == b"NOT_FOUND",
                "delete" => matches!(word, b"DELETED" | b"NOT_FOUND"),
                "touch" => matches!(word, b"TOUCHED" | b"NOT_FOUND"),
                _ => false,
            },
        }
    }

    /// Whether a server can mean a reply that begins like `head` as the answer to this command, and as a value. As far as
    /// that can be told before the reply has ended.
    pub fn is_value(&self, head: &[u8]) -> bool {
        match (self.shape, self.policy) {
            (Shape::Meta | Shape::MetaSet, _) => head.starts_with(b"VA "),
            (_, Policy::Split { .. }) => head.starts_with(b"VALUE "),
            _ => false,
        }
    }
}

fn is_number(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::super::find;

    const REPLIES: [&str; 9] = [
        "VALUE k 0 1\r\nx\r\nEND\r\n",
        "END\r\n",
        "STORED\r\n",
        "12\r\n",
        "DELETED\r\n",
        "TOUCHED\r\n",
        "VERSION 1.6.18\r\n",
        "OK\r\n",
        "HD\r\n",
    ];

    #[test]
    fn each_command_knows_its_own_answers_only() {
        for (name, answers) in [
            ("get", &REPLIES[..2]),
            ("gats", &REPLIES[..2]),
            ("set", &REPLIES[2..3]),
            ("cas", &REPLIES[2..3]),
            ("incr", &REPLIES[3..4]),
            ("delete", &REPLIES[4..5]),
            ("touch", &REPLIES[5..6]),
            ("version", &REPLIES[6..7]),
            ("flush_all", &REPLIES[7..8]),
            ("mg", &REPLIES[8..]),
            ("ms", &REPLIES[8..]),
        ] {
            let row = find(name.as_bytes()).expect("a row");
            for reply in REPLIES {
                let is_one = row.is_answer(reply.as_bytes());
                assert_eq!(is_one, answers.contains(&reply), "{name}: {reply}");
            }
            assert!(row.is_answer(b"SERVER_ERROR out of memory\r\n"));
        }
    }
}
