//! Whether waiting for more work pays, found out by trying.
//!
//! Waiting spares the proxy, the servers and the clients system calls, and costs time. What outweighs the other depends on
//! who is busy: where clients or servers are short of CPU time it brings throughput, where clients send whenever they
//! please it only makes them wait. Nothing that a proxy sees at one moment tells these apart. So it does the other
//! thing for a moment every now and then, compares, and goes on with what was better:
//!
//! ```text
//!   |<------------------ as decided ----------------->|<--- the other way -->|  decision
//!                              |<------ sample ------>| settle |<- sample -->|
//! ```

/// Lengths in buckets of the pace. What follows a change is left out of a sample.
const SAMPLE: u64 = 8;
const SETTLE: u64 = 2;
/// From decision to decision: soon at first and after a change, rarely once confirmed.
const PERIOD_MIN: u64 = 32;
const PERIOD_MAX: u64 = 1024;
/// A sample of fewer requests says nothing.
const REQUESTS_MIN: u64 = 64;
/// Gains are counted in these parts.
const WHOLE: i64 = 1024;
/// From this on the gain in throughput decides, below it the one in latency.
const RATE_GAIN_MIN: i64 = WHOLE / 20;
/// A new comparison counts for one of so many parts.
const WEIGHT: i64 = 4;

/// What was counted since the worker exists.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) replies: u64,
    /// Time from queueing a request to its reply, summed over the replies, µs.
    pub(super) round_trips_us: u64,
    /// Turns that began with readiness, and the time in their windows, µs.
    pub(super) turns: u64,
    pub(super) windows_us: u64,
}

/// What happened during one sample.
#[derive(Clone, Copy, Debug)]
struct Sample {
    requests: u64,
    /// From the arrival of a request to its reply, on average.
    latency_us: u64,
}

impl Sample {
    fn between(begin: &Totals, end: &Totals) -> Sample {
        let mean = |sum: u64, count: u64| sum / count.max(1);
        // A request waits for the rest of a window before it is queued; counting all of it errs on the side of latency.
        let latency_us =
            mean(end.round_trips_us - begin.round_trips_us, end.replies - begin.replies)
                + mean(end.windows_us - begin.windows_us, end.turns - begin.turns);
        Sample { requests: end.requests - begin.requests, latency_us }
    }
}

/// The running comparison.
#[derive(Debug)]
pub(super) struct Trial {
    /// Bucket in which the period began.
    begun: u64,
    period: u64,
    /// What is done outside of trials.
    waits: bool,
    /// At the beginning of the running sample.
    begin: Totals,
    /// The sample of what is done anyway.
    usual: Option<Sample>,
    /// Smoothed gains by waiting.
    rate_gain: i64,
    latency_gain: i64,
}

impl Default for Trial {
    fn default() -> Trial {
        Trial {
            begun: 0,
            period: PERIOD_MIN,
            waits: false,
            begin: Totals::default(),
            usual: None,
            rate_gain: 0,
            latency_gain: 0,
        }
    }
}

impl Trial {
    /// Whether to wait in the running bucket.
    pub(super) fn waits(&self) -> bool {
        self.waits != self.usual.is_some()
    }

    /// Begins anew after a pause, with what was decided.
    pub(super) fn restart(&mut self, bucket: u64) {
        self.begun = bucket;
        self.usual = None;
    }

    /// The next bucket begins.
    pub(super) fn advance(&mut self, bucket: u64, totals: &Totals) {
        let to_go = (self.begun + self.period).saturating_sub(bucket);
        match to_go {
            0 => self.decide(bucket, totals),
            to_go if to_go == SAMPLE => self.begin = *totals,
            to_go if to_go == SAMPLE + SETTLE => {
                self.usual = Some(Sample::between(&self.begin, totals));
            }
            to_go if to_go == SAMPLE + SETTLE + SAMPLE => self.begin = *totals,
            _ => {}
        }
    }

    /// Compares both samples and begins the next period.
    fn decide(&mut self, bucket: u64, totals: &Totals) {
        let other = Sample::between(&self.begin, totals);
        let usual = self.usual.take();
        self.begun = bucket;
        let Some(usual) = usual.filter(|usual| usual.requests.min(other.requests) >= REQUESTS_MIN)
        else {
            return;
        };
        let (with, without) = if self.waits { (usual, other) } else { (other, usual) };
        smooth(&mut self.rate_gain, gain(without.requests, with.requests));
        smooth(&mut self.latency_gain, -gain(without.latency_us, with.latency_us));
        let pays = match self.rate_gain {
            gain if gain.abs() >= RATE_GAIN_MIN => gain > 0,
            _ => self.latency_gain > 0,
        };
        self.period =
            if pays == self.waits { (self.period * 2).min(PERIOD_MAX) } else { PERIOD_MIN };
        self.waits = pays;
    }
}

