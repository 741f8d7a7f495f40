//! Connected sockets and their addresses: the one type that covers TCP and unix sockets, as it travels between the
//! reactor, the core and the mailboxes of other reactors.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, Read as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use socket2::{Domain, SockAddr, Socket, Type};

/// A write to a connection that is gone must not raise `SIGPIPE`, whatever the process does about that signal. Apple's
/// systems have no such flag; there it takes what Rust programs do at their start, which is to ignore the signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: i32 = 0;

/// Who connected to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client at this address.
    Tcp(SocketAddr),
    /// A client of a unix socket; those have no address of their own.
    Unix,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP address, IPv4 or IPv6.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
}

/// A connected stream socket, TCP or unix. INVARIANT: non-blocking and close-on-exec once a reactor accepted or
/// connected it; [`Stream::from`] a foreign socket leaves its flags to the caller. Dropping it closes the socket.
#[derive(Debug)]
pub struct Stream(Socket);

impl Stream {
    /// Lets the system probe a silent peer (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// What `setsockopt` reports, for one `EINVAL` where the peer is gone already.
    pub fn keepalive(&self) -> io::Result<()> {
        self.0.set_keepalive(true)
    }

    /// The socket itself, for options this type does not know.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.0
    }

    /// Starts connecting without waiting. The flag says whether the connection is established already.
    pub(crate) fn connect(target: &Target) -> io::Result<(Stream, Progress)> {
        let (domain, address) = match target {
            Target::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if domain != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        let progress = match socket.connect(&address) {
            Ok(()) => Progress::Established,
            // An interrupted connect goes on by itself, as a non-blocking one does.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
                Progress::Pending
            }
            Err(error) => return Err(error),
        };
        Ok((Stream(socket), progress))
    }

    /// Whether a pending connect came to its end. A socket that connected to itself (the port it was given by chance
    /// is the one it was told to reach, with nobody listening there) counts as refused.
    pub(crate) fn progress(&self) -> io::Result<Progress> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        let peer = match self.0.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
                return Ok(Progress::Pending);
            }
            Err(error) => return Err(error),
        };
        if peer.as_socket().is_some() && self.0.local_addr()?.as_socket() == peer.as_socket() {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        Ok(Progress::Established)
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match slices {
                // PERF: one plain send spares the kernel copying in a message header and a vector.
                [slice] => self.0.send_with_flags(slice, SEND_FLAGS),
                slices => self.0.send_vectored_with_flags(slices, SEND_FLAGS),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// How far a connect came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Established,
}

/// Takes a socket as it is: it must be a connected stream socket, non-blocking and close-on-exec.
impl From<Socket> for Stream {
    fn from(socket: Socket) -> Stream {
        Stream(socket)
    }
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Socket {
        stream.0
    }
}

impl From<OwnedFd> for Stream {
    fn from(fd: OwnedFd) -> Stream {
        Stream(Socket::from(fd))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
