//! Messages from other threads to the core of a reactor. Not for the request path: it locks. A wake costs a system
//! call only when the queue was empty.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::sync::{Mutex, MutexGuard, Waker};

/// Capacity kept for the next messages after a burst was delivered.
const KEPT: usize = 1024;

/// The sending end: clone it, send it to other threads.
pub struct Mailbox<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    queue: Mutex<Queue<M>>,
    waker: Waker,
}

struct Queue<M> {
    messages: Vec<M>,
    open: bool,
}

impl<M> Mailbox<M> {
    /// Queues a message for the core and wakes its reactor. A message to a reactor that is gone is dropped.
    pub fn send(&self, message: M) {
        let mut queue = self.shared.lock();
        if !queue.open {
            return;
        }
        let wake = queue.messages.is_empty();
        queue.messages.push(message);
        drop(queue);
        if wake {
            // INVARIANT: a queue that is not empty has a wake on its way, since the reactor always takes everything.
            // Failing to write to an event counter has no cause the loop could survive; nothing to do about it here.
            let _ = self.shared.waker.wake();
        }
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Mailbox<M> {
        Mailbox { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl<M> Shared<M> {
    /// A sender that panicked between two statements left a queue that is whole.
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving end, owned by the reactor.
pub(crate) struct Inbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Inbox<M> {
    pub(crate) fn new(waker: Waker) -> Inbox<M> {
        let queue = Mutex::new(Queue { messages: Vec::new(), open: true });
        Inbox { shared: Arc::new(Shared { queue, waker }) }
    }

    pub(crate) fn mailbox(&self) -> Mailbox<M> {
        Mailbox { shared: Arc::clone(&self.shared) }
    }

    /// Takes all messages, leaving `spare` (emptied) for the next ones.
    pub(crate) fn take(&self, mut spare: Vec<M>) -> Vec<M> {
        spare.clear();
        spare.shrink_to(KEPT);
        std::mem::replace(&mut self.shared.lock().messages, spare)
    }
}

/// What is still queued is dropped, sockets in it included, however long mailboxes live.
impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.open = false;
        let messages = std::mem::take(&mut queue.messages);
        drop(queue);
        drop(messages);
    }
}

#[cfg(all(test, loom))]
mod models;
