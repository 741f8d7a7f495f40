//! Clients behind a load balancer: PROXY headers of both versions, what becomes of connections without one, and the
//! limit by address, which counts the address a client really has.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{
    Client, Ending, PATIENCE, Pool, Process, Proxy, RealServer, Reply, WORKER_COUNTS, eventually,
    request, skip, unused_port,
};

const REFUSED: &[u8] = b"-ERR max number of clients reached\r\n";

/// A text header for a client at `from`.
fn text_header(from: SocketAddr) -> Vec<u8> {
    let (family, to) = if from.is_ipv4() { (4, "192.0.2.1") } else { (6, "2001:db8::1") };
    format!("PROXY TCP{family} {} {to} {} 22121\r\n", from.ip(), from.port()).into_bytes()
}

/// A binary header for a client at `from`, with `extensions` after the addresses.
fn binary_header(from: SocketAddr, extensions: &[u8]) -> Vec<u8> {
    let ports = [from.port().to_be_bytes(), 22_121_u16.to_be_bytes()].concat();
    match from {
        SocketAddr::V4(from) => {
            let to = Ipv4Addr::new(192, 0, 2, 1).octets();
            raw_binary(0x21, 0x11, &[&from.ip().octets()[..], &to, &ports, extensions].concat())
        }
        SocketAddr::V6(from) => {
            let to = Ipv6Addr::LOCALHOST.octets();
            raw_binary(0x21, 0x21, &[&from.ip().octets()[..], &to, &ports, extensions].concat())
        }
    }
}

fn raw_binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A client that a balancer announces as coming from `from`.
#[track_caller]
fn announced(proxy: &Proxy, from: &str) -> Client {
    let mut client = proxy.client();
    client.send(&text_header(address(from)));
    client
}

#[track_caller]
fn await_log(proxy: &Proxy, line: &str) {
    eventually(&format!("the log says: {line}"), || proxy.log().contains(line).then_some(()));
}

/// Checks that the proxy takes `client` for one from `address`.
#[track_caller]
fn expect_known_as(proxy: &Proxy, client: &mut Client, address: impl std::fmt::Display) {
    assert!(client.call(&["NONSENSE"]).error().starts_with("ERR unknown command"));
    await_log(proxy, &format!("unsupported command 'NONSENSE' in pool 'alpha' from c '{address}'"));
}

/// A pool behind a load balancer.
fn behind_a_balancer(server: &RealServer) -> Pool {
    Pool::redis(&[server]).set("proxy_protocol", true)
}

#[test]
fn a_client_is_known_by_the_address_in_its_header() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        let (v4, v6) = ("203.0.113.7", "[2001:db8::7]");
        let extension = b"\x02\0\x04name\xee\0\0";
        for (from, header) in [
            (format!("{v4}:1001"), text_header(address("203.0.113.7:1001"))),
            (format!("{v6}:1002"), text_header(address("[2001:db8::7]:1002"))),
            (format!("{v4}:1003"), binary_header(address("203.0.113.7:1003"), b"")),
            (format!("{v6}:1004"), binary_header(address("[2001:db8::7]:1004"), b"")),
            (format!("{v4}:1005"), binary_header(address("203.0.113.7:1005"), extension)),
            (format!("{v4}:1006"), binary_header(address("203.0.113.7:1006"), &[0xee; 3000])),
        ] {
            let mut client = proxy.client();
            let port = client.local_port();
            client.send(&header);
            expect_known_as(&proxy, &mut client, &from);
            client.send(b"*1\r\n$x\r\n");
            await_log(&proxy, &format!("close c '{from}' in pool 'alpha'"));
            let accepted =
                format!("accepted c '{from}' in pool 'alpha' through '127.0.0.1:{port}'");
            await_log(&proxy, &accepted);
        }
    }
}

#[test]
fn a_header_may_come_in_any_pieces_and_requests_may_follow_at_once() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        let value = "x".repeat(100_000);
        let requests = [request(&["SET", "k", &value]), request(&["GET", "k"])].concat();
        let replies = format!("+OK\r\n${}\r\n{value}\r\n", value.len());
        for header in [
            text_header(address("203.0.113.7:1")),
            binary_header(address("203.0.113.7:1"), b"\x02\0\x04name"),
        ] {
            let mut at_once = proxy.client();
            at_once.send(&[&header[..], &requests].concat());
            at_once.expect(replies.as_bytes());
            let mut crumbs = proxy.client();
            crumbs.send_byte_by_byte(&header);
            crumbs.send_byte_by_byte(b"*1\r\n$4\r\nPING\r\n");
            crumbs.expect(b"+PONG\r\n");
            for cut in [1, 11, 12, 15, 16, 17, header.len() - 1] {
                let mut two = proxy.client();
                two.send(&header[..cut]);
                two.send(&[&header[cut..], &requests].concat());
                two.expect(replies.as_bytes());
            }
        }
    }
}

