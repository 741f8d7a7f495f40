//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^a]`, and `\` ahead of a character that stands for itself. Apart from
//! what uses it because it is a language of its own.

/// Names are shorter, so a longer pattern is no pattern of one; it would cost its length for every name.
const PATTERN_BYTES_MAX: usize = 256;

/// Whether `pattern` matches the whole of `name`, in any case of letters.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.len() > PATTERN_BYTES_MAX {
        return false;
    }
    let (mut pattern, mut name) = (pattern, name);
    // What follows the latest star, and the rest of the name that it was tried with.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        match (first_of(pattern), name) {
            (None, []) => return true,
            (Some((piece, rest)), [byte, behind @ ..]) if piece.fits(*byte) => {
                (pattern, name) = (rest, behind);
            }
            _ => {
                // The star takes one byte more.
                let Some((behind_star, [_, shorter @ ..])) = retry else { return false };
                (pattern, name) = (behind_star, shorter);
                retry = Some((behind_star, shorter));
            }
        }
    }
}

/// A part of a pattern that stands for one byte.
enum Piece<'p> {
    Any,
    Exactly(u8),
    /// What stands between the brackets.
    OneOf(&'p [u8]),
    NoneOf(&'p [u8]),
}

/// The first piece of `pattern` and what follows it.
fn first_of(pattern: &[u8]) -> Option<(Piece<'_>, &[u8])> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some((Piece::Any, rest)),
        [b'[', b'^', rest @ ..] => {
            let (set, rest) = set_of(rest);
            Some((Piece::NoneOf(set), rest))
        }
        [b'[', rest @ ..] => {
            let (set, rest) = set_of(rest);
            Some((Piece::OneOf(set), rest))
        }
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((Piece::Exactly(*byte), rest)),
    }
}

/// What stands ahead of the closing bracket, which may be missing at the end, and what follows it.
fn set_of(pattern: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    loop {
        match &pattern[at..] {
            [] => return (pattern, &[]),
            [b']', rest @ ..] => return (&pattern[..at], rest),
            [b'\\', _, ..] => at += 2,
            [_, b'-', _, ..] => at += 3,
            [_, ..] => at += 1,
        }
    }
}

impl Piece<'_> {
    fn fits(&self, byte: u8) -> bool {
        match *self {
            Piece::Any => true,
            Piece::Exactly(wanted) => wanted.eq_ignore_ascii_case(&byte),
            Piece::OneOf(set) => is_in(set, byte),
            Piece::NoneOf(set) => !is_in(set, byte),
        }
    }
}

fn is_in(mut set: &[u8], byte: u8) -> bool {
    let byte = byte.to_ascii_lowercase();
    loop {
        let found = match set {
            [] => return false,
            [b'\\', wanted, rest @ ..] => {
                set = rest;
                *wanted == byte
            }
            [from, b'-', to, rest @ ..] => {
                set = rest;
                let (least, most) = (from.min(to), from.max(to));
                (least.to_ascii_lowercase()..=most.to_ascii_lowercase()).contains(&byte)
            }
            [wanted, rest @ ..] => {
                set = rest;
                wanted.eq_ignore_ascii_case(&byte)
            }
        };
        if found {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("get", true),
            ("GeT", true),
            ("ge", false),
            ("gets", false),
            ("", false),
            ("*", true),
            ("**t**", true),
            ("g*t", true),
            ("*e", false),
            ("?e?", true),
            ("??", false),
            ("[f-h]et", true),
            ("[h-f]et", true),
            ("[^g]et", false),
            ("[^a]et", true),
            ("[xyg]et", true),
            ("[]et", false),
            ("[get", false),
            ("ge[t", true),
            ("\\get", true),
            ("ge\\", false),
            ("g\\*t", false),
        ];
        for (pattern, fits) in cases {
            assert_eq!(matches(pattern.as_bytes(), b"get"), fits, "{pattern}");
        }
        assert!(matches(b"*|*a*a*", b"a|banana"));
        assert!(matches(b"a[\\]]b", b"a]b") && !matches(b"a[]]b", b"a]b"));
    }

    #[test]
    fn a_pattern_longer_than_any_name_matches_none() {
        assert!(matches(&[b'*'; PATTERN_BYTES_MAX], b"get"));
        assert!(!matches(&[b'*'; PATTERN_BYTES_MAX + 1], b"get"));
    }
}
