//! Requests good and bad: framing, arity, unknown commands, and that an error never costs more than it must.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Ending, Location, PATIENCE, Pool, Proxy, RealServer, Reply, request, requests,
};

const ARITY_OF_MGET: &[u8] = b"-ERR wrong number of arguments for 'mget' command\r\n";
const ARITY_OF_MSET: &[u8] = b"-ERR wrong number of arguments for 'mset' command\r\n";

fn two_servers() -> (Vec<RealServer>, Proxy) {
    let servers = RealServer::several(2);
    let proxy = Proxy::start(Pool::redis(&servers));
    (servers, proxy)
}

#[test]
fn a_command_without_its_keys_gets_an_error_and_the_connection_stays() {
    let (_servers, proxy) = two_servers();
    let mut client = proxy.client();
    client.send(b"*1\r\n$4\r\nMGET\r\n");
    client.expect(ARITY_OF_MGET);
    client.expect_usable();
    client.send(&requests("GET\nGET a b\nSET a\nPING a b"));
    client.expect(b"-ERR wrong number of arguments for 'get' command\r\n");
    client.expect(b"-ERR wrong number of arguments for 'get' command\r\n");
    client.expect(b"-ERR wrong number of arguments for 'set' command\r\n");
    client.expect(b"-ERR wrong number of arguments for 'ping' command\r\n");
    client.expect_usable();
}

#[test]
fn an_mset_with_a_key_lacking_its_value_reaches_no_server() {
    let (servers, proxy) = two_servers();
    let mut client = proxy.client();
    for bad in ["MSET a a a", "MSET a", "MSET", "MSET a 1 b 2 c 3 d 4 e"] {
        client.send(&requests(bad));
        client.expect(ARITY_OF_MSET);
    }
    client.expect_usable();
    assert_eq!(servers.iter().map(RealServer::key_count).sum::<i64>(), 0);
}

#[test]
fn an_unknown_command_is_refused_in_the_words_of_redis() {
    let (servers, proxy) = two_servers();
    let mut client = proxy.client();
    let mut direct = servers[0].client();
    let long = "x".repeat(300);
    let unknown: [&[&str]; 5] = [
        &["FOO"],
        &["foo", "bar", "baz"],
        &["FOO", "a b", ""],
        &["NOSUCH", &long],
        &[&long, "a", "b"],
    ];
    for words in unknown {
        assert_eq!(client.call(words), direct.call(words), "for {words:?}");
    }
    client.expect_usable();
}

#[test]
fn a_known_command_that_needs_more_than_one_shard_says_so() {
    let (_servers, proxy) = two_servers();
    let mut client = proxy.client();
    for line in
        ["MULTI", "EXEC", "SUBSCRIBE a", "BLPOP a 0", "SCAN 0", "KEYS *", "FLUSHALL", "WATCH a"]
    {
        let reply = client.call(&line.split(' ').collect::<Vec<_>>());
        let text = reply.error();
        assert!(text.contains("not supported through this proxy yet"), "{line}: {text}");
    }
    client.expect_usable();
}

#[test]
fn an_error_keeps_its_place_among_pipelined_replies() {
    let (_servers, proxy) = two_servers();
    let mut client = proxy.client();
    client.send(&requests("SET a 1\nGET a\nMGET\nGET a\nMSET a\nPING\nGET a"));
    client.expect(b"+OK\r\n$1\r\n1\r\n");
    client.expect(ARITY_OF_MGET);
    client.expect(b"$1\r\n1\r\n");
    client.expect(ARITY_OF_MSET);
    client.expect(b"+PONG\r\n$1\r\n1\r\n");
}

#[test]
fn inline_commands_are_understood() {
    let (_servers, proxy) = two_servers();
    let mut client = proxy.client();
    client.send(b"SET testkey:1234 hello\r\nGET testkey:1234\r\nPING\r\n");
    client.expect(b"+OK\r\n$5\r\nhello\r\n+PONG\r\n");
    client.send(b"MGET testkey:1234 nosuch testkey:1234\r\n");
    client.expect(b"*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nhello\r\n");
    client.send(b"SET quoted \"a b\\r\\n\"\r\nGET quoted\r\n");
    client.expect(b"+OK\r\n$5\r\na b\r\n\r\n");
}

