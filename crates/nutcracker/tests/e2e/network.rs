//! A network that loses hosts: clients that vanish without a word, servers that no route leads to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::harness::{Client, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, in_private_network};

/// Changes the routes of the private network this thread is in.
#[track_caller]
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("run ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// The kernel's keepalive of this network, which is hours otherwise.
fn keepalive_of_seconds() {
    for (name, value) in [("time", "1"), ("intvl", "1"), ("probes", "2")] {
        fs::write(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"), value)
            .expect("root may set up its network");
    }
}

#[test]
fn a_client_whose_host_vanishes_is_reaped_by_keepalive() {
    in_private_network(|| {
        keepalive_of_seconds();
        let server = RealServer::redis();
        for workers in WORKER_COUNTS {
            let pool = Pool::redis(&[&server]).set("tcpkeepalive", true);
            let proxy = Proxy::with(pool).workers(workers).start();
            let mut near = proxy.client();
            let far = Ipv4Addr::new(127, 0, 0, 77);
            let mut clients: Vec<Client> =
                (0..4).map(|_| Client::connect_from(far, proxy.address(0))).collect();
            for client in &mut clients {
                assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
            }
            near.expect_usable();
            proxy.await_stat(&["client_connections"], 5);
            ip("route add blackhole 127.0.0.77/32 table local");
            // Neither an end nor a reset can reach the proxy any more.
            drop(clients);
            proxy.await_stat(&["client_connections"], 1);
            assert_eq!(near.call(&["GET", "k"]), Reply::bulk("v"));
            ip("route del blackhole 127.0.0.77/32 table local");
        }
    });
}

#[test]
fn a_server_without_a_route_says_so_and_delays_nobody() {
    in_private_network(|| {
        ip("route add unreachable 127.0.0.78/32 table local");
        for (server, text) in [
            ("127.0.0.78:6379", "ERR No route to host"),
            // Only loopback exists here.
            ("192.0.2.1:6379", "ERR Network is unreachable"),
            ("2001:db8::1:6379", "ERR Network is unreachable"),
            ("nosuch.invalid:6379", "ERR Host is down"),
        ] {
            for preconnect in [false, true] {
                let pool =
                    Pool::redis(&[server]).set("timeout", 5000).set("preconnect", preconnect);
                let proxy = Proxy::start(pool);
                let mut client = proxy.client();
                for _ in 0..20 {
                    assert_eq!(client.call(&["GET", "a"]).error(), text, "{server}");
                }
                client.expect_usable();
            }
        }
    });
}

#[test]
fn a_server_that_gets_its_route_back_is_used_again() {
    in_private_network(|| {
        let address: SocketAddr = ([127, 0, 0, 79], 16_379).into();
        let server = RealServer::redis_at(address).expect("nobody else is in this network");
        let pool = Pool::redis(&[&server]).set("timeout", 1000).set("server_retry_timeout", 100);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
        ip("route add blackhole 127.0.0.79/32 table local");
        for _ in 0..3 {
            assert!(client.call(&["GET", "k"]).is_error());
        }
        ip("route del blackhole 127.0.0.79/32 table local");
        crate::harness::eventually("the server is used again", || {
            (client.call(&["GET", "k"]) == Reply::bulk("v")).then_some(())
        });
        assert_eq!(server.key_count(), 1);
    });
}
