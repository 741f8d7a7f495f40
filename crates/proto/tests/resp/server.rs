//! A real redis-server behind a unix socket in a folder of its own, for as long as a test runs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proto::resp::{ReplyScan, ReplyScanner, walk};

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
        let folder = std::env::temp_dir().join(format!("proto-resp-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "s", "--save", "", "--appendonly", "no"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("this test needs redis-server on the PATH (make test installs it): {error}")
            });
        let mut server = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(server.folder.join("s")).is_err() {
            let ended = server.process.try_wait().expect("the state of the server");
            assert!(ended.is_none(), "redis-server ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "redis-server does not listen");
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
    /// Sends bytes as they are and returns the one reply they get.
    pub(crate) fn send(&self, bytes: &[u8]) -> Vec<u8> {
        (&self.stream).write_all(bytes).expect("the server takes the request");
        let mut reply = Vec::new();
        let mut scanner = ReplyScanner::default();
        loop {
            let mut chunk = [0; 65536];
            let read = (&self.stream).read(&mut chunk).expect("the server answers");
            assert!(read > 0, "the server closed the connection after {reply:?}");
            reply.extend_from_slice(&chunk[..read]);
            match scanner.scan(&reply) {
                ReplyScan::Incomplete => {}
                ReplyScan::Complete(len) => {
                    assert_eq!(len, reply.len(), "one reply per request");
                    return reply;
                }
                malformed => panic!("{malformed:?} in {reply:?}"),
            }
        }
    }

    /// Sends a request of `words` and returns its reply.
    pub(crate) fn ask<W: AsRef<[u8]>>(&self, words: &[W]) -> Vec<u8> {
        self.send(&crate::request(words).0)
    }
}

/// A reply taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Value>),
    Null,
}

impl Value {
    pub(crate) fn of(reply: &[u8]) -> Self {
        match reply {
            [b':', ..] => Self::Integer(walk::integer(reply).expect("an integer")),
            [b'*', ..] => match walk::array_header(reply) {
                None => Self::Null,
                Some((count, header)) => {
                    let mut rest = &reply[header..];
                    let element = |_| {
                        let (element, behind) =
                            rest.split_at(walk::element_len(rest).expect("a whole element"));
                        rest = behind;
                        Self::of(element)
                    };
                    Self::List((0..count).map(element).collect())
                }
            },
            [b'$', b'-', ..] => Self::Null,
            _ => {
                let text = String::from_utf8_lossy(reply);
                let text = text.trim_end_matches("\r\n");
                let text = match reply[0] {
                    b'$' => text.split_once("\r\n").map_or("", |(_, payload)| payload),
                    _ => text,
                };
                Self::Text(text.trim_start_matches('+').to_owned())
            }
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    pub(crate) fn integer(&self) -> i64 {
        match self {
            Self::Integer(integer) => *integer,
            other => panic!("{other:?} is no integer"),
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }

    /// The value behind `key` in a list of keys and values.
    pub(crate) fn entry(&self, key: &str) -> &Self {
        let mut pairs = self.list().chunks_exact(2);
        let pair = pairs.find(|pair| pair[0].text() == key);
        &pair.unwrap_or_else(|| panic!("{self:?} has no {key}"))[1]
    }

    /// The texts of a list, sorted: the order of flags and tips means nothing.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            self.list().iter().map(|word| word.text().to_owned()).collect();
        words.sort();
        words
    }
}
