//! A core that reports everything it is told and does what the test says, in a reactor on a thread of its own.

use std::collections::HashMap;
use std::io::{IoSlice, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use reactor::{
    Clock, Close, Core, Errno, Flow, Mailbox, Now, Ops, Peer, Reactor, Slot, Stream, Verdict,
};
use socket2::Socket;

/// How long anything may take before a test counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the core was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Accepted(Slot, Peer),
    AcceptFailed(u32, Errno),
    Received(Slot, Vec<u8>),
    Ended(Slot),
    Connected(Slot),
    Failed(Slot, Errno),
    Written(Slot, usize),
    Due(Now),
    Noted(u64),
}

/// A test's say in the core: runs on the reactor's thread.
pub(crate) type Order = Box<dyn FnOnce(&mut Probe, Now) + Send>;

/// What to do with an accepted socket.
pub(crate) type Reception = Box<dyn FnMut(&mut Ops, Slot, Stream) -> Verdict + Send>;

/// What to do with received bytes.
pub(crate) type Reaction = Box<dyn FnMut(&mut Probe, Slot, &[u8]) -> Flow + Send>;

/// What to do when a connection failed.
pub(crate) type Grief = Box<dyn FnMut(&mut Ops, Slot) + Send>;

/// The core.
pub(crate) struct Probe {
    pub(crate) ops: Ops,
    pub(crate) outputs: HashMap<Slot, Vec<u8>>,
    /// Size of the slices output is handed over in.
    pub(crate) slice: usize,
    pub(crate) due_us: Option<u64>,
    pub(crate) window: Duration,
    pub(crate) turns: u64,
    /// Most bytes written between two ends of a turn.
    pub(crate) most_written: usize,
    written: usize,
    pub(crate) running: bool,
    pub(crate) reception: Option<Reception>,
    pub(crate) reaction: Option<Reaction>,
    pub(crate) grief: Option<Grief>,
    /// Slots to close with these farewells once all output is written.
    pub(crate) closing: HashMap<Slot, Close>,
    next_slot: Slot,
    events: Sender<Event>,
}

impl Probe {
    fn new(events: Sender<Event>) -> Probe {
        Probe {
            ops: Ops::default(),
            outputs: HashMap::new(),
            slice: usize::MAX,
            due_us: None,
            window: Duration::ZERO,
            turns: 0,
            most_written: 0,
            written: 0,
            running: true,
            reception: None,
            reaction: None,
            grief: None,
            closing: HashMap::new(),
            next_slot: 0,
            events,
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        // A test that ended no longer listens.
        let _ = self.events.send(event);
    }

    pub(crate) fn send(&mut self, slot: Slot, bytes: &[u8]) {
        self.outputs.entry(slot).or_default().extend_from_slice(bytes);
        if !self.ops.flush.contains(&slot) {
            self.ops.flush.push(slot);
        }
    }

    pub(crate) fn close(&mut self, slot: Slot, how: Close) {
        self.outputs.remove(&slot);
        self.ops.close.push((slot, how));
    }

    pub(crate) fn close_when_written(&mut self, slot: Slot, how: Close) {
        if self.outputs.get(&slot).is_none_or(Vec::is_empty) {
            self.close(slot, how);
        } else {
            self.closing.insert(slot, how);
        }
    }
}

impl Core for Probe {
    type Message = Order;

    fn accepted(&mut self, _listener: u32, stream: Stream, peer: Peer, _now: Now) -> Verdict {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.tell(Event::Accepted(slot, peer));
        match &mut self.reception {
            Some(reception) => reception(&mut self.ops, slot, stream),
            None => Verdict::Keep(slot, stream),
        }
    }

    fn accept_failed(&mut self, listener: u32, errno: Errno) {
        self.tell(Event::AcceptFailed(listener, errno));
    }

    fn received(&mut self, slot: Slot, bytes: &[u8], _now: Now) -> Flow {
        self.tell(Event::Received(slot, bytes.to_vec()));
        let Some(mut reaction) = self.reaction.take() else { return Flow::Continue };
        let flow = reaction(self, slot, bytes);
        self.reaction.get_or_insert(reaction);
        flow
    }

    fn ended(&mut self, slot: Slot, _now: Now) {
        self.tell(Event::Ended(slot));
    }

    fn connected(&mut self, slot: Slot, _now: Now) {
        self.tell(Event::Connected(slot));
    }

    fn failed(&mut self, slot: Slot, errno: Errno, _now: Now) {
        self.outputs.remove(&slot);
        self.tell(Event::Failed(slot, errno));
        if let Some(grief) = &mut self.grief {
            grief(&mut self.ops, slot);
        }
    }

