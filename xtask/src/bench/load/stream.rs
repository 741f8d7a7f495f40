//! One connection of the load: where it is in the script, what it waits for.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::script::Script;

/// A connection that sends requests of a script and counts the replies.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    /// The next request of the script.
    next: usize,
    /// Where the bytes begin that are to be written. Behind the end of the script comes its beginning.
    unsent: usize,
    /// Bytes of the current reply that have come.
    matched: usize,
    /// When each request under way was due, ns.
    pub(crate) due: VecDeque<u64>,
}

impl Stream {
    /// Begins with request `first` of the script.
    pub(crate) fn new(socket: TcpStream, script: &Script, first: usize) -> Stream {
        let next = first % script.len();
        Stream { socket, next, unsent: script.start(next), matched: 0, due: VecDeque::new() }
    }

    /// Puts `requests` more under way, all due at `now`.
    ///
    /// # Errors
    /// When the connection has failed.
    pub(crate) fn send(&mut self, script: &Script, requests: usize, now: u64) -> Result<()> {
        ensure!(self.due.len() + requests < script.len(), "too many requests are under way");
        self.next = (self.next + requests) % script.len();
        self.due.extend(std::iter::repeat_n(now, requests));
        self.write(script)
    }

    /// Writes what can be written of what is unsent.
    ///
    /// # Errors
    /// When the connection has failed.
    pub(crate) fn write(&mut self, script: &Script) -> Result<()> {
        let goal = script.start(self.next);
        while self.unsent != goal {
            let end = if goal > self.unsent { goal } else { script.bytes.len() };
            match self.socket.write(&script.bytes[self.unsent..end]) {
                Ok(written) => self.unsent = (self.unsent + written) % script.bytes.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a request could not be written"),
            }
        }
        Ok(())
    }

    /// Reads what has come; calls `answered` with the time each finished request was due.
    ///
    /// # Errors
    /// When the connection has ended, or a reply is not the one expected.
    pub(crate) fn read(
        &mut self,
        script: &Script,
        buffer: &mut [u8],
        mut answered: impl FnMut(u64),
    ) -> Result<()> {
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => {
                    bail!("the connection was closed with {} requests under way", self.due.len())
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("a reply could not be read"),
            };
            self.take(script, &buffer[..read], &mut answered)?;
            // Registered edge-triggered: what comes after a short read raises another event.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        script: &Script,
        mut bytes: &[u8],
        answered: &mut impl FnMut(u64),
    ) -> Result<()> {
        let reply = &script.reply;
        while !bytes.is_empty() {
            let is_head = self.matched < reply.head.len();
            let goal = if is_head { reply.head.len() } else { reply.len };
            let len = bytes.len().min(goal - self.matched);
            if is_head && bytes[..len] != reply.head[self.matched..self.matched + len] {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
                bail!("an unexpected reply: {:?}", text.lines().next().unwrap_or_default());
            }
            self.matched += len;
            bytes = &bytes[len..];
            if self.matched == reply.len {
                self.matched = 0;
                answered(self.due.pop_front().context("a reply that nobody asked for")?);
            }
        }
        Ok(())
    }
}

/// A connection that does not block.
///
/// # Errors
/// When it cannot be established.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.connect(&address.into()).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// A connection that is being established, one of very many.
///
/// # Errors
/// When it cannot even begin.
pub(crate) fn begin_to_connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = one_of_many(address)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
            Err(error).with_context(|| format!("cannot connect to {address}"))
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Sockets for `address`, each from another address of the loopback interface if that is where it leads: one address has
/// too few ports for what some cases open and close.
pub(crate) fn one_of_many(address: SocketAddr) -> Result<Socket> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv4Addr::LOCALHOST {
        let host = 1 + OPENED.fetch_add(1, Ordering::Relaxed) % 240;
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, host as u8), 0));
        socket.bind(&from.into())?;
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}
