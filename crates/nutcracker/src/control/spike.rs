//! When to hand freed memory back to the system: once, after a spike. Apart because the rule is pure arithmetic.

/// Less than this is not worth the work.
const SPIKE_BYTES_MIN: u64 = 16 << 20;

/// Watches how much is held and notices when most of it has been let go.
#[derive(Debug, Default)]
pub(super) struct Spike {
    peak_bytes: u64,
}

impl Spike {
    /// Takes in what is held now; true when a spike has passed, once for each.
    pub(super) fn has_passed(&mut self, held_bytes: u64) -> bool {
        self.peak_bytes = self.peak_bytes.max(held_bytes);
        let passed = self.peak_bytes >= SPIKE_BYTES_MIN && held_bytes <= self.peak_bytes / 4;
        if passed {
            self.peak_bytes = held_bytes;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_passes_once() {
        let mut spike = Spike::default();
        let held = [1, 40, 100, 80, 30, 25, 20, 0, 0, 16, 10, 4, 4].map(|mib| mib << 20);
        let passed: Vec<usize> = (0..held.len()).filter(|&at| spike.has_passed(held[at])).collect();
        assert_eq!(passed, [5, 7, 11]);
    }

    #[test]
    fn what_is_small_or_stays_is_no_spike() {
        let mut spike = Spike::default();
        let held = [0, 15 << 20, 0, 500 << 20, 400 << 20, 130 << 20, 500 << 20];
        assert!(!held.into_iter().any(|bytes| spike.has_passed(bytes)));
    }
}
