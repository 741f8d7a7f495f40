//! Names of servers: a name that does not resolve hurts nobody else, and is asked for again.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::harness::{
    Client, Ending, Location, PATIENCE, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, eventually,
    private_files_allowed, requests, spread, unused_port,
};

#[test]
fn a_pool_with_names_that_do_not_resolve_starts_and_says_host_is_down() {
    let real = RealServer::redis();
    let at = real.location();
    for preconnect in [false, true] {
        let pool = Pool::redis::<&str>(&[])
            .server(format!("{at}:1 real"))
            .server("no.such.host.invalid:6379:1 missing")
            .set("timeout", 5000)
            .set("preconnect", preconnect);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        let mut outcomes = [0, 0];
        for n in 0..100 {
            match client.call(&["SET", &format!("key:{n}"), "v"]) {
                Reply::Error(text) => {
                    assert_eq!(text, "ERR Host is down");
                    outcomes[1] += 1;
                }
                reply => {
                    assert_eq!(reply, Reply::ok());
                    outcomes[0] += 1;
                }
            }
        }
        assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
        assert!(proxy.log().contains("no.such.host.invalid"), "the log names the host");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_a_failure_for_ejection() {
    let real = RealServer::redis();
    let at = real.location();
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{at}:1 real"))
        .server("no.such.host.invalid:6379:1 missing")
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 1)
        .set("server_retry_timeout", 60_000);
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    eventually("the missing server is ejected", || {
        for n in 0..20 {
            client.call(&["GET", &format!("key:{n}")]);
        }
        (proxy.stat(&["server_ejects"]) == 1).then_some(())
    });
    for n in 0..100 {
        assert_eq!(client.call(&["SET", &format!("key:{n}"), "v"]), Reply::ok());
    }
}

#[test]
fn every_address_of_a_name_is_tried() {
    // `localhost` usually has an IPv6 address too, where this server does not listen.
    let server = RealServer::redis();
    let port = server.location().rsplit(':').next().expect("a port").to_owned();
    let proxy = Proxy::start(Pool::redis(&[format!("localhost:{port}")]));
    let mut client = proxy.client();
    client.send(&requests("SET k v\nGET k"));
    client.expect(b"+OK\r\n$1\r\nv\r\n");
}

/// Two servers at the same port of different addresses, as a name that moves needs them.
fn servers_at_one_port() -> (RealServer, RealServer, u16) {
    eventually("a port that is free at two addresses", || {
        let port = unused_port();
        let at = |last| RealServer::redis_at((Ipv4Addr::new(127, 0, 0, last), port).into());
        Some((at(1)?, at(2)?, port))
    })
}

#[test]
fn a_name_that_moves_is_followed_without_a_failure_or_a_restart() {
    if !private_files_allowed() {
        return;
    }
    for workers in WORKER_COUNTS {
        let (mut old, new, port) = servers_at_one_port();
        let pool = Pool::redis::<&str>(&[])
            .server(format!("moving.test:{port}:1 moving"))
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            .set("server_retry_timeout", 60_000);
        let proxy = Proxy::with(pool)
            .workers(workers)
            .private_file("/etc/hosts", "127.0.0.1 moving.test\n")
            .start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.call(&["SET", "k", "old"]), Reply::ok());
        }
        assert_eq!(old.keys(), [b"k"]);
        proxy.rewrite_private_file("/etc/hosts", "127.0.0.2 moving.test\n");
        for client in &mut clients {
            assert_eq!(client.call(&["GET", "k"]), Reply::bulk("old"), "a good connection is kept");
        }
        old.stop();
        proxy.await_stat(&["moving", "server_connections"], 0);
        for client in &mut clients {
            assert_eq!(
                client.call(&["GET", "k"]),
                Reply::Nil,
                "nothing but the new server is left"
            );
        }
        assert_eq!(clients[0].call(&["SET", "k", "new"]), Reply::ok());
        assert_eq!(new.client().call(&["GET", "k"]), Reply::bulk("new"));
        assert_eq!(proxy.stat(&["server_ejects"]), 0);
    }
}

