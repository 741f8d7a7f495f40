//! Accepting: a bounded number per listener and turn, and a listener that survives every shortage.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::net::TcpListener as StdTcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;

use mio::event::Source as _;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry};
use socket2::Socket;

use crate::sockets::Sockets;
use crate::token::Source;
use crate::{Core, Errno, Now, Peer, Stream, Verdict};

/// Most connections one listener accepts per turn.
const ACCEPTS_MAX: usize = 64;

/// Most connections accepted from a listener before it is closed.
const LAST_ACCEPTS_MAX: usize = 4096;

/// How long a listener rests after a failure, unless a connection closes before.
const REST_US: u64 = 50_000;

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What a listener is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not watched yet.
    New,
    /// An edge will tell of the next connection.
    Waiting,
    /// There may be connections to accept.
    Ready,
    /// Accepting, or watching, failed; tried again at this time.
    Resting { until_us: u64, watched: bool },
}

struct Listener {
    id: u32,
    acceptor: Acceptor,
    state: State,
}

/// The listeners of a reactor; a vacant place is used again.
#[derive(Default)]
pub(crate) struct Listeners {
    places: Vec<Option<Listener>>,
    /// A descriptor was freed since the last look.
    relieved: bool,
}

impl Listeners {
    /// Takes a listening socket; watching it starts with the next accept phase.
    pub(crate) fn add(&mut self, id: u32, socket: Socket) {
        let listener = Some(Listener { id, acceptor: Acceptor::from(socket), state: State::New });
        match self.places.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = listener,
            None => self.places.push(listener),
        }
    }

    /// Closes a listener. Without this deregistration a copy of the descriptor elsewhere would keep the events coming.
    pub(crate) fn remove(&mut self, registry: &Registry, id: u32) {
        for place in &mut self.places {
            if let Some(mut listener) = place.take_if(|listener| listener.id == id) {
                // Fails only if it was never registered.
                let _ = listener.acceptor.deregister(registry);
            }
        }
    }

    /// Where a listener is.
    fn place_of(&self, id: u32) -> Option<usize> {
        self.places.iter().position(|place| place.as_ref().is_some_and(|place| place.id == id))
    }

    /// Whether the last accept left something.
    fn has_more(&self, index: usize) -> bool {
        let place = self.places.get(index).and_then(Option::as_ref);
        place.is_some_and(|listener| matches!(listener.state, State::New | State::Ready))
    }

    /// An event told that there is something to accept.
    pub(crate) fn note(&mut self, index: u32) {
        if let Some(Some(listener)) = self.places.get_mut(index as usize)
            && listener.state == State::Waiting
        {
            listener.state = State::Ready;
        }
    }

    /// A descriptor was freed: listeners that rest for want of one try again in the next turn.
    pub(crate) fn relieve(&mut self) {
        self.relieved = true;
    }

    /// Whether the next turn has work here.
    pub(crate) fn ready(&self) -> bool {
        self.places.iter().flatten().any(|listener| match listener.state {
            State::New | State::Ready => true,
            State::Waiting => false,
            State::Resting { .. } => self.relieved,
        })
    }

    /// When the first listener has rested.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let rests = self.places.iter().flatten().filter_map(|listener| match listener.state {
            State::Resting { until_us, .. } => Some(until_us),
            _ => None,
        });
        rests.min()
    }

    /// Gets a listener ready if it has something to do, watching it first where needed. Returns its number.
    fn prepare(
        &mut self,
        index: usize,
        registry: &Registry,
        relieved: bool,
        now: Now,
    ) -> io::Result<Option<u32>> {
        let Some(listener) = self.places.get_mut(index).and_then(Option::as_mut) else {
            return Ok(None);
        };
        let watched = match listener.state {
            State::Waiting => return Ok(None),
            State::Resting { until_us, .. } if until_us > now.mono_us && !relieved => {
                return Ok(None);
            }
            State::Resting { watched, .. } => watched,
            State::New => false,
            State::Ready => true,
        };
        if !watched {
            let token = Source::Listener(index as u32).token();
            listener.acceptor.register(registry, token)?;
        }
        listener.state = State::Ready;
        Ok(Some(listener.id))
    }

    /// Lets a listener rest after a failure. Returns its number.
    fn rest(&mut self, index: usize, now: Now) -> u32 {
        let Some(listener) = self.places.get_mut(index).and_then(Option::as_mut) else { return 0 };
        let watched = listener.state == State::Ready;
        listener.state = State::Resting { until_us: now.mono_us.saturating_add(REST_US), watched };
        listener.id
    }

    /// The next connection; none when an edge has to come first.
    fn accept(&mut self, index: usize) -> io::Result<Option<(Stream, Peer)>> {
        let Some(listener) = self.places.get_mut(index).and_then(Option::as_mut) else {
            return Ok(None);
        };
        match listener.acceptor.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.state = State::Waiting;
                Ok(None)
            }
            result => result.map(Some),
        }
    }
}

