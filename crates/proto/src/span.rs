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

/// The argument at `place` of the message that begins `bytes`, whose arguments are `args`; empty when it has none there.
#[inline]
pub fn argument<'b>(bytes: &'b [u8], args: &[Span], place: usize) -> &'b [u8] {
    args.get(place).map_or(&[], |span| span.of(bytes))
}

/// An offset within a message; messages are bounded to what 32 bits hold.
#[inline]
pub(crate) fn offset32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Span, argument};

    #[test]
    fn an_argument_that_is_not_there_is_empty() {
        let args = [Span { start: 0, end: 3 }, Span { start: 4, end: 5 }];
        assert_eq!(
            [0, 1, 2].map(|place| argument(b"get a", &args, place)),
            [&b"get"[..], b"a", b""]
        );
    }

    #[test]
    fn a_span_outside_the_bytes_is_empty_instead_of_a_panic() {
        assert_eq!(Span { start: 1, end: 3 }.of(b"abc"), b"bc");
        assert_eq!(Span { start: 1, end: 4 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.len(), 0);
        assert!(Span { start: 3, end: 1 }.is_empty());
        assert!(Span { start: 3, end: 3 }.is_empty());
        assert!(!Span { start: 3, end: 4 }.is_empty());
    }
}
