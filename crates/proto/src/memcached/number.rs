//! Decimal numbers that every release of memcached reads alike: digits and nothing else, and no more
//! of them than the greatest number has. Some releases refuse padding, others read signs and blanks;
//! two readers of one line must not disagree about where its value ends.

/// Digits of the greatest numbers of 32 and of 64 bits.
const DIGITS_MAX: (usize, usize) = (10, 20);

/// The value of `digits`; `None` when it is empty, holds anything but digits, has too many of them,
/// or is above `max`.
#[inline]
pub(super) fn unsigned(digits: &[u8], max: u64) -> Option<u64> {
    let digits_max = if max > u64::from(u32::MAX) { DIGITS_MAX.1 } else { DIGITS_MAX.0 };
    if digits.is_empty() || digits.len() > digits_max {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    (value <= max).then_some(value)
}

/// Whether `word` is a number of 32 bits with a sign, an expiry time.
#[inline]
pub(super) fn is_i32(word: &[u8]) -> bool {
    match word.strip_prefix(b"-") {
        Some(digits) => unsigned(digits, u64::from(i32::MIN.unsigned_abs())).is_some(),
        None => unsigned(word, i32::MAX as u64).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_i32, unsigned};

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(unsigned(b"0", 0), Some(0));
        assert_eq!(unsigned(b"4294967295", u64::from(u32::MAX)), Some(4_294_967_295));
        assert_eq!(unsigned(b"18446744073709551615", u64::MAX), Some(u64::MAX));
        for other in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"0x1", b"1.", b"\xb1"] {
            assert_eq!(unsigned(other, u64::MAX), None, "{other:?}");
        }
    }

    #[test]
    fn a_number_has_a_bound_and_so_have_its_digits() {
        assert_eq!(unsigned(b"11", 10), None);
        assert_eq!(unsigned(b"4294967296", u64::from(u32::MAX)), None);
        assert_eq!(unsigned(b"18446744073709551616", u64::MAX), None);
        assert_eq!(unsigned(b"0000000001", u64::from(u32::MAX)), Some(1));
        assert_eq!(unsigned(b"00000000001", u64::from(u32::MAX)), None);
        assert_eq!(unsigned(b"000000000000000000001", u64::MAX), None);
    }

    #[test]
    fn an_expiry_time_may_be_negative() {
        for word in [&b"0"[..], b"-1", b"2147483647", b"-2147483648"] {
            assert!(is_i32(word), "{word:?}");
        }
        for word in [&b""[..], b"-", b"--1", b"2147483648", b"-2147483649", b"+1", b"1s"] {
            assert!(!is_i32(word), "{word:?}");
        }
    }
}
