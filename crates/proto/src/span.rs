//! A piece of a message, kept as offsets so that it stays valid while the buffer that holds the
//! message moves or grows.

/// Offsets from the first byte of a message: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte; never below `start` when a scanner made the span.
    pub end: u32,
}

impl Span {
    /// The bytes of this span in `bytes`, which begins at the message's first byte. Empty when the
    /// span does not lie within `bytes`.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Number of bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether the span holds no byte.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn a_span_outside_the_bytes_is_empty_instead_of_a_panic() {
        assert_eq!(Span { start: 1, end: 3 }.of(b"abc"), b"bc");
        assert_eq!(Span { start: 1, end: 4 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.len(), 0);
        assert!(Span { start: 3, end: 1 }.is_empty());
    }
}
