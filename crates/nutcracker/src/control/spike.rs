//! When to hand memory back to the system: after much was freed and nothing more is. While large messages keep passing,
//! their memory is about to be used again, and handing it back would only cost.

/// Freed bytes that are worth a look through the allocator's lists.
const FREED_MIN: u64 = 4 << 20;
/// Freed bytes from one look to the next that still count as quiet.
const QUIET_MAX: u64 = 1 << 20;

/// Follows the bytes that workers freed since they exist.
#[derive(Debug, Default)]
pub(super) struct Spike {
    /// The total at the last look, and when memory was handed back last.
    seen: u64,
    handed_back: u64,
}

impl Spike {
    /// Takes in the total freed until now; true when a spike has passed, once for each.
    pub(super) fn has_passed(&mut self, freed_bytes: u64) -> bool {
        let is_quiet = freed_bytes - self.seen <= QUIET_MAX;
        self.seen = freed_bytes;
        let passed = is_quiet && freed_bytes - self.handed_back >= FREED_MIN;
        if passed {
            self.handed_back = freed_bytes;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(freed_mib: &[u64]) -> Vec<usize> {
        let mut spike = Spike::default();
        (0..freed_mib.len()).filter(|&at| spike.has_passed(freed_mib[at] << 20)).collect()
    }

    #[test]
    fn a_spike_passes_once_and_when_it_is_over() {
        assert_eq!(passes(&[0, 100, 300, 300, 300, 301, 400, 400, 400]), [3, 7]);
    }

    #[test]
    fn what_is_small_or_goes_on_is_no_spike() {
        assert_eq!(passes(&[0, 3, 3, 3]), [0; 0]);
        assert_eq!(passes(&[100, 200, 300, 400, 500]), [0; 0]);
    }
}
