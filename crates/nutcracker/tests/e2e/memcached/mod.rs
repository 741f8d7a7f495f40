//! Memcached pools: the protocol as memcached has it, and what the proxy adds and refuses.

mod script;
mod scripts;
