//! What two system calls per request cost here and nothing else: a process that answers whatever comes with the reply
//! that was expected, without a look at it and without a server behind. It runs where proxies run and is measured like
//! one; no proxy that reads and writes each client once per request can be cheaper.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

/// The word behind `bench` that makes this program an echo.
pub(super) const VERB: &str = "echo";
const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 << 10;

/// Serves until it is ended. `words` are where to listen, how long requests are, and the reply.
///
/// # Errors
/// When it cannot listen, or the system fails.
pub(super) fn serve(words: &[&str]) -> Result<()> {
    let &[listen, request_bytes, reply] = words else {
        anyhow::bail!("{VERB} needs an address, a length and a reply");
    };
    let listen: SocketAddr = listen.parse().context("the address")?;
    let request_bytes: usize = request_bytes.parse().context("the length")?;
    ensure!(request_bytes > 0 && !reply.is_empty(), "requests and replies have bytes");
    let mut listener = TcpListener::bind(listen)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let replies = reply.as_bytes().repeat(READ_BYTES / request_bytes + 2);
    let mut echo = Echo {
        request_bytes,
        reply_bytes: reply.len(),
        replies,
        buffer: vec![0; READ_BYTES],
        clients: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                echo.accept(&listener, poll.registry())?;
            } else {
                echo.answer(event.token().0, event.is_readable());
            }
        }
    }
}

struct Echo {
    request_bytes: usize,
    reply_bytes: usize,
    /// More replies than can be due after one read.
    replies: Vec<u8>,
    buffer: Vec<u8>,
    clients: Vec<Option<Client>>,
}

struct Client {
    socket: TcpStream,
    /// Bytes of a request that has not come whole.
    received: usize,
    /// Bytes that are due, and those of the first reply that have been sent.
    due: usize,
    sent: usize,
}

impl Echo {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let token = Token(self.clients.len());
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.clients.push(Some(Client { socket, received: 0, due: 0, sent: 0 }));
        }
    }

    /// A client whose connection fails is gone.
    fn answer(&mut self, index: usize, is_readable: bool) {
        let Some(mut client) = self.clients[index].take() else { return };
        if client.exchange(self, is_readable).is_ok() {
            self.clients[index] = Some(client);
        }
    }
}

impl Client {
    /// One read, unless it filled the buffer, and one write.
    fn exchange(&mut self, echo: &mut Echo, is_readable: bool) -> io::Result<()> {
        let mut goes_on = is_readable;
        while goes_on {
            let read = match self.socket.read(&mut echo.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                read => read?,
            };
            let received = self.received + read;
            self.received = received % echo.request_bytes;
            self.due += received / echo.request_bytes * echo.reply_bytes;
            goes_on = read == echo.buffer.len();
        }
        while self.due > 0 {
            let end = echo.replies.len().min(self.sent + self.due);
            let written = match self.socket.write(&echo.replies[self.sent..end]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                written => written?,
            };
            self.due -= written;
            self.sent = (self.sent + written) % echo.reply_bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::serve;
    use crate::bench::fleet;

    #[test]
    fn as_many_replies_come_as_requests_were_sent_however_they_are_cut() {
        let address = fleet::free_address().expect("an address");
        // It ends with the test.
        thread::spawn(move || serve(&[&address.to_string(), "5", "$1\r\nx\r\n"]));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut client = loop {
            match TcpStream::connect(address) {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        for cut in [3, 5, 12, 30] {
            let bytes = vec![b'.'; cut];
            client.write_all(&bytes).expect("sent");
        }
        let mut replies = [0; 7 * 10];
        client.read_exact(&mut replies).expect("ten replies to fifty bytes");
        assert_eq!(replies.as_slice(), b"$1\r\nx\r\n".repeat(10));
    }
}
