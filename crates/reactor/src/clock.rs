//! Time as the cores see it: one reading per turn of a clock all reactors of the process share, so that a moment
//! noted in one of them can be compared in another.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime};

/// A moment, read once and passed to every call of the same part of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the [`Clock`] started; never goes backwards.
    pub mono_us: u64,
    /// Microseconds since 1970 by the system's clock; jumps when somebody sets it, so only for showing.
    pub wall_us: u64,
}

/// The source of [`Now`]. Start one and give a copy to each reactor.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic reading is zero now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both readings.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { mono_us: self.mono_us(), wall_us: micros(wall) }
    }

    /// The monotonic reading alone.
    #[must_use]
    pub fn mono_us(&self) -> u64 {
        micros(self.start.elapsed())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn copies_of_a_clock_share_their_start() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.mono_us();
        while clock.mono_us() == first {
            std::hint::spin_loop();
        }
        let from_copy = copy.mono_us();
        assert!(from_copy > first && from_copy <= clock.mono_us());
    }
}
