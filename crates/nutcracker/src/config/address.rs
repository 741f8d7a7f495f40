//! The two address grammars of a pool: where it listens, and one item of its list of servers.
//!
//! COMPAT: both are read from the right as twemproxy 0.5 does, so names, weights and ports end where they always
//! ended; the texts themselves are identities and are kept letter by letter.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;

use engine::topology::{Address, Server};

use super::Listen;
use super::fault::{Problem, words};
use super::value;

/// How an item of `servers` is written, for messages.
pub(super) const SERVER_FORM: &str = "HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]";
/// The path of a unix socket is shorter than this, as the kernel demands.
const UNIX_PATH_BYTES: usize = 108;
/// The port that a server's default name leaves out, for the sake of libmemcached's placement.
const MEMCACHED_PORT: u16 = 11211;

/// Turns a host and a port into the address to bind to.
pub(super) type Resolver<'r> = &'r dyn Fn(&str, u16) -> io::Result<SocketAddr>;

/// The first address the system gives for `host`.
///
/// COMPAT: to glibc, and so to twemproxy 0.5, the host `*` is the loopback address, the one of IPv6 first.
pub(super) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if host == "*" {
        let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        return Ok(if has_ipv6 {
            (Ipv6Addr::LOCALHOST, port).into()
        } else {
            (Ipv4Addr::LOCALHOST, port).into()
        });
    }
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))
}

/// The value of the key `listen`.
pub(super) fn listen(text: &str, resolver: Resolver<'_>) -> Result<Listen, Problem> {
    if text.starts_with('/') { listen_unix(text) } else { listen_tcp(text, resolver) }
}

fn listen_unix(text: &str) -> Result<Listen, Problem> {
    let (path, mode) = match text.rsplit_once(' ') {
        Some((path, digits)) => (path, permissions(digits).ok_or_else(|| bad_permissions(text))?),
        None => (text, None),
    };
    if path.len() >= UNIX_PATH_BYTES {
        return Err(Problem::Value {
            found: text.to_owned(),
            expected: format!("a socket path shorter than {UNIX_PATH_BYTES} bytes"),
            fix: String::from("choose a shorter path"),
        });
    }
    Ok(Listen::Unix { path: PathBuf::from(path), mode, text: text.to_owned() })
}

/// COMPAT: `strtol` in base 8: reads as many octal digits as there are; none means that nothing was given.
fn permissions(text: &str) -> Option<Option<u32>> {
    let text = text.trim_start_matches(['\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let octal = digits.bytes().take_while(|byte| matches!(byte, b'0'..=b'7'));
    let mode = octal
        .fold(0u32, |mode, digit| mode.saturating_mul(8).saturating_add(u32::from(digit - b'0')));
    match mode {
        0 => Some(None),
        1..=0o777 if !negative => Some(Some(mode)),
        _ => None,
    }
}

fn bad_permissions(text: &str) -> Problem {
    Problem::Value {
        found: text.to_owned(),
        expected: String::from("octal permissions from 0001 to 0777 after the socket path"),
        fix: String::from("write for example '/run/nutcracker.sock 0660'"),
    }
}

/// Whether the text after the path of a unix `listen` is anything but octal digits, and so was read in part.
pub(super) fn permissions_are_odd(text: &str) -> bool {
    let digits = text.rsplit_once(' ').filter(|_| text.starts_with('/')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| {
        digits.is_empty() || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'))
    })
}

fn listen_tcp(text: &str, resolver: Resolver<'_>) -> Result<Listen, Problem> {
    let malformed = |fix: &str| Problem::Value {
        found: text.to_owned(),
        expected: String::from("HOST:PORT, [IPV6]:PORT or /PATH"),
        fix: fix.to_owned(),
    };
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| malformed("add ':' and a port, as in 127.0.0.1:22121"))?;
    let port = value::port(port)
        .ok_or_else(|| malformed("end with ':' and a port from 1 to 65535, digits only"))?;
    if host.is_empty() {
        return Err(malformed(
            "write 0.0.0.0 or :: in front of the port to listen on every address",
        ));
    }
    let host = unbracketed(host);
    let unresolved =
        |error: io::Error| Problem::Unresolved { host: host.to_owned(), reason: words(&error) };
    let resolved = resolver(host, port).map_err(unresolved)?;
    Ok(Listen::Tcp { host: host.to_owned(), port, resolved, text: text.to_owned() })
}

/// `::1` for `[::1]`; anything else as it is.
fn unbracketed(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| inner.contains(':')).unwrap_or(host)
}

/// One item of `servers`: `HOST:PORT:WEIGHT [NAME]` or `/PATH:WEIGHT [NAME]`.
pub(super) fn server(item: &str) -> Result<Server, Problem> {
    let (spec, name) = match item.rsplit_once(' ') {
        Some((spec, name)) => (spec, Some(name)),
        None => (item, None),
    };
    let (place, weight) =
        spec.rsplit_once(':').ok_or_else(|| malformed(item, "end with ':1' for a weight of 1"))?;
    let parsed = match positive(weight) {
        Some(weight) => weight,
        None if place.starts_with('/') || place.contains(':') => {
            return Err(bad_weight(item, weight));
        }
        None => return Err(malformed(item, "end with ':1' for a weight of 1")),
    };
    let (address, default_name) =
        if item.starts_with('/') { unix(item, place)? } else { tcp(item, place)? };
    Ok(Server {
        name: name.map_or(default_name, String::from),
        display_name: spec.to_owned(),
        address,
        weight: parsed,
    })
}

fn positive(text: &str) -> Option<u32> {
    crate::cli::decimal(text.as_bytes()).filter(|&number| number != 0)
}

fn unix(item: &str, path: &str) -> Result<(Address, String), Problem> {
    if path.contains(':') || path.contains(' ') {
        return Err(malformed(item, "the path of a unix socket must not hold a colon or a blank"));
    }
    // COMPAT: twemproxy 0.5 keeps the colon in the name; without it most keys would move.
    Ok((Address::Unix(PathBuf::from(path)), format!("{path}:")))
}

fn tcp(item: &str, place: &str) -> Result<(Address, String), Problem> {
    let missing = "write host, port and weight, as in 127.0.0.1:6379:1";
    let (host, port) = place.rsplit_once(':').ok_or_else(|| malformed(item, missing))?;
    let number = value::port(port)
        .ok_or_else(|| malformed(item, "write a port from 1 to 65535 between the colons"))?;
    let name = if number == MEMCACHED_PORT { host.to_owned() } else { place.to_owned() };
    Ok((Address::Tcp { host: unbracketed(host).to_owned(), port: number }, name))
}

fn malformed(item: &str, fix: &str) -> Problem {
    Problem::Value {
        found: item.to_owned(),
        expected: String::from(SERVER_FORM),
        fix: fix.to_owned(),
    }
}

fn bad_weight(item: &str, weight: &str) -> Problem {
    let fix = if item.contains("  ") || item.contains('\t') || item.matches(' ').count() > 1 {
        "put exactly one blank between weight and name, and none inside the name"
    } else if weight.bytes().all(|byte| byte == b'0') && !weight.is_empty() {
        "write 1 or more; to take a server out, remove its line"
    } else {
        "write the weight after the last colon in digits, 1 for equal shares"
    };
    Problem::Value {
        found: item.to_owned(),
        expected: format!("a weight from 1 to {}", i32::MAX),
        fix: fix.to_owned(),
    }
}
