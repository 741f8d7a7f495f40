//! What the model checker lacks: waits that can time out, and threads that the system refuses. Built for models only.

use std::sync::LockResult;
use std::time::Duration;

use loom::sync::MutexGuard;
use loom::sync::atomic::{AtomicBool, Ordering};

/// Stack of a model's threads, in words. The checker's own choice is too small for a failure to be told.
#[cfg(test)]
const STACK_WORDS: usize = 1 << 17;

/// Tries all orders of events with this many switches of threads that none of them asked for, which is where faults are.
#[cfg(test)]
pub(crate) fn check(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let model = std::sync::Arc::new(model);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 10_000;
    builder.check(move || {
        let model = std::sync::Arc::clone(&model);
        start(move || model()).join().expect("a model that passes");
    });
}

/// Starts a thread of a model.
#[cfg(test)]
pub(crate) fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    let builder = loom::thread::Builder::new().stack_size(STACK_WORDS);
    builder.spawn(work).expect("the checker has threads")
}

/// A condition whose time limits all pass when a model says so.
#[derive(Debug)]
pub(crate) struct Condvar {
    condition: loom::sync::Condvar,
    is_late: AtomicBool,
}

/// How a wait ended.
#[derive(Debug)]
pub(crate) struct WaitOutcome {
    timed_out: bool,
}

impl WaitOutcome {
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out
    }
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar { condition: loom::sync::Condvar::new(), is_late: AtomicBool::new(false) }
    }

    pub(crate) fn notify_one(&self) {
        self.condition.notify_one();
    }

    /// Waits until notified or until [`Condvar::pass_time`] is called, if it was not yet.
    pub(crate) fn wait_timeout<'g, T>(
        &self,
        mut guard: MutexGuard<'g, T>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'g, T>, WaitOutcome)> {
        if !self.is_late.load(Ordering::SeqCst) {
            guard = self.condition.wait(guard).expect("no poison in a model");
        }
        Ok((guard, WaitOutcome { timed_out: self.is_late.load(Ordering::SeqCst) }))
    }

    /// All waits have taken too long, those that begin from now on included. To be called under the lock of the waits.
    #[cfg(test)]
    pub(crate) fn pass_time(&self) {
        self.is_late.store(true, Ordering::SeqCst);
        self.condition.notify_all();
    }
}

/// Threads as the standard library starts them.
pub(crate) mod thread {
    use std::cell::Cell;
    use std::io;

    use loom::thread::JoinHandle;

    std::thread_local! {
        /// Shared by all threads of one model, which run on one thread of the system.
        static ARE_REFUSED: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on the system gives no thread to this model, or gives them again.
    #[cfg(test)]
    pub(crate) fn refuse(refused: bool) {
        ARE_REFUSED.set(refused);
    }

    /// What a thread is to be.
    #[derive(Debug)]
    pub(crate) struct Builder(loom::thread::Builder);

    impl Builder {
        pub(crate) fn new() -> Builder {
            Builder(loom::thread::Builder::new())
        }

        pub(crate) fn name(self, name: String) -> Builder {
            Builder(self.0.name(name))
        }

        pub(crate) fn spawn(
            self,
            work: impl FnOnce() + Send + 'static,
        ) -> io::Result<JoinHandle<()>> {
            if ARE_REFUSED.get() {
                // The caller goes on at any later time.
                loom::thread::yield_now();
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.spawn(work)
        }
    }
}
