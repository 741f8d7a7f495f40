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
    pub(super) turns: u64,
    /// Spent in windows, µs.
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
        let latency_us = mean(end.round_trips_us - begin.round_trips_us, end.replies - begin.replies)
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
        self.period = if pays == self.waits { (self.period * 2).min(PERIOD_MAX) } else { PERIOD_MIN };
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
