//! Names of servers: a name that does not resolve hurts nobody else, and is asked for again.

use crate::harness::{Location, Pool, Proxy, RealServer, Reply, eventually, requests};

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
