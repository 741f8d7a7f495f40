//! Wire formats: bytes to messages and back. No sockets, no clock, no allocation per message.
#![forbid(unsafe_code)]
