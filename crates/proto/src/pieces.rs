//! Bytes offered in pieces, as the fuzz targets of both protocols do it. Apart from them so that both do it alike.

/// Offers ever longer beginnings of `bytes` until there is an outcome.
pub(crate) fn steps<T>(
    bytes: &[u8],
    step: usize,
    mut offer: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let ends = (0..bytes.len()).step_by(step).chain([bytes.len()]);
    ends.filter_map(|end| bytes.get(..end)).find_map(&mut offer)
}

/// Defines `scan_and_forget` for the `ReplyScanner`, `ReplyScan` and `Malformed` of a protocol.
macro_rules! define_scan_and_forget {
    () => {
        /// Scans in steps and after each removes what may be removed, or the `share`-th part of it.
        fn scan_and_forget(
            bytes: &[u8],
            step: usize,
            share: usize,
            mut scanner: ReplyScanner,
        ) -> ReplyScan {
            let mut gone = 0_usize;
            let outcome = $crate::pieces::steps(bytes, step, |piece| {
                let left = piece.get(gone..).expect("what is passed has arrived");
                match scanner.scan(left) {
                    ReplyScan::Incomplete => {
                        let passed = scanner.bytes_passed(left.len());
                        assert!(passed <= left.len());
                        assert!(scanner.bytes_wanted() >= passed);
                        scanner.forget(passed.div_ceil(share));
                        gone += passed.div_ceil(share);
                        None
                    }
                    ReplyScan::Complete(len) => Some(ReplyScan::Complete(gone + len)),
                    ReplyScan::Malformed(malformed) => Some(ReplyScan::Malformed(Malformed {
                        offset: gone + malformed.offset,
                        ..malformed
                    })),
                }
            });
            outcome.unwrap_or(ReplyScan::Incomplete)
        }
    };
}
pub(crate) use define_scan_and_forget;
