//! The I/O loop on mio: sockets, readiness, mailboxes and the clock. Knows no protocol.

pub mod process;
