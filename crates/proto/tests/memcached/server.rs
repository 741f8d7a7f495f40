//! A real memcached behind a unix socket in a folder of its own, for as long as a test runs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proto::memcached::{ReplyScan, ReplyScanner};

/// The server; it ends with this value.
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("proto-memcached-{}-{nth}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let process = Command::new("memcached")
            // It asks for a user when it is started by root, and ignores one otherwise.
            .args(["-s", "s", "-u", "root", "-t", "1", "-m", "16"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("this test needs memcached on the PATH (make test installs it): {error}")
            });
        let mut server = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(server.folder.join("s")).is_err() {
            let ended = server.process.try_wait().expect("the state of the server");
            assert!(ended.is_none(), "memcached ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "memcached does not listen");
            std::thread::yield_now();
        }
        server
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.folder.join("s")).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a read timeout");
        Connection { stream }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test may be failing already; what cannot be cleaned up is left.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client's connection to it.
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Sends bytes as they are, and a request whose reply is known behind them; returns the replies
    /// that come before that one.
    pub(crate) fn ask(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.ask_in(&[bytes])
    }

    /// The same for bytes that are written piece by piece.
    pub(crate) fn ask_in(&self, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let bytes = pieces.concat();
        for piece in pieces.iter().chain([&&b"mn\r\n"[..]]) {
            (&self.stream).write_all(piece).expect("the server takes the request");
        }
        let mut replies = Vec::new();
        let mut received = Vec::new();
        loop {
            let mut chunk = [0; 65536];
            let read = (&self.stream).read(&mut chunk).expect("the server answers");
            assert!(read > 0, "the server closed the connection after {replies:?} to {bytes:?}");
            received.extend_from_slice(&chunk[..read]);
            loop {
                match ReplyScanner::default().scan(&received) {
                    ReplyScan::Incomplete => break,
                    ReplyScan::Complete(len) => replies.push(received.drain(..len).collect()),
                    malformed => panic!("{malformed:?} in {received:?} to {bytes:?}"),
                }
            }
            if replies.last().is_some_and(|reply: &Vec<u8>| reply == b"MN\r\n") {
                assert!(received.is_empty(), "{received:?} behind the last reply");
                replies.pop();
                return replies;
            }
        }
    }

    /// Whether the server closes the connection when it receives `bytes`.
    pub(crate) fn is_closed_by(&self, pieces: &[&[u8]]) -> bool {
        for piece in pieces {
            if (&self.stream).write_all(piece).is_err() {
                return true;
            }
        }
        matches!((&self.stream).read(&mut [0; 64]), Ok(0) | Err(_))
    }
}