#[test]
fn a_sender_that_speaks_for_itself_keeps_its_own_address() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        for header in [
            raw_binary(0x20, 0, b""),
            raw_binary(0x20, 0x11, &[9; 12]),
            raw_binary(0x21, 0, b""),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
        ] {
            let mut client = proxy.client();
            client.send(&header);
            let own = format!("127.0.0.1:{}", client.local_port());
            expect_known_as(&proxy, &mut client, own);
        }
    }
}

#[test]
fn a_connection_without_a_header_is_closed_unheard() {
    let server = RealServer::redis();
    let append = request(&["APPEND", "heard", "x"]);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        for start in [
            &b""[..],
            b"PING\r\n",
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 99999\r\n",
            &raw_binary(0x21, 0x11, b"short"),
            &raw_binary(0x31, 0x11, &[9; 12]),
            &raw_binary(0x21, 0x11, &[9; 5000]),
        ] {
            let mut client = proxy.client();
            let own = format!("127.0.0.1:{}", client.local_port());
            // The proxy may close while this is being sent.
            let _refused = client.try_send(&[start, &append].concat());
            client.expect_then_closed(b"");
            await_log(
                &proxy,
                &format!("close c '{own}' in pool 'alpha': no PROXY header at its beginning"),
            );
        }
        proxy.await_stat(&["client_connections"], 0);
    }
    assert_eq!(server.client().call(&["EXISTS", "heard"]), Reply::Integer(0));
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        let mut served = announced(&proxy, "203.0.113.7:1");
        let (mut silent, mut slow) = (proxy.client(), proxy.client());
        slow.send(b"PROXY TCP4 203.0.113.7 ");
        let ports = [(silent.local_port(), 0), (slow.local_port(), 23)];
        for client in [&mut silent, &mut slow] {
            assert_eq!(client.drain(PATIENCE), (Vec::new(), Ending::Eof));
        }
        for (port, bytes) in ports {
            let line = format!(
                "close c '127.0.0.1:{port}' in pool 'alpha': no whole PROXY header within 3 s ({bytes} bytes came)"
            );
            await_log(&proxy, &line);
        }
        served.expect_usable();
        proxy.await_stat(&["client_connections"], 1);
    }
}

#[test]
fn a_connection_that_ends_before_its_header_is_logged_unless_it_only_probed() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(behind_a_balancer(&server)).workers(workers).start();
        let (mut probe, mut half) = (proxy.client(), proxy.client());
        let (probe_port, half_port) = (probe.local_port(), half.local_port());
        probe.half_close();
        probe.expect_then_closed(b"");
        half.send(b"PROXY");
        half.half_close();
        half.expect_then_closed(b"");
        let line = format!(
            "eof c '127.0.0.1:{half_port}' in pool 'alpha' discarding incomplete PROXY header len 5"
        );
        await_log(&proxy, &line);
        assert!(!proxy.log().contains(&format!("127.0.0.1:{probe_port}'")), "{}", proxy.log());
        proxy.await_stat(&["client_connections"], 0);
    }
}

#[test]
fn a_stop_does_not_wait_for_headers() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let pool = behind_a_balancer(&server);
        let mut proxy = Proxy::with(pool).workers(workers).start();
        let mut half = proxy.client();
        half.send(b"PROXY");
        announced(&proxy, "203.0.113.7:1").expect_usable();
        proxy.signal(Signal::TERM);
        half.expect_then_closed(b"");
        assert!(proxy.wait_for_end().success());
        assert!(!proxy.log().contains("no whole PROXY header"), "{}", proxy.log());
    }
}

