//! The comparison with twemproxy 0.5: the same bytes and the same configurations go to both, and every difference must
//! be one of the decisions that `docs/migrating.md` lists, by its number.
//!
//! A difference that is not listed fails, and so does a listed one that does not occur any more.

mod allowed;
mod arity;
mod memcached;
mod placement;
mod replies;
mod requests;
mod streams;

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{FakeServer, Pool, Proxy, reference_binary};

/// A proxy of each kind, each with its own servers behind it.
struct Pair {
    ours: Proxy,
    theirs: Proxy,
}

impl Pair {
    /// Starts both on what `pool` makes of their servers.
    fn start<S>(
        reference: &std::path::Path,
        servers: [&S; 2],
        pool: impl Fn(&S) -> String,
    ) -> Pair {
        Pair {
            ours: Proxy::with(pool(servers[0])).workers(1).start(),
            theirs: Proxy::with(pool(servers[1])).reference(reference).start(),
        }
    }

    /// Starts both on a pool of one scripted server each, with `timeout_ms` if any.
    fn on_fakes(
        reference: &std::path::Path,
        fakes: [&FakeServer; 2],
        timeout_ms: Option<u32>,
    ) -> Pair {
        Pair::start(reference, fakes, |fake| {
            let pool = Pool::redis(&[fake]);
            timeout_ms.map_or(pool.clone(), |timeout| pool.set("timeout", timeout)).to_string()
        })
    }
}

/// The reference binary; without one the comparison is left out, which must not happen in CI.
fn reference() -> Option<PathBuf> {
    let reference = reference_binary();
    if reference.is_none() {
        eprintln!(
            "no twemproxy 0.5 binary is installed: nothing was compared (Debian's package is `nutcracker`)"
        );
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must compare with twemproxy 0.5");
    }
    reference
}

/// A file of `testdata/wire`.
fn vectors(name: &str) -> Value {
    let path = format!("{}/../../testdata/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The bytes of a JSON string that holds one character per byte.
fn latin1(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    Some(
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("one character per byte")).collect(),
    )
}

/// The inverse of [`latin1`].
fn to_latin1(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|&byte| char::from(byte)).collect())
}