impl Sockets {
    /// Accepts from every listener that has connections waiting.
    pub(crate) fn accept<C: Core>(&mut self, core: &mut C, now: Now) {
        let relieved = std::mem::take(&mut self.listeners.relieved);
        for index in 0..self.listeners.places.len() {
            match self.listeners.prepare(index, &self.registry, relieved, now) {
                Ok(None) => {}
                Ok(Some(id)) => self.accept_from(core, index, id, now),
                Err(error) => self.accept_failed(core, index, Errno::from(error), now),
            }
        }
    }

    /// Accepts who has connected to a listener already, then closes it: the system resets those whom nobody accepted.
    pub(crate) fn unlisten<C: Core>(&mut self, core: &mut C, id: u32, now: Now) {
        if let Some(index) = self.listeners.place_of(id) {
            for _ in 0..LAST_ACCEPTS_MAX / ACCEPTS_MAX {
                self.accept_from(core, index, id, now);
                if !self.listeners.has_more(index) {
                    break;
                }
            }
        }
        self.listeners.remove(&self.registry, id);
    }

    fn accept_from<C: Core>(&mut self, core: &mut C, index: usize, id: u32, now: Now) {
        for _ in 0..ACCEPTS_MAX {
            match self.listeners.accept(index) {
                Ok(None) => return,
                Ok(Some((stream, peer))) => {
                    let verdict = core.accepted(id, stream, peer, now);
                    // The slot of the verdict may be one the core closed just now.
                    self.rearrange(core, now);
                    self.apply(verdict, now);
                }
                // The client gave up, or a signal came: the next one, please.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) if out_of_descriptors(&error) && self.lingering.drop_oldest() => {}
                Err(error) => return self.accept_failed(core, index, Errno::from(error), now),
            }
        }
    }

    fn accept_failed<C: Core>(&mut self, core: &mut C, index: usize, errno: Errno, now: Now) {
        let id = self.listeners.rest(index, now);
        core.accept_failed(id, errno);
        self.rearrange(core, now);
    }

    fn apply(&mut self, verdict: Verdict, now: Now) {
        match verdict {
            Verdict::Keep(slot, stream) => self.keep(slot, stream),
            Verdict::Refuse(bytes, stream) => {
                // A socket so full or broken that it takes no farewell gets none.
                let _ = stream.write(&[IoSlice::new(bytes)]);
                self.turn_away(stream, now);
            }
            Verdict::Gone => {}
        }
    }
}

/// Whether the process, or the system, has no descriptor left.
pub(crate) fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl Acceptor {
    fn register(&mut self, registry: &Registry, token: mio::Token) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Acceptor::Unix(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => listener.deregister(registry),
            Acceptor::Unix(listener) => listener.deregister(registry),
        }
    }

    fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Acceptor::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // Fails where the peer is gone already, which the first read tells.
                let _ = stream.set_nodelay(true);
                Ok((Stream::from(OwnedFd::from(stream)), Peer::Tcp(peer)))
            }
            Acceptor::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::from(OwnedFd::from(stream)), Peer::Unix))
            }
        }
    }
}

impl From<Socket> for Acceptor {
    fn from(socket: Socket) -> Acceptor {
        // Fails for a closed descriptor only, as does the question for the address.
        let _ = socket.set_nonblocking(true);
        if socket.local_addr().is_ok_and(|address| address.is_unix()) {
            Acceptor::Unix(UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket))))
        } else {
            Acceptor::Tcp(TcpListener::from_std(StdTcpListener::from(OwnedFd::from(socket))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use super::{Listeners, REST_US};
    use crate::Now;

    #[test]
    fn a_resting_listener_is_ready_again_after_its_time_or_when_a_descriptor_is_freed() {
        let poll = mio::Poll::new().unwrap();
        let at = |mono_us| Now { mono_us, wall_us: 0 };
        let mut listeners = Listeners::default();
        listeners.add(9, OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()).into());
        assert!(listeners.ready());
        assert_eq!(listeners.prepare(0, poll.registry(), false, at(0)).unwrap(), Some(9));
        assert_eq!(listeners.rest(0, at(0)), 9);
        assert!(!listeners.ready());
        assert_eq!(listeners.deadline(), Some(REST_US));
        assert_eq!(listeners.prepare(0, poll.registry(), false, at(REST_US - 1)).unwrap(), None);
        listeners.relieve();
        assert!(listeners.ready());
        assert_eq!(listeners.prepare(0, poll.registry(), true, at(1)).unwrap(), Some(9));
        listeners.rest(0, at(1));
        assert_eq!(listeners.prepare(0, poll.registry(), false, at(REST_US + 1)).unwrap(), Some(9));
    }
}
