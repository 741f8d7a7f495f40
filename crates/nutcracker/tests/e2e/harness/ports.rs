//! Ports nobody uses.
//!
//! They are taken from below the range the kernel draws outgoing ports from. Inside that range a port of a stopped
//! server could be taken by an outgoing connection, or a connect to it could even meet itself.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

const FIRST: u16 = 10_000;
const BLOCK: u16 = 50;
const BLOCKS: u16 = 440;

/// A loopback port that was free a moment ago, that tests running in other processes stay away from, and that this process
/// has not handed out before, unless it has handed out all it could get.
///
/// A stranger may still take it first: whoever starts something on it retries with another one.
pub(crate) fn unused_port() -> u16 {
    static CLAIM: Mutex<Claim> = Mutex::new(Claim { blocks: Vec::new(), used: 0 });
    let mut claim = CLAIM.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = claim.next();
        if bind((Ipv4Addr::LOCALHOST, port).into()).is_ok() {
            return port;
        }
    }
}

/// What this process has of the ports.
struct Claim {
    /// The numbers of its blocks, and the files that are locked for them until the process ends.
    blocks: Vec<(u16, File)>,
    /// How many ports of these blocks were handed out.
    used: usize,
}

impl Claim {
    fn next(&mut self) -> u16 {
        if self.used == self.blocks.len() * usize::from(BLOCK) {
            match free_block() {
                Some(block) => self.blocks.push(block),
                None => self.used = 0,
            }
        }
        let (nth, port) = (self.used / usize::from(BLOCK), self.used % usize::from(BLOCK));
        self.used += 1;
        let (block, _) = self.blocks.get(nth).expect("fewer processes than blocks of ports");
        FIRST + block * BLOCK + port as u16
    }
}

/// Locks a block that no other process has.
fn free_block() -> Option<(u16, File)> {
    let dir = std::env::temp_dir().join("nutcracker-test-ports");
    fs::create_dir_all(&dir).expect("a folder for locks");
    (0..BLOCKS).find_map(|block| {
        let file = File::create(dir.join(block.to_string())).ok()?;
        file.try_lock().is_ok().then_some((block, file))
    })
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn nobody_listens_on_an_unused_port_whatever_is_started_meanwhile() {
        let done = Arc::new(AtomicBool::new(false));
        let starting = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                while !done.load(Ordering::Relaxed) {
                    Command::new("true").current_dir("/").status().expect("start `true`");
                }
            }
        });
        for _ in 0..500 {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
            assert!(TcpStream::connect(address).is_err(), "somebody listens on {address}");
            assert!(TcpListener::bind(address).is_ok(), "a server cannot have {address}");
        }
        done.store(true, Ordering::Relaxed);
        starting.join().expect("the starting thread");
    }
}
