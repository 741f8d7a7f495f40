//! What the end-to-end tests stand on: real servers, scripted servers, the proxy as a process, and a raw client.
//!
//! It stands apart from the tests so that these read as stories. Everything here waits by polling with a deadline and
//! ends what it started when it is dropped, by process id.

mod client;
mod fake;
mod pool;
mod ports;
mod process;
mod proxy;
mod random;
mod reply;
mod sandbox;
mod servers;
mod text;
mod wait;

pub(crate) use client::{Client, Ending};
pub(crate) use fake::{FakeConnection, FakeServer, Gate};
pub(crate) use pool::{HASHES, Location, Pool};
pub(crate) use ports::unused_port;
pub(crate) use process::Process;
pub(crate) use proxy::{Launch, Proxy, WORKER_COUNTS, binary_under_test, reference_binary};
pub(crate) use random::Random;
pub(crate) use reply::{Reply, request, requests};
pub(crate) use sandbox::{PrivateNetwork, in_private_network, private_files_allowed, skip};
pub(crate) use servers::{RealServer, spread};
pub(crate) use text::TextRequest;
pub(crate) use wait::{PATIENCE, eventually, within};
