//! Typed values out of the scalars of a file: numbers, booleans, sizes, names of a fixed set.
//!
//! Each reader takes the text and gives the value, or the [`Problem`] that tells what belongs there.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::Problem;
use crate::cli;

/// The largest number twemproxy 0.5 holds.
pub(super) const NUMBER_MAX: u32 = i32::MAX as u32;

/// Decimal digits, at most 2147483647.
pub(super) fn number(text: &str) -> Result<u32, Problem> {
    number_within(text, 0..=NUMBER_MAX)
}

/// As [`number`], and within `range`.
pub(super) fn number_within(text: &str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    match cli::decimal(text.as_bytes()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(Problem::Value {
            found: text.to_owned(),
            expected: format!("a whole number from {} to {}", range.start(), range.end()),
            fix: String::from("write digits only, without sign, unit, blank or decimal point"),
        }),
    }
}

/// A [`number`] of milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, Problem> {
    number(text).map(|ms| Duration::from_millis(u64::from(ms)))
}

/// A port, 1 to 65535.
pub(super) fn port(text: &str) -> Option<u16> {
    cli::decimal(text.as_bytes())
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port != 0)
}

/// `true` or `false`, nothing else.
pub(super) fn boolean(text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            let meant = match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" | "y" => "write true",
                "false" | "no" | "off" | "0" | "n" => "write false",
                _ => "write true or false",
            };
            Err(Problem::Value {
                found: text.to_owned(),
                expected: "true or false".into(),
                fix: meant.into(),
            })
        }
    }
}

/// A number of bytes: digits and perhaps `k`, `m` or `g` (powers of 1024).
pub(super) fn bytes(text: &str) -> Result<u64, Problem> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1u64),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { digits.parse::<u64>().ok() } else { None };
    // An amount that only fits an unsigned number is a mistake; it also keeps sums of two amounts in range.
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|&bytes| bytes <= i64::MAX as u64)
        .ok_or_else(|| Problem::Value {
            found: text.to_owned(),
            expected: String::from("a number of bytes, perhaps with k, m or g"),
            fix: String::from("write for example 1048576, 1024k, 64m or 2g"),
        })
}

/// `bytes` as [`bytes()`] reads it, as short as it can be exactly.
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => String::from("0"),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}g", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// The value among `all` that is called `text`.
pub(super) fn one_of<T: Copy>(
    text: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Problem> {
    all.iter().copied().find(|&value| name(value) == text).ok_or_else(|| {
        let names: Vec<&'static str> = all.iter().map(|&value| name(value)).collect();
        let fix = match nearest(text, &names) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("write for example '{}'", names[0]),
        };
        Problem::Value {
            found: text.to_owned(),
            expected: format!("one of {}", names.join(", ")),
            fix,
        }
    })
}

/// The name among `names` that `text` is most likely a slip of, if any is close.
pub(super) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    // Longer than any name and its slips; keeps hostile input cheap.
    if text.len() > 64 {
        return None;
    }
    let flat = |word: &str| word.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = flat(text);
    let scored = names.iter().map(|name| (distance(&wanted, &flat(name)), *name));
    let (score, name) = scored.min_by_key(|&(score, _)| score)?;
    (score <= 1 + wanted.len().min(name.len()) / 4).then_some(name)
}

/// Insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_below_two_to_the_31() {
        assert_eq!(number("0"), Ok(0));
        assert_eq!(number("007"), Ok(7));
        assert_eq!(number("2147483647"), Ok(2147483647));
        for bad in [
            "",
            "-1",
            "+1",
            "1 ",
            " 1",
            "0x10",
            "1.5",
            "2147483648",
            "4294967297",
            "99999999999999999999",
            "١",
        ] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        assert_eq!(boolean("true"), Ok(true));
        assert_eq!(boolean("false"), Ok(false));
        for bad in ["True", "yes", "1", "no", "~", "true "] {
            assert!(boolean(bad).is_err(), "{bad:?}");
        }
        assert!(boolean("yes").unwrap_err().to_string().ends_with("fix: write true"));
    }

    #[test]
    fn sizes_take_binary_suffixes_and_come_back_as_written() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(bytes("1000"), Ok(1000));
        for bad in ["", "m", "1mb", "1.5g", "-1", "99999999999999999999", "9999999999999g", "1 m"] {
            assert!(bytes(bad).is_err(), "{bad:?}");
        }
        for size in [0, 1, 1000, 1024, 3 << 10, 64 << 20, 5 << 30, (5 << 30) + 1] {
            assert_eq!(bytes(&show_bytes(size)), Ok(size));
        }
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let names = ["timeout", "server_retry_timeout", "hash", "hash_tag"];
        assert_eq!(nearest("timeot", &names), Some("timeout"));
        assert_eq!(nearest("Hash", &names), Some("hash"));
        assert_eq!(nearest("hash-tag", &names), Some("hash_tag"));
        assert_eq!(nearest("sentinels", &names), None);
        assert_eq!(nearest(&"x".repeat(10_000), &names), None);
    }
}
