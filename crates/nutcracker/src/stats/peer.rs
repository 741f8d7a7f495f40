//! One connection of the stats port, from its first moment to its end, never blocking.
//!
//! ```text
//! Listening ─ silent, or no request ─► Answering ─ all sent ─► Leaving ─ the peer has closed ─► gone
//!           └ a whole HTTP request ──►
//! ```
//!
//! It leaves slowly because closing with unread bytes makes the system reset the connection, and a reset takes away what
//! the peer has not read yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::Socket;

use super::Export;
use super::http::{self, Opening};

/// A peer that is silent for so long reads only. COMPAT: readers of twemproxy 0.5 send nothing.
const GRACE: Duration = Duration::from_millis(30);

/// A request that has begun has to be whole after this time.
const REQUEST_PATIENCE: Duration = Duration::from_secs(1);

/// A request that is not whole after this time yields its place to another.
const STUTTER_PATIENCE: Duration = Duration::from_millis(100);

/// A peer that takes nothing for so long is given up.
const READING_PATIENCE: Duration = Duration::from_secs(10);

/// A peer that takes nothing for so long yields its place to another.
const STALL_PATIENCE: Duration = Duration::from_millis(500);

/// How long a peer may take to close once it has everything.
const LEAVING_PATIENCE: Duration = Duration::from_secs(1);

/// Reads per turn, so that a peer that floods does not keep the others waiting.
const READS_MAX: usize = 16;

/// A connection and what it is waiting for.
#[derive(Debug)]
pub(super) struct Peer {
    socket: Socket,
    state: State,
    /// When waiting ends.
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    Listening { received: Vec<u8> },
    Answering { answer: Vec<u8>, sent: usize },
    Leaving,
}

/// What one attempt to read brought.
enum Input {
    Some,
    Nothing,
    End,
}

impl Peer {
    /// Greets the peer at the other end of `socket`, which becomes non-blocking.
    pub(super) fn new(socket: Socket, now: Instant) -> io::Result<Peer> {
        socket.set_nonblocking(true)?;
        let state = State::Listening { received: Vec::new() };
        Ok(Peer { socket, state, deadline: now + GRACE })
    }

    /// When it has to be advanced, ready or not.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether another may have its place: it has been sent everything, it does not read, or it does not come to the end
    /// of its request.
    pub(super) fn yields(&self, now: Instant) -> bool {
        match &self.state {
            State::Listening { received } => {
                !received.is_empty() && now + (REQUEST_PATIENCE - STUTTER_PATIENCE) >= self.deadline
            }
            State::Answering { .. } => now + (READING_PATIENCE - STALL_PATIENCE) >= self.deadline,
            State::Leaving => true,
        }
    }

    /// What to poll it for, and on what.
    pub(super) fn interest(&self) -> (&Socket, PollFlags) {
        let flags = match self.state {
            State::Listening { .. } | State::Leaving => PollFlags::IN,
            State::Answering { .. } => PollFlags::OUT,
        };
        (&self.socket, flags)
    }

    /// Does what can be done now; an error or `false` means that the connection is over.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        export: &impl Fn(Export) -> String,
    ) -> io::Result<bool> {
        if matches!(self.state, State::Listening { .. }) && !self.listen(now, export)? {
            return Ok(true);
        }
        if matches!(self.state, State::Answering { .. }) && !self.answer(now)? {
            return Ok(now < self.deadline);
        }
        Ok(self.leave()? && now < self.deadline)
    }

    /// Reads until it is clear what to answer; whether it is.
    fn listen(&mut self, now: Instant, export: &impl Fn(Export) -> String) -> io::Result<bool> {
        let State::Listening { received } = &mut self.state else { return Ok(true) };
        let was_silent = received.is_empty();
        let input = read(&self.socket, |bytes| received.extend_from_slice(bytes))?;
        if was_silent && !received.is_empty() {
            self.deadline = now + REQUEST_PATIENCE;
        }
        let waits = now < self.deadline && !matches!(input, Input::End);
        let answer = match http::opening(received) {
            Opening::Incomplete if waits => return Ok(false),
            Opening::Incomplete | Opening::Plain => export(Export::Document),
            Opening::Http(request) => http::response(request, export),
        };
        self.state = State::Answering { answer: answer.into_bytes(), sent: 0 };
        self.deadline = now + READING_PATIENCE;
        Ok(true)
    }

    /// Writes as much as the peer takes; whether that was all.
    fn answer(&mut self, now: Instant) -> io::Result<bool> {
        let State::Answering { answer, sent } = &mut self.state else { return Ok(true) };
        while *sent < answer.len() {
            match (&self.socket).write(&answer[*sent..]) {
                Ok(count) => {
                    *sent += count;
                    self.deadline = now + READING_PATIENCE;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        self.state = State::Leaving;
        self.deadline = now + LEAVING_PATIENCE;
        Ok(true)
    }

    /// Takes what the peer still sends; `false` once it has closed.
    fn leave(&self) -> io::Result<bool> {
        for _ in 0..READS_MAX {
            match read(&self.socket, |_| ())? {
                Input::Some => {}
                Input::Nothing => return Ok(true),
                Input::End => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn read(mut socket: &Socket, take: impl FnOnce(&[u8])) -> io::Result<Input> {
    let mut chunk = [0; 16 << 10];
    match socket.read(&mut chunk) {
        Ok(0) => Ok(Input::End),
        Ok(count) => {
            take(&chunk[..count]);
            Ok(Input::Some)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(Input::Nothing)
        }
        Err(error) => Err(error),
    }
}
