//! The bytes of the document: exactly those of twemproxy 0.5, but for names that would break it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{NOBODY, document, idle};
use crate::harness::{Pool, Proxy, reference_binary};

const SERVER: &str = r#"{"server_eof":#, "server_err":#, "server_timedout":#, "server_connections":#, "server_ejected_at":#, "requests":#, "request_bytes":#, "responses":#, "response_bytes":#, "in_queue":#, "in_queue_bytes":#, "out_queue":#, "out_queue_bytes":#}"#;
const POOL: &str = r#""client_eof":#, "client_err":#, "client_connections":#, "server_ejects":#, "forward_error":#, "fragments":#"#;
const HEADER: &str =
    r#""version":"0.5.0", "uptime":#, "timestamp":#, "total_connections":#, "curr_connections":#"#;

/// Every number after a colon as `#`.
fn without_numbers(document: &str) -> String {
    let mut text = String::new();
    let mut rest = document;
    while let Some(at) = rest.find("\":") {
        let (before, after) = rest.split_at(at + 2);
        text.push_str(before);
        rest = after.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
        text.push_str(if rest.len() < after.len() { "#" } else { "" });
    }
    text + rest
}

/// Two pools out of order, with servers named, on the default port of memcached, and on a unix socket.
fn many_kinds() -> String {
    let named = Pool::redis(&[NOBODY]).server("127.0.0.1:11211:1").server("127.0.0.1:2:1");
    let unnamed = Pool::redis::<&str>(&[]).named("be").listen(1).server("/no/such.sock:1");
    let third = Pool::redis(&[NOBODY]).named("gamma").listen(2);
    format!("{third}{named}{unnamed}")
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_document_is_byte_for_byte_that_of_twemproxy() {
    let proxy = Proxy::start(many_kinds());
    let source = host_name();
    let expected = [
        &format!(r#"{{"service":"nutcracker", "source":"{source}", {HEADER}, "#),
        &format!(r#""be": {{{POOL}, "/no/such.sock:": {SERVER}}},"#),
        &format!(r#""alpha": {{{POOL}, "server1": {SERVER},"127.0.0.1": {SERVER},"#),
        &format!(r#""127.0.0.1:2": {SERVER}}},"gamma": {{{POOL}, "server1": {SERVER}}}}}"#),
        "\n",
    ];
    assert_eq!(without_numbers(&document(&proxy)), expected.map(str::to_owned).concat());
}

#[test]
fn the_installed_twemproxy_writes_the_same() {
    let Some(reference) = reference_binary() else { return };
    let theirs = Proxy::with(many_kinds()).reference(&reference).start();
    let ours = Proxy::start(many_kinds());
    assert_eq!(without_numbers(&document(&ours)), without_numbers(&document(&theirs)));
}

#[test]
fn an_idle_proxy_shows_a_connection_for_each_pool() {
    for binary in [None, reference_binary()] {
        let launch = Proxy::with(many_kinds());
        let launch = match &binary {
            Some(reference) => launch.reference(reference),
            None => launch.workers(2),
        };
        let proxy = launch.start();
        // The harness connects to see whether the pools are up; those connections come to an end.
        for pool in ["be", "alpha", "gamma"] {
            crate::harness::eventually("the connections of the harness are gone", || {
                let stats = proxy.stats();
                (stats[pool]["client_eof"].as_i64() > Some(0)
                    && stats[pool]["client_connections"] == 0)
                    .then_some(())
            });
        }
        let stats = proxy.stats();
        assert_eq!(stats["curr_connections"], 3, "{stats}");
        let ended: i64 = ["be", "alpha", "gamma"]
            .map(|pool| stats[pool]["client_eof"].as_i64().expect("a number"))
            .iter()
            .sum();
        assert_eq!(stats["total_connections"], 3 + ended, "{stats}");
    }
}

#[test]
fn time_is_told_in_seconds() {
    let proxy = idle().start();
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let before = seconds(SystemTime::now());
    let stats = proxy.stats();
    let after = seconds(SystemTime::now());
    let timestamp = stats["timestamp"].as_u64().expect("a number");
    assert!((before..=after).contains(&timestamp), "{timestamp} is not in {before}..={after}");
    let up = stats["uptime"].as_u64().expect("a number");
    crate::harness::eventually("the uptime grows", || {
        (proxy.stats()["uptime"].as_u64()? > up).then_some(())
    });
}

#[test]
fn names_with_quotes_leave_the_document_valid() {
    let pool = Pool::redis::<&str>(&[]).named(r#"'a"b\c'"#).server(r#"127.0.0.1:1:1 q"u\o"#);
    let proxy = Proxy::start(pool);
    let stats = proxy.stats();
    assert_eq!(stats[r#"a"b\c"#][r#"q"u\o"#]["requests"], 0, "{stats}");
    let text = document(&proxy);
    assert!(text.contains(r#""a\"b\\c": {"#) && text.contains(r#""q\"u\\o": {"#), "{text}");
}

#[test]
fn names_beyond_ascii_are_left_as_they_are() {
    let proxy = Proxy::start(Pool::redis::<&str>(&[]).named("größe").server("127.0.0.1:1:1 søk"));
    let text = document(&proxy);
    assert!(text.contains("\"größe\": {") && text.contains("\"søk\": {"), "{text}");
}

#[test]
fn two_hundred_pools_of_fifty_servers_are_valid() {
    let proxy = Proxy::start(huge(200, 50));
    let stats = proxy.stats();
    let pools: Vec<_> =
        stats.as_object().expect("an object").values().filter(|v| v.is_object()).collect();
    assert_eq!(pools.len(), 200);
    for pool in pools {
        let servers = pool.as_object().expect("an object").values().filter(|v| v.is_object());
        assert_eq!(
            servers.filter(|server| server.as_object().map(|s| s.len()) == Some(13)).count(),
            50
        );
    }
    assert_eq!(stats["pool7"]["server50"]["out_queue_bytes"], Value::from(0));
}

/// Pools of which all but the last listen on unix sockets, so that they need no ports.
pub(super) fn huge(pools: usize, servers: usize) -> String {
    let pool = |n| {
        let listen = if n == pools { "@0".to_owned() } else { format!("@dir/{n}.sock") };
        Pool::redis(&vec![NOBODY; servers])
            .named(&format!("pool{n}"))
            .set("listen", listen)
            .set("distribution", "modula")
            .to_string()
    };
    (1..=pools).map(pool).collect()
}
