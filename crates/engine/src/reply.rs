//! The words of every reply the proxy makes itself; one place, because clients match on them.
//!
//! COMPAT: texts marked 0.5 are twemproxy's; the others are those of Redis 7 where Redis has a text.

use proto::resp::{Malformed, encode};

/// 0.5: a PING.
pub(crate) const PONG: &[u8] = b"+PONG\r\n";
pub(crate) const OK: &[u8] = b"+OK\r\n";
/// What MGET answers for a key that does not exist.
pub(crate) const NULL: &[u8] = b"$-1\r\n";
pub(crate) const RESET: &[u8] = b"+RESET\r\n";
/// 0.5: any command before AUTH in a pool with `redis_auth`.
pub(crate) const NO_AUTH: &[u8] = b"-NOAUTH Authentication required\r\n";
/// 0.5: a wrong password.
pub(crate) const INVALID_PASSWORD: &[u8] = b"-ERR invalid password\r\n";
/// 0.5: AUTH in a pool without `redis_auth`.
pub(crate) const NO_PASSWORD_SET: &[u8] = b"-ERR Client sent AUTH, but no password is set\r\n";
pub(crate) const WRONG_PASS: &[u8] =
    b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
pub(crate) const NO_PROTO: &[u8] = b"-NOPROTO unsupported protocol version\r\n";
pub(crate) const BAD_PROTO: &[u8] = b"-ERR Protocol version is not an integer or out of range\r\n";
pub(crate) const HELLO_NO_AUTH: &[u8] = b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
the same time\r\n";
pub(crate) const BAD_NAME: &[u8] =
    b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
pub(crate) const LONG_NAME: &[u8] = b"-ERR Client names are limited to 64 bytes by this proxy\r\n";
pub(crate) const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same shard\r\n";
pub(crate) const NOT_AN_INTEGER: &[u8] = b"-ERR value is not an integer or out of range\r\n";
pub(crate) const SYNTAX: &[u8] = b"-ERR syntax error\r\n";
/// Memory ceiling reached; a later attempt may succeed.
pub(crate) const MEMORY: &[u8] = b"-ERR max_memory of the proxy is reached, try again later\r\n";
pub(crate) const MEMORY_REPLY: &[u8] =
    b"-ERR max_memory of the proxy is reached, reply dropped\r\n";
/// A pool of a protocol that is not served.
pub(crate) const MEMCACHED: &[u8] =
    b"SERVER_ERROR memcached pools are not served by this version\r\n";

/// Texts of faults between proxy and server, as in 0.5 (glibc's words).
pub mod fault {
    /// Nobody listens, or no server of the pool is in the ring.
    pub const CONNECTION_REFUSED: &str = "Connection refused";
    /// Connecting or answering took longer than `timeout`.
    pub const TIMED_OUT: &str = "Connection timed out";
    /// The server's host name does not resolve.
    pub const HOST_IS_DOWN: &str = "Host is down";
    /// The server sent something that is no reply, a reply nobody asked for, or one of the wrong type.
    pub const INVALID_ARGUMENT: &str = "Invalid argument";
    /// The server does not accept the pool's password.
    pub const AUTH_REFUSED: &str = "server refused AUTH";
    /// The server does not accept the pool's database.
    pub const SELECT_REFUSED: &str = "server refused SELECT";
    /// The server closed the connection with requests outstanding.
    pub const UNKNOWN: &str = "unknown";
}

/// `-ERR <text>`: a request that could not be forwarded or answered. Source: 0.5.
pub(crate) fn fault_line(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The last reply to a client that broke the framing.
pub(crate) fn protocol_error(malformed: &Malformed, out: &mut Vec<u8>) {
    fault_line(malformed.reason.text(), out);
}

/// A command of the table that needs more than this version offers.
pub(crate) fn unsupported(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR command '");
    out.extend(name.bytes().map(|byte| if byte == b'|' { b' ' } else { byte }));
    out.extend_from_slice(b"' is not supported through this proxy yet\r\n");
}

/// A flat RESP2 rendering of HELLO's map.
pub(crate) fn hello(id: u64, version: &str, out: &mut Vec<u8>) {
    encode::array_header(out, 14);
    for (field, value) in [("server", "redis"), ("version", version)] {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
    encode::bulk(out, b"proto");
    encode::integer(out, 2);
    encode::bulk(out, b"id");
    encode::integer(out, id as i64);
    encode::bulk(out, b"mode");
    encode::bulk(out, b"standalone");
    encode::bulk(out, b"role");
    encode::bulk(out, b"master");
    encode::bulk(out, b"modules");
    encode::array_header(out, 0);
}
