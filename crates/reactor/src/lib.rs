//! The I/O loop on mio: sockets, readiness, mailboxes and the clock. Knows no protocol.

mod clock;
mod errno;
mod mailbox;
pub mod process;
mod reactor;
mod seam;
mod stream;

pub use clock::{Clock, Now};
pub use errno::Errno;
pub use mailbox::Mailbox;
pub use reactor::Reactor;
pub use seam::{Close, Core, Flow, Ops, SLICES, SLOTS_MAX, Slot, Verdict};
pub use stream::{Peer, Stream, Target};
