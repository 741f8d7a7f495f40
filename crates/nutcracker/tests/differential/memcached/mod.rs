//! The comparison on memcached pools, on the wire, in the servers' data, and when servers fail.

mod failures;
mod placement;
mod replies;
mod requests;
mod streams;

use super::{Pair, latin1, reference, to_latin1, vectors};
use crate::harness::TextRequest;

/// A request that both proxies forward and that every scripted server answers like this.
const PROBE: &[u8] = b"get probe\r\n";
const PROBE_REPLY: &[u8] = b"VALUE probe 0 5\r\nprobe\r\nEND\r\n";

fn is_probe(request: &TextRequest) -> bool {
    request.key() == b"probe"
}
