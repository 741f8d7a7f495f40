//! Where the port is, who may use it, and that no reader keeps another one waiting.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use super::document::huge;
use super::{document, document_from, idle};
use crate::harness::{Client, PATIENCE, Pool, Proxy, RealServer, eventually, within};

#[track_caller]
fn assert_valid(document: &str) {
    let value: Value = serde_json::from_str(document).expect("JSON");
    assert_eq!(value["service"], "nutcracker");
}

#[test]
fn a_silent_reader_gets_the_document_and_the_end_of_the_stream() {
    let proxy = idle().start();
    assert_valid(&document(&proxy));
}

/// On a unix socket, because what its buffers hold does not depend on the system's mood.
#[test]
fn readers_that_never_read_do_not_block_others() {
    let proxy = Proxy::with(huge(100, 50)).arguments(&["-a", "@dir/stats.sock"]).start();
    let path = proxy.dir().join("stats.sock");
    // More of them than are served at once, and a document that no buffer holds.
    let stuck: Vec<_> = (0..40).map(|_| Client::connect_unix(&path)).collect();
    for _ in 0..3 {
        assert_valid(&document_from(&path));
    }
    drop(stuck);
    assert_valid(&document_from(&path));
}

#[test]
fn readers_that_never_end_their_request_make_room_for_others() {
    let proxy = idle().start();
    let begin = |_| {
        let mut reader = Client::connect(proxy.stats_address());
        reader.send(b"GET /metrics HTTP/1.1\r\n");
        reader
    };
    let begun: Vec<_> = (0..64).map(begin).collect();
    assert_valid(&document(&proxy));
    // Had each been given the time that a request may take, each would have been answered in the end.
    let dismissed = begun.into_iter().filter_map(|mut reader| {
        let (text, _) = reader.drain(PATIENCE);
        text.is_empty().then_some(())
    });
    assert!(dismissed.count() > 0);
}

/// Closing while bytes of the peer are unread would reset the connection and take away what is still under way.
#[test]
fn bytes_that_nobody_asked_for_do_not_cut_a_long_document() {
    let proxy = Proxy::start(huge(100, 50));
    for _ in 0..5 {
        let mut reader = Client::connect(proxy.stats_address());
        reader.send(&[b'x'; 60_000]);
        assert_valid(&super::read_plain(reader));
    }
}

#[test]
fn readers_that_connect_all_at_once_are_all_served() {
    let proxy = idle().start();
    let readers: Vec<_> = (0..100).map(|_| Client::connect(proxy.stats_address())).collect();
    for reader in readers {
        assert_valid(&super::read_plain(reader));
    }
}

#[test]
fn running_out_of_descriptors_neither_ends_nor_spins() {
    // The workers alone need nearly as many.
    let mut proxy = idle().workers(8).under("ulimit -n 48").start();
    let id = proxy.process().id();
    let (mut readers, mut clients) = (Vec::new(), Vec::new());
    let ran_out = within(PATIENCE, || {
        clients.extend(Client::try_connect(proxy.address(0)));
        readers.extend(Client::try_connect(proxy.stats_address()));
        proxy.log().contains("accept on the stats port failed: Too many open files")
    });
    assert!(ran_out, "{} files are open", proxy.process().open_files());
    let begin = (std::time::Instant::now(), processor_ticks(id));
    within(std::time::Duration::from_secs(1), || false);
    // A tick is a hundredth of a second.
    let (passed, used) = (begin.0.elapsed().as_millis(), processor_ticks(id) - begin.1);
    assert!(u128::from(used * 10) < passed / 2, "{used} ticks in {passed} ms");
    drop((readers, clients));
    eventually("the port serves again", || {
        let (text, _) = Client::try_connect(proxy.stats_address()).ok()?.drain(PATIENCE);
        serde_json::from_slice::<Value>(&text).ok()
    });
}

/// Processor time of a process, in the kernel's ticks.
fn processor_ticks(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the state of a process");
    let fields = stat.rsplit(") ").next().expect("fields").split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_port_in_use_is_named_with_a_way_out() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = holder.local_addr().expect("an address").port().to_string();
    let (status, log) = idle().arguments(&["-s", &port]).run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    let reason = format!(
        "bind on '127.0.0.1:{port}' of the stats server failed: Address already in use; stop"
    );
    assert!(log.contains(&reason), "{log}");
    assert!(!log.contains(" listening on "), "the pools come later: {log}");
}

#[test]
fn a_daemon_tells_that_the_port_is_in_use() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = holder.local_addr().expect("an address").port().to_string();
    let (status, log) = idle().arguments(&["-d", "-s", &port]).run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("of the stats server failed: Address already in use"), "{log}");
}

#[test]
fn an_address_that_cannot_be_had_is_an_error() {
    for (address, reason) in [
        ("203.0.113.7", "belongs to no interface"),
        ("no.such.host.invalid", "address resolution of node 'no.such.host.invalid'"),
        ("/no/such/folder/s.sock", "create the directory first"),
    ] {
        let (status, log) = idle().arguments(&["-a", address]).run_to_end();
        assert_eq!(status.code(), Some(1), "{address}: {log}");
        assert!(log.contains(reason), "{address}: {log}");
        assert!(!log.contains("failed to lookup"), "it says twice what failed: {log}");
    }
}

#[test]
fn the_host_may_be_a_name_or_an_ipv6_address() {
    for host in ["localhost", "::1", "[::1]", ""] {
        let proxy = idle().arguments(&["-a", host]).start();
        let port = proxy.stats_address().port();
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let stream = std::net::TcpStream::connect((host.trim_matches(['[', ']']), port));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream.expect("connect"), &mut text).expect("read");
        assert_valid(&text);
    }
}

#[test]
fn an_absolute_path_is_a_unix_socket() {
    let mut proxy = idle().arguments(&["-a", "@dir/stats.sock"]).start();
    let path = proxy.dir().join("stats.sock");
    assert_valid(&document_from(&path));
    let line = format!("listening on stats server '{}'", path.display());
    assert!(proxy.log().contains(&line), "{}", proxy.log());
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_end().code(), Some(0));
    assert!(!path.exists(), "the socket file is left behind");
}

#[test]
fn the_log_names_the_address() {
    let proxy = idle().start();
    let line = format!(" listening on stats server '{}'", proxy.stats_address());
    let log = proxy.log();
    let line = log.lines().find(|text| text.ends_with(&line)).unwrap_or_else(|| panic!("{log}"));
    let words: Vec<_> = line.rsplit(' ').nth(5).into_iter().collect();
    assert!(words[0].parse::<u32>().is_ok() && line.contains(" m "), "{line}");
}

/// An orderly stop takes time while something is in flight, and operators watch it.
#[test]
fn the_port_answers_until_the_proxy_has_ended() {
    let mut server = RealServer::redis();
    let mut proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    server.freeze();
    client.send_request(&["GET", "key"]);
    proxy.await_stat(&["server1", "out_queue"], 1);
    proxy.signal(Signal::TERM);
    eventually("the pool no longer accepts", || {
        Client::try_connect(proxy.address(0)).is_err().then_some(())
    });
    assert_eq!(proxy.stat(&["server1", "out_queue"]), 1);
    server.thaw();
    assert_eq!(proxy.wait_for_end().code(), Some(0));
    assert!(Client::try_connect(proxy.stats_address()).is_err());
}

#[test]
fn a_reader_that_stays_does_not_hold_up_the_end() {
    let mut proxy = Proxy::start(huge(20, 50));
    let reader = Client::connect(proxy.stats_address());
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_end().code(), Some(0));
    drop(reader);
}
