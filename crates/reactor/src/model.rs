//! The reactor's end of a mailbox under the model checker, where there is no event queue: what `epoll` does for a
//! waker, and nothing more. Built for models only.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use mio::{Registry, Token};

use crate::Mailbox;
use crate::mailbox::Inbox;

/// In the place of mio's waker: wakes that come before the reactor looks are one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker {
    event: Arc<Event>,
}

#[derive(Debug, Default)]
struct Event {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_ready: bool,
    wakes: usize,
}

impl Waker {
    pub(crate) fn new(_: &Registry, _: Token) -> io::Result<Waker> {
        Ok(Waker::default())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as mio's")]
    pub(crate) fn wake(&self) -> io::Result<()> {
        let mut state = self.event.state.lock().expect("no poison in a model");
        state.is_ready = true;
        state.wakes += 1;
        self.event.changed.notify_one();
        Ok(())
    }
}

/// What a reactor has of its mailbox.
pub struct Receiver<M> {
    inbox: Inbox<M>,
    waker: Waker,
}

impl<M> Default for Receiver<M> {
    fn default() -> Self {
        let waker = Waker::default();
        Receiver { inbox: Inbox::new(waker.clone()), waker }
    }
}

impl<M> Receiver<M> {
    /// Another end to send to it.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<M> {
        self.inbox.mailbox()
    }

    /// Sleeps until it is woken, then takes all there is. A wake-up that was lost is a deadlock, which the model checker
    /// reports.
    #[must_use]
    pub fn wait(&self) -> Vec<M> {
        let mut state = self.waker.event.state.lock().expect("no poison in a model");
        while !state.is_ready {
            state = self.waker.event.changed.wait(state).expect("no poison in a model");
        }
        state.is_ready = false;
        drop(state);
        self.inbox.take(Vec::new())
    }

    /// Takes all there is if it was woken.
    #[must_use]
    pub fn poll(&self) -> Vec<M> {
        let mut state = self.waker.event.state.lock().expect("no poison in a model");
        let is_ready = std::mem::take(&mut state.is_ready);
        drop(state);
        if is_ready { self.inbox.take(Vec::new()) } else { Vec::new() }
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.waker.event.state.lock().expect("no poison in a model").wakes
    }
}
