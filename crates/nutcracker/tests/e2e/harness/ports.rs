//! Ports nobody uses.
//!
//! They are taken from below the range the kernel draws outgoing ports from. Inside that range a port of a stopped
//! server could be taken by an outgoing connection, or a connect to it could even meet itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A loopback port that was free a moment ago and that this process has not handed out before.
///
/// Another process may still take it first: whoever starts something on it retries with another one.
pub(crate) fn unused_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 65536");
        if bind((Ipv4Addr::LOCALHOST, port).into()).is_ok() {
            return port;
        }
    }
    panic!("no unused port between {FIRST} and {}", FIRST + COUNT);
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
