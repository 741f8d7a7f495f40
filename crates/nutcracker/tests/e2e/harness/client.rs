//! A raw client: bytes out, bytes in, every read with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::reply::{Reply, request};
use super::wait::PATIENCE;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How a connection ended, seen from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An orderly end of stream.
    Eof,
    /// Reset, or any other error.
    Reset,
    /// Still open when the time was up.
    Open,
}

/// One client connection.
pub(crate) struct Client {
    stream: Stream,
    unread: Vec<u8>,
    position: usize,
}

impl Client {
    /// Connects over TCP.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects over TCP, or says why not.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Tcp(stream), unread: Vec::new(), position: 0 })
    }

    /// Connects over TCP from an address of this machine.
    #[track_caller]
    pub(crate) fn connect_from(from: Ipv4Addr, address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
        socket
            .connect(&address.into())
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        socket.set_tcp_nodelay(true).expect("no delay");
        Client { stream: Stream::Tcp(socket.into()), unread: Vec::new(), position: 0 }
    }

    /// Connects to a unix socket.
    #[track_caller]
    pub(crate) fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connect to {}: {error}", path.display()));
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Client { stream: Stream::Unix(stream), unread: Vec::new(), position: 0 }
    }

    /// The local end, for looking it up in the kernel's tables.
    #[track_caller]
    pub(crate) fn local_port(&self) -> u16 {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("a local address").port(),
            Stream::Unix(_) => panic!("a unix connection has no port"),
        }
    }

    /// Asks the kernel for a receive buffer of this size, so that unread replies pile up in the proxy and not here.
    pub(crate) fn shrink_receive_buffer(&self, bytes: usize) {
        if let Stream::Tcp(stream) = &self.stream {
            SockRef::from(stream).set_recv_buffer_size(bytes).expect("a receive buffer size");
        }
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("send {} bytes: {error}", bytes.len()));
    }

    /// Sends all of `bytes`, or says why not.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends `bytes` in segments of one byte each.
    #[track_caller]
    pub(crate) fn send_byte_by_byte(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
    }

    /// Writes what the proxy takes of `bytes` until it has accepted nothing for `patience`; returns how much it took.
    pub(crate) fn send_until_blocked(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.set_write_timeout(patience);
        let mut sent = 0;
        while sent < bytes.len() {
            let chunk = &bytes[sent..bytes.len().min(sent + (256 << 10))];
            let written = match &mut self.stream {
                Stream::Tcp(stream) => stream.write(chunk),
                Stream::Unix(stream) => stream.write(chunk),
            };
            match written {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.set_write_timeout(PATIENCE);
        sent
    }

    /// Sends `bytes` from a thread of its own, which ends when all are sent or the connection is gone.
    #[track_caller]
    pub(crate) fn send_in_background(&self, bytes: Vec<u8>) -> JoinHandle<()> {
        self.send_pieces_in_background(vec![bytes])
    }

    /// The same, with a segment for each piece.
    #[track_caller]
    pub(crate) fn send_pieces_in_background(&self, pieces: Vec<Vec<u8>>) -> JoinHandle<()> {
        let Stream::Tcp(stream) = &self.stream else { panic!("only over TCP") };
        let mut stream = stream.try_clone().expect("a second handle");
        thread::spawn(move || {
            let _gone = pieces.iter().try_for_each(|piece| stream.write_all(piece));
        })
    }

    /// Sends one request of `words`.
    #[track_caller]
    pub(crate) fn send_request<W: AsRef<[u8]>>(&mut self, words: &[W]) {
        self.send(&request(words));
    }

    /// Sends one request and reads its reply.
    #[track_caller]
    pub(crate) fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        self.send_request(words);
        self.reply()
    }

    /// Reads one whole reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|error| panic!("read a reply: {error}"))
    }

    /// Reads `count` replies.
    #[track_caller]
    pub(crate) fn replies(&mut self, count: usize) -> Vec<Reply> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Reads one whole reply, or says why not.
    pub(crate) fn try_reply(&mut self) -> io::Result<Reply> {
        let deadline = Instant::now() + PATIENCE;
        let line = self.line(deadline)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| garbage(&line))?;
        let number = || rest.parse::<i64>().map_err(|_| garbage(&line));
        Ok(match kind {
            "+" => Reply::Simple(rest.into()),
            "-" => Reply::Error(rest.into()),
            ":" => Reply::Integer(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(length) => Reply::Bulk(self.bulk(length, deadline)?),
            },
            "*" => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(count) => {
                    Reply::Array((0..count).map(|_| self.try_reply()).collect::<Result<_, _>>()?)
                }
            },
            _ => return Err(garbage(&line)),
        })
    }

    /// Reads exactly as many bytes as `expected` has and compares.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while self.pending().len() < expected.len() {
            match self.fill(deadline) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    panic!(
                        "expected {}, got {} and then {error}",
                        show(expected),
                        show(self.pending())
                    )
                }
            }
        }
        let length = expected.len().min(self.pending().len());
        let got = self.take(length);
        assert!(got == expected, "expected {}, got {}", show(expected), show(&got));
    }

    /// Reads until what came ends with `mark`, and returns what was before it; or what came when there was no mark.
    pub(crate) fn read_through(&mut self, mark: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        while !self.pending().ends_with(mark) {
            if !matches!(self.fill(deadline), Ok(count) if count > 0) {
                return Err(self.take(self.pending().len()));
            }
        }
        let mut all = self.take(self.pending().len());
        all.truncate(all.len() - mark.len());
        Ok(all)
    }

    /// Reads `length` bytes, or fewer when no more come.
    pub(crate) fn read_up_to(&mut self, length: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.pending().len() < length {
            if !matches!(self.fill(deadline), Ok(count) if count > 0) {
                break;
            }
        }
        self.take(length.min(self.pending().len()))
    }

    /// Waits until something has arrived, which stays to be read.
    #[track_caller]
    pub(crate) fn await_input(&mut self) {
        let arrived = self.fill_or_eof(Instant::now() + PATIENCE);
        arrived.unwrap_or_else(|error| panic!("waiting for input: {error}"));
    }

    /// Sends a request of the memcached protocol and compares its reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) {
        self.send(request.as_ref());
        self.expect(reply.as_ref());
    }

    /// Reads to the end of the stream and compares everything that came.
    #[track_caller]
    pub(crate) fn expect_then_closed(&mut self, expected: &[u8]) {
        let (got, ending) = self.drain(PATIENCE);
        assert!(got == expected, "expected {}, got {} ({ending:?})", show(expected), show(&got));
        assert_ne!(ending, Ending::Open, "the connection is still open after {}", show(&got));
    }

    /// Checks that the connection answers a PING, so that it is open and in step.
    #[track_caller]
    pub(crate) fn expect_usable(&mut self) {
        self.send(b"*1\r\n$4\r\nPING\r\n");
        self.expect(b"+PONG\r\n");
    }

    /// Everything that arrives until the connection ends, at most for `span`.
    pub(crate) fn drain(&mut self, span: Duration) -> (Vec<u8>, Ending) {
        let deadline = Instant::now() + span;
        let ending = loop {
            match self.fill(deadline) {
                Ok(0) => break Ending::Eof,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => break Ending::Open,
                Err(_) => break Ending::Reset,
            }
        };
        let length = self.pending().len();
        (self.take(length), ending)
    }

    /// Ends our direction of the connection; the other stays open.
    pub(crate) fn half_close(&mut self) {
        let _ended_already = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Drops the connection with a reset.
    pub(crate) fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a linger time");
        }
    }

    fn set_write_timeout(&self, timeout: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(timeout)),
        }
        .expect("a write timeout");
    }

    fn pending(&self) -> &[u8] {
        &self.unread[self.position..]
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.pending()[..length].to_vec();
        self.position += length;
        if self.position == self.unread.len() {
            self.unread.clear();
            self.position = 0;
        }
        taken
    }

    /// Reads more bytes; 0 at the end of the stream, `TimedOut` at the deadline.
    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut chunk = [0; 64 << 10];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(&mut chunk)
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(&mut chunk)
            }
        };
        match read {
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            // A read with a timeout is not resumed by the system when something stops the process for a moment.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(deadline),
            Err(error) => Err(error),
        }
    }

    fn fill_or_eof(&mut self, deadline: Instant) -> io::Result<()> {
        if self.fill(deadline)? == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                format!("closed after {}", show(self.pending())),
            ));
        }
        Ok(())
    }

    /// Reads a line without its end.
    #[track_caller]
    pub(crate) fn text_line(&mut self) -> String {
        let line = self.line(Instant::now() + PATIENCE);
        line.unwrap_or_else(|error| panic!("read a line: {error}"))
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending()[searched..].windows(2).position(|pair| pair == b"\r\n")
            {
                let line = self.take(searched + at);
                self.take(2);
                let line = String::from_utf8_lossy(&line).into_owned();
                return if line.is_empty() { Err(garbage("an empty line")) } else { Ok(line) };
            }
            searched = self.pending().len().saturating_sub(1);
            self.fill_or_eof(deadline)?;
        }
    }

    fn bulk(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.pending().len() < length + 2 {
            self.fill_or_eof(deadline)?;
        }
        let bytes = self.take(length);
        if self.take(2) != b"\r\n" {
            return Err(garbage("a bulk string without its end"));
        }
        Ok(bytes)
    }
}

fn garbage(line: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a RESP2 reply: {}", show(line.as_bytes())))
}

/// Bytes as a person can read them, long ones cut.
fn show(bytes: &[u8]) -> String {
    let cut = bytes.len().min(400);
    let dots =
        if cut < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{dots}", bytes[..cut].escape_ascii())
}
