//! The stats port: one thread that gives the counts to whoever connects, in the form it asks for.
//!
//! It stands apart from the workers because its readers may be slow and many, and no request waits for it. All of its
//! connections are served in turn without blocking, so that none of them waits for another.

use std::io::{self, ErrorKind, PipeReader, PipeWriter};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use super::Export;
use super::peer::Peer;
use crate::process::os_error_text;

/// Connections served at once. A further one waits until one of them yields; few, because each takes a descriptor that
/// clients could have.
const PEERS_MAX: usize = 16;

/// How often those who wait look for a place.
const PLACE_PAUSE: Duration = Duration::from_millis(20);

/// How long nobody is accepted after accepting has failed, as it does when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The serving thread. Dropping this ends it, whatever its connections are doing.
#[derive(Debug)]
pub struct Port {
    /// Closed to stop the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Serves those who connect to `listener`, which is listening and non-blocking, with what `export` returns.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn open(
        listener: Socket,
        export: impl Fn(Export) -> String + Send + 'static,
    ) -> io::Result<Port> {
        let (stopped, stop) = io::pipe()?;
        let service =
            Service { listener, stopped, export, peers: Vec::new(), accepting_from: None };
        let thread = thread::Builder::new().name("stats".into()).spawn(|| service.run())?;
        Ok(Port { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Service<E> {
    listener: Socket,
    /// At its end once the thread has to stop.
    stopped: PipeReader,
    export: E,
    /// In the order of their arrival.
    peers: Vec<Peer>,
    /// Set while nobody is accepted.
    accepting_from: Option<Instant>,
}

/// Why the thread woke up.
enum Wake {
    /// It has to end.
    Stop,
    /// Somebody wants to connect.
    Knock,
    /// A connection is ready, or a time has come.
    Turn,
}

impl<E: Fn(Export) -> String> Service<E> {
    fn run(mut self) {
        loop {
            match self.wait() {
                Ok(Wake::Stop) => return,
                Ok(Wake::Knock) => self.accept(),
                Ok(Wake::Turn) => {}
                Err(error) => {
                    log::error!("waiting on the stats port failed: {}", os_error_text(&error));
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
            let now = Instant::now();
            let export = &self.export;
            self.peers.retain_mut(|peer| peer.advance(now, export).unwrap_or(false));
        }
    }

    fn wait(&mut self) -> io::Result<Wake> {
        let now = Instant::now();
        self.accepting_from = self.accepting_from.filter(|&from| now < from);
        let accepts =
            if self.accepting_from.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut watched =
            vec![PollFd::new(&self.stopped, PollFlags::IN), PollFd::new(&self.listener, accepts)];
        watched.extend(self.peers.iter().map(|peer| {
            let (socket, flags) = peer.interest();
            PollFd::new(socket, flags)
        }));
        let deadlines = self.peers.iter().map(Peer::deadline).chain(self.accepting_from);
        let timeout = deadlines.min().map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) if !watched[0].revents().is_empty() => Ok(Wake::Stop),
            Ok(_) if !watched[1].revents().is_empty() => Ok(Wake::Knock),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wake::Turn),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in those who wait, as long as there are places.
    fn accept(&mut self) {
        let now = Instant::now();
        loop {
            if !self.make_room(now) {
                self.accepting_from = Some(now + PLACE_PAUSE);
                return;
            }
            match self.listener.accept().and_then(|(socket, _)| Peer::new(socket, now)) {
                Ok(peer) => self.peers.push(peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    log::warn!("accept on the stats port failed: {}", os_error_text(&error));
                    self.accepting_from = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Whether there is a place, if need be after one connection has been let go.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.peers.len() < PEERS_MAX {
            return true;
        }
        let yields = self.peers.iter().position(|peer| peer.yields(now));
        yields.map(|index| self.peers.remove(index)).is_some()
    }
}

/// Whether a failed accept says something about that connection only.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}
