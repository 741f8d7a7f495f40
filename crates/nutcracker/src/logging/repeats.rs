//! Holding back floods: each place in the source may write [`BURST`] lines per [`WINDOW`], the rest is counted and
//! summarised. Apart because time is an argument here, so the rule is tested without waiting.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines one place may write within a window.
pub(super) const BURST: u32 = 20;

/// How long a burst is counted; the summary follows at its end.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

/// A place in the source that logs: lines of one place share their wording. There are as many as calls in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) file: &'static str,
    pub(super) line: u32,
}

/// What was held back at one place in one window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) site: Site,
    pub(super) count: u64,
    pub(super) last: String,
}

/// The verdict about one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Of the window that ended before this line, to be written first.
    pub(super) summary: Option<Summary>,
    /// Whether the line itself is written.
    pub(super) write: bool,
}

/// The windows of all places.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    windows: HashMap<Site, Window>,
}

#[derive(Debug)]
struct Window {
    opened: Instant,
    written: u32,
    held_back: u64,
    last: String,
}

impl Repeats {
    /// Decides about a line.
    pub(super) fn admit(&mut self, site: Site, message: &str, now: Instant) -> Admitted {
        let window = self.windows.entry(site).or_insert_with(|| Window::new(now));
        let mut summary = None;
        if window.is_over(now) {
            summary = window.summary(site);
            *window = Window::new(now);
        }
        if window.written < BURST {
            window.written += 1;
            return Admitted { summary, write: true };
        }
        window.held_back += 1;
        window.last.clear();
        window.last.push_str(message);
        Admitted { summary, write: false }
    }

    /// The summaries of all windows that are over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Summary> {
        let mut due = Vec::new();
        self.windows.retain(|&site, window| {
            if !window.is_over(now) {
                return true;
            }
            due.extend(window.summary(site));
            false
        });
        due
    }
}

impl Window {
    fn new(now: Instant) -> Window {
        Window { opened: now, written: 0, held_back: 0, last: String::new() }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= WINDOW
    }

    fn summary(&mut self, site: Site) -> Option<Summary> {
        let last = std::mem::take(&mut self.last);
        (self.held_back > 0).then_some(Summary { site, count: self.held_back, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Site = Site { file: "here.rs", line: 1 };
    const THERE: Site = Site { file: "here.rs", line: 2 };

    fn written(repeats: &mut Repeats, site: Site, lines: u32, now: Instant) -> u32 {
        (0..lines).map(|i| u32::from(repeats.admit(site, &format!("line {i}"), now).write)).sum()
    }

    #[test]
    fn a_burst_is_written_and_the_rest_held_back() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        assert_eq!(written(&mut repeats, HERE, 1000, now), BURST);
        assert_eq!(written(&mut repeats, THERE, 3, now), 3, "another place has a burst of its own");
    }

    #[test]
    fn the_next_line_after_the_window_brings_the_summary() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        written(&mut repeats, HERE, BURST + 7, now);
        let admitted = repeats.admit(HERE, "again", now + WINDOW);
        assert!(admitted.write);
        assert_eq!(
            admitted.summary,
            Some(Summary { site: HERE, count: 7, last: format!("line {}", BURST + 6) })
        );
    }

    #[test]
    fn a_summary_comes_without_another_line() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        written(&mut repeats, HERE, BURST + 2, now);
        assert_eq!(repeats.due(now + WINDOW / 2), []);
        assert_eq!(repeats.due(now + WINDOW).len(), 1);
        assert_eq!(repeats.due(now + WINDOW), [], "it comes once");
    }

    #[test]
    fn a_window_without_surplus_has_no_summary() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        written(&mut repeats, HERE, BURST, now);
        assert_eq!(repeats.due(now + WINDOW), []);
        assert_eq!(
            repeats.admit(HERE, "later", now + WINDOW),
            Admitted { summary: None, write: true }
        );
    }
}
