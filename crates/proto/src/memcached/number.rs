//! Decimal numbers as every release of memcached reads them: digits and nothing else, so that no
//! two readers of one line disagree about where its value ends.

/// The value of `digits`; `None` when it is empty, holds anything but digits, or is above `max`.
#[inline]
pub(super) fn unsigned(digits: &[u8], max: u64) -> Option<u64> {
    if digits.is_empty() {
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
