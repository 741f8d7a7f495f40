//! Signals, turned into values the control loop receives like any other event. Apart because this is the one place
//! that changes what signals do to the process.

use std::io;
use std::thread;

use signal_hook::consts::signal;
use signal_hook::iterator::{Handle, Signals as Deliveries};

/// A signal the proxy acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C: drain and exit.
    Interrupt,
    /// Drain and exit.
    Terminate,
    /// Reopen the log and reload.
    HangUp,
    /// Reload.
    User1,
    /// Reserved.
    User2,
    /// Log more.
    LevelUp,
    /// Log less.
    LevelDown,
}

const ALL: [Signal; 7] = [
    Signal::Interrupt,
    Signal::Terminate,
    Signal::HangUp,
    Signal::User1,
    Signal::User2,
    Signal::LevelUp,
    Signal::LevelDown,
];

impl Signal {
    /// The system's number.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Signal::Interrupt => signal::SIGINT,
            Signal::Terminate => signal::SIGTERM,
            Signal::HangUp => signal::SIGHUP,
            Signal::User1 => signal::SIGUSR1,
            Signal::User2 => signal::SIGUSR2,
            Signal::LevelUp => signal::SIGTTIN,
            Signal::LevelDown => signal::SIGTTOU,
        }
    }

    /// The line logged on receipt. COMPAT: the words of 0.5, which tools grep for; TERM is said to exit as INT is.
    #[must_use]
    pub fn log_text(self) -> String {
        let (name, action) = match self {
            Signal::Interrupt => ("SIGINT", ", exiting"),
            Signal::Terminate => ("SIGTERM", ", exiting"),
            Signal::HangUp => ("SIGHUP", ", reopening log file"),
            Signal::User1 => ("SIGUSR1", ""),
            Signal::User2 => ("SIGUSR2", ""),
            Signal::LevelUp => ("SIGTTIN", ", up logging level"),
            Signal::LevelDown => ("SIGTTOU", ", down logging level"),
        };
        format!("signal {} ({name}) received{action}", self.number())
    }
}

/// Watches the signals until dropped. What is dropped after it no longer reacts, but is not killed either.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Signals {
    /// From now on each signal of [`Signal`] calls `deliver` on a thread that does nothing else. Signals that arrive
    /// together come in any order, several of one kind as one. A peer that closes early raises no SIGPIPE: the Rust
    /// runtime ignores it from the start.
    ///
    /// # Errors
    /// The system refuses the handlers or the thread.
    pub fn watch(mut deliver: impl FnMut(Signal) + Send + 'static) -> io::Result<Signals> {
        let mut deliveries = Deliveries::new(ALL.map(Signal::number))?;
        let handle = deliveries.handle();
        let thread = thread::Builder::new().name("signals".into()).spawn(move || {
            for number in deliveries.forever() {
                if let Some(&signal) = ALL.iter().find(|signal| signal.number() == number) {
                    deliver(signal);
                }
            }
        })?;
        Ok(Signals { handle, thread: Some(thread) })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_signal_arrives_as_itself() {
        let (sender, receiver) = mpsc::channel();
        let signals = Signals::watch(move |signal| sender.send(signal).unwrap()).unwrap();
        for signal in ALL {
            signal_hook::low_level::raise(signal.number()).unwrap();
            assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(signal));
        }
        drop(signals);
        assert!(receiver.recv().is_err(), "the watching thread is gone");
    }

    #[test]
    fn the_texts_are_those_tools_look_for() {
        assert_eq!(Signal::LevelUp.log_text(), "signal 21 (SIGTTIN) received, up logging level");
        assert_eq!(
            Signal::LevelDown.log_text(),
            "signal 22 (SIGTTOU) received, down logging level"
        );
        assert_eq!(Signal::HangUp.log_text(), "signal 1 (SIGHUP) received, reopening log file");
        assert_eq!(Signal::Interrupt.log_text(), "signal 2 (SIGINT) received, exiting");
        assert_eq!(
            Signal::User1.log_text(),
            format!("signal {} (SIGUSR1) received", Signal::User1.number())
        );
    }
}
