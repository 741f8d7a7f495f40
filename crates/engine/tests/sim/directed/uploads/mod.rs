//! Large requests flow to their server while they arrive, over a connection of their own.

mod ends;
mod flow;
mod memcached;
mod reloads;
mod times;

use engine::topology::{Limits, Pool};

use crate::network::WireId;
use crate::rig::{Rig, bulk, command};

/// From this size on.
const LARGE: usize = 1_000;
/// Unsent bytes of a request up to which its client is read, and some for the pieces it comes in.
const HELD_MAX: usize = 512 << 10;

fn limits() -> Limits {
    Limits { upload_bytes_min: LARGE, ..Limits::default() }
}

fn rig(pool: Pool) -> Rig {
    Rig::with(pool, limits(), 64 << 20)
}

fn get(key: &str) -> String {
    command(&["get", key])
}

/// The beginning of a SET, up to its value of `len` bytes.
fn head(key: &str, len: usize) -> String {
    format!("*3\r\n$3\r\nset\r\n{}${len}\r\n", bulk(key))
}

/// A client in the middle of a SET of 5,000 bytes to `a`, and the connection on which the server has the beginning.
fn begun(rig: &mut Rig) -> (WireId, WireId) {
    let client = rig.client();
    rig.send(client, head("a", 5_000) + "begin");
    let private = rig.server(0);
    assert_eq!(rig.read(private), head("a", 5_000) + "begin");
    (client, private)
}

/// What is still to come after [`begun`].
fn rest() -> String {
    "x".repeat(4_995) + "\r\n"
}

/// The client is served like any other.
#[track_caller]
fn assert_served(rig: &mut Rig, client: WireId, server: WireId) {
    rig.send(client, get("next"));
    assert_eq!(rig.read(server), get("next"));
    rig.send(server, bulk("yes"));
    assert_eq!(rig.read(client), bulk("yes"));
    rig.assert_at_rest();
}