#[test]
fn a_header_that_nobody_asked_for_is_an_error_with_a_hint() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut text = proxy.client();
    text.send(&text_header(address("203.0.113.7:1")));
    assert!(text.reply().error().starts_with("ERR unknown command 'PROXY'"));
    let hint = "; if this is the PROXY header of a load balancer, see 'proxy_protocol'";
    let port = text.local_port();
    await_log(
        &proxy,
        &format!(
            "parsed unsupported command 'PROXY' in pool 'alpha' from c '127.0.0.1:{port}'{hint}"
        ),
    );
    let mut binary = proxy.client();
    let port = binary.local_port();
    binary.send(&binary_header(address("203.0.113.7:1"), b""));
    binary.expect(b"-ERR Protocol error");
    await_log(
        &proxy,
        &format!("close c '127.0.0.1:{port}' in pool 'alpha': Protocol error: empty request{hint}"),
    );
    let memcached = Proxy::start(Pool::redis(&["127.0.0.1:1"]).set("redis", false));
    for (command, header) in [
        ("PROXY", text_header(address("203.0.113.7:1"))),
        ("", binary_header(address("203.0.113.7:1"), b"")),
    ] {
        let mut client = memcached.client();
        client.send(&header);
        client.expect(b"ERROR\r\n");
        let port = client.local_port();
        await_log(
            &memcached,
            &format!(
                "unsupported command '{command}' in pool 'alpha' from c '127.0.0.1:{port}'{hint}"
            ),
        );
    }
    assert!(!proxy.log().contains("203.0.113.7:1'"), "it is not believed:\n{}", proxy.log());
}

/// Checks that a client from `full` is refused while one from `other` is not, and that a place of `clients` that goes
/// is free again.
#[track_caller]
fn expect_a_limit(mut clients: Vec<Client>, full: impl Fn() -> Client, other: impl Fn() -> Client) {
    clients.iter_mut().for_each(Client::expect_usable);
    for _ in 0..3 {
        full().expect_then_closed(REFUSED);
    }
    other().expect_usable();
    drop(clients.pop());
    let again = served(&full);
    full().expect_then_closed(REFUSED);
    drop(again);
    clients.iter_mut().for_each(Client::expect_usable);
}

#[test]
fn an_address_has_as_many_clients_as_its_limit_over_all_workers() {
    let server = RealServer::redis();
    for workers in [1, 2, 3] {
        let pool = Pool::redis(&[&server]).set("max_clients_per_address", 4);
        let proxy = Proxy::with(pool).workers(workers).start();
        proxy.await_stat(&["client_connections"], 0);
        let from = |last| {
            let proxy = proxy.address(0);
            move || Client::connect_from(Ipv4Addr::new(127, 0, 0, last), proxy)
        };
        let clients = (0..4).map(|_| from(2)()).collect();
        expect_a_limit(clients, from(2), from(1));
        await_log(&proxy, "refused c '127.0.0.2:");
        assert!(!proxy.log().contains("refused c '127.0.0.1:"), "{}", proxy.log());
    }
}

#[test]
fn behind_a_balancer_the_limit_counts_the_clients_own_address() {
    let server = RealServer::redis();
    for workers in [1, 2, 3] {
        let pool = behind_a_balancer(&server).set("max_clients_per_address", 4);
        let proxy = Proxy::with(pool).workers(workers).start();
        let clients = (0..4).map(|n| announced(&proxy, &format!("203.0.113.7:{n}"))).collect();
        let mapped = || announced(&proxy, "[::ffff:203.0.113.7]:99");
        expect_a_limit(clients, mapped, || announced(&proxy, "203.0.113.8:1"));
        await_log(&proxy, "refused c '203.0.113.7:99' in pool 'alpha': its address has 4 clients");
    }
}

/// Rewrites a piece of the configuration and has the proxy read it again.
#[track_caller]
fn reload(proxy: &mut Proxy, from: &str, to: &str) {
    let path = proxy.dir().join("conf.yml");
    let yaml = fs::read_to_string(&path).expect("the configuration");
    assert!(yaml.contains(from), "{yaml}");
    fs::write(&path, yaml.replace(from, to)).expect("write the configuration");
    proxy.signal(Signal::HUP);
}

/// Connects with `connect` until one of the clients is served.
#[track_caller]
fn served(connect: impl Fn() -> Client) -> Client {
    eventually("a client is served", || {
        let mut client = connect();
        client.try_send(b"*1\r\n$4\r\nPING\r\n").ok()?;
        (client.try_reply().ok()? == Reply::Simple("PONG".into())).then_some(client)
    })
}

#[test]
fn a_reload_changes_what_is_asked_of_new_clients_and_keeps_the_old_ones() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let pool = behind_a_balancer(&server).set("max_clients_per_address", 2);
        let mut proxy = Proxy::with(pool).workers(workers).start();
        let from = |proxy: &Proxy, n: u16| announced(proxy, &format!("203.0.113.7:{n}"));
        let mut clients = vec![from(&proxy, 1), from(&proxy, 2)];
        clients.iter_mut().for_each(Client::expect_usable);
        from(&proxy, 3).expect_then_closed(REFUSED);
        reload(&mut proxy, "max_clients_per_address: 2", "max_clients_per_address: 3");
        clients.push(served(|| from(&proxy, 4)));
        from(&proxy, 5).expect_then_closed(REFUSED);
        reload(&mut proxy, "proxy_protocol: true", "proxy_protocol: false");
        let mut direct = served(|| proxy.client());
        let own = format!("127.0.0.1:{}", direct.local_port());
        expect_known_as(&proxy, &mut direct, own);
        clients.iter_mut().for_each(Client::expect_usable);
    }
}

