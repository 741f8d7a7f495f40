//! Ports nobody uses.
//!
//! They are taken from below the range the kernel draws outgoing ports from. Inside that range a port of a stopped
//! server could be taken by an outgoing connection, or a connect to it could even meet itself.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

const FIRST: u16 = 10_000;
const BLOCK: u16 = 50;
const BLOCKS: u16 = 440;

/// A loopback port that was free a moment ago and that no process of these tests has handed out while this one runs.
///
/// A stranger may still take it first: whoever starts something on it retries with another one.
pub(crate) fn unused_port() -> u16 {
    static CLAIM: Mutex<Claim> = Mutex::new(Claim { ports: 0..0, locks: Vec::new() });
    let mut claim = CLAIM.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match claim.ports.next() {
            Some(port) if bind((Ipv4Addr::LOCALHOST, port).into()).is_ok() => return port,
            Some(_) => {}
            None => claim.extend(),
        }
    }
}

/// What this process has of the ports: blocks that were locked, so that tests that run at the same time stay apart.
struct Claim {
    /// Not handed out yet.
    ports: Range<u16>,
    /// Held until the process ends.
    locks: Vec<File>,
}

impl Claim {
    /// Takes another block.
    fn extend(&mut self) {
        let dir = std::env::temp_dir().join("nutcracker-test-ports");
        fs::create_dir_all(&dir).expect("a folder for locks");
        let lock = |block: u16| {
            let file = File::create(dir.join(block.to_string())).ok()?;
            file.try_lock().is_ok().then_some((block, file))
        };
        let (block, file) = (0..BLOCKS).find_map(lock).expect("a block of ports nobody has");
        self.locks.push(file);
        self.ports = FIRST + block * BLOCK..FIRST + (block + 1) * BLOCK;
    }
}

/// Takes an address without listening: a process that another thread starts meanwhile holds the socket too until it
/// executes its program, and whoever looks for a server would find that.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Servers set this too, so that a socket held a little longer is not in their way.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn nobody_listens_on_an_unused_port_whatever_is_started_meanwhile() {
        let starting = thread::spawn(|| {
            (0..200).for_each(|_| {
                Command::new("true").current_dir("/").status().expect("start `true`");
            });
        });
        while !starting.is_finished() {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
            assert!(TcpStream::connect(address).is_err(), "somebody listens on {address}");
            assert!(TcpListener::bind(address).is_ok(), "a server cannot have {address}");
        }
    }
}
