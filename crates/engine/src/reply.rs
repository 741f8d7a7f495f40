//! The words of every reply the proxy makes itself; one place, because clients match on them.
//!
//! COMPAT: texts marked 0.5 are twemproxy's; the others are those of Redis 7 where Redis has a text.

use proto::resp::encode;

use crate::topology::Protocol;

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
/// To a client that asks for RESP3. In the words of a Redis that has no HELLO, because those are the ones at which every
/// client library that can do with RESP2 goes on with it; older releases of lettuce, for one, give up at NOPROTO.
pub(crate) const NO_HELLO_3: &[u8] =
    b"-ERR unknown command 'HELLO', with args beginning with: '3' \r\n";
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
/// The input of a memcached client ended in the middle of a line that would be whole if line feeds ended lines.
pub(crate) const LINE_WITHOUT_CR: &[u8] = b"CLIENT_ERROR lines have to end with \\r\\n\r\n";
pub(crate) const FLUSH_ALL_REFUSED: &[u8] =
    b"CLIENT_ERROR flush_all is not allowed in this pool, set allow_flush: true to allow it\r\n";
pub(crate) const STATS_REFUSED: &[u8] =
    b"CLIENT_ERROR the proxy has no such statistics, only plain stats; ask the server itself\r\n";
pub(crate) const MEMCACHED_OK: &[u8] = b"OK\r\n";
/// memcached: the end of a list of values or statistics.
pub(crate) const END: &[u8] = b"END\r\n";
/// memcached: the answer to `mn`.
pub(crate) const META_NO_OP: &[u8] = b"MN\r\n";

/// Memory ceiling reached; a later attempt may succeed.
pub(crate) fn request_shed(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Redis => b"-ERR max_memory of the proxy is reached, try again later\r\n",
        Protocol::Memcached => {
            b"SERVER_ERROR max_memory of the proxy is reached, try again later\r\n"
        }
    }
}

/// The same without the prefix of an error.
pub(crate) const REPLY_SHED: &str = "max_memory of the proxy is reached, reply dropped";

/// The reply was too large to be kept under the memory ceiling.
pub(crate) fn reply_shed(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Redis => b"-ERR max_memory of the proxy is reached, reply dropped\r\n",
        Protocol::Memcached => {
            b"SERVER_ERROR max_memory of the proxy is reached, reply dropped\r\n"
        }
    }
}

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
    /// This process has no descriptor left.
    pub const TOO_MANY_FILES: &str = "Too many open files";
    /// This machine has none.
    pub const TOO_MANY_FILES_IN_SYSTEM: &str = "Too many open files in system";
    /// The kernel of this machine has no room for another connection.
    pub const NO_BUFFER_SPACE: &str = "No buffer space available";
    /// The kernel of this machine has no memory.
    pub const NO_MEMORY: &str = "Cannot allocate memory";

    /// Whether a connection failed because something is short here, of which no server is guilty.
    pub(crate) fn is_own_shortage(text: &str) -> bool {
        [TOO_MANY_FILES, TOO_MANY_FILES_IN_SYSTEM, NO_BUFFER_SPACE, NO_MEMORY].contains(&text)
    }
}

/// The words before the text of a fault. Source: 0.5.
pub(crate) fn fault_prefix(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Redis => b"-ERR ",
        Protocol::Memcached => b"SERVER_ERROR ",
    }
}

/// A request that could not be forwarded or answered.
pub(crate) fn fault_line(protocol: Protocol, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(fault_prefix(protocol));
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A command of the table that needs more than this version offers.
pub(crate) fn unsupported(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR command '");
    out.extend(name.bytes().map(|byte| if byte == b'|' { b' ' } else { byte }));
    out.extend_from_slice(b"' is not supported through this proxy yet\r\n");
}

/// A memcached command that means something on one server only.
pub(crate) fn unsupported_memcached(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CLIENT_ERROR command '");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"' is not supported through this proxy\r\n");
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