/// How much more `to` is than `from`, at most the whole of it.
fn gain(from: u64, to: u64) -> i64 {
    let (from, to) = (from.max(1) as i64, to as i64);
    ((to - from) * WHOLE / from).clamp(-WHOLE, WHOLE)
}

fn smooth(mean: &mut i64, sample: i64) {
    *mean += (sample - *mean) / WEIGHT;
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Trial {
        /// One that was decided in favour of waiting.
        pub(crate) fn waiting() -> Trial {
            Trial { waits: true, ..Trial::default() }
        }
    }

    /// What waiting does to a worker.
    struct Effect {
        requests: u64,
        latency_us: u64,
    }

    /// Runs for so many buckets; returns in how many of them it waited.
    fn run(trial: &mut Trial, from: u64, buckets: u64, waiting: &Effect, not: &Effect) -> u64 {
        let mut totals = Totals::default();
        trial.restart(from);
        let mut waited = 0;
        for bucket in from + 1..=from + buckets {
            let effect = if trial.waits() { waiting } else { not };
            waited += u64::from(trial.waits());
            totals.requests += effect.requests;
            totals.replies += effect.requests;
            totals.round_trips_us += effect.requests * effect.latency_us;
            totals.turns += 10;
            trial.advance(bucket, &totals);
        }
        waited
    }

    #[test]
    fn waiting_that_brings_throughput_is_kept() {
        let mut trial = Trial::default();
        let (with, without) =
            (Effect { requests: 40, latency_us: 900 }, Effect { requests: 30, latency_us: 300 });
        run(&mut trial, 0, 200, &with, &without);
        assert!(trial.waits);
        let waited = run(&mut trial, 200, 10_000, &with, &without);
        assert!(waited > 9_700, "{waited}");
    }

    #[test]
    fn waiting_that_costs_throughput_ends_within_a_few_trials() {
        let mut trial = Trial::waiting();
        let (with, without) =
            (Effect { requests: 70, latency_us: 300 }, Effect { requests: 100, latency_us: 900 });
        run(&mut trial, 0, 4 * PERIOD_MIN, &with, &without);
        assert!(!trial.waits);
    }

    #[test]
    fn where_throughput_stays_latency_decides() {
        for (with_us, kept) in [(250, true), (350, false)] {
            let mut trial = Trial::default();
            let (with, without) = (
                Effect { requests: 40, latency_us: with_us },
                Effect { requests: 40, latency_us: 300 },
            );
            run(&mut trial, 0, 2_000, &with, &without);
            assert_eq!(trial.waits, kept, "{with_us}");
        }
    }

    #[test]
    fn the_time_in_windows_is_part_of_the_latency() {
        let begin = Totals::default();
        let end =
            Totals { requests: 9, replies: 8, round_trips_us: 800, turns: 10, windows_us: 500 };
        assert_eq!(Sample::between(&begin, &end).latency_us, 150);
    }

    #[test]
    fn a_decision_that_holds_is_questioned_ever_more_rarely() {
        let mut trial = Trial::default();
        let (with, without) =
            (Effect { requests: 40, latency_us: 500 }, Effect { requests: 40, latency_us: 300 });
        let waited = run(&mut trial, 0, 20_000, &with, &without);
        assert_eq!(trial.period, PERIOD_MAX);
        assert!((100..400).contains(&waited), "{waited}");
    }

    #[test]
    fn few_requests_decide_nothing() {
        let mut trial = Trial::default();
        let (with, without) =
            (Effect { requests: 7, latency_us: 10 }, Effect { requests: 1, latency_us: 300 });
        run(&mut trial, 0, 1_000, &with, &without);
        assert!(!trial.waits);
    }

    #[test]
    fn a_pause_ends_a_trial_without_a_decision() {
        let mut trial = Trial::default();
        let (with, without) =
            (Effect { requests: 40, latency_us: 10 }, Effect { requests: 20, latency_us: 300 });
        run(&mut trial, 0, PERIOD_MIN - 1, &with, &without);
        assert!(trial.waits(), "a trial is under way");
        trial.restart(10_000);
        assert!(!trial.waits());
    }
}
