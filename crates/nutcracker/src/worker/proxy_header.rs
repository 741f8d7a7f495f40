//! The PROXY protocol header, text (version 1) and binary (version 2), with which a load balancer tells whose connection
//! it forwards. Pure bytes in, verdict out: whoever holds the connection decides what follows from it.
//!
//! The rules are those of HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2, read strictly: a header that is
//! doubtful in any way is malformed, because what it claims ends up in logs and limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest text header there can be, its line end included.
const TEXT_BYTES_MAX: usize = 107;
/// How every text header begins.
const TEXT_START: &[u8] = b"PROXY ";
/// How every binary header begins.
const BINARY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A binary header up to and including its length field.
const BINARY_FIXED: usize = 16;
/// The most that may follow the length field: addresses take up to 216 bytes, extensions the rest. The protocol allows
/// 65535, nobody is known to send more than a few hundred.
const BINARY_REST_MAX: usize = 4096;
/// The addresses of a binary header for IPv4, IPv6 and unix sockets.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The beginning of a header.
    Incomplete,
    /// A header of `len` bytes.
    Complete {
        /// Where the client's own bytes begin.
        len: usize,
        /// Whose connection it is.
        origin: Origin,
    },
    /// No header, whatever may follow.
    Malformed(Flaw),
}

/// Whose connection a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The sender's own, for one a health check: the address of the socket is the right one.
    Sender,
    /// That of a client at this address.
    Client(SocketAddr),
    /// That of a client without an internet address: it connected to a unix socket.
    Unix,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It begins as neither form does.
    Start,
    /// A text header without an end.
    Endless,
    /// The words of a text header.
    Text,
    /// Version, command, family or transport of a binary header.
    Kind,
    /// A binary header too short for its addresses.
    Short,
    /// A binary header with too many extensions.
    Long,
}

impl Flaw {
    /// For the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Flaw::Start => "it begins with something else",
            Flaw::Endless => "version 1 without a line end in 107 bytes",
            Flaw::Text => "version 1 with a malformed line",
            Flaw::Kind => "version 2 with an unknown version, command, family or transport",
            Flaw::Short => "version 2 too short for its addresses",
            Flaw::Long => "version 2 with more than 4096 bytes of addresses and extensions",
        }
    }
}

/// Reads the header at the beginning of `bytes`, which are all that arrived so far. Cheap enough to be repeated with
/// each piece, however small: a header that is complete for one cut of the stream is so for all.
pub(super) fn read(bytes: &[u8]) -> Header {
    if begins(bytes, BINARY_START) {
        binary(bytes)
    } else if begins(bytes, TEXT_START) {
        text(bytes)
    } else {
        Header::Malformed(Flaw::Start)
    }
}

/// Reads `bytes` as a header, whole and in every beginning: the verdict must not depend on how they arrive. For the fuzz
/// target of that name.
///
/// # Panics
/// When it does.
pub fn fuzz_proxy_header(bytes: &[u8]) {
    let whole = read(bytes);
    for end in 0..=bytes.len() {
        match read(&bytes[..end]) {
            Header::Incomplete => {}
            verdict => return assert_eq!(verdict, whole, "cut after {end} bytes"),
        }
    }
    assert_eq!(whole, Header::Incomplete);
}

/// Whether `bytes` begin with `start`, as far as either goes.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn text(bytes: &[u8]) -> Header {
    let within = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        let is_full = within.len() == TEXT_BYTES_MAX;
        return if is_full { Header::Malformed(Flaw::Endless) } else { Header::Incomplete };
    };
    let line = within[TEXT_START.len()..end].strip_suffix(b"\r");
    match line.and_then(announced) {
        Some(origin) => Header::Complete { len: end + 1, origin },
        None => Header::Malformed(Flaw::Text),
    }
}

/// What the line of a text header says after its first word. Whatever follows `UNKNOWN` is to be ignored.
fn announced(line: &[u8]) -> Option<Origin> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(Origin::Sender);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let client = match words.next()? {
        "TCP4" => client::<Ipv4Addr>(&mut words),
        "TCP6" => client::<Ipv6Addr>(&mut words),
        _ => None,
    };
    client.filter(|_| words.next().is_none()).map(Origin::Client)
}

/// Source and destination address, source and destination port; all must be right, the source is returned.
fn client<'t, Ip: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'t str>,
) -> Option<SocketAddr> {
    let source: Ip = words.next()?.parse().ok()?;
    let _destination: Ip = words.next()?.parse().ok()?;
    let source_port = port(words.next()?)?;
    let _destination_port = port(words.next()?)?;
    Some(SocketAddr::new(source.into(), source_port))
}

/// Digits without a sign or needless zeroes.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_plain)
}

