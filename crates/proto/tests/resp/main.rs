//! RESP on the wire and the command table, as their users see them. One binary, one module per
//! source of truth: recorded vectors, properties, fuzz seeds, a live Redis server.

mod commands;
mod live;
mod properties;
mod seeds;
mod server;
mod vectors;

use proto::Span;
use proto::resp::{RequestScanner, Scan, encode};

/// A request of `words` on the wire, and the spans a scanner finds in it.
fn request<W: AsRef<[u8]>>(words: &[W]) -> (Vec<u8>, Vec<Span>) {
    let mut bytes = Vec::new();
    encode::array_header(&mut bytes, words.len());
    for word in words {
        encode::bulk(&mut bytes, word.as_ref());
    }
    let mut args = Vec::new();
    let scan = RequestScanner::default().scan(&bytes, &mut args);
    assert_eq!(scan, Scan::Complete(bytes.len()));
    (bytes, args)
}

/// The path of a file or folder of the recorded data.
fn testdata(name: &str) -> String {
    format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of recorded data.
fn json(name: &str) -> serde_json::Value {
    let path = testdata(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The bytes of recorded text: one latin-1 character each.
fn latin1(text: &serde_json::Value) -> Vec<u8> {
    let text = text.as_str().expect("recorded bytes are a string");
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect()
}
