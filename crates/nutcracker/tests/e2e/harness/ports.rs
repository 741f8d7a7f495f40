//! Ports nobody uses.
//!
//! They are taken from below the range the kernel draws outgoing ports from. Inside that range a port of a stopped
//! server could be taken by an outgoing connection, or a connect to it could even meet itself.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

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
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no unused port between {FIRST} and {}", FIRST + COUNT);
}