#[test]
fn malformed_framing_is_answered_and_then_closed_after_earlier_replies() {
    let (_servers, proxy) = two_servers();
    let malformed: [&[u8]; 18] = [
        b"*3\r\n*abcde\r\n",
        b"$99999999999",
        b"$4\r\nPING\r\n",
        b"*02\r\n$3\r\nGET\r\n$1\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
        b"*3\r\n$-5\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1000000000000\r\n",
        b"*-7x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$4294967297\r\nP\r\n",
        b"*4294967298\r\n$3\r\nGET\r\n$1\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$\r\n\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$5\r\nPING\r\n\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*1\r\n$+4\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGxx*1\r\n",
    ];
    for bytes in malformed {
        let mut client = proxy.client();
        client.send(&requests("SET a 1\nGET a"));
        client.send(bytes);
        let (got, ending) = client.drain(PATIENCE);
        let text = String::from_utf8_lossy(&got);
        let rest = text.strip_prefix("+OK\r\n$1\r\n1\r\n");
        assert_ne!(ending, Ending::Open, "{} leaves the connection open", bytes.escape_ascii());
        assert!(
            rest.is_some_and(|rest| rest.starts_with("-ERR Protocol error: ")
                && rest.ends_with("\r\n")
                && rest.lines().count() == 1),
            "{}: {text:?} {ending:?}",
            bytes.escape_ascii()
        );
    }
    proxy.client().expect_usable();
}

/// A page in a browser may post to any port, and choose the body.
#[test]
fn a_request_of_http_ends_the_connection_and_its_body_is_no_command() {
    let (servers, proxy) = two_servers();
    let refusal = b"-ERR Protocol error: HTTP is not served here\r\n";
    let mut client = proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a 1\r\n");
    client.expect_then_closed(refusal);
    let mut client = proxy.client();
    client.send(b"PING\r\nPUT / HTTP/1.1\r\nhost: localhost\r\n\r\nSET a 1\r\n");
    client.expect(
        b"+PONG\r\n-ERR unknown command 'PUT', with args beginning with: '/' 'HTTP/1.1' \r\n",
    );
    client.expect_then_closed(refusal);
    assert_eq!(servers.iter().map(RealServer::key_count).sum::<i64>(), 0);
    assert!(proxy.log().contains("HTTP is not served here"), "the log says why");
    let mut client = proxy.client();
    client.send(&requests("POST a\nPING"));
    client.expect(b"-ERR unknown command 'POST', with args beginning with: 'a' \r\n+PONG\r\n");
}

#[test]
fn a_blank_line_is_refused_from_a_stranger_and_ignored_between_requests() {
    let (_servers, proxy) = two_servers();
    let mut stranger = proxy.client();
    stranger.send(b"\r\n");
    stranger.expect_then_closed(b"-ERR Protocol error: empty request\r\n");
    // As `redis-cli --pipe` sends one before its last request.
    let mut client = proxy.client();
    client.send(b"PING\r\n\r\n*1\r\n$4\r\nPING\r\n\r\n");
    client.expect(b"+PONG\r\n+PONG\r\n");
    client.expect_usable();
}

#[test]
fn announced_lengths_cost_no_memory() {
    let (_servers, proxy) = two_servers();
    let before = proxy.resident_bytes();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..50 {
        let mut client = proxy.client();
        client.send(b"*1000000\r\n$3\r\nDEL\r\n");
        clients.push(client);
        let mut client = proxy.client();
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n");
        clients.push(client);
    }
    proxy.client().expect_usable();
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "announced lengths alone cost {grown} bytes");
}

#[test]
fn keys_and_values_are_opaque_bytes() {
    let (_servers, proxy) = two_servers();
    let mut client = proxy.client();
    let keys: [&[u8]; 7] = [b"a b", b"\0", b"", b"\r\n", b"$3\r\nfoo\r\n", b"\xff\xfe\x80", b"{}{"];
    for key in keys {
        assert_eq!(client.call(&[b"SET".as_slice(), key, key]), Reply::ok());
        assert_eq!(client.call(&[b"GET".as_slice(), key]), Reply::bulk(key));
    }
    let mut mget = vec![b"MGET".as_slice()];
    mget.extend(keys);
    assert_eq!(client.call(&mget), Reply::Array(keys.iter().map(Reply::bulk).collect()));
}

/// What is sent, what comes back, and whether the connection is closed then.
type Exchange = (&'static str, Vec<u8>, &'static [u8]);

