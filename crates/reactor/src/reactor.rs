//! The loop itself: what happens in a turn, and in which order.
#![forbid(unsafe_code)]

use std::io;

use mio::{Poll, Token, Waker};

use crate::mailbox::Inbox;
use crate::{Clock, Core, Mailbox};

/// One thread's loop over its sockets.
pub struct Reactor<C: Core> {
    clock: Clock,
    #[expect(dead_code, reason = "the loop follows")]
    poll: Poll,
    inbox: Inbox<C::Message>,
}

impl<C: Core> Reactor<C> {
    /// An empty reactor.
    ///
    /// # Errors
    /// When the system gives no event queue, for want of descriptors most likely.
    pub fn new(clock: Clock) -> io::Result<Reactor<C>> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX))?;
        Ok(Reactor { clock, poll, inbox: Inbox::new(waker) })
    }

    /// A way to send messages to the core that runs in this reactor.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<C::Message> {
        self.inbox.mailbox()
    }

    /// Serves the core until it no longer wants to run.
    ///
    /// # Errors
    /// When the event queue itself fails; no fault of a peer ends the loop.
    pub fn run(&mut self, core: &mut C) -> io::Result<()> {
        while core.running() {
            core.turn(self.clock.now());
        }
        Ok(())
    }
}