    fn output<'c>(&'c self, slot: Slot, slices: &mut [IoSlice<'c>]) -> usize {
        let Some(output) = self.outputs.get(&slot) else { return 0 };
        let chunks = output.chunks(self.slice.min(output.len().max(1)));
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn written(&mut self, slot: Slot, n: usize, _now: Now) {
        let output = self.outputs.get_mut(&slot).expect("only slots with output are written");
        output.drain(..n);
        let done = output.is_empty();
        self.written += n;
        self.most_written = self.most_written.max(self.written);
        self.tell(Event::Written(slot, n));
        if done && let Some(how) = self.closing.remove(&slot) {
            self.close(slot, how);
        }
    }

    fn message(&mut self, order: Order, now: Now) {
        order(self, now);
    }

    fn turn(&mut self, now: Now) {
        self.turns += 1;
        self.written = 0;
        if self.due_us.is_some_and(|due_us| due_us <= now.mono_us) {
            self.due_us = None;
            self.tell(Event::Due(now));
        }
    }

    fn ops(&mut self) -> &mut Ops {
        &mut self.ops
    }

    fn deadline(&self) -> Option<u64> {
        self.due_us
    }

    fn window(&mut self, _now: Now) -> Duration {
        self.window
    }

    fn running(&self) -> bool {
        self.running
    }
}

/// A reactor with a probe in it, on its own thread until dropped.
pub(crate) struct Rig {
    pub(crate) mailbox: Mailbox<Order>,
    pub(crate) events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    pub(crate) fn start() -> Rig {
        Rig::start_at(Clock::start())
    }

    pub(crate) fn start_at(clock: Clock) -> Rig {
        let (sender, events) = mpsc::channel();
        let mut reactor = Reactor::new(clock).expect("an event queue");
        let mailbox = reactor.mailbox();
        let thread = std::thread::spawn(move || {
            reactor.run(&mut Probe::new(sender)).expect("the event queue works");
        });
        Rig { mailbox, events, thread: Some(thread) }
    }

    /// Has something done on the reactor's thread.
    pub(crate) fn order(&self, order: impl FnOnce(&mut Probe, Now) + Send + 'static) {
        self.mailbox.send(Box::new(order));
    }

    /// As [`Rig::order`], and waits for the result.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Probe) -> T + Send + 'static,
    ) -> T {
        let (sender, answer) = mpsc::channel();
        self.order(move |probe, _| sender.send(order(probe)).expect("the test waits"));
        answer.recv_timeout(PATIENCE).expect("the reactor answers")
    }

    /// Keeps the reactor from polling until the returned sender is dropped.
    pub(crate) fn hold(&self) -> Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        self.order(move |_, _| {
            let _ = held.recv_timeout(PATIENCE);
        });
        release
    }

    /// Lets the reactor make a few turns.
    pub(crate) fn settle(&self) {
        for _ in 0..4 {
            self.ask(|_| ());
        }
    }

    /// The next event, writes left out.
    pub(crate) fn event(&self) -> Event {
        loop {
            match self.events.recv_timeout(PATIENCE).expect("an event in time") {
                Event::Written(..) => {}
                event => return event,
            }
        }
    }

    /// Collects what a slot receives until it ends; anything else told meanwhile is a failure.
    pub(crate) fn received_until_end(&self, slot: Slot) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.event() {
                Event::Received(from, bytes) if from == slot => all.extend_from_slice(&bytes),
                Event::Ended(ended) if ended == slot => return all,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Sends every byte received back where it came from.
    pub(crate) fn echo(&self) {
        self.react(|probe, slot, bytes| {
            probe.send(slot, bytes);
            Flow::Continue
        });
    }

    pub(crate) fn react(
        &self,
        reaction: impl FnMut(&mut Probe, Slot, &[u8]) -> Flow + Send + 'static,
    ) {
        self.order(|probe, _| probe.reaction = Some(Box::new(reaction)));
    }

    /// Listens on a loopback port of the system's choice, as listener 0.
    pub(crate) fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        self.order(|probe, _| probe.ops.listen.push((0, Socket::from(OwnedFd::from(listener)))));
        address
    }

    /// Connects a client to a listener of this rig and waits until it is accepted.
    pub(crate) fn client(&self, address: SocketAddr) -> (TcpStream, Slot) {
        let client = connect(address);
        match self.event() {
            Event::Accepted(slot, peer) => {
                assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
                (client, slot)
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// How many turns a number of messages takes that are sent one after the other.
    pub(crate) fn turns_for_messages(&self, messages: u64) -> u64 {
        let before = self.ask(|probe| probe.turns);
        for _ in 1..messages {
            self.ask(|_| ());
        }
        self.ask(|probe| probe.turns) - before
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.order(|probe, _| probe.running = false);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("a thread").expect("the reactor ends in peace");
        }
    }
}

/// A blocking client that gives up after [`PATIENCE`].
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("a listener");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// Reads exactly `n` bytes.
pub(crate) fn read(mut from: impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes).expect("bytes in time");
    bytes
}

/// Bytes that show where they belong.
pub(crate) fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
