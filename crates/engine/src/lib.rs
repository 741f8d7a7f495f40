//! The core of a worker: requests in, requests out, replies back. No socket, thread, lock, clock or random source.
#![forbid(unsafe_code)]

pub mod topology;
