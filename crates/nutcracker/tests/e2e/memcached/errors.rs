//! What is wrong with a request: said in memcached's words, kept away from servers, and survived where it can be.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{Client, Ending, PATIENCE, Pool, Proxy, RealServer, WORKER_COUNTS};

use super::{echo, set, value};

/// Bytes that no server may see in a command line: they may end it, or make it another one.
fn control_bytes() -> impl Iterator<Item = u8> {
    (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\r')
}

#[test]
fn control_bytes_in_keys_are_refused_and_reach_no_server() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    let mut other = proxy.client();
    for byte in control_bytes() {
        let c = char::from(byte);
        for request in [
            format!("set a{c} 0 0 1\r\na\r\n"),
            format!("set a{c}b 0 0 21\r\nflush_all\r\nflush_all\r\n"),
            format!("get a{c}\r\n"),
            format!("get x y{c}flush_all\r\n"),
            format!("gat 0 x {c}\r\n"),
            format!("incr {c}n 1\r\n"),
            format!("touch a{c}b 1\r\n"),
            format!("delete a{c}\r\n"),
            format!("mg a{c} v\r\n"),
            format!("ms a{c} 1\r\nx\r\n"),
            format!("cas a{c} 0 0 1 1\r\nx\r\n"),
        ] {
            client.send(request.as_bytes());
            let line = client.text_line();
            assert!(line.starts_with("CLIENT_ERROR "), "{request:?} is answered {line}");
        }
    }
    assert_eq!(server.received(), b"", "a server has seen something of it");
    client.ask("get a\r\n", value("a", "a"));
    other.ask("get a\r\n", value("a", "a"));
    assert_eq!(proxy.stat(&["client_err"]), 0);
}

#[test]
fn a_line_feed_begins_no_second_command() {
    let server = RealServer::memcached();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    set(&mut client, "a", "kept");
    client.send(b"get b\nset a 0 0 1\r\n");
    assert!(client.text_line().starts_with("CLIENT_ERROR "));
    client.send(b"get b\ndelete a\r\n");
    assert!(client.text_line().starts_with("CLIENT_ERROR "));
    client.ask("get a\r\n", value("a", "kept"));
}

/// Who ends lines with a line feed alone, as a terminal does, learns it at the end at the latest.
#[test]
fn lines_without_a_carriage_return_are_explained() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    client.send(b"get a\n");
    client.half_close();
    let (got, ending) = client.drain(PATIENCE);
    assert!(got.starts_with(b"CLIENT_ERROR "), "{}", got.escape_ascii());
    assert_eq!(ending, Ending::Eof);
    assert_eq!(server.received(), b"");
}

/// Requests whose end cannot be told: what came before is answered, then the connection ends.
#[test]
fn broken_framing_is_answered_and_then_closed_after_earlier_replies() {
    let server = echo();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::memcached(&[&server])).workers(workers).start();
        for broken in [
            &b"set a 0 0 3\r\nabcd\r\n"[..],
            b"set a 0 0 3\r\nabc\rX",
            b"set a 0 0 -1\r\n",
            b"set a 0 0 x\r\nget a\r\n",
            b"set a 0 0 99999999999999999999\r\n",
            b"set a 0 0 4294967296\r\n",
            b"set a 0 0 2147483648\r\n",
            b"ms a x\r\n",
            b"ms a S1\r\nx\r\n",
            b"get a\rb\r\n",
            b"\r\r\n",
        ] {
            let mut client = proxy.client();
            client.send(&[b"get x\r\nget y z\r\n", broken].concat());
            client.expect(
                b"VALUE x 0 1\r\nx\r\nEND\r\nVALUE y 0 1\r\ny\r\nVALUE z 0 1\r\nz\r\nEND\r\n",
            );
            let (got, ending) = client.drain(PATIENCE);
            let is_explained = got.starts_with(b"CLIENT_ERROR ") && got.ends_with(b"\r\n");
            let lines = got.iter().filter(|&&byte| byte == b'\n').count();
            assert!(
                is_explained && lines == 1 && ending == Ending::Eof,
                "{} is answered {} and {ending:?}",
                broken.escape_ascii(),
                got.escape_ascii()
            );
            server.forget();
        }
        let mut client = proxy.client();
        client.send_byte_by_byte(b"set a 0 0 3\r\nabcd");
        assert!(client.text_line().starts_with("CLIENT_ERROR "));
    }
    assert_eq!(server.received(), b"", "a server has seen some of it");
}

#[test]
fn an_endless_line_ends_the_connection() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    let line = [&b"set "[..], &[b'k'; 1 << 20]].concat();
    let _refused_early = client.try_send(&line);
    let (got, ending) = client.drain(PATIENCE);
    assert!(got.is_empty() || got.starts_with(b"CLIENT_ERROR "), "{}", got.escape_ascii());
    assert_ne!(ending, Ending::Open);
    assert_eq!(server.received(), b"");
}

