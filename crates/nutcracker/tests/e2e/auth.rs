//! Passwords and databases: what clients must show, and what every server connection is told before anything else.

use crate::harness::{FakeServer, Pool, Proxy, RealServer, Reply, eventually, request, requests};

#[test]
fn a_client_must_show_the_password_of_the_pool() {
    let servers: Vec<_> =
        (0..2).map(|_| RealServer::redis_with(&["--requirepass", "secret"])).collect();
    let proxy = Proxy::start(Pool::redis(&servers).set("redis_auth", "secret"));
    let mut client = proxy.client();
    client.send(&requests("PING\nGET a\nSET a 1\nMGET a b c\nAUTH bad\nAUTH secret\nSET a 1\nMGET a b\nAUTH bad\nGET a"));
    for _ in 0..4 {
        client.expect(b"-NOAUTH Authentication required\r\n");
    }
    client.expect(b"-ERR invalid password\r\n+OK\r\n+OK\r\n*2\r\n$1\r\n1\r\n$-1\r\n");
    client.expect(b"-ERR invalid password\r\n-NOAUTH Authentication required\r\n");
}

#[test]
fn auth_knows_the_default_user() {
    let server = RealServer::redis_with(&["--requirepass", "secret"]);
    let proxy = Proxy::start(Pool::redis(&[&server]).set("redis_auth", "secret"));
    let mut client = proxy.client();
    assert!(client.call(&["AUTH", "somebody", "secret"]).is_error());
    assert_eq!(client.call(&["GET", "a"]).error(), "NOAUTH Authentication required");
    assert_eq!(client.call(&["AUTH", "default", "secret"]), Reply::ok());
    assert_eq!(client.call(&["SET", "a", "1"]), Reply::ok());
}

#[test]
fn hello_carries_a_password_and_is_never_asked_for_one() {
    let server = RealServer::redis_with(&["--requirepass", "secret"]);
    let proxy = Proxy::start(Pool::redis(&[&server]).set("redis_auth", "secret"));
    let mut client = proxy.client();
    let refused = client.call(&["HELLO", "3", "AUTH", "default", "secret"]);
    assert!(refused.error().starts_with("ERR unknown command 'HELLO'"));
    client.call(&["HELLO", "2", "AUTH", "default", "secret"]).array();
    assert_eq!(client.call(&["SET", "a", "1"]), Reply::ok());
    let mut client = proxy.client();
    assert!(client.call(&["HELLO", "2", "AUTH", "default", "bad"]).is_error());
    assert_eq!(client.call(&["GET", "a"]).error(), "NOAUTH Authentication required");
}

#[test]
fn a_pool_without_a_password_says_so() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    client.send(&requests("AUTH x\nSET a 1"));
    client.expect(b"-ERR Client sent AUTH, but no password is set\r\n+OK\r\n");
}

#[test]
fn auth_then_select_open_every_server_connection() {
    let greeting = requests("AUTH secret\nSELECT 7");
    for preconnect in [false, true] {
        let server = FakeServer::start(|connection| {
            while let Some(words) = connection.request() {
                connection.send(b"+OK\r\n");
                if words[0].eq_ignore_ascii_case(b"PERSIST") {
                    return;
                }
            }
        });
        let pool = Pool::redis(&[&server])
            .set("redis_auth", "secret")
            .set("redis_db", 7)
            .set("preconnect", preconnect);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        assert_eq!(client.call(&["AUTH", "secret"]), Reply::ok());
        for round in 0..3 {
            if round == 0 && preconnect {
                eventually("the greeting comes before any request", || {
                    (server.received() == greeting).then_some(())
                });
            }
            assert_eq!(client.call(&["GET", "a"]), Reply::ok());
            assert_eq!(client.call(&["PERSIST", "a"]), Reply::ok());
            let expected = [greeting.clone(), requests("GET a\nPERSIST a")].concat();
            assert_eq!(
                server.received().escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
            eventually("the proxy sees that the server closed", || {
                (proxy.stat(&["server1", "server_connections"]) == 0).then_some(())
            });
            server.forget();
        }
    }
}

#[test]
fn a_database_goes_with_a_password_on_tcp_and_unix_sockets() {
    let options = ["--requirepass", "secret"];
    let tcp = RealServer::redis_with(&options);
    let unix = RealServer::redis_on_a_unix_socket(&options);
    for server in [&tcp, &unix] {
        let pool = Pool::redis(&[server]).set("redis_auth", "secret").set("redis_db", 3);
        let proxy = Proxy::start(pool);
        let mut client = proxy.client();
        client.send(&requests("AUTH secret\nSET a 1"));
        client.expect(b"+OK\r\n+OK\r\n");
        let mut direct = server.client();
        direct.send(&requests("AUTH secret\nDBSIZE\nSELECT 3\nDBSIZE"));
        direct.expect(b"+OK\r\n:0\r\n+OK\r\n:1\r\n");
    }
}

#[test]
fn a_database_that_cannot_be_selected_never_sends_data_to_another() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]).set("redis_db", 9999).set("timeout", 2000));
    let mut client = proxy.client();
    for _ in 0..3 {
        assert!(client.call(&["SET", "a", "1"]).is_error());
    }
    let mut direct = server.client();
    assert_eq!(direct.call(&["DBSIZE"]), Reply::Integer(0));
    let log = proxy.log();
    assert!(log.contains("SELECT") && log.contains("9999"), "the log names the refused SELECT");
}

#[test]
fn a_password_the_server_refuses_is_a_failure_and_not_data() {
    let server = RealServer::redis_with(&["--requirepass", "other"]);
    let proxy =
        Proxy::start(Pool::redis(&[&server]).set("redis_auth", "secret").set("timeout", 2000));
    let mut client = proxy.client();
    client.send(&requests("AUTH secret"));
    client.expect(b"+OK\r\n");
    let reply = client.call(&["SET", "a", "1"]);
    assert!(reply.is_error(), "{reply:?}");
    eventually("the log names the refused AUTH", || proxy.log().contains("AUTH").then_some(()));
    client.expect_usable();
}

#[test]
fn a_server_without_a_password_is_used_all_the_same() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]).set("redis_auth", "secret"));
    let mut client = proxy.client();
    client.send(&request(&["AUTH", "secret"]));
    client.expect(b"+OK\r\n");
    assert_eq!(client.call(&["SET", "a", "1"]), Reply::ok());
    assert_eq!(client.call(&["GET", "a"]), Reply::bulk("1"));
}
