//! Commands the proxy answers itself, so that today's client libraries and redis-cli start without a hitch.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Pool, Proxy, RealServer, Reply, WORKER_COUNTS, requests, unused_port};

fn proxy_of_two() -> (Vec<RealServer>, Proxy) {
    let servers = RealServer::several(2);
    let proxy = Proxy::start(Pool::redis(&servers));
    (servers, proxy)
}

#[test]
fn ping_and_echo_need_no_server() {
    let nobody = format!("127.0.0.1:{}", unused_port());
    let proxy = Proxy::start(Pool::redis(&[nobody]));
    let mut client = proxy.client();
    client.send(&requests("PING\nPING hello\nECHO 12345678901234567890\nping"));
    client.expect(b"+PONG\r\n$5\r\nhello\r\n$20\r\n12345678901234567890\r\n+PONG\r\n");
}

#[test]
fn quit_is_confirmed_after_earlier_replies_and_is_no_client_error() {
    let (_servers, proxy) = proxy_of_two();
    proxy.client().call(&["SET", "k", "v"]);
    let mut client = proxy.client();
    client.send(&requests("GET k\nQUIT\nGET k"));
    client.expect_then_closed(b"$1\r\nv\r\n+OK\r\n");
    let mut client = proxy.client();
    client.send(b"PING\r\nQUIT\r\n");
    client.expect_then_closed(b"+PONG\r\n+OK\r\n");
    proxy.await_stat(&["client_connections"], 0);
    assert_eq!(proxy.stat(&["client_err"]), 0);
}

/// What a server without HELLO says, at which client libraries fall back to RESP2.
const NO_HELLO_3: &[u8] = b"-ERR unknown command 'HELLO', with args beginning with: '3' \r\n";

#[test]
fn hello_2_answers_a_map_and_hello_3_is_refused_without_harm() {
    let (_servers, proxy) = proxy_of_two();
    let mut client = proxy.client();
    client.send(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
    client.expect(NO_HELLO_3);
    assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk("v"));
    for hello in [vec!["HELLO"], vec!["HELLO", "2"], vec!["hello", "2", "SETNAME", "me"]] {
        let map = client.call(&hello).array();
        assert_eq!(map.len() % 2, 0, "{map:?}");
        let field = |name: &str| {
            let at = map.iter().step_by(2).position(|key| *key == Reply::bulk(name));
            map[2 * at.unwrap_or_else(|| panic!("no {name} in {map:?}")) + 1].clone()
        };
        assert_eq!(field("proto"), Reply::Integer(2));
        assert_eq!(field("server"), Reply::bulk("redis"));
        assert_eq!(field("role"), Reply::bulk("master"));
        assert!(matches!(field("version"), Reply::Bulk(_)));
    }
    assert_eq!(client.call(&["CLIENT", "GETNAME"]), Reply::bulk("me"));
    assert!(
        client.call(&["HELLO", "x"]).error().starts_with("ERR Protocol version is not an integer")
    );
    client.expect_usable();
}

#[test]
fn the_greeting_of_a_client_library_is_answered_in_order() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        let mut client = proxy.client();
        client.send(&requests(
            "HELLO 3
             CLIENT SETINFO LIB-NAME x
             CLIENT SETINFO LIB-VER y
             SELECT 0
             PING",
        ));
        client.expect(NO_HELLO_3);
        client.expect(b"+OK\r\n+OK\r\n+OK\r\n+PONG\r\n");
        client.expect_usable();
    }
}

#[test]
fn a_client_has_a_name_and_a_number_of_its_own() {
    let servers = RealServer::several(1);
    let proxy = Proxy::with(Pool::redis(&servers)).workers(2).start();
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    assert_eq!(clients[0].call(&["CLIENT", "GETNAME"]), Reply::Nil);
    assert_eq!(clients[0].call(&["CLIENT", "SETNAME", "first"]), Reply::ok());
    assert_eq!(clients[0].call(&["CLIENT", "GETNAME"]), Reply::bulk("first"));
    assert_eq!(clients[1].call(&["CLIENT", "GETNAME"]), Reply::Nil);
    assert!(clients[0].call(&["CLIENT", "SETNAME", "a b"]).is_error());
    let mut ids: Vec<_> =
        clients.iter_mut().map(|client| client.call(&["CLIENT", "ID"]).integer()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8, "two clients share a number");
}

