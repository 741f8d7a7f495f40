//! Host names to addresses, off the data plane: the system's resolver blocks, so it runs on threads of its own.
//!
//! ```text
//! worker ── resolve(name, answer) ──► queue ──► thread (one of LOOKUPS_MAX) ── getaddrinfo ──► answer(addresses)
//!                     └ same name already under way: waits for the same lookup
//! ```
//!
//! The system's resolver rather than a library of our own, because `/etc/hosts`, search domains and `nsswitch.conf`
//! have to work as everywhere else on the machine.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::process::os_error_text;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

/// Lookups that run at the same time. A name server that is down makes each take many seconds, so there are more of
/// them than cores.
pub const LOOKUPS_MAX: usize = 16;

/// A lookup that takes longer no longer holds up those who could be served with the last good answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Names whose last good answer is kept.
const ANSWERS_MAX: usize = 4096;

/// An idle thread ends after this.
const THREAD_IDLE: Duration = Duration::from_secs(30);

/// Receives the outcome, on a thread of the resolver or, for an address literal, the caller's. It should only pass it on.
pub type Answer = Box<dyn FnOnce(Result<Vec<SocketAddr>, ResolveError>) + Send>;

/// The system's resolver, or a test's.
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// No address for a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address resolution of node '{host}' service '{port}' failed: {reason}")]
pub struct ResolveError {
    /// What was to be resolved.
    pub host: String,
    /// The port that came with it.
    pub port: u16,
    /// The system's words.
    pub reason: String,
}

/// A handle on the resolver; clones share its threads and answers. Threads that are busy when the last one goes end
/// with their lookup.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    lookup: Box<Lookup>,
    patience: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Name>>,
    pending: HashMap<Arc<Name>, Pending>,
    last_good: HashMap<Arc<Name>, Vec<SocketAddr>>,
    threads: usize,
    idle: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    host: String,
    port: u16,
}

struct Pending {
    since: Instant,
    answers: Vec<Answer>,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::new()
    }
}

impl Resolver {
    /// One that asks the system. No thread exists until the first name.
    #[must_use]
    pub fn new() -> Resolver {
        Resolver::with_lookup(PATIENCE, |host, port| {
            (host, port).to_socket_addrs().map(Iterator::collect)
        })
    }

    fn with_lookup(
        patience: Duration,
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        let shared = Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            lookup: Box::new(lookup),
            patience,
        };
        Resolver { shared: Arc::new(shared) }
    }

    /// Calls `answer` exactly once: with at least one address, in the system's order of preference, or with an error.
    /// When the resolver fails, or hangs for longer than [`PATIENCE`], the last good answer serves. Failures are logged here.
    pub fn resolve(&self, host: &str, port: u16, answer: Answer) {
        if let Ok(address) = host.parse::<IpAddr>() {
            return answer(Ok(vec![SocketAddr::new(address, port)]));
        }
        let name = Arc::new(Name { host: host.to_owned(), port });
        let mut state = self.shared.state();
        if let Some(pending) = state.pending.get_mut(&name) {
            if pending.since.elapsed() < self.shared.patience {
                return pending.answers.push(answer);
            }
            let Some(addresses) = state.last_good.get(&name).cloned() else {
                state.pending.entry(name).and_modify(|pending| pending.answers.push(answer));
                return;
            };
            drop(state);
            return answer(Ok(addresses));
        }
        state
            .pending
            .insert(name.clone(), Pending { since: Instant::now(), answers: vec![answer] });
        state.queue.push_back(name);
        if state.idle >= state.queue.len() || state.threads == LOOKUPS_MAX {
            self.shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        self.start_thread();
    }

    fn start_thread(&self) {
        let shared = self.shared.clone();
        let started = thread::Builder::new()
            .name("resolver".into())
            .spawn(move || shared.work_off_the_queue());
        let Err(error) = started else { return };
        let mut state = self.shared.state();
        state.threads -= 1;
        if state.threads == 0 {
            // Nobody is left to take names from the queue, and others may have relied on this thread for theirs.
            let stranded = std::mem::take(&mut state.queue);
            drop(state);
            for name in stranded {
                self.shared.finish(&name, Err(again(&error)));
            }
        }
    }
}

impl Shared {
    fn work_off_the_queue(self: Arc<Self>) {
        let mut state = self.state();
        loop {
            if let Some(name) = state.queue.pop_front() {
                drop(state);
                let found = (self.lookup)(&name.host, name.port);
                self.finish(&name, found);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let (woken, wait) =
                self.work.wait_timeout(state, THREAD_IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Tells everybody who waits for the name.
    fn finish(&self, name: &Arc<Name>, found: io::Result<Vec<SocketAddr>>) {
        let mut state = self.state();
        let answers = state.pending.remove(name).map(|pending| pending.answers).unwrap_or_default();
        let outcome = match found {
            Ok(addresses) if !addresses.is_empty() => {
                if state.last_good.len() >= ANSWERS_MAX && !state.last_good.contains_key(name) {
                    state.last_good.clear();
                }
                state.last_good.insert(name.clone(), addresses.clone());
                Ok(addresses)
            }
            Ok(_) => state.last_good_or(name, "no address"),
            Err(error) => state.last_good_or(name, &os_error_text(&error)),
        };
        drop(state);
        for answer in answers {
            // One that panics must not take the thread and the other answers with it.
            let _ = catch_unwind(AssertUnwindSafe(|| answer(outcome.clone())));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn last_good_or(
        &self,
        name: &Arc<Name>,
        reason: &str,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let Name { host, port } = &**name;
        let error = ResolveError { host: host.clone(), port: *port, reason: reason.to_owned() };
        let Some(addresses) = self.last_good.get(name) else {
            log::error!("{error}");
            return Err(error);
        };
        log::warn!("{error}; the addresses of the last good answer serve");
        Ok(addresses.clone())
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(all(test, loom))]
mod models;
#[cfg(test)]
mod tests;
