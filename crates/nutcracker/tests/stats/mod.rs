//! The stats port: the bytes of its document, how collectors read it, how it treats its readers, what it counts.

mod counts;
mod document;
mod memcached;
mod metrics;
mod readers;
mod transport;

use std::path::Path;

use crate::harness::{Client, Ending, Launch, PATIENCE, Pool, Proxy};

/// A port nobody listens on, for servers that are never asked.
const NOBODY: &str = "127.0.0.1:1";

/// A proxy of one Redis pool whose only server is never asked.
fn idle() -> Launch {
    Proxy::with(Pool::redis(&[NOBODY]))
}

/// Everything a reader gets that sends nothing and keeps its end open, which has to end in good order.
#[track_caller]
fn read_plain(mut reader: Client) -> String {
    let (text, ending) = reader.drain(PATIENCE);
    assert_eq!(ending, Ending::Eof, "after {} bytes", text.len());
    String::from_utf8(text).expect("UTF-8")
}

/// The document as a plain reader gets it over TCP.
#[track_caller]
fn document(proxy: &Proxy) -> String {
    read_plain(Client::connect(proxy.stats_address()))
}

/// The same from a unix socket.
#[track_caller]
fn document_from(path: &Path) -> String {
    read_plain(Client::connect_unix(path))
}
