//! The seam between the loop and what it serves: the trait a core implements, and the list of wishes it hands back.
//! Everything here is plain values, so that a simulated network can drive the same core.
#![forbid(unsafe_code)]

use std::io::IoSlice;
use std::time::Duration;

use crate::{Errno, Now, Peer, Stream, Target};

/// Index of a connection. The core chooses it, keeps the numbers dense (tables are as long as the highest one) and may
/// use it again once it asked for the close or was told of the failure of its last connection. Below [`SLOTS_MAX`].
pub type Slot = u32;

/// First number that is not a [`Slot`].
pub const SLOTS_MAX: u32 = 1 << 30;

/// Most slices [`Core::output`] can hand over at once.
pub const SLICES: usize = 64;

/// What becomes of an accepted socket.
#[derive(Debug)]
pub enum Verdict {
    /// Serve it in this reactor under this slot.
    Keep(Slot, Stream),
    /// Send these bytes if the socket takes them at once, then close as [`Close::Linger`] does.
    Refuse(&'static [u8], Stream),
    /// It went elsewhere, for one into the mailbox of another reactor, or was dropped.
    Gone,
}

/// Whether a connection is to be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Not before [`Ops::resume`] names the slot. The bytes of this call are taken nevertheless.
    Pause,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// At once. A peer that still sends gets a reset, which can cost it replies it has not read yet.
    Now,
    /// Ends the sending direction, then reads and discards for a bounded time and number of bytes, so that the peer
    /// can read everything sent before it sees the end.
    Linger,
}

/// What a core wants done. Closes, attaches and connects are done, in this order, right after the call that asked for
/// them, before any slot hears anything more; the rest at the end of the phase: listen, unlisten, resume, flush. Calls
/// are thus obeyed in their order; within one call, a close means what was in the slot before the call, or if that was
/// nothing, what the call itself put there.
#[derive(Debug, Default)]
pub struct Ops {
    /// Slots with new output, each at most once per phase. Harmless for a slot that cannot be written yet: it is
    /// flushed when it can.
    pub flush: Vec<Slot>,
    /// Connections to establish: the targets are tried in turn until one accepts. Told by [`Core::connected`] or
    /// [`Core::failed`], never from within the call that asked.
    pub connect: Vec<(Slot, Vec<Target>)>,
    /// Streams handed over by another reactor, to be served here as if accepted here.
    pub attach: Vec<(Slot, Stream)>,
    /// Connections to end. The core has forgotten them: nothing is reported about them any more, and output not
    /// reported by [`Core::written`] yet is lost.
    pub close: Vec<(Slot, Close)>,
    /// Paused slots to be read again.
    pub resume: Vec<Slot>,
    /// Listening sockets to accept from, with the number [`Core::accepted`] is to tell. Set non-blocking here.
    pub listen: Vec<(u32, socket2::Socket)>,
    /// Listeners to close, after [`Core::accepted`] was told of everybody who has connected to them already.
    pub unlisten: Vec<u32>,
}

impl Ops {
    /// Takes back what was to be opened under a slot.
    pub(crate) fn withdraw(&mut self, slot: Slot) {
        self.attach.retain(|&(opened, _)| opened != slot);
        self.connect.retain(|&(opened, _)| opened != slot);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flush.is_empty()
            && self.connect.is_empty()
            && self.attach.is_empty()
            && self.close.is_empty()
            && self.resume.is_empty()
            && self.listen.is_empty()
            && self.unlisten.is_empty()
    }
}

/// What a reactor drives. No method is called from within another, and none may block.
pub trait Core {
    /// What other threads send to this core through its reactor's mailbox.
    type Message: Send + 'static;

    /// A listener of this reactor accepted a socket: non-blocking, close-on-exec, `TCP_NODELAY` where it applies.
    fn accepted(&mut self, listener: u32, stream: Stream, peer: Peer, now: Now) -> Verdict;

    /// Accepting failed, for want of descriptors or memory most likely. The listener stays and tries again by itself,
    /// so this can come several times a second.
    fn accept_failed(&mut self, _listener: u32, _errno: Errno) {}

    /// Bytes arrived, at least one. They are lent for the call; what the core needs later it copies.
    fn received(&mut self, slot: Slot, bytes: &[u8], now: Now) -> Flow;

    /// The peer will send nothing more; the other direction still works. The core decides when to close.
    fn ended(&mut self, slot: Slot, now: Now);

    /// A connection asked for with [`Ops::connect`] is established.
    fn connected(&mut self, slot: Slot, now: Now);

    /// The connection is lost or could not be made (with the error of the last target). Everything the peer sent
    /// before was handed over first, save for an accepted connection that is paused. The socket is closed already and
    /// the core must forget the slot; closing it in this call is needless and harmless.
    fn failed(&mut self, slot: Slot, errno: Errno, now: Now);

    /// Fills in what is to be written to `slot`, oldest first, and returns the number of slices filled; 0 for nothing
    /// to write. `slices` holds [`SLICES`]; filling fewer says that this is all there is. Empty slices are allowed,
    /// only empty ones are not.
    fn output<'c>(&'c self, slot: Slot, slices: &mut [IoSlice<'c>]) -> usize;

    /// The first `n` bytes of the output were taken by the system.
    fn written(&mut self, slot: Slot, n: usize, now: Now);

    /// A message from a mailbox. Those of one sender come in the order they were sent.
    fn message(&mut self, message: Self::Message, now: Now);

    /// End of a turn: timeouts and housekeeping. Called once per turn, before its last flush.
    fn turn(&mut self, now: Now);

    /// The phase is over: wishes to flush and to resume, which only now are executed, may be put on the list. Called
    /// before each look at them.
    fn end_phase(&mut self) {}

    /// The list of wishes. The reactor takes it after every phase and leaves an empty one; called very often.
    fn ops(&mut self) -> &mut Ops;

    /// When [`Core::turn`] must be called at the latest, in [`Now::mono_us`]. Waits of a millisecond and more are rounded
    /// up to whole ones.
    fn deadline(&self) -> Option<u64>;

    /// How long to sleep after the first readiness of a turn so that more work gathers; zero for not at all. Asked
    /// once per turn that begins with readiness.
    fn window(&mut self, _now: Now) -> Duration {
        Duration::ZERO
    }

    /// False ends [`crate::Reactor::run`] at the end of the turn.
    fn running(&self) -> bool;
}
