//! The I/O loop on mio (epoll on Linux, kqueue on macOS and the BSDs): sockets, readiness, mailboxes and the clock.
//! Knows no protocol and imports none of our crates.
//!
//! One thread runs one [`Reactor`] around one [`Core`]; nothing is shared between them but mailboxes.
//!
//! ```text
//!   other threads                          a worker's thread
//!  +--------------+          +------------------------------------------------+
//!  | control,     |  Mailbox |  Reactor                        Core           |
//!  | other        |--------->|  sockets, readiness,  bytes,    what the bytes |
//!  | workers      |  (locks, |  one read buffer     -------->  mean; output   |
//!  +--------------+   wakes  |                      <--------  queues, Ops    |
//!                     once)  |                       Ops, output              |
//!                            +------------------------------------------------+
//! ```
//!
//! Everything is batched per turn, so that a socket is read at most once and, when all goes well, written at most once
//! per turn, however many requests that serves:
//!
//! ```text
//!      +--> wait for readiness (or work left over, or the deadline)      sleep through Core::window
//!      |      |
//!      |    messages                             -> ops
//!      |    accept, at most 64 per listener
//!      |    read accepted sockets (clients)      -> ops: flush what goes to servers
//!      |    outcomes of connects
//!      |    read connected sockets (servers)     -> ops: flush what goes to clients
//!      |    Core::turn: timeouts                 -> ops
//!      +------+
//! ```
//!
//! Rules the loop keeps:
//!
//! - Sockets are registered once, edge-triggered, for both directions; readiness is remembered per connection. A read
//!   that would only say "nothing there" and a write that would only say "no room" are not made.
//! - A core hears nothing of a connection once it asked for its close, even when the slot is used again at once.
//! - What a peer sent before it reset the connection is delivered before the failure.
//! - Nothing is allocated per turn or per request in steady state, and what a spike took is given back.

mod accepting;
mod clock;
mod connecting;
mod errno;
mod lingering;
mod mailbox;
#[cfg(loom)]
pub mod model;
pub mod process;
mod reactor;
mod reading;
mod seam;
mod sockets;
mod stream;
mod sync;
mod table;
mod token;
mod writing;

pub use clock::{Clock, Now};
pub use errno::Errno;
pub use lingering::REFUSED_LINGERING_MAX;
pub use mailbox::Mailbox;
pub use reactor::Reactor;
pub use seam::{Close, Core, Flow, Ops, SLICES, SLOTS_MAX, Slot, Verdict};
pub use stream::{Peer, Stream, Target};