#[test]
fn only_the_database_of_the_pool_can_be_selected() {
    let server = RealServer::redis();
    let zero = Proxy::start(Pool::redis(&[&server]));
    let seven = Proxy::start(Pool::redis(&[&server]).set("redis_db", 7));
    for (proxy, own, other) in [(&zero, "0", "5"), (&seven, "7", "0")] {
        let mut client = proxy.client();
        assert_eq!(client.call(&["SELECT", own]), Reply::ok());
        assert!(client.call(&["SELECT", other]).error().starts_with("ERR "));
        assert!(client.call(&["SELECT", "x"]).error().starts_with("ERR "));
        assert_eq!(client.call(&["SET", "where", own]), Reply::ok());
    }
    let mut direct = server.client();
    for database in ["0", "7"] {
        assert_eq!(direct.call(&["SELECT", database]), Reply::ok());
        assert_eq!(direct.call(&["GET", "where"]), Reply::bulk(database));
        assert_eq!(direct.call(&["DBSIZE"]), Reply::Integer(1));
    }
}

#[test]
fn info_has_a_section_about_the_proxy() {
    let (_servers, proxy) = proxy_of_two();
    let mut client = proxy.client();
    for words in [vec!["INFO"], vec!["info", "all"], vec!["INFO", "server"]] {
        let text = client.call(&words).text();
        assert!(text.contains("# Server\r\n"), "{words:?}: {text}");
        assert!(text.contains("redis_version:"), "{words:?}: {text}");
    }
    assert!(client.call(&["INFO"]).text().contains("# Proxy\r\n"));
}

#[test]
fn the_command_table_can_be_asked_for() {
    let (_servers, proxy) = proxy_of_two();
    let mut client = proxy.client();
    let count = client.call(&["COMMAND", "COUNT"]).integer();
    assert!(count > 200, "{count} commands");
    let table = client.call(&["COMMAND"]).array();
    assert_eq!(i64::try_from(table.len()), Ok(count));
    let rows = client.call(&["COMMAND", "INFO", "get", "nosuch", "mset"]).array();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1], Reply::Nil);
    let get = rows[0].clone().array();
    assert_eq!(get[0], Reply::bulk("get"));
    assert_eq!(get[1], Reply::Integer(2));
    let mset = rows[2].clone().array();
    assert_eq!(mset[1], Reply::Integer(-3));
    assert_eq!(mset[3..6], [Reply::Integer(1), Reply::Integer(-1), Reply::Integer(2)]);
    client.call(&["COMMAND", "DOCS"]).array();
    client.call(&["COMMAND", "DOCS", "get"]).array();
    client.call(&["COMMAND", "LIST"]).array();
    client.expect_usable();
}

#[test]
fn time_and_reset_are_answered() {
    let (_servers, proxy) = proxy_of_two();
    let mut client = proxy.client();
    let time = client.call(&["TIME"]).array();
    assert_eq!(time.len(), 2);
    let seconds: u64 = time[0].clone().text().parse().expect("seconds");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!(now.as_secs().abs_diff(seconds) < 120, "{seconds}");
    client.call(&["CLIENT", "SETNAME", "me"]);
    client.send(&requests("RESET\nCLIENT GETNAME"));
    client.expect(b"+RESET\r\n$-1\r\n");
}

#[test]
fn redis_cli_pipes_its_input_and_ends_at_once() {
    let (servers, proxy) = proxy_of_two();
    let port = proxy.address(0).port().to_string();
    let mut cli = Command::new("redis-cli")
        .args(["-p", &port, "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli");
    let input = requests("SET a 1\nSET b 2\nSET c 3\nSET d 4\nSET e 5");
    cli.stdin.take().expect("its input").write_all(&input).expect("write to redis-cli");
    let output = cli.wait_with_output().expect("the output of redis-cli");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("errors: 0, replies: 5"), "{text}");
    assert_eq!(servers.iter().map(RealServer::key_count).sum::<i64>(), 5);
}

#[test]
fn redis_cli_reads_commands_from_its_input() {
    let (_servers, proxy) = proxy_of_two();
    let port = proxy.address(0).port().to_string();
    let mut cli = Command::new("redis-cli")
        .args(["-p", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli");
    let input = b"SELECT 0\nSET greeting hello\nGET greeting\nMGET greeting nosuch\n";
    cli.stdin.take().expect("its input").write_all(input).expect("write to redis-cli");
    let output = cli.wait_with_output().expect("the output of redis-cli");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK\nOK\nhello\nhello\n\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
