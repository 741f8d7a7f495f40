//! A scripted server: accepts, records, and does exactly what the test says, sane or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::pool::Location;
use super::ports::unused_port;
use super::text::TextRequest;
use super::wait::{PATIENCE, eventually};

/// Something a script waits for until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub(crate) fn closed() -> Gate {
        Gate::default()
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("a gate") = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open, or for [`PATIENCE`].
    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().expect("a gate");
        drop(self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open).expect("a gate"));
    }
}

#[derive(Default)]
struct Record {
    received: Vec<u8>,
    connections: Vec<TcpStream>,
}

/// A listening scripted server. Dropping it closes its port and its connections.
pub(crate) struct FakeServer {
    listener: TcpListener,
    record: Arc<Mutex<Record>>,
}

/// One accepted connection, in the hands of a script.
pub(crate) struct FakeConnection {
    /// 0 for the first accepted connection.
    pub(crate) index: usize,
    stream: TcpStream,
    record: Arc<Mutex<Record>>,
    unread: Vec<u8>,
}

impl FakeServer {
    /// Runs `script` for each accepted connection, on a thread of its own; the connection closes when it returns.
    #[track_caller]
    pub(crate) fn start(
        script: impl Fn(&mut FakeConnection) + Send + Sync + 'static,
    ) -> FakeServer {
        let listener = eventually("a port that stays free", || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, unused_port())).ok()
        });
        let incoming = listener.try_clone().expect("a second handle");
        let record = Arc::new(Mutex::new(Record::default()));
        let server = FakeServer { listener, record: Arc::clone(&record) };
        let script = Arc::new(script);
        thread::spawn(move || {
            while let Ok((stream, _)) = incoming.accept() {
                accept(stream, &record, Arc::clone(&script));
            }
        });
        server
    }

    /// Answers every request with what `answer` makes of its words.
    #[track_caller]
    pub(crate) fn answering(
        answer: impl Fn(&[Vec<u8>]) -> Vec<u8> + Send + Sync + 'static,
    ) -> FakeServer {
        FakeServer::start(move |connection| {
            while let Some(words) = connection.request() {
                connection.send(&answer(&words));
            }
        })
    }

    /// Answers every request of the memcached protocol with what `answer` makes of it.
    #[track_caller]
    pub(crate) fn answering_memcached(
        answer: impl Fn(&TextRequest) -> Vec<u8> + Send + Sync + 'static,
    ) -> FakeServer {
        FakeServer::start(move |connection| {
            while let Some(request) = connection.text_request() {
                connection.send(&answer(&request));
            }
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a local address")
    }

    /// Every byte received so far, in order of arrival over all connections.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.record.lock().expect("the record").received.clone()
    }

    /// Forgets what was received.
    pub(crate) fn forget(&self) {
        self.record.lock().expect("the record").received.clear();
    }

    /// How many connections were accepted so far.
    pub(crate) fn connection_count(&self) -> usize {
        self.record.lock().expect("the record").connections.len()
    }

    /// Resets every open connection at once.
    pub(crate) fn reset_connections(&self) {
        for stream in &self.record.lock().expect("the record").connections {
            // A shutdown of reading makes the script end, and dropping with no linger time sends the reset.
            let _closed_already = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _closed_already = stream.shutdown(Shutdown::Read);
        }
    }
}

impl Location for FakeServer {
    fn location(&self) -> String {
        self.address().to_string()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        // Ends the accepting, and refuses connections even where a process just being started holds the socket too.
        let _closed_already = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        for stream in &self.record.lock().expect("the record").connections {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(
    stream: TcpStream,
    record: &Arc<Mutex<Record>>,
    script: Arc<impl Fn(&mut FakeConnection) + Send + Sync + 'static>,
) {
    stream.set_nodelay(true).expect("no delay");
    let mut open = record.lock().expect("the record");
    let index = open.connections.len();
    open.connections.push(stream.try_clone().expect("a second handle"));
    drop(open);
    let record = Arc::clone(record);
    thread::spawn(move || {
        let mut connection = FakeConnection { index, stream, record, unread: Vec::new() };
        script(&mut connection);
        connection.close();
    });
}

impl FakeConnection {
    /// The words of the next request, or `None` when the proxy has closed the connection.
    pub(crate) fn request(&mut self) -> Option<Vec<Vec<u8>>> {
        loop {
            if let Some((words, length)) = parse_request(&self.unread) {
                self.unread.drain(..length);
                return Some(words);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next request of the memcached protocol, or `None` when the proxy has closed the connection.
    pub(crate) fn text_request(&mut self) -> Option<TextRequest> {
        loop {
            if let Some((request, length)) = TextRequest::parse(&self.unread) {
                self.unread.drain(..length);
                return Some(request);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next line without its end, or `None` when the proxy has closed the connection.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread[..end].to_vec();
                self.unread.drain(..end + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Takes `count` bytes, whatever they are; `false` when the proxy has closed the connection before.
    pub(crate) fn skip(&mut self, count: usize) -> bool {
        while self.unread.len() < count {
            if !self.fill() {
                return false;
            }
        }
        self.unread.drain(..count);
        true
    }

    /// Waits until `count` requests have come.
    pub(crate) fn requests(&mut self, count: usize) -> Option<Vec<Vec<Vec<u8>>>> {
        (0..count).map(|_| self.request()).collect()
    }

    /// Sends `bytes`; a proxy that has gone is no concern of a script.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _gone = self.stream.write_all(bytes);
    }

    /// Reads and ignores everything until the proxy closes the connection.
    pub(crate) fn never_answer(&mut self) {
        while self.fill() {
            self.unread.clear();
        }
    }

    /// Makes the close that follows a reset.
    pub(crate) fn reset(&mut self) {
        let _gone = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends the direction towards the proxy and goes on reading.
    pub(crate) fn half_close(&mut self) {
        let _gone = self.stream.shutdown(Shutdown::Write);
    }

    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(),
            Ok(count) if count > 0 => {
                self.unread.extend_from_slice(&chunk[..count]);
                self.record.lock().expect("the record").received.extend_from_slice(&chunk[..count]);
                true
            }
            _ => false,
        }
    }

    /// Really closes: the record keeps a second handle, which has to go too.
    fn close(self) {
        let FakeConnection { index, stream, record, .. } = self;
        let lingers = SockRef::from(&stream).linger().ok().flatten();
        if lingers != Some(Duration::ZERO) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
        let placeholder = unconnected();
        record.lock().expect("the record").connections[index] = placeholder;
    }
}

/// A handle that stands in the record for a connection that is closed.
fn unconnected() -> TcpStream {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a socket")
        .into()
}

/// The words and the length of the request that `bytes` starts with, once it is whole.
fn parse_request(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let number = |at: &mut usize| -> Option<usize> {
        let end = *at + bytes.get(*at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let text = std::str::from_utf8(&bytes[*at + 1..end]).ok()?;
        *at = end + 2;
        text.parse().ok()
    };
    let count = number(&mut at)?;
    let mut words = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        let length = number(&mut at)?;
        words.push(bytes.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}