#[test]
fn a_name_that_appears_after_the_start_is_found() {
    if !private_files_allowed() {
        return;
    }
    let server = RealServer::redis();
    let port = server.location().rsplit(':').next().expect("a port").to_owned();
    let pool = Pool::redis(&[format!("later.test:{port}")]).set("server_retry_timeout", 100);
    let proxy = Proxy::with(pool)
        .workers(1)
        .private_file("/etc/hosts", "127.0.0.1 other.test\n")
        .private_file("/etc/nsswitch.conf", "hosts: files\n")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.call(&["GET", "k"]).error(), "ERR Host is down");
    proxy.rewrite_private_file("/etc/hosts", "127.0.0.1 later.test\n");
    eventually("the name is found", || {
        (client.call(&["SET", "k", "v"]) == Reply::ok()).then_some(())
    });
    assert_eq!(server.keys(), [b"k"]);
}

/// A name server that takes questions and never answers, at an address of its own; `None` where its port is not
/// to be had.
fn silent_name_server() -> Option<(UdpSocket, Ipv4Addr)> {
    let addresses = (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last));
    let mut bound = addresses
        .filter_map(|address| UdpSocket::bind((address, 53)).ok().map(|socket| (socket, address)));
    let (socket, address) = bound.next()?;
    socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    Some((socket, address))
}

#[test]
fn a_resolver_that_hangs_stalls_nobody_but_those_who_need_the_name() {
    if !private_files_allowed() {
        return;
    }
    let Some((questions, address)) = silent_name_server() else {
        eprintln!("skipped: the port of name servers is not to be had");
        return;
    };
    let mut servers = RealServer::several(2);
    let keys = {
        let both_real = Proxy::start(Pool::redis(&servers));
        spread(&mut both_real.client(), &servers, 1)
    };
    let (served, stuck) = (&keys[0][0], &keys[1][0]);
    servers.truncate(1);
    for (workers, preconnect) in [(1, false), (1, true), (2, false)] {
        let pool = Pool::redis(&servers)
            .server("hanging.test:6379:1 server2")
            .set("preconnect", preconnect);
        let resolver = format!("nameserver {address}\noptions timeout:30 attempts:5\n");
        let proxy = Proxy::with(pool)
            .workers(workers)
            .private_file("/etc/resolv.conf", resolver)
            .private_file("/etc/nsswitch.conf", "hosts: files dns\n")
            .start();
        // Without a timeout in the pool, who needs the name gets no answer while the resolver hangs.
        let mut waiting: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let mut others: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        for client in &mut waiting {
            client.send_request(&["GET", stuck]);
        }
        let mut question = [0; 512];
        let length = questions.recv(&mut question).expect("the resolver is asked");
        assert!(question[..length].windows(7).any(|name| name == b"hanging"));
        for n in 0..2000 {
            let client = &mut others[n % 4];
            assert_eq!(client.call(&["SET", served, "v"]), Reply::ok());
        }
        for client in &mut waiting {
            let (got, ending) = client.drain(Duration::from_millis(1));
            assert_eq!((got.as_slice(), ending), (b"".as_slice(), Ending::Open), "it hangs");
        }
    }
}

#[test]
fn a_resolver_that_hangs_is_a_timeout_for_those_who_need_the_name() {
    if !private_files_allowed() {
        return;
    }
    let Some((_questions, address)) = silent_name_server() else {
        eprintln!("skipped: the port of name servers is not to be had");
        return;
    };
    let pool = Pool::redis(&["hanging.test:6379"]).set("timeout", 300);
    let proxy = Proxy::with(pool)
        .workers(1)
        .private_file("/etc/resolv.conf", format!("nameserver {address}\noptions timeout:30\n"))
        .private_file("/etc/nsswitch.conf", "hosts: files dns\n")
        .start();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.call(&["GET", "a"]).error(), "ERR Connection timed out");
        client.expect_usable();
    }
}