fn binary(bytes: &[u8]) -> Header {
    let Some((fixed, rest)) = bytes.split_first_chunk::<BINARY_FIXED>() else {
        return Header::Incomplete;
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let addresses = match (command, family) {
        // LOCAL, where the sender speaks for itself and the family means nothing; PROXY of an unspecified family.
        (0x20, _) | (0x21, 0x00..=0x02) => 0,
        (0x21, 0x11) => INET_BYTES,
        (0x21, 0x21) => INET6_BYTES,
        (0x21, 0x31) => UNIX_BYTES,
        _ => return Header::Malformed(Flaw::Kind),
    };
    if length < addresses {
        return Header::Malformed(Flaw::Short);
    }
    if length > BINARY_REST_MAX {
        return Header::Malformed(Flaw::Long);
    }
    match rest.get(..length) {
        None => Header::Incomplete,
        Some(rest) => {
            let origin = origin(addresses, rest);
            Header::Complete { len: BINARY_FIXED + length, origin }
        }
    }
}

/// The source among addresses of so many bytes: two addresses, two ports.
fn origin(addresses: usize, bytes: &[u8]) -> Origin {
    let client =
        |ip: IpAddr, port: [u8; 2]| Origin::Client(SocketAddr::new(ip, u16::from_be_bytes(port)));
    match (addresses, bytes, bytes.first_chunk::<16>()) {
        (INET_BYTES, &[a, b, c, d, _, _, _, _, p, q, ..], _) => client([a, b, c, d].into(), [p, q]),
        (INET6_BYTES, _, Some(ip)) => client((*ip).into(), [bytes[32], bytes[33]]),
        (UNIX_BYTES, ..) => Origin::Unix,
        _ => Origin::Sender,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A binary header for `command`, `family` and what follows the length.
    fn binary_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [BINARY_START, &[command, family], &length, rest].concat()
    }

    fn complete(len: usize, origin: Origin) -> Header {
        Header::Complete { len, origin }
    }

    fn client(address: &str) -> Origin {
        Origin::Client(address.parse().expect("an address"))
    }

    /// The addresses of a binary header for a client at 192.0.2.7:4660.
    const INET: [u8; INET_BYTES] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x18, 0xeb];

    /// The same for 2001:db8::7.
    fn inet6() -> Vec<u8> {
        let ip = |ip: &str| ip.parse::<Ipv6Addr>().expect("an address").octets();
        [&ip("2001:db8::7")[..], &ip("::1"), &[0x12, 0x34, 0x18, 0xeb]].concat()
    }

    /// Reads `bytes` as they arrive in pieces that end at `cuts`.
    fn read_in_pieces(bytes: &[u8], cuts: &[usize]) -> Header {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let verdicts = ends.into_iter().map(|end| read(&bytes[..end]));
        let mut verdicts = verdicts.skip_while(|verdict| *verdict == Header::Incomplete);
        verdicts.next().unwrap_or(Header::Incomplete)
    }

    #[test]
    fn a_text_header_tells_the_client() {
        for (line, origin) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379", client("192.0.2.7:4660")),
            ("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535", client("255.255.255.255:0")),
            ("PROXY TCP6 2001:db8::7 ::1 4660 6379", client("[2001:db8::7]:4660")),
            ("PROXY UNKNOWN", Origin::Sender),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", Origin::Sender),
            ("PROXY UNKNOWN a b c d e f g \u{e9} \r h", Origin::Sender),
        ] {
            let header = format!("{line}\r\n");
            let verdict = complete(header.len(), origin);
            assert_eq!(read(header.as_bytes()), verdict, "{line}");
            assert_eq!(read(format!("{header}PING\r\n").as_bytes()), verdict, "{line}");
        }
    }

    #[test]
    fn the_longest_text_header_is_read_and_a_longer_one_is_not() {
        let ip = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {ip} {ip} 65535 65535\r\n");
        assert_eq!(longest.len(), TEXT_BYTES_MAX);
        assert_eq!(read(longest.as_bytes()), complete(TEXT_BYTES_MAX, Origin::Sender));
        let longer = longest.replace("65535\r", "65535 \r");
        assert_eq!(read(longer.as_bytes()), Header::Malformed(Flaw::Endless));
    }

    #[test]
    fn a_doubtful_text_header_is_malformed() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4660 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 6379\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +466 6379\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 0466 6379\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 4660 6379\r\n",
            "PROXY TCP4 192.0.2.7 ten 4660 6379\r\n",
            "PROXY TCP4 ::1 ::1 4660 6379\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 4660 6379\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 4660 6379\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 4660 6379\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY unknown\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Header::Malformed(Flaw::Text), "{line:?}");
        }
    }

    #[test]
    fn what_begins_otherwise_is_refused_at_its_first_wrong_byte() {
        for bytes in
            [&b"*"[..], b"PING\r\n", b"PR0", b"PROXY\t", b"proxy ", b"\r\n\r\n\0\r\nQUIT\r", b"\0"]
        {
            assert_eq!(read(bytes), Header::Malformed(Flaw::Start), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_binary_header_tells_the_client_and_its_extensions_are_skipped() {
        let unix = [b'/'; UNIX_BYTES];
        for (family, addresses, origin) in [
            (0x11, &INET[..], client("192.0.2.7:4660")),
            (0x21, &inet6(), client("[2001:db8::7]:4660")),
            (0x31, &unix, Origin::Unix),
            (0x00, b"", Origin::Sender),
            (0x01, b"anything", Origin::Sender),
        ] {
            for extensions in [&b""[..], b"\x04\0\x03abc", &[0xee; 3000]] {
                let rest = [addresses, extensions].concat();
                let header = binary_header(0x21, family, &rest);
                assert_eq!(read(&header), complete(header.len(), origin), "{family:#x}");
            }
        }
    }

    #[test]
    fn a_local_header_leaves_the_senders_address_whatever_it_claims() {
        for (family, rest) in [(0x00, &b""[..]), (0x11, &INET), (0x20, b""), (0xff, b"\x01\0")] {
            let header = binary_header(0x20, family, rest);
            assert_eq!(read(&header), complete(header.len(), Origin::Sender));
        }
    }

    #[test]
    fn a_doubtful_binary_header_is_malformed() {
        let long = vec![0; BINARY_REST_MAX + 1];
        for (command, family, rest, flaw) in [
            (0x11, 0x11, &INET[..], Flaw::Kind),
            (0x22, 0x11, &INET, Flaw::Kind),
            (0x21, 0x10, &INET, Flaw::Kind),
            (0x21, 0x12, &INET, Flaw::Kind),
            (0x21, 0x41, &INET, Flaw::Kind),
            (0x21, 0x13, &INET, Flaw::Kind),
            (0x21, 0x11, &INET[..11], Flaw::Short),
            (0x21, 0x21, &INET, Flaw::Short),
            (0x21, 0x31, &INET, Flaw::Short),
            (0x21, 0x11, &long, Flaw::Long),
            (0x20, 0x00, &long, Flaw::Long),
        ] {
            let header = binary_header(command, family, rest);
            let at_once = read(&header[..BINARY_FIXED]);
            assert_eq!(at_once, Header::Malformed(flaw), "{command:#x} {family:#x}");
            assert_eq!(read(&header), at_once);
        }
    }

    #[test]
    fn every_beginning_of_a_header_is_incomplete() {
        let extended = [&inet6()[..], &[0xee; 40]].concat();
        for header in [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::7 ::1 4660 6379\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary_header(0x21, 0x11, &INET),
            binary_header(0x21, 0x21, &extended),
            binary_header(0x20, 0x00, b""),
        ] {
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), Header::Incomplete, "{end} bytes");
            }
            assert!(matches!(read(&header), Header::Complete { len, .. } if len == header.len()));
        }
    }

    /// Headers, good and bad, and what may follow them.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            "TCP[46]",
            "UNKNOWN",
            "([0-9]{1,3}\\.){3}[0-9]{1,3}",
            "[0-9a-f:]{2,39}",
            "[0-9]{1,5}",
            ".{0,3}"
        ];
        let text = proptest::collection::vec(word, 0..8)
            .prop_map(|words| format!("PROXY {}\r\n", words.join(" ")).into_bytes());
        let exact = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
            format!("PROXY TCP4 {} 10.0.0.1 {port} 6379\r\n", Ipv4Addr::from(ip)).into_bytes()
        });
        let rest = proptest::collection::vec(any::<u8>(), 0..300);
        let binary = (0x20..0x23_u8, prop_oneof![Just(0x11), Just(0x21), any::<u8>()], rest)
            .prop_map(|(command, family, rest)| binary_header(command, family, &rest));
        let noise = proptest::collection::vec(any::<u8>(), 0..40);
        let header = prop_oneof![text, exact, binary, noise.clone()];
        (header, noise).prop_map(|(header, noise)| [header, noise].concat())
    }

    proptest! {
        #[test]
        fn any_cut_of_any_stream_gives_the_same_verdict(
            stream in streams(),
            cuts in proptest::collection::vec(any::<usize>(), 0..6),
        ) {
            let whole = read(&stream);
            prop_assert_eq!(read_in_pieces(&stream, &cuts), whole);
            fuzz_proxy_header(&stream);
            if let Header::Complete { len, .. } = whole {
                prop_assert!(len <= stream.len() && read(&stream[..len]) == whole);
            }
        }
    }
}