#[test]
fn commands_that_belong_to_one_server_are_refused_and_the_connection_stays() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    for request in [
        "shutdown\r\n",
        "slabs reassign 1 2\r\n",
        "slabs automove 1\r\n",
        "lru tune 10 25 0.1 2.0\r\n",
        "lru_crawler metadump all\r\n",
        "watch fetchers\r\n",
        "cache_memlimit 1024\r\n",
        "misbehave\r\n",
        "refresh_certs\r\n",
        "extstore drop_unread 1\r\n",
        "debugtime p\r\n",
        "bget a\r\n",
        "stats items\r\n",
        "stats slabs\r\n",
        "stats reset\r\n",
        "stats cachedump 1 100\r\n",
        "flush_all\r\n",
        "flush_all 10\r\n",
    ] {
        client.send(request.as_bytes());
        let line = client.text_line();
        let is_error =
            ["ERROR", "CLIENT_ERROR ", "SERVER_ERROR "].iter().any(|word| line.starts_with(word));
        assert!(is_error, "{request:?} is answered {line}");
    }
    client.ask("get a\r\n", value("a", "a"));
    assert_eq!(server.received(), b"get a\r\n");
}

/// A page in a browser may post to any port, and choose the body.
#[test]
fn a_request_of_http_ends_the_connection_and_its_body_is_no_command() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let refusal = b"CLIENT_ERROR HTTP is not served here\r\n";
    let mut client = proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nset a 0 0 1\r\n1\r\n");
    client.expect_then_closed(refusal);
    let mut client = proxy.client();
    client.send(b"mn\r\nPUT / HTTP/1.1\r\nhost: localhost\r\n\r\nset a 0 0 1\r\n1\r\n");
    client.expect(b"MN\r\nERROR\r\n");
    client.expect_then_closed(refusal);
    assert_eq!(server.received(), b"");
}

#[test]
fn the_binary_protocol_is_answered_in_kind_and_logged_once_for_each_client() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut request = [0_u8; 24];
    // A request for the version, with an opaque number of its own.
    request[..2].copy_from_slice(&[0x80, 0x0b]);
    request[12..16].copy_from_slice(b"opaq");
    let refused = |client: &mut Client| {
        client.send(&request);
        let (got, ending) = client.drain(PATIENCE);
        assert_eq!(ending, Ending::Eof);
        assert_eq!((got[0], got[1], &got[12..16]), (0x81, 0x0b, &b"opaq"[..]));
        assert_ne!(&got[6..8], &[0, 0], "the status is an error");
        let length = u32::from_be_bytes(got[8..12].try_into().expect("four bytes"));
        assert_eq!(got.len(), 24 + length as usize);
    };
    for _ in 0..3 {
        refused(&mut proxy.client());
        refused(&mut Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), proxy.address(0)));
    }
    let mut client = proxy.client();
    client.send(&request[..1]);
    let (got, ending) = client.drain(PATIENCE);
    assert!(got.first() == Some(&0x81) && ending == Ending::Eof, "{}", got.escape_ascii());
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("binary")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for address in ["127.0.0.1", "127.0.0.2"] {
        let of_address = lines.iter().filter(|line| line.contains(address));
        assert_eq!(of_address.count(), 1, "{address} in {lines:?}");
    }
    assert_eq!(server.received(), b"");
}

/// As `printf … | nc` does it: everything is sent, the direction is ended, and then the replies are read.
#[test]
fn a_client_that_ends_its_direction_gets_all_replies() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(2);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        client.send(b"delete key\r\nset key 0 0 3\r\nval\r\nquit\r\n\n");
        client.half_close();
        client.expect_then_closed(b"NOT_FOUND\r\nSTORED\r\n");
        let mut client = proxy.client();
        client.send(b"get key\r\nget key other\r\nincr key 1\r\nversi");
        client.half_close();
        let hit = value("key", "val");
        client.expect_then_closed(
            format!("{hit}{hit}CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
                .as_bytes(),
        );
        proxy.await_stat(&["client_connections"], 0);
        assert_eq!(proxy.stat(&["client_err"]), 0, "{}", proxy.stats());
    }
}

#[test]
fn quit_ends_the_connection_after_earlier_replies_and_without_a_word() {
    let server = RealServer::memcached();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    client.send(b"set a 0 0 1\r\nA\r\nget a\r\nquit\r\nget a\r\nget a\r\n");
    client.expect_then_closed(format!("STORED\r\n{}", value("a", "A")).as_bytes());
    let mut client = proxy.client();
    client.send_byte_by_byte(b"quit\r\n");
    client.expect_then_closed(b"");
    proxy.await_stat(&["client_connections"], 0);
    assert_eq!(proxy.stat(&["client_err"]), 0);
}

#[test]
fn nothing_is_answered_to_a_request_that_is_not_whole() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    for part in ["get a", "get a\r", "set a 0 0 3\r\nab", "set a 0 0 3\r\nabc\r", "ms a 1\r\n"] {
        let mut client = proxy.client();
        client.send(part.as_bytes());
        assert_eq!(client.drain(Duration::from_millis(60)), (Vec::new(), Ending::Open), "{part:?}");
    }
    assert_eq!(server.received(), b"");
}
