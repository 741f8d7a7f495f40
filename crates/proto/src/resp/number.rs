//! The decimal number of a header line, read as its bytes arrive. Requests and replies both carry
//! lengths and counts; what they allow differs, so the range is the caller's.

use super::limits::DIGITS_MAX;

/// The digits of one number seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    pub(super) value: u64,
    pub(super) digits: u8,
    pub(super) negative: bool,
}

/// Why a number cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberError {
    /// Above the limit.
    TooLarge,
    /// More digits than any number within the limit needs.
    TooManyDigits,
}

impl Number {
    /// Whether the digits begin with zeros that a server would refuse.
    pub(super) fn is_padded(&self) -> bool {
        let least = 10_u64.checked_pow(u32::from(self.digits).saturating_sub(1));
        self.digits > 1 && least.is_none_or(|least| self.value < least)
    }

    /// Takes digits from `bytes` at `at` until a byte that is none, or the end of the input, and
    /// returns its offset; on an error the offset is that of the offending digit.
    #[inline]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        at: usize,
        limit: u64,
    ) -> Result<usize, (usize, NumberError)> {
        let mut at = at;
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            if self.digits >= DIGITS_MAX {
                return Err((at, NumberError::TooManyDigits));
            }
            // No overflow goes unseen: saturation is above every limit.
            self.value = self.value.saturating_mul(10).saturating_add(u64::from(digit));
            if self.value > limit {
                return Err((at, NumberError::TooLarge));
            }
            self.digits = self.digits.saturating_add(1);
            at = at.saturating_add(1);
        }
        Ok(at)
    }
}
