//! The body of the fuzz target for configurations; it stays beside the parser it tests and runs on a corpus in the
//! tests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::{load, print};

/// Feeds `bytes` to the parser: it must neither panic nor hang, and what it accepts must read back after printing.
pub fn fuzz_config(bytes: &[u8]) {
    match load::from_bytes(bytes, &anywhere) {
        Ok(loaded) => {
            let printed = print(loaded.config());
            let again =
                load::from_bytes(printed.as_bytes(), &anywhere).map(load::Loaded::into_config);
            assert_eq!(again.as_ref(), Ok(loaded.config()), "reads back differently:\n{printed}");
        }
        Err(faults) => {
            assert!(faults.iter().all(|fault| !fault.to_string().is_empty()) && !faults.is_empty());
        }
    }
}

/// No name is looked up, all of them exist.
fn anywhere(_host: &str, port: u16) -> io::Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, port).into())
}