fn exchanges() -> Vec<Exchange> {
    let eval = request(&["EVAL", "return {KEYS[1], {1, {2}}, ARGV[1]}", "1", "k", "v"]);
    vec![
        ("set and get", requests("SET a hello\nGET a"), b"+OK\r\n$5\r\nhello\r\n"),
        (
            "mset and mget",
            requests("MSET a 1 b 2 c 3\nMGET a b c d"),
            b"+OK\r\n*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n",
        ),
        ("del", requests("MSET a 1 b 2 c 3\nDEL a b c d"), b"+OK\r\n:3\r\n"),
        ("eval", eval, b"*3\r\n$1\r\nk\r\n*2\r\n:1\r\n*1\r\n:2\r\n$1\r\nv\r\n"),
        (
            "arity",
            requests("MGET\nPING"),
            b"-ERR wrong number of arguments for 'mget' command\r\n+PONG\r\n",
        ),
        ("inline", b"SET i 1\r\nGET i\r\n".to_vec(), b"+OK\r\n$1\r\n1\r\n"),
        ("echo", requests("ECHO hello\nPING hi"), b"$5\r\nhello\r\n$2\r\nhi\r\n"),
        ("auth", requests("AUTH x"), b"-ERR Client sent AUTH, but no password is set\r\n"),
        (
            "lower case",
            requests("set a 1\nmget a a\nget a"),
            b"+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n",
        ),
    ]
}

#[test]
fn read_boundaries_do_not_matter() {
    let servers = RealServer::several(2);
    for arguments in [["-m", "16384"], ["-m", "512"]] {
        let proxy = Proxy::with(Pool::redis(&servers)).arguments(&arguments).workers(1).start();
        for (name, sent, expected) in exchanges() {
            let mut whole = proxy.client();
            whole.send(&sent);
            whole.half_close();
            whole.expect_then_closed(expected);
            let mut bytes = proxy.client();
            bytes.send_byte_by_byte(&sent);
            bytes.half_close();
            let (got, _) = bytes.drain(PATIENCE);
            assert_eq!(
                got.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_request_cut_at_any_byte_waits_for_the_rest() {
    let servers = RealServer::several(2);
    let proxy = Proxy::start(Pool::redis(&servers));
    let sent =
        [requests("MSET a 1 bb 22"), request(&["EVAL", "return ARGV[1]", "1", "k", "v"])].concat();
    for cut in 1..sent.len() {
        let mut client = proxy.client();
        client.send(&sent[..cut]);
        let (head, _) = client.drain(Duration::from_millis(1));
        client.send(&sent[cut..]);
        client.half_close();
        let (tail, _) = client.drain(PATIENCE);
        let got = [head, tail].concat();
        assert_eq!(got.escape_ascii().to_string(), "+OK\\r\\n$1\\r\\nv\\r\\n", "cut at {cut}");
    }
}

/// Connects, asks, reads the reply and closes; how long that took.
fn short_connection(address: SocketAddr, request: &[u8], reply: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut client = Client::connect(address);
    client.send(request);
    client.expect(reply);
    drop(client);
    begun.elapsed()
}

#[test]
fn connecting_asking_and_closing_never_waits_for_a_delayed_acknowledgement() {
    const ROUNDS: usize = 1000;
    // The shortest wait for a delayed acknowledgement is 40 ms; a busy machine delays both ways alike.
    const STALL: Duration = Duration::from_millis(35);
    let (servers, proxy) = two_servers();
    let direct = servers[0].location().parse().expect("an address");
    assert_eq!(proxy.client().call(&["SET", "k", "v"]), Reply::ok());
    assert_eq!(servers[0].client().call(&["SET", "k", "v"]), Reply::ok());
    for (request, reply) in [
        (requests("PING"), b"+PONG\r\n".as_slice()),
        (requests("GET k"), b"$1\r\nv\r\n"),
        (requests("MGET k nosuch k"), b"*3\r\n$1\r\nv\r\n$-1\r\n$1\r\nv\r\n"),
    ] {
        let (mut through, mut around) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            through.push(short_connection(proxy.address(0), &request, reply));
            around.push(short_connection(direct, &request, reply));
        }
        let stalls = |times: &[Duration]| times.iter().filter(|time| **time > STALL).count();
        let (stalled, unavoidable) = (stalls(&through), stalls(&around));
        assert!(
            stalled <= unavoidable + ROUNDS / 20,
            "{stalled} of {ROUNDS} short connections stalled, and {unavoidable} without a proxy"
        );
        through.sort_unstable();
        around.sort_unstable();
        let (median, bound) = (through[ROUNDS / 2], around[ROUNDS / 2] * 30);
        assert!(median < bound, "half of the short connections took over {median:?}");
    }
}