#[test]
fn the_limit_of_the_pool_is_looked_at_before_the_header() {
    let server = RealServer::redis();
    let proxy = Proxy::start(behind_a_balancer(&server).set("max_clients", 1));
    proxy.await_stat(&["client_connections"], 0);
    let _first = proxy.client();
    proxy.await_stat(&["client_connections"], 1);
    proxy.client().expect_then_closed(REFUSED);
}

#[test]
fn unix_clients_have_no_address_to_count_unless_a_header_tells_one() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let unix = |name: &str| {
            let pool = Pool::redis(&[&server]).named(name).set("max_clients_per_address", 1);
            pool.set("listen", format!("@dir/{name}.sock"))
        };
        let behind = unix("behind").set("proxy_protocol", true);
        let proxy = Proxy::with(format!("{}{behind}", unix("plain"))).workers(workers).start();
        let connect = |name: &str| {
            let path = proxy.dir().join(format!("{name}.sock"));
            eventually("the unix socket takes clients", || UnixStream::connect(&path).ok());
            Client::connect_unix(&path)
        };
        let mut plain: Vec<Client> = (0..3).map(|_| connect("plain")).collect();
        plain.iter_mut().for_each(Client::expect_usable);
        let through = |header: &[u8]| {
            let mut client = connect("behind");
            client.send(header);
            client
        };
        let known = text_header(address("203.0.113.7:1"));
        let mut first = through(&known);
        first.expect_usable();
        through(&known).expect_then_closed(REFUSED);
        let far_unix = raw_binary(0x21, 0x31, &[b'/'; 216]);
        let mut others =
            [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN\r\n", &far_unix, &far_unix].map(through);
        others.iter_mut().for_each(Client::expect_usable);
        first.expect_usable();
    }
}

#[test]
fn memcached_clients_are_refused_in_their_own_words() {
    let pool = Pool::redis(&["127.0.0.1:1"]).set("redis", false);
    let proxy = Proxy::start(pool.set("proxy_protocol", true).set("max_clients_per_address", 1));
    let _first = announced(&proxy, "203.0.113.7:1");
    await_log(&proxy, "accepted c '203.0.113.7:1'");
    announced(&proxy, "203.0.113.7:2")
        .expect_then_closed(b"SERVER_ERROR max number of clients reached\r\n");
}

/// A HAProxy that forwards connections to `to`, with `option` on its line `server`; none where it is not installed.
fn haproxy(option: &str, to: SocketAddr) -> Option<(Process, SocketAddr, tempfile::TempDir)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("haproxy.cfg");
    eventually("haproxy listens on a free port", || {
        let listen: SocketAddr = (Ipv4Addr::LOCALHOST, unused_port()).into();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             listen cache\n bind {listen}\n server one {to} {option}\n"
        );
        fs::write(&config, text).expect("write the configuration of haproxy");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&config).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            skip("haproxy is not installed");
            return Some(None);
        };
        let mut process = Process::from(child);
        let is_up = eventually("haproxy accepts connections or ends", || {
            if process.ended().is_some() {
                return Some(false);
            }
            Client::try_connect(listen).is_ok().then_some(true)
        });
        is_up.then_some(Some((process, listen)))
    })
    .map(|(process, listen)| (process, listen, dir))
}

#[test]
fn behind_haproxy_logs_and_limits_see_the_real_client() {
    let server = RealServer::redis();
    for (workers, option) in [
        (1, "send-proxy"),
        (2, "send-proxy-v2"),
        (2, "send-proxy check inter 100ms"),
        (2, "send-proxy-v2 check inter 100ms"),
    ] {
        let pool = behind_a_balancer(&server).set("max_clients_per_address", 2);
        let proxy = Proxy::with(pool).workers(workers).start();
        let Some((_haproxy, entry, _dir)) = haproxy(option, proxy.address(0)) else { return };
        let from = |last| move || Client::connect_from(Ipv4Addr::new(127, 0, 0, last), entry);
        let mut client = from(2)();
        let port = client.local_port();
        expect_known_as(&proxy, &mut client, format!("127.0.0.2:{port}"));
        expect_a_limit(vec![client, from(2)()], from(2), from(3));
        await_log(&proxy, "refused c '127.0.0.2:");
        assert!(!proxy.log().contains("no PROXY header"), "{}", proxy.log());
    }
}
