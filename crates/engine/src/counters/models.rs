//! Models of counts: one worker counts while another thread reads, and while what is served changes.

use std::sync::Arc;

use loom::thread;

use super::*;

/// A value that a torn read could not be mistaken for: both halves change with each step.
const STEP: u64 = (1 << 32) + 1;

#[test]
fn a_reader_never_sees_a_counter_go_backwards_or_a_value_nobody_wrote() {
    loom::model(|| {
        let counts = Arc::new(WorkerCounts::default());
        let read = Arc::clone(&counts);
        // The checker tries every value that a load may still see, however old, which is why the reader comes last.
        let reader = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..3 {
                let value = read.freed_bytes.value();
                assert!(value >= last && value % STEP == 0, "{value} after {last}");
                last = value;
            }
        });
        (0..3).for_each(|_| counts.freed_bytes.add(STEP));
        reader.join().expect("read");
        assert_eq!(counts.freed_bytes.value(), 3 * STEP);
    });
}

#[test]
#[should_panic(expected = "a count is lost")]
fn a_second_writer_would_lose_counts() {
    loom::model(|| {
        let counts = Arc::new(WorkerCounts::default());
        let written = Arc::clone(&counts);
        let other = thread::spawn(move || written.clients.add(1));
        counts.clients.add(1);
        other.join().expect("counted");
        assert_eq!(counts.clients.value(), 2, "a count is lost");
    });
}
