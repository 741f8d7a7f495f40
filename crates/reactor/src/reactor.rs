//! The loop itself: what happens in a turn, and in which order.
#![forbid(unsafe_code)]

use std::io;
use std::thread;
use std::time::Duration;

use mio::{Events, Poll};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::mailbox::Inbox;
use crate::sockets::Sockets;
use crate::sync::Waker;
use crate::table::Side;
use crate::token::Source;
use crate::{Clock, Core, Mailbox, Now};

/// Most events fetched at once; the rest comes with the next turn.
const EVENTS_MAX: usize = 1024;

/// Event queues count their timeouts in milliseconds; shorter ones are waited for otherwise.
const COARSE: Duration = Duration::from_millis(1);

/// How long, at the end, peers of connections closed last have to read what was sent to them.
const LEAVE_US: u64 = 100_000;

/// What a poll told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Nothing: it is time that passed.
    None,
    /// Sockets only.
    Sockets,
    /// Messages, and maybe sockets.
    Mail,
}

/// One thread's loop over its sockets.
pub struct Reactor<C: Core> {
    clock: Clock,
    poll: Poll,
    events: Events,
    inbox: Inbox<C::Message>,
    /// Empty, changes places with the messages that are being delivered.
    spare: Vec<C::Message>,
    sockets: Sockets,
}

/// Lets this thread sleep for as long as it asks: the system rounds up by its timer slack, 50 µs by default, which is
/// as long as a whole window.
#[cfg(target_os = "linux")]
fn sharpen_sleep() {
    // Where it is refused, windows are longer than asked for, that is all.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
}

#[cfg(not(target_os = "linux"))]
fn sharpen_sleep() {}

impl<C: Core> Reactor<C> {
    /// An empty reactor.
    ///
    /// # Errors
    /// When the system gives no event queue, for want of descriptors most likely.
    pub fn new(clock: Clock) -> io::Result<Reactor<C>> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Mailbox.token())?;
        let sockets = Sockets::new(poll.registry().try_clone()?);
        let events = Events::with_capacity(EVENTS_MAX);
        Ok(Reactor { clock, poll, events, inbox: Inbox::new(waker), spare: Vec::new(), sockets })
    }

    /// A way to send messages to the core that runs in this reactor.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<C::Message> {
        self.inbox.mailbox()
    }

    /// Serves the core until it no longer wants to run. What it wanted before is done first, and peers of connections
    /// that linger get a moment to read what was sent to them. Sockets stay open until the reactor is dropped.
    ///
    /// # Errors
    /// When the event queue itself fails; no fault of a peer and no shortage ends the loop.
    pub fn run(&mut self, core: &mut C) -> io::Result<()> {
        sharpen_sleep();
        self.sockets.execute(core, self.clock.now());
        while core.running() {
            self.turn(core)?;
        }
        self.leave()
    }

    /// Lets connections linger, for a shorter time than while the loop serves others: dropping one whose peer still
    /// sends resets it, which costs the peer what the system has not delivered yet.
    fn leave(&mut self) -> io::Result<()> {
        let until_us = self.clock.mono_us().saturating_add(LEAVE_US);
        loop {
            let now = self.clock.now();
            self.sockets.lingering.expire(now);
            if self.sockets.lingering.deadline().is_none() || now.mono_us >= until_us {
                return Ok(());
            }
            self.wait(Some(Duration::from_micros(until_us - now.mono_us)))?;
        }
    }

    fn turn(&mut self, core: &mut C) -> io::Result<()> {
        let (readiness, now) = self.gather(core)?;
        if readiness == Readiness::Mail {
            self.deliver_mail(core, now);
            self.sockets.execute(core, now);
        }

        self.sockets.accept(core, now);
        self.sockets.read_side(core, Side::Accepted, now);
        self.sockets.flush_pending(core, now);
        self.sockets.execute(core, now);

        self.sockets.settle(core, now);
        self.sockets.read_side(core, Side::Connected, now);
        self.sockets.execute(core, now);

        let now = self.clock.now();
        self.sockets.lingering.expire(now);
        core.turn(now);
        self.sockets.execute(core, now);
        Ok(())
    }

    /// Waits for readiness, for as long as nothing is due, and through the core's window for more of it.
    fn gather(&mut self, core: &mut C) -> io::Result<(Readiness, Now)> {
        let timeout = self.timeout(core);
        let first = self.wait(timeout)?;
        let now = self.clock.now();
        if first == Readiness::None {
            return Ok((first, now));
        }
        let window = core.window(now);
        if window.is_zero() {
            return Ok((first, now));
        }
        // The wait of an event queue is too coarse for this, and would end at the first event.
        thread::sleep(window);
        let second = self.wait(Some(Duration::ZERO))?;
        let readiness = if second == Readiness::Mail { second } else { first };
        Ok((readiness, self.clock.now()))
    }

    fn timeout(&self, core: &C) -> Option<Duration> {
        if self.sockets.busy() {
            return Some(Duration::ZERO);
        }
        let due_us = [core.deadline(), self.sockets.deadline()].into_iter().flatten().min()?;
        Some(Duration::from_micros(due_us.saturating_sub(self.clock.mono_us())))
    }

    /// Polls once and notes what it tells.
    fn wait(&mut self, mut timeout: Option<Duration>) -> io::Result<Readiness> {
        if let Some(short) = timeout.filter(|timeout| !timeout.is_zero() && *timeout < COARSE) {
            self.doze(short)?;
            timeout = Some(Duration::ZERO);
        }
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Readiness::None),
            result => result?,
        }
        let mut readiness = Readiness::None;
        for event in &self.events {
            if readiness == Readiness::None {
                readiness = Readiness::Sockets;
            }
            match Source::of(event.token()) {
                Source::Connection { slot, generation } => {
                    self.sockets.note(slot, generation, event);
                }
                Source::Listener(index) => self.sockets.listeners.note(index),
                Source::Lingering(number) => self.sockets.discard(number),
                Source::Mailbox => readiness = Readiness::Mail,
            }
        }
        Ok(readiness)
    }

    /// Sleeps until something is ready, for `timeout` at most, to the microsecond where the system can.
    fn doze(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        let mut queue = [PollFd::new(self.poll.registry(), PollFlags::IN)];
        match rustix::event::poll(&mut queue, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn deliver_mail(&mut self, core: &mut C, now: Now) {
        let mut messages = self.inbox.take(std::mem::take(&mut self.spare));
        for message in messages.drain(..) {
            core.message(message, now);
            self.sockets.rearrange(core, now);
        }
        self.spare = messages;
    }
}
