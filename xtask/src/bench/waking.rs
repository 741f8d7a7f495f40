//! What waking others and sleeping cost on this machine, in CPU time of who does it. Requests wait for each other, so
//! these two are in every figure; between machines, virtual ones above all, they differ more than anything else does.

use std::io::{self, PipeWriter, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::machine;
use super::samples::median;

const ROUNDS: usize = 300;
/// As long as a window of ours may be, or shorter.
const SLEEP: Duration = Duration::from_micros(50);
/// After this time who waited and was woken waits again.
const APART: Duration = Duration::from_micros(300);

/// Costs in µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waking {
    /// Waking a thread that sleeps on another core, without the writing that does it.
    pub(crate) wake_us: f64,
    /// Sleeping for a moment, from going to sleep to being awake again, without the sleep itself.
    pub(crate) sleep_us: f64,
}

/// Measures both, for a thread on the first of `cores` and another on the last.
///
/// # Errors
/// When the system refuses to pin threads or to connect them.
pub(crate) fn measure(cores: &[usize]) -> Result<Waking> {
    let (first, last) = (&cores[..1], &cores[cores.len() - 1..]);
    // Threads of their own: what is pinned here would start pinned whatever is started later.
    thread::scope(|scope| {
        let (mut far, mut near) = io::pipe()?;
        scope.spawn(move || {
            let _woken_all_the_same = machine::pin_this_thread(last);
            let mut byte = [0];
            while let Ok(1) = far.read(&mut byte) {}
        });
        let measured = scope.spawn(move || {
            machine::pin_this_thread(first)?;
            let (_unread, mut alone) = io::pipe()?;
            let wake_us = write_us(&mut near)? - write_us(&mut alone)?;
            Ok(Waking { wake_us: wake_us.max(0.0), sleep_us: sleep_us() })
        });
        measured.join().map_err(|_| anyhow!("measuring what waking costs panicked"))?
    })
}

/// What writing a byte takes, every now and then.
fn write_us(pipe: &mut PipeWriter) -> Result<f64> {
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        pipe.write_all(b"x")?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        while begun.elapsed() < APART {
            std::hint::spin_loop();
        }
    }
    Ok(median(took).unwrap_or_default())
}

fn sleep_us() -> f64 {
    let begun = machine::cpu_of_this_thread();
    (0..ROUNDS).for_each(|_| thread::sleep(SLEEP));
    (machine::cpu_of_this_thread() - begun).as_secs_f64() * 1e6 / ROUNDS as f64
}

#[cfg(test)]
mod tests {
    use super::measure;
    use crate::bench::machine;

    #[test]
    fn sleeping_takes_time_and_waking_none_that_is_negative() {
        let waking = measure(&machine::cores().expect("cores")).expect("a measurement");
        assert!(waking.sleep_us > 0.0 && waking.wake_us >= 0.0, "{waking:?}");
        assert!(waking.sleep_us.max(waking.wake_us) < 1e6, "{waking:?}");
    }
}
